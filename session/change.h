/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/change.h
 * @brief The changes that a request wants: a list that can be replayed on any revision.
 *
 * A request never writes the session that it saw; it applies its changes to the newest revision.
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

/** Everything that one response asks for, done in this order: destroy, the list, expire, renew. */
typedef struct memsess_changes_t {
    int destroy;
    int destroy_all; /**< all other sessions of its user end, too; only with destroy */
    int destroy_others; /**< all other sessions of its user end, and this one goes on */
    apr_array_header_t *end_ids;   /**< sessions of its user that end: public ids, const char * */
    apr_array_header_t *end_users; /**< all sessions of these users end, of const char * */
    int renew;
    int expire;      /**< the session gets an end of its own, or loses it: */
    apr_time_t ends; /**< for expire: at that time exactly */
    apr_interval_time_t lasts; /**< for expire: when unused for so long; both 0: by time-outs */
    apr_array_header_t *list; /**< of memsess_change_t, in the order of their effect */
} memsess_changes_t;

void memsess_changes_init(memsess_changes_t *changes, apr_pool_t *p);

/** Appends @a more; a destruction in it drops the changes before. */
void memsess_changes_join(memsess_changes_t *changes, const memsess_changes_t *more);

/** Whether it changes anything. */
int memsess_changes_any(const memsess_changes_t *changes);

/** Whether the list changes that attribute. */
int memsess_changes_touch(const memsess_changes_t *changes, const char *name);

/** Whether the list adds to anything. */
int memsess_changes_has_incr(const memsess_changes_t *changes);

/** Whether the list would begin a session if there is none: unsetting alone does not. */
int memsess_changes_begin_session(const memsess_changes_t *changes);

/**
 * Appends the changes of a write-back header: form encoding, several joined by commas.
 * @param keys patterns of the names that may be changed, NULL: all
 * @param refused receives the names that @a keys does not allow, of const char *
 * @return NULL, or what is malformed, for a log; the list is then not to be used
 */
const char *memsess_changes_parse(memsess_changes_t *changes, memsess_op_t op, const char *header,
                                  const apr_array_header_t *keys, apr_array_header_t *refused,
                                  apr_pool_t *p);

/**
 * Takes the words of a MemSess-Destroy header: 1, all, others, id=PUBLIC_ID or user=NAME, several
 * joined by commas.
 * @return NULL, or what is malformed, for a log
 */
const char *memsess_changes_destroy(memsess_changes_t *changes, const char *header, apr_pool_t *p);

/** Whether sessions other than the request's own are to end: if that fails, the answer must say
 * so. */
int memsess_changes_end_others(const memsess_changes_t *changes);

/**
 * Takes the seconds of a MemSess-Expire header, the last of several joined by commas.
 * @return NULL, or what is malformed, for a log
 */
const char *memsess_changes_expire(memsess_changes_t *changes, const char *header, apr_pool_t *p);

/** Whether one of @a keys (names; a '*' at the end matches the rest) is @a name; NULL: yes. */
int memsess_keys_match(const apr_array_header_t *keys, const char *name);

/**
 * Makes one change to attributes in name order; they share the change's name and value.
 * @return NULL, or why it cannot be made, for a log
 */
const char *memsess_change_apply(const memsess_change_t *change, apr_array_header_t *attrs,
                                 apr_pool_t *p);

/** The integer in a value: decimal, 64 bits, and nothing else. */
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
