/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/claim.h
 * @brief Claims: items beside a record, of which one alone can be made on each server.
 *
 * A claim is of a revision that is to be written, or of the lock; docs/protocol.md says what follows from
 * having one. Nobody takes a living one away: it is given back, or expires.
 */
#ifndef MEMSESS_CLAIM_H
#define MEMSESS_CLAIM_H

#include "base/crypto.h"
#include "store/private.h"

/**
 * How old a reading may be that is built upon, how late the next revision is sent after its claim was
 * begun. A claim lives as long as memsess_claim_ttl says. That, less the second that memcached's clock
 * may be short, is above three times this and MemSessTimeout: a reading that old, an add as late after
 * it, and the other's last send.
 */
#define MEMSESS_CLAIM_SAFE apr_time_from_sec(2)

/** In seconds. */
apr_uint32_t memsess_claim_ttl(const memsess_store_t *store);

/** Whoever makes the first record of a key has no revision to follow: this is claimed instead. */
extern const char memsess_claim_first[];

/** As it is claimed. */
const char *memsess_revision_text(apr_uint64_t revision, apr_pool_t *p);

#define MEMSESS_CLAIM_TOKEN_LEN (MEMSESS_NONCE_BYTES / 3 * 4)

/** A claim of up to three things: a revision, or the lock; the revision before; and the first record. */
typedef struct memsess_claim_t {
    memsess_copies_t of;
    const char *what;
    const memsess_session_t *before; /**< is claimed too, where it is not on all of its servers */
    int is_bare;                     /**< the first record too: others may see no record at all */
    int is_sent;                     /**< its own writer must have sent all of that one by now */
    apr_uint32_t ttl;                /**< in seconds */
    apr_time_t begun;                /**< by the monotonic clock */
    char token[MEMSESS_CLAIM_TOKEN_LEN + 1];
    apr_uint16_t mark;               /**< of this token, in the record */
    struct {
        memsess_copy_t *copy;
        const char *what;
    } held[3 * MEMSESS_REACH_MAX];
    unsigned n;
} memsess_claim_t;

/** Nothing is claimed yet. */
memsess_claim_t *memsess_claim_make(memsess_store_t *store, const memsess_key_t *key,
                                    const char *what, apr_uint32_t ttl, apr_pool_t *p);

/**
 * Claims it wherever the session lies and wherever its next revision is to lie.
 * @return APR_SUCCESS; MEMSESS_BUSY where somebody else has it; or why the store cannot tell
 */
apr_status_t memsess_claim_take(memsess_claim_t *claim, const memsess_session_t *newest,
                                apr_pool_t *p);

/** Claims something on one server more. */
apr_status_t memsess_claim_on(memsess_claim_t *claim, memsess_copy_t *copy, const char *what,
                              apr_pool_t *p);

/** It is to live for another ttl. */
void memsess_claim_renew(memsess_claim_t *claim, apr_pool_t *p);

/** It is given back; where servers are away, as soon as they are back. */
void memsess_claim_drop(memsess_claim_t *claim, apr_pool_t *p);

/** Gives back what was claimed of one thing; NULL: all of it, as far as servers answer. */
void memsess_claim_drop_some(memsess_claim_t *claim, const char *what, apr_pool_t *p);

#endif
