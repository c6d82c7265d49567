/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/copies.h
 * @brief What a store is made of, and what can be known of the copies of a record.
 */
#ifndef MEMSESS_COPIES_H
#define MEMSESS_COPIES_H

#include "base/secret.h"
#include "session/session.h"
#include "wire/servers.h"

/** How long a record is kept past its end, so that "expired" can be told from "unknown". */
#define MEMSESS_GRACE apr_time_from_sec(120)

/** A record of up to this many times the largest MemSessMaxSize is still read: that may have been
 * lowered after the record was written. */
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
    int failover;                      /**< the next servers in a session's order stand in */
    apr_size_t compress;               /**< records above this are compressed; 0: none */
    apr_size_t unpack;                 /**< a record that takes more when unpacked is left alone */
    const memsess_secrets_t *secrets;  /**< seal all that is stored; NULL: nothing is sealed */
} memsess_store_conf_t;

/** What a reading can find. */
typedef enum {
    MEMSESS_FOUND,
    MEMSESS_MISSING,    /**< certain: all servers that may have it answered, and none has it */
    MEMSESS_UNSEEN,     /**< fewer servers are silent than it has copies (with one copy: its home
                             answered), and no other has it: it is not there for now, and nothing
                             may be changed because of that */
    MEMSESS_ENDED,      /**< certain: it was destroyed or renewed */
    MEMSESS_UNAVAILABLE /**< as many servers are silent as it has copies, or one that may know
                             better; or a later version has written it */
} memsess_found_t;

/** At most this many servers of a session are asked: memsess_facts_t.answered has a bit for each. */
#define MEMSESS_REACH_MAX 64

/** What a reading tells of a record's copies; all 0 if the record was not just read. */
typedef struct memsess_facts_t {
    apr_uint64_t answered; /**< these servers answered: a bit for each in the key's order */
    unsigned lacks;        /**< how many of the servers that a write would choose now lack it */
    int partial;           /**< a server that it was written to answered without it */
    int outdated;          /**< a server that comes before all that have it has an older record */
    int bare;              /**< a server has no record at all */
    int aged;              /**< an older secret sealed it */
    int passed_over;       /**< a slow server was not asked: nothing is built upon this reading, and
                                the others tell nothing */
} memsess_facts_t;

/** The reading of one key. */
typedef struct memsess_reading_t {
    memsess_key_t key;
    apr_uint64_t least; /**< a revision that is known to have existed; 0: none. An older record was
                             put back, or a newer one is away: so it is UNSEEN, and not repaired */
    apr_time_t read_at; /**< by the monotonic clock */
    memsess_found_t found;
    memsess_session_t *session; /**< for FOUND and ENDED, else NULL */
    memsess_facts_t facts;      /**< about its copies */
} memsess_reading_t;

/** How wrong the time since a write may be, in seconds, if a server's clock measures it: the member
 * that wrote and the one that asks may be apart, and both read whole seconds. */
#define MEMSESS_AGE_ERROR (MEMSESS_CLOCK_ERROR + 1)

/**
 * Makes the next revision of a session out of its newest one.
 * @param next receives what is to be written, a tombstone for instance
 * @return APR_SUCCESS, or anything else to leave the session as it is
 */
typedef apr_status_t memsess_next_t(void *baton, const memsess_session_t *newest,
                                    memsess_session_t **next, apr_pool_t *p);

#endif
