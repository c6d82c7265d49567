/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/claim.h
 * @brief Claims: items beside a record. On each server only one writer can have a claim.
 *
 * A writer claims a revision that it is going to write, or the lock; docs/protocol.md says what it
 * may do then. Nobody removes another's living claim: its holder gives it back, or it expires.
 */
#ifndef MEMSESS_CLAIM_H
#define MEMSESS_CLAIM_H

#include "base/crypto.h"
#include "store/private.h"

/**
 * How old a reading may be that a writer builds upon, and how long after it began to claim the
 * writer may send a copy. A claim lives as long as memsess_claim_ttl says. Even if memcached's
 * clock makes that a second less, it is more than three times this plus MemSessTimeout: another
 * writer may send its last copy this late, a reading that follows may be this old when a writer
 * begins to claim upon it, and that writer's add may be this late.
 */
#define MEMSESS_CLAIM_SAFE apr_time_from_sec(2)

/** For how long a claim of a revision lives, in seconds. */
apr_uint32_t memsess_claim_ttl(const memsess_store_t *store);

/** The first record of a key follows no revision: its writer claims this instead. */
extern const char memsess_claim_first[];

/** The name by which a revision is claimed. */
const char *memsess_revision_text(apr_uint64_t revision, apr_pool_t *p);

#define MEMSESS_CLAIM_TOKEN_LEN (MEMSESS_NONCE_BYTES / 3 * 4)

/** One thing that is claimed on one server. */
typedef struct memsess_held_t {
    memsess_copy_t *copy;
    const char *what;
} memsess_held_t;

/** A claim of up to three things: a revision, or the lock; the revision before; and the first record. */
typedef struct memsess_claim_t {
    memsess_copies_t of;
    const char *what;
    const memsess_session_t *before; /**< claimed, too, if some of its servers lack it; or NULL */
    int is_bare;                     /**< claims "first", too: others may see no record at all */
    int is_sent;                     /**< the writer of before must have sent all copies */
    apr_uint32_t ttl;                /**< in seconds */
    apr_time_t begun;                /**< by the monotonic clock */
    char token[MEMSESS_CLAIM_TOKEN_LEN + 1];
    apr_uint16_t writer;             /**< its number: 16 bits of the token; for the record */
    memsess_held_t *held;            /**< room for all three on each server */
    unsigned n;                      /**< how many are held */
} memsess_claim_t;

/** Makes a claim that holds nothing yet. */
memsess_claim_t *memsess_claim_make(memsess_store_t *store, const memsess_key_t *key,
                                    const char *what, apr_uint32_t ttl, apr_pool_t *p);

/**
 * Claims on every server where the session lies or its next revision is to lie.
 * @return APR_SUCCESS; MEMSESS_BUSY if another writer has the claim; MEMSESS_UNSENT if a server is
 *         up, but could not be asked in time; or why the store cannot tell
 */
apr_status_t memsess_claim_take(memsess_claim_t *claim, const memsess_session_t *newest,
                                apr_pool_t *p);

/** Whether that may be otherwise a moment later: then the claim is worth another try. */
int memsess_claim_may_come(apr_status_t rv);

/** Makes room for what a claim holds, which lives as long as the pool: nothing yet. */
void memsess_claim_hold(memsess_claim_t *claim, apr_pool_t *p);

/** Claims @a what on one more server. */
apr_status_t memsess_claim_on(memsess_claim_t *claim, memsess_copy_t *copy, const char *what,
                              apr_pool_t *p);

/** Has the claim live for another ttl. */
void memsess_claim_renew(memsess_claim_t *claim, apr_pool_t *p);

/** Gives the claim back; on servers that are away, as soon as they are back. */
void memsess_claim_drop(memsess_claim_t *claim, apr_pool_t *p);

/** Gives the claim of @a what back, NULL: all that it holds, as far as servers answer. */
void memsess_claim_drop_some(memsess_claim_t *claim, const char *what, apr_pool_t *p);

#endif
