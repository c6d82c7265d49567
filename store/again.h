/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/again.h
 * @brief Records that are read again, and so repaired, some seconds after a server's return.
 */
#ifndef MEMSESS_AGAIN_H
#define MEMSESS_AGAIN_H

#include "store/private.h"

/** If a server of the placement has just come back, has the record read again, and so repaired,
 * some seconds later. */
void memsess_read_again(memsess_store_t *store, const memsess_key_t *key,
                        const memsess_placement_t *placement);

#endif
