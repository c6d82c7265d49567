/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/request.h
 * @brief The session of one client request: read lazily and once, committed once.
 *
 * Subrequests, internal redirects and error documents share it: it belongs to the request that the
 * client sent.
 */
#ifndef MEMSESS_REQ_H
#define MEMSESS_REQ_H

#include "httpd.h"
#include "memsess_conf.h"
#include "mod_memsess.h"
#include "session/change.h"

/** The names of the states, as users see them. */
extern const char *const memsess_state_names[];

typedef struct memsess_top_t memsess_top_t;

/** A session that is over, which one of several cookies leads to; see memsess_renew_is_late. */
typedef struct memsess_over_t {
    struct memsess_over_t *next;
    memsess_key_t key; /**< the key beside which the end is marked, */
    const char *mark;  /**< and the mark's name */
    int moved;         /**< the session goes on under another id */
} memsess_over_t;

/** One session of a client request. A request has more than one only if its sections name different
 * cookies, or a module has sessions of its own. */
typedef struct memsess_req_t {
    struct memsess_req_t *next;
    memsess_top_t *top;
    const memsess_dir_conf_t *conf; /**< of the section that used it last */
    const char *ns;                 /**< where its keys are: the namespace, and a module's label */
    memsess_cookie_found_t cookie;
    memsess_cookie_value_t sent; /**< for MEMSESS_COOKIE_OK: the one that counts */
    memsess_cookie_value_t *all_sent; /**< what all cookies of that name say */
    unsigned n_sent, at;              /**< how many there are, and which of them counts */
    const memsess_over_t *over; /**< those that are over, if there are several and none counts */
    memsess_reading_t *ahead;    /**< what each leads to, until it is known which one counts */
    memsess_key_t key;           /**< of the cookie's id, or of the one that the session got */
    const char *client[MEMSESS_BINDS]; /**< for memsess_req_client, if sessions are bound */
    char id[MEMSESS_ID_LEN + 1]; /**< the id of that key, once it was read */
    int id_is_old;               /**< MemSessRenew made that id, and the client may not know it */
    int was_read;
    int counted;                 /**< its state was counted */
    int is_cached;               /**< it came from this member's own copies */
    apr_time_t asked_at;         /**< when the request first asked for it */
    apr_time_t read_at;          /**< when the pool was read, maybe by another request */
    memsess_found_t found;       /**< valid once it was read */
    apr_status_t why;            /**< for MEMSESS_UNAVAILABLE; MEMSESS_BUSY: no lock */
    memsess_session_t *session;  /**< for MEMSESS_FOUND */
    memsess_facts_t facts;       /**< about its copies, if the pool was read */
    memsess_reading_t epoch;     /**< of its user, if it has one */
    const char *epoch_of;        /**< that user, as in memsess_login_t; NULL: not read yet */
    memsess_lock_t *lock;        /**< for MemSessLock request */
    memsess_changes_t pending;   /**< what modules want, see http/api.c; list NULL: nothing */
    memsess_session_t *view;     /**< the session with these; NULL: as it was found, or none */
    memsess_changes_t said;      /**< what response headers want, once the response begins */
} memsess_req_t;

/** The state of one client request. */
struct memsess_top_t {
    request_rec *r;            /**< as the client sent it */
    apr_pool_t *p;
    server_rec *server;
    memsess_req_t *sessions;
    apr_array_header_t *lacking; /**< of memsess_reading_t: what is to be repaired, see http/repair.h */
    apr_array_header_t *asked; /**< write-back headers so far, see http/writeback.c */
    int is_admin;              /**< the client sent MemSess-Admin: 1 */
    int early;                 /**< mod_ssl may still ask for the certificate of the client */
    int exposed;               /**< the answer depends on the cookie */
    int exposed_own;           /**< it depends on a cookie that came: it is this client's alone */
    int headers_set;           /**< our request headers are in headers_in */
    const char *cookie_sent;   /**< the Cookie header before ours were taken out, or NULL */
    const char *cookie_left;   /**< what was left of it */
    int responded;             /**< committed, or given up */
    int cookie_set;            /**< the response sets or clears a cookie */
    int minded;                /**< caches were told that it depends on the cookie */
};

