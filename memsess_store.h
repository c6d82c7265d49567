/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_store.h
 * @brief The copies of a session's record: read, compare, repair, write, end.
 */
#ifndef MEMSESS_STORE_H
#define MEMSESS_STORE_H

#include "apr_hash.h"
#include "store/copies.h"

/**
 * Makes a store over a pool.
 * @param servers what the pool already has, by address: shared between stores
 */
apr_status_t memsess_store_create(memsess_store_t **store, const memsess_store_conf_t *conf,
                                  memsess_pool_t *pool, apr_hash_t *servers, apr_pool_t *p);

/**
 * Reads all copies in one round trip; the highest revision wins. What is read lives in @a p. What lacks
 * copies is told in the facts: whoever writes the record repairs it, or else memsess_store_repair.
 */
void memsess_store_read(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p);

/** Reads several keys, all different, in the time of one. */
void memsess_store_read_all(memsess_store_t *store, memsess_reading_t *const *readings, unsigned n,
                            apr_pool_t *p);

/**
 * Writes what lacks copies by a reading once more, as a revision of its own; left to whoever is writing,
 * if somebody is. The reading is then what was written. Nothing is done where nothing lacks.
 */
void memsess_store_repair(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p);

/** How long ago the record that was read was written, by its servers' own clocks, whatever those of
 * members say, give or take MEMSESS_CLOCK_ERROR; negative: none of them tells. */
apr_interval_time_t memsess_store_written_ago(const memsess_store_t *store,
                                              const memsess_session_t *session);

/** How far the time that all members take for the same, by the servers' own clocks, is ahead of this
 * member's; 0 where the two go alike but for seconds, or where no server tells its time. */
apr_interval_time_t memsess_store_ahead(const memsess_store_t *store);

/**
 * What memsess_store_commit can make the first record of a key upon, where none was found and it
 * must not be written twice: as if a session had been read there. What is made of it wins over any
 * that is still on a server which is away.
 */
apr_status_t memsess_store_blank(memsess_reading_t *reading, memsess_store_t *store, apr_pool_t *p);

/**
 * Writes all copies of a session that nobody knows yet, with its revision made one higher.
 * @return APR_SUCCESS if at least one copy is stored; what memsess_is_refused is about if servers
 *         answered but none would have it; else why no server could be asked
 */
apr_status_t memsess_store_write(memsess_store_t *store, const memsess_key_t *key,
                                 memsess_session_t *session, apr_pool_t *p);

/** Removes what memsess_store_write has written, while still nobody knows of it. */
void memsess_store_unwrite(memsess_store_t *store, const memsess_key_t *key,
                           const memsess_session_t *session, apr_pool_t *p);

/**
 * Writes the next revision of a session, so that no other commit is lost; see docs/protocol.md for
 * what that rests on. What cannot be stored leaves the session as it is. Beside what
 * memsess_store_write answers it may be MEMSESS_GONE, MEMSESS_BUSY or MEMSESS_UNSURE.
 * @param upon what was read; the newest there is will be given to @a make. Where its read_at is 0, it
 *        is read again right before it is written
 * @param wait how long to wait for others; 0: give up where somebody else is writing
 */
apr_status_t memsess_store_commit(memsess_store_t *store, const memsess_reading_t *upon,
                                  apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                  apr_pool_t *p);

/** The lock of one session, held by one request; for MemSessLock request. */
typedef struct memsess_lock_t memsess_lock_t;

/** Seconds after which a lock goes by itself, if its owner died: else that is kept up. */
#define MEMSESS_LOCK_TTL 10

/** So many wait for the lock of one session in one process: with the one who has it they are as many
 * as a browser has connections to a host. */
#define MEMSESS_WAITING_MAX 5

/**
 * Waits until nobody else holds the lock of a session, nor has waited for it longer in this
 * process.
 * @return APR_SUCCESS; MEMSESS_BUSY after @a wait; MEMSESS_CROWDED at once where too many wait; or
 *         why the store cannot tell
 */
apr_status_t memsess_lock_take(memsess_lock_t **lock, memsess_store_t *store,
                               const memsess_key_t *key, const memsess_session_t *session,
                               apr_interval_time_t wait, apr_pool_t *p);

/** Frees it, if it is still ours, and by itself where it is just being renewed, after that; done
 * too when the pool goes. May be called again. */
void memsess_lock_free(memsess_lock_t *lock);

/** What takes a session's place when it ends, so that no old copy can bring it back. */
memsess_session_t *memsess_tombstone(const memsess_session_t *session, apr_pool_t *p);

#endif
