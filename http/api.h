/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/api.h
 * @brief What mod_memsess.h promises to other modules.
 */
#ifndef MEMSESS_API_H
#define MEMSESS_API_H

/** Registers the optional functions; to be called among the hooks. */
void memsess_api_register(void);

#endif
