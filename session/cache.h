/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/cache.h
 * @brief This member's own copies of sessions that it has seen, in memory that all its child
 *        processes share.
 *
 * It is a ring of records, the oldest overwritten first, and an index over it, without a lock: a
 * reader copies first, and then checks that the copy is whole. So a child that is killed in the
 * middle holds no other up, and at worst a copy is not found. bench/run cache compares it with
 * mod_socache_shmcb and mod_slotmem_shm, whose mutex costs more than the copy.
 */
#ifndef MEMSESS_CACHE_H
#define MEMSESS_CACHE_H

#include "session/session.h"

#define MEMSESS_CACHE_MIN (64 * 1024)

typedef struct memsess_cache_t memsess_cache_t;

/**
 * Makes a cache for this process and the processes that it forks.
 * @param size bytes of shared memory, MEMSESS_CACHE_MIN at least
 * @param max_age copies that are older than this, by the steady clock, are not given out
 * @param p frees the memory when it is destroyed
 */
apr_status_t memsess_cache_create(memsess_cache_t **cache, apr_size_t size,
                                  apr_interval_time_t max_age, apr_pool_t *p);

/**
 * The part of a cache for the sessions of one pool: no other part finds them, whatever the key is.
 * @param pool what identifies that pool
 */
memsess_cache_t *memsess_cache_part(const memsess_cache_t *cache, const char *pool, apr_pool_t *p);

/**
 * Keeps a session as it was at @a read_at. A session that is larger than a sixteenth of the cache
 * is not kept.
 * @param p for scratch
 */
void memsess_cache_put(memsess_cache_t *cache, const memsess_key_t *key,
                       const memsess_session_t *session, apr_time_t read_at, apr_pool_t *p);

/**
 * @param revision the wanted one: no other is given out
 * @param session receives a session of its own, in @a p
 * @param read_at receives the @a read_at of memsess_cache_put
 * @return whether there was one
 */
int memsess_cache_get(memsess_cache_t *cache, const memsess_key_t *key, apr_uint64_t revision,
                      memsess_session_t **session, apr_time_t *read_at, apr_pool_t *p);

/** The revision that the cache has of a session, however old the copy is; 0: none. */
apr_uint64_t memsess_cache_known(const memsess_cache_t *cache, const memsess_key_t *key);

/** Forgets a session. */
void memsess_cache_drop(memsess_cache_t *cache, const memsess_key_t *key);

#endif
