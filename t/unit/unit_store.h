/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file unit_store.h
 * @brief A store as tests start and use it; the facts of a reading are found again by its session.
 */
#ifndef UNIT_STORE_H
#define UNIT_STORE_H

#include "unit_wire.h"

#include "memsess_store.h"

/** A store over a pool of its own, as in each process of httpd; both are started. */
static inline memsess_store_t *unit_store_start(memsess_pool_t **pool,
                                                const memsess_store_conf_t *conf,
                                                apr_hash_t *handles)
{
    memsess_store_t *store;

    *pool = unit_pool_open();
    assert_int_equal(memsess_store_create(&store, conf, *pool, handles, unit_pool), APR_SUCCESS);
    unit_pool_start(*pool);
    return store;
}

/* The last readings of each thread. */
#define UNIT_READINGS 16
static __thread memsess_reading_t unit_readings[UNIT_READINGS];
static __thread unsigned unit_readings_n;

/** Reads and repairs, as a request does that changes nothing. */
static inline memsess_found_t unit_read(memsess_store_t *store, const memsess_key_t *key,
                                        memsess_session_t **session, apr_pool_t *p)
{
    memsess_reading_t *reading = &unit_readings[unit_readings_n++ % UNIT_READINGS];

    *reading = (memsess_reading_t){.key = *key};
    memsess_store_read(store, reading, p);
    memsess_store_repair(store, reading, p);
    *session = reading->session;
    return reading->found;
}

/** The facts about copies of the last reading of that key that found this session. */
static inline memsess_facts_t unit_facts(const memsess_key_t *key, const memsess_session_t *session)
{
    unsigned i;

    for (i = 1; i <= UNIT_READINGS; i++) {
        const memsess_reading_t *reading = &unit_readings[(unit_readings_n - i) % UNIT_READINGS];

        if (reading->session == session && !memcmp(&reading->key, key, sizeof(*key))) {
            return reading->facts;
        }
    }
    return (memsess_facts_t){0};
}

/** Commits upon a session, with the facts of its reading. */
static inline apr_status_t unit_commit(memsess_store_t *store, const memsess_key_t *key,
                                       const memsess_session_t *session, apr_time_t read_at,
                                       apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                       apr_pool_t *p)
{
    memsess_reading_t upon = {.key = *key, .read_at = read_at,
                              .session = (memsess_session_t *)session,
                              .facts = unit_facts(key, session)};

    return memsess_store_commit(store, &upon, wait, make, baton, p);
}

#endif
