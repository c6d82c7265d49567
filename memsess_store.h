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
 * @param servers the servers that the pool already has, by address; stores share them
 */
apr_status_t memsess_store_create(memsess_store_t **store, const memsess_store_conf_t *conf,
                                  memsess_pool_t *pool, apr_hash_t *servers, apr_pool_t *p);

/**
 * Reads all copies in one round trip; the highest revision wins. What is read lives in @a p. The
 * facts tell how many copies are lacking: the next commit writes them, or else
 * memsess_store_repair.
 */
void memsess_store_read(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p);

/** Reads several keys, all different, in the time of one. */
void memsess_store_read_all(memsess_store_t *store, memsess_reading_t *const *readings, unsigned n,
                            apr_pool_t *p);

/**
 * If copies are lacking by a reading, writes the record once more, as a revision of its own; the
 * reading is then that revision. While another member writes, nothing is done: its commit repairs
 * the record.
 */
void memsess_store_repair(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p);

/** How long ago a record was written, by the clocks of its servers and not by those of members,
 * give or take MEMSESS_AGE_ERROR; negative: none of these servers tells its time. */
apr_interval_time_t memsess_store_written_ago(const memsess_store_t *store,
                                              const memsess_session_t *session);

/** How far the time on which all members agree, by the servers' own clocks, is ahead of this
 * member's; 0 if the two differ by seconds at most, or if no server tells its time. */
apr_interval_time_t memsess_store_ahead(const memsess_store_t *store);

/**
 * Makes a reading upon which memsess_store_commit can make the first record of a key, as if a
 * session had been read there: for a key at which none was found, and whose first record must not
 * be made twice. That record wins over any that is still on a server which is away.
 */
apr_status_t memsess_store_blank(memsess_reading_t *reading, memsess_store_t *store, apr_pool_t *p);

/**
 * Writes all copies of a session that nobody knows of yet, with its revision made one higher.
 * @return APR_SUCCESS if at least one copy is stored; a code of memsess_is_refused if servers
 *         answered, but none of them stored it; else why no server could be asked
 */
apr_status_t memsess_store_write(memsess_store_t *store, const memsess_key_t *key,
                                 memsess_session_t *session, apr_pool_t *p);

/** Removes what memsess_store_write has written, while nobody else knows of it yet. */
void memsess_store_unwrite(memsess_store_t *store, const memsess_key_t *key,
                           const memsess_session_t *session, apr_pool_t *p);

/**
 * Writes the next revision of a session, so that no other commit is lost; docs/protocol.md says
 * what that rests on. If the revision cannot be stored, the session stays as it is. Beside what
 * memsess_store_write returns, this may return MEMSESS_GONE, MEMSESS_BUSY or MEMSESS_UNSURE.
 * @param upon the reading at hand; @a make is given the newest revision that there is. If its
 *        read_at is 0, the session is read again right before it is written
 * @param wait how long to wait for other writers; 0: give up if there is one
 */
apr_status_t memsess_store_commit(memsess_store_t *store, const memsess_reading_t *upon,
                                  apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                  apr_pool_t *p);

/** The lock of one session, held by one request; for MemSessLock request. */
typedef struct memsess_lock_t memsess_lock_t;

/** Seconds after which a lock expires if its holder has died: a holder that lives renews it. */
#define MEMSESS_LOCK_TTL 10

/** At most this many requests wait for the lock of one session in one process: with its holder,
 * they are as many as a browser has connections to a host. */
#define MEMSESS_WAITING_MAX 5

/**
 * Takes the lock of a session, once nobody else holds it, and no other request of this process has
 * waited for it longer.
 * @return APR_SUCCESS; MEMSESS_BUSY after @a wait; MEMSESS_CROWDED at once if too many wait; or
 *         why the store cannot tell
 */
apr_status_t memsess_lock_take(memsess_lock_t **lock, memsess_store_t *store,
                               const memsess_key_t *key, const memsess_session_t *session,
                               apr_interval_time_t wait, apr_pool_t *p);

/** Frees the lock, if it is still ours; while it is being renewed, this happens after the renewal.
 * When the lock's pool goes, the lock is freed, too. This may be called again. */
void memsess_lock_free(memsess_lock_t *lock);

/** What takes a session's place when it ends, so that no old copy can bring it back. */
memsess_session_t *memsess_tombstone(const memsess_session_t *session, apr_pool_t *p);

#endif
