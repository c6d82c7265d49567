/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef MEMSESS_VERSION_H
#define MEMSESS_VERSION_H

/** Shown in the status, and told to other members. */
#define MEMSESS_VERSION "0.2.0"

#endif
