/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_store.h
 * @brief The copies of a session's record: read, compare, repair, write, end.
 */
#ifndef MEMSESS_STORE_H
#define MEMSESS_STORE_H

#include "apr_hash.h"
#include "base/secret.h"
#include "session/session.h"
#include "wire/servers.h"

/** How long a record is kept past its end, so that "expired" can be told from "unknown". */
#define MEMSESS_GRACE apr_time_from_sec(120)

/** So many times the largest MemSessMaxSize is still read: it may have been lowered since. */
#define MEMSESS_UNPACK_TIMES 4

typedef struct memsess_store_t memsess_store_t;

/** One server of a store. */
typedef struct memsess_member_t {
    memsess_server_conf_t server;
    unsigned weight;
} memsess_member_t;

typedef struct memsess_store_conf_t {
    const apr_array_header_t *members; /**< of memsess_member_t, names all different */
    unsigned copies;                   /**< of every session, each on another server */
    int failover;                      /**< the next in a session's order stands in */
    apr_size_t compress;               /**< records above this are compressed; 0: none */
    apr_size_t unpack;                 /**< one that takes more unpacked is left alone */
    const memsess_secrets_t *secrets;  /**< seal all that is stored; NULL: nothing is sealed */
} memsess_store_conf_t;

/**
 * Makes a store over a pool.
 * @param servers what the pool already has, by address: shared between stores
 */
apr_status_t memsess_store_create(memsess_store_t **store, const memsess_store_conf_t *conf,
                                  memsess_pool_t *pool, apr_hash_t *servers, apr_pool_t *p);

/** What a read can tell. */
typedef enum {
    MEMSESS_FOUND,
    MEMSESS_MISSING,    /**< certain: all that may have it answered, and none has it */
    MEMSESS_UNSEEN,     /**< fewer servers than it has copies are silent (with one copy: but its home
                             is not), and no other has it: it is not there for now, and nothing is to
                             be changed upon that */
    MEMSESS_ENDED,      /**< certain: it was destroyed or renewed */
    MEMSESS_UNAVAILABLE /**< as many servers as it has copies are silent, or who would know better */
} memsess_found_t;

/** Servers of a session that are ever looked at: memsess_facts_t.answered has a bit for each. */
#define MEMSESS_REACH_MAX 64

/** What a reading tells of a record's copies. All 0: it was not just read. */
typedef struct memsess_facts_t {
    apr_uint64_t answered; /**< these servers answered: a bit for each in the key's order */
    unsigned lacks;        /**< so many of those that a write would choose now lack it */
    int partial;           /**< one that it was written to answered without it */
    int outdated;          /**< a server before all that have it has an older one */
    int bare;              /**< a server has none at all */
    int aged;              /**< an older secret sealed it */
} memsess_facts_t;

/** The reading of one key. */
typedef struct memsess_reading_t {
    memsess_key_t key;
    apr_uint64_t least; /**< a revision that there was: what is older was put back there, or the newer
                             one is away, so it is UNSEEN and not repaired; 0: nobody knows of any */
    apr_time_t read_at; /**< by the monotonic clock */
    memsess_found_t found;
    memsess_session_t *session; /**< for FOUND and ENDED, else NULL */
    memsess_facts_t facts;      /**< of that */
} memsess_reading_t;

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

/** Two members may be that far apart in what they take for a server's clock, in seconds. */
#define MEMSESS_CLOCK_ERROR 3

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
 * Makes the next revision of a session out of its newest one.
 * @param next receives what is to be written, a tombstone for instance
 * @return APR_SUCCESS, or anything else to leave the session as it is
 */
typedef apr_status_t memsess_next_t(void *baton, const memsess_session_t *newest,
                                    memsess_session_t **next, apr_pool_t *p);

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
