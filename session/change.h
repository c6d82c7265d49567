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

/*
 * H(VERB, verb, name)
 *
 * A response header is its row here, and a function take_verb in change.c that reads its value. The
 * rows stand in the order of their effect. MemSessWritebackVerbs has its words from them, and
 * memsess_say of the C API takes whatever they name.
 */
#define MEMSESS_HEADERS(H)                                                                         \
    H(DESTROY, destroy, "MemSess-Destroy")                                                         \
    H(UNSET, unset, "MemSess-Unset")                                                               \
    H(SET, set, "MemSess-Set")                                                                     \
    H(INCR, incr, "MemSess-Incr")                                                                  \
    H(EXPIRE, expire, "MemSess-Expire")                                                            \
    H(RENEW, renew, "MemSess-Renew")

/** What a response may do to the session. */
typedef enum {
#define MEMSESS_HEADER(VERB, verb, name) MEMSESS_##VERB,
    MEMSESS_HEADERS(MEMSESS_HEADER)
#undef MEMSESS_HEADER
    MEMSESS_HEADERS_N,
    MEMSESS_ADMIN = MEMSESS_HEADERS_N, /**< to end other users' sessions, by MEMSESS_DESTROY */
    MEMSESS_VERBS
} memsess_verb_t;

/** By their verbs. */
extern const char *const memsess_header_names[MEMSESS_HEADERS_N];
extern const char *const memsess_verb_names[MEMSESS_VERBS];

/** What a header of that name, in any case, does; MEMSESS_HEADERS_N: there is no such header. */
memsess_verb_t memsess_header_find(const char *name);

/** An attribute is set, unset or added to. */
typedef struct memsess_change_t {
    memsess_verb_t op;
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
    apr_interval_time_t lasts; /**< for expire: when unused for this long; both 0: by time-outs */
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
 * Appends what a response header says; several values may be joined by commas.
 * @return NULL, or what is malformed, for a log; @a changes are then not to be used
 */
const char *memsess_changes_take(memsess_changes_t *changes, memsess_verb_t verb,
                                 const char *value, apr_pool_t *p);

/** Takes out of the list what changes other attributes than @a keys allows; returns their names, of
 * const char *. */
apr_array_header_t *memsess_changes_limit(memsess_changes_t *changes,
                                          const apr_array_header_t *keys, apr_pool_t *p);

/** Whether sessions other than the request's own are to end: if that fails, the answer must say
 * so. */
int memsess_changes_end_others(const memsess_changes_t *changes);

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
