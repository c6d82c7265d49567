/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/outcome.h
 * @brief What outcome.c (the session) and user.c (whose it is) share of one commit.
 */
#ifndef MEMSESS_OUTCOME_H
#define MEMSESS_OUTCOME_H

#include "http/request_private.h"

/** What a commit works with. */
typedef struct memsess_commit_t {
    memsess_req_t *req;
    const memsess_dir_conf_t *conf;
    const memsess_changes_t *changes; /**< NULL: re-date only */
    request_rec *r;
    memsess_top_t *top;
    memsess_store_t *store;
    apr_time_t now;
    char id[MEMSESS_ID_LEN + 1]; /**< a fresh one, where the session gets one */
    memsess_key_t key;           /**< of that */
    const memsess_session_t *kept; /**< the session as it goes on, under whichever id; or NULL */
    const char *error;           /**< why the changes cannot be made */
    int merged;                  /**< upon somebody else's */
    int late;                    /**< the session that the changes are for is over */
    memsess_login_t login;       /**< of the user who logs in, once it is known */
    char entered[MEMSESS_PUBLIC_ID_LEN + 1]; /**< the session that this login is of */
    memsess_login_t moved;       /**< what becomes of the login that the session has; user "": nothing */
} memsess_commit_t;

/** For logs. */
const char *memsess_commit_words(const memsess_commit_t *c, apr_status_t rv);

memsess_cache_t *memsess_commit_cache(const memsess_commit_t *c);

/** For how long the session goes on by the end of its own that the changes give it; 0: they do not. */
apr_interval_time_t memsess_commit_own_time(const memsess_commit_t *c);

/** Dates a session that is to be written. */
void memsess_commit_mark_used(const memsess_commit_t *c, memsess_session_t *session);

/** Binds a session to the user who logs in by it, or to nobody any more. */
apr_status_t memsess_commit_bind_user(memsess_commit_t *c, memsess_session_t *session);

/** Whether a secret other than the first has made what stands for the session's user. */
int memsess_commit_is_user_aged(const memsess_commit_t *c);

/**
 * Before a session is written: its user's epoch is to outlive it.
 * @return MEMSESS_GONE where the user was logged out everywhere meanwhile
 */
apr_status_t memsess_commit_keep_user(memsess_commit_t *c, apr_interval_time_t wait);

/** Ends those sessions that the changes name, but for the request's own; @a is_active: it has one. */
apr_status_t memsess_commit_end_others(memsess_commit_t *c, int is_active);

/** After a session was written, or ended: takes it out of the list of the user that it had. */
void memsess_commit_leave(const memsess_commit_t *c);

#endif
