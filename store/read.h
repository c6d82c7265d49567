/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/read.h
 * @brief The copies of a record: read and compared.
 */
#ifndef MEMSESS_READ_H
#define MEMSESS_READ_H

#include "store/private.h"

/** Reads a record to build upon it: asks slow servers, too. */
void memsess_read(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p);

/** As memsess_store_read_all. */
void memsess_read_all(memsess_store_t *store, memsess_reading_t *const *readings, unsigned n,
                      apr_pool_t *p);

/** Asks all servers of a key at once, whatever each of them answers. */
void memsess_ask_all(const memsess_copies_t *of, apr_pool_t *p);

/** Asks one server what it has now; returns a state of memsess_copy_t. */
int memsess_state_at(const memsess_copies_t *of, const memsess_copy_t *copy, apr_pool_t *p);

#endif
