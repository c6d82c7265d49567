/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/change.h
 * @brief What a request wants to change: a list that can be replayed on any revision.
 *
 * A request never writes the session it saw; it writes its changes onto the newest there is.
 */
#ifndef MEMSESS_CHANGE_H
#define MEMSESS_CHANGE_H

#include "session/session.h"

typedef enum { MEMSESS_SET, MEMSESS_UNSET, MEMSESS_INCR } memsess_op_t;

typedef struct memsess_change_t {
    memsess_op_t op;
    const char *name;
    const char *value; /**< of MEMSESS_SET */
    apr_size_t len;
    apr_int64_t by; /**< of MEMSESS_INCR */
} memsess_change_t;

/** All that one response asks for; carried out in this order: destroy, the list, expire, renew. */
typedef struct memsess_changes_t {
    int destroy;
    int destroy_all; /**< and so of all other sessions of its user; only with destroy */
    int destroy_others; /**< all other sessions of its user end, and this one goes on */
    apr_array_header_t *end_ids;   /**< those of its user with these public ids end, of const char * */
    apr_array_header_t *end_users; /**< all sessions of these users end, of const char * */
    int renew;
    int expire;      /**< the session is given an end of its own, or that is taken back: */
    apr_time_t ends; /**< for expire: at that time exactly */
    apr_interval_time_t lasts; /**< for expire: when unused for so long; both 0: by time-outs */
    apr_array_header_t *list; /**< of memsess_change_t, in the order of their effect */
} memsess_changes_t;

void memsess_changes_init(memsess_changes_t *changes, apr_pool_t *p);

/** Lets @a more follow; what a destruction in it ends is forgotten. */
void memsess_changes_join(memsess_changes_t *changes, const memsess_changes_t *more);

/** Whether there is anything to do. */
int memsess_changes_any(const memsess_changes_t *changes);

/** Whether the list says anything of that attribute. */
int memsess_changes_touch(const memsess_changes_t *changes, const char *name);

/** Whether the list adds to anything. */
int memsess_changes_has_incr(const memsess_changes_t *changes);

/** Whether the list would begin a session where there is none: unsetting alone does not. */
int memsess_changes_begin_session(const memsess_changes_t *changes);

/**
 * Appends what a write-back header says: form encoding, several joined by commas.
 * @param keys patterns of the names that may be changed, NULL: all
 * @param refused receives the names that @a keys does not allow (of const char *)
 * @return NULL, or what is malformed, for a log; the list is then not to be used
 */
const char *memsess_changes_parse(memsess_changes_t *changes, memsess_op_t op, const char *header,
                                  const apr_array_header_t *keys, apr_array_header_t *refused,
                                  apr_pool_t *p);

/**
 * Takes what a MemSess-Destroy header says: 1, all, others, id=PUBLIC_ID or user=NAME, several joined
 * by commas.
 * @return NULL, or what is malformed, for a log
 */
const char *memsess_changes_destroy(memsess_changes_t *changes, const char *header, apr_pool_t *p);

/** Whether sessions other than the request's own are to end: that must not be left undone in
 * silence. */
int memsess_changes_end_others(const memsess_changes_t *changes);

/**
 * Takes what a MemSess-Expire header says: seconds, the last of several joined by commas.
 * @return NULL, or what is malformed, for a log
 */
const char *memsess_changes_expire(memsess_changes_t *changes, const char *header, apr_pool_t *p);

/** Whether one of @a keys (names, a '*' at the end matches the rest) is @a name; NULL: yes. */
int memsess_keys_match(const apr_array_header_t *keys, const char *name);

/**
 * Makes one change to attributes in name order; shares the change's name and value.
 * @return NULL, or why it cannot be made, for a log
 */
const char *memsess_change_apply(const memsess_change_t *change, apr_array_header_t *attrs,
                                 apr_pool_t *p);

/** The integer that a value is: decimal, of 64 bits, and nothing else. */
int memsess_integer_parse(const char *value, apr_int64_t *n);

/**
 * Replays the list.
 * @param result a session of its own; shares names and values with @a session and the list
 * @return NULL, or why a change cannot be made, for a log
 */
const char *memsess_changes_apply(const memsess_changes_t *changes,
                                  const memsess_session_t *session, memsess_session_t **result,
                                  apr_pool_t *p);

#endif
