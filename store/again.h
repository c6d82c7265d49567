/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/again.h
 * @brief What is read, and so repaired, some seconds after a server's return.
 */
#ifndef MEMSESS_AGAIN_H
#define MEMSESS_AGAIN_H

#include "store/private.h"

/** Where one of these servers has just come back, the record is read, and so repaired, once that is
 * some seconds ago. */
void memsess_read_again(memsess_store_t *store, const memsess_key_t *key,
                        const memsess_placement_t *placement);

#endif
