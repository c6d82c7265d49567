/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef MEMSESS_VERSION_H
#define MEMSESS_VERSION_H

/** In the status, and in what members tell each other. */
#define MEMSESS_VERSION "0.2.0"

#endif