/** The state of each request, internal redirects and subrequests included, in its
 * request_config. */
typedef struct memsess_own_t {
    memsess_top_t *top;
    const memsess_dir_conf_t *shown_by; /**< the section whose variables it has; NULL: none */
    const memsess_req_t *shown;         /**< the session and the state that these show */
    memsess_state_t shown_state;
    int is_long;                        /**< a variable is too long for a program */
    const memsess_dir_conf_t *settled;  /**< the section that was known for good; NULL: not yet */
    memsess_state_t told; /**< what its handler knows of the session */
    int undecided; /**< an authorization would have needed a session that could not be read */
    int stale;     /**< an authorization wants a newer log-in */
    int asking;    /**< authorization is under way, see http/auth.c */
} memsess_own_t;

/** For memsess_own, where a request has no state yet. */
memsess_own_t *memsess_own_find(request_rec *r, int make);

/** This request's own state; @a make: makes it if there is none. Each step asks for it, so it is
 * inline. */
static inline memsess_own_t *memsess_own(request_rec *r, int make)
{
    memsess_own_t *own = ap_get_module_config(r->request_config, &memsess_module);

    return own ? own : memsess_own_find(r, make);
}

/** Whether this is part of an answer whose head has left, and told no cache of a session. */
int memsess_req_is_late(const request_rec *r);

/**
 * Whether requests of this section have a session. Requests to a forward proxy never have one, nor
 * do late parts of an answer (memsess_req_is_late).
 */
int memsess_req_enabled(const request_rec *r);

/** The Cookie header as the client sent it, or NULL. */
const char *memsess_req_cookies(request_rec *r);

/** Whether this request's section names that session. */
int memsess_req_is_of(const memsess_req_t *req, const request_rec *r);

/** The session that this request's section names; nothing is read yet. */
memsess_req_t *memsess_req(request_rec *r);

/**
 * The session of another cookie, with its keys in a part of the namespace that is its own.
 * @param conf lives as long as the client's request
 * @return NULL if another kind of sessions has that cookie
 */
memsess_req_t *memsess_req_labelled(request_rec *r, const memsess_dir_conf_t *conf,
                                    const char *label);

/** Reads the session if it was not read yet, and judges it by the limits of @a conf. */
memsess_state_t memsess_req_state(memsess_req_t *req, const memsess_dir_conf_t *conf,
                                  memsess_top_t *top);

/** Notes that the answer depends on a session in that state, so that caches are told. */
void memsess_top_depend(const memsess_req_t *req, memsess_state_t state);

/** Whether the state that was just read may change as soon as mod_ssl has asked for the certificate
 * that the session is bound to: nobody may be told it yet. */
int memsess_req_is_early(const memsess_req_t *req, const memsess_dir_conf_t *conf,
                         memsess_state_t state);

/** Seconds since the session's user logged in. */
apr_time_t memsess_req_login_age(const memsess_req_t *req);

/** The record of an active session's user, with the list of sessions; NULL: no list is kept. */
const memsess_session_t *memsess_req_user_record(memsess_req_t *req);

/** The state, for a caller whose answer depends on it: caches are told. */
memsess_state_t memsess_req_depend(memsess_req_t *req, request_rec *r);

/** Returns OK, or 503 if the store could not answer and MemSessOnError denies. */
int memsess_req_refuse(request_rec *r, memsess_state_t state);

/**
 * Carries the changes out, re-dates the session, sets or clears the cookie.
 * @return OK, or the status that the response must become
 */
int memsess_req_commit(memsess_req_t *req, const memsess_changes_t *changes, request_rec *r);

/** Frees this request's locks, so that other requests of the sessions go on. */
void memsess_req_unlock(memsess_top_t *top);

/** Why the session is unavailable, for logs. */
const char *memsess_req_why(const memsess_req_t *req);

/** Tells the client when to come again, and returns 503. */
int memsess_req_deny(request_rec *r);

#endif
