/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/outcome.h
 * @brief What outcome.c (the session) and user.c (its user) share of one commit.
 */
#ifndef MEMSESS_OUTCOME_H
#define MEMSESS_OUTCOME_H

#include "http/request_private.h"

/** The state of one commit. */
typedef struct memsess_commit_t {
    memsess_req_t *req;
    const memsess_dir_conf_t *conf;
    const memsess_changes_t *changes; /**< NULL: re-date only */
    request_rec *r;
    memsess_top_t *top;
    memsess_store_t *store;
    apr_time_t now;
    char id[MEMSESS_ID_LEN + 1]; /**< a fresh id, if the session gets one */
    memsess_key_t key;           /**< of that id */
    const memsess_session_t *kept; /**< the session that goes on, under either id; or NULL */
    const char *error;           /**< why the changes cannot be made */
    int merged;                  /**< the changes were merged with another request's */
    int late;                    /**< the session that the changes are for is over */
    memsess_login_t login;       /**< the login of a user who logs in, once it is known */
    char entered[MEMSESS_PUBLIC_ID_LEN + 1]; /**< the session of this login */
    memsess_login_t moved;       /**< what the present login becomes; user "": no change */
} memsess_commit_t;

/** For logs. */
const char *memsess_commit_words(const memsess_commit_t *c, apr_status_t rv);

memsess_cache_t *memsess_commit_cache(const memsess_commit_t *c);

/** How long the session lives by the end that MemSess-Expire gives it; 0: the changes give it
 * none. */
apr_interval_time_t memsess_commit_own_time(const memsess_commit_t *c);

/** Sets the dates of a session that is to be written. */
void memsess_commit_redate(const memsess_commit_t *c, memsess_session_t *session);

/** Binds a session to the user who logs in with it; a session without a user is bound to none. */
apr_status_t memsess_commit_bind_user(memsess_commit_t *c, memsess_session_t *session);

/** Whether a secret other than the first made the digest that stands for the session's user. */
int memsess_commit_is_user_aged(const memsess_commit_t *c);

/**
 * Before a session is written: has its user's epoch outlive it.
 * @return MEMSESS_GONE if the user was logged out everywhere meanwhile
 */
apr_status_t memsess_commit_keep_user(memsess_commit_t *c, apr_interval_time_t wait);

/** Ends the sessions that the changes name, except the request's own; @a is_active: the request has
 * one. */
apr_status_t memsess_commit_end_others(memsess_commit_t *c, int is_active);

/** After a session was written or ended: removes it from the list of its previous user. */
void memsess_commit_leave(const memsess_commit_t *c);

#endif
