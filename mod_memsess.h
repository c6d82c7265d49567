/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_memsess.h
 * @brief Sessions for other modules: optional functions, so that a module runs with and without
 *        mod_memsess, whichever is loaded first.
 *
 * A module retrieves the functions that it calls once, in a hook such as post_config or
 * optional_fn_retrieve:
 *
 *     static APR_OPTIONAL_FN_TYPE(memsess_open) *session_open;
 *     session_open = APR_RETRIEVE_OPTIONAL_FN(memsess_open);   // NULL without mod_memsess
 *
 * Everything is lazy: the first call that needs the session asks the pool, once for each client
 * request. Changes are remembered, and later reads of the same client request see them at once.
 * They make one commit with the changes of the response's MemSess-* headers, before the first byte
 * of the response leaves. MemSessWriteback and its lists of keys and verbs do not limit modules.
 * Calls take effect in their order, and before the headers: a MemSess-Destroy header also ends what
 * calls have set. If the commit fails, the response becomes an error (500, or what MemSessOnError
 * says) and the session stays as it was. Environment variables and request headers show the session
 * as it was found.
 *
 * Lifetimes: a session and the values read from it live as long as the request that the client
 * sent; values that are passed in are copied. Subrequests and internal redirects have the same
 * session. Only the thread that runs the request may use the session.
 *
 * Versions: within one MEMSESS_API_MAJOR functions are added, and none is changed or removed, so a
 * module works with every later version. A module that needs a function of minor version N finds
 * NULL where that function does not exist yet.
 */
#ifndef MOD_MEMSESS_H
#define MOD_MEMSESS_H

#include "httpd.h"
#include "apr_optional.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MEMSESS_API_MAJOR 1
#define MEMSESS_API_MINOR 3
#define MEMSESS_API_VERSION (MEMSESS_API_MAJOR * 1000 + MEMSESS_API_MINOR)

/** A session of one client request. */
typedef struct memsess_req_t memsess_t;

/** The return codes. Later versions may add some: treat unknown ones as failures. */
typedef enum {
    MEMSESS_RC_OK = 0,          /**< found, or done */
    MEMSESS_RC_ABSENT = 1,      /**< certain: there is no such attribute, or no session */
    MEMSESS_RC_UNAVAILABLE = 2, /**< the store could not tell; see memsess_deny */
    MEMSESS_RC_OFF = 3,         /**< requests here have no session: MemSess is Off */
    MEMSESS_RC_TOO_LATE = 4,    /**< the response has begun: changes are no longer possible */
    MEMSESS_RC_BAD_NAME = 5,    /**< not 1 to 64 of [A-Za-z0-9_.-] */
    MEMSESS_RC_BAD_VALUE = 6,   /**< there is a NUL in it */
    MEMSESS_RC_TOO_LARGE = 7,   /**< the session would be larger than MemSessMaxSize */
    MEMSESS_RC_NOT_INTEGER = 8, /**< the attribute is no integer of 64 bits */
    MEMSESS_RC_OVERFLOW = 9,    /**< the integer would no longer fit in 64 bits */
    MEMSESS_RC_CONFLICT = 10,   /**< two kinds of sessions use one cookie name here */
    MEMSESS_RC_MALFORMED = 11   /**< no response header of that name, or no value for it */
} memsess_rc_t;

/** How the session was found, as in MEMSESS_STATE. Pending changes do not show. */
typedef enum {
    MEMSESS_STATE_NONE,       /**< no cookie came */
    MEMSESS_STATE_ACTIVE,
    MEMSESS_STATE_UNKNOWN,    /**< certain: there is no such session */
    MEMSESS_STATE_EXPIRED,
    MEMSESS_STATE_INVALID,    /**< the cookie has not our form or our signature */
    MEMSESS_STATE_UNAVAILABLE /**< the store could not answer */
} memsess_state_t;

/** MEMSESS_API_VERSION of the mod_memsess that is loaded. */
APR_DECLARE_OPTIONAL_FN(int, memsess_api_version, (void));

/** A code in words, for logs. */
APR_DECLARE_OPTIONAL_FN(const char *, memsess_explain, (memsess_rc_t rc));

/**
 * The session of a request, whether it exists yet or not: the first attribute that is set begins
 * it. This costs no look-up. In hooks before the section of the request is known, the settings are
 * those of the server.
 * @return MEMSESS_RC_OK, or MEMSESS_RC_OFF and NULL in @a session
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_open, (request_rec *r, memsess_t **session));

/**
 * What a handler returns for MEMSESS_RC_UNAVAILABLE: with MemSessOnError deny, 503, and the
 * response gets Retry-After; with anonymous, OK: go on as without a session.
 */
APR_DECLARE_OPTIONAL_FN(int, memsess_deny, (memsess_t *session, request_rec *r));

/* -- Reading. An answer for which a session was read gets Vary: Cookie, and no shared cache keeps
 * it for a client that has a session, unless it says Cache-Control: public. -------------------- */

/** How the session was found. */
APR_DECLARE_OPTIONAL_FN(memsess_state_t, memsess_state, (memsess_t *session));

/** The public id (16 characters, safe to log, stable across renewals); MEMSESS_RC_ABSENT for a
 * session that only begins with this response. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_id, (memsess_t *session, const char **id));

/** The value of an attribute: @a len bytes (NULL: not wanted), none of them NUL, then a NUL. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_get,
                        (memsess_t *session, const char *name, const char **value,
                         apr_size_t *len));

/** Gets one attribute; anything but 0 ends the list. It may change the session: the list
 * continues as it was. */
typedef int memsess_each_t(void *baton, const char *name, const char *value, apr_size_t len);

/** All attributes, in name order (of bytes); MEMSESS_RC_ABSENT if there is no session. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_list,
                        (memsess_t *session, memsess_each_t *each, void *baton));

/** When the session ends, if memsess_expire said so; 0: by time-outs. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_expiry, (memsess_t *session, apr_time_t *when));

/* -- Changing. Any of these can return MEMSESS_RC_UNAVAILABLE and MEMSESS_RC_TOO_LATE; then nothing
 * is changed. ---------------------------------------------------------------------------------- */

/** Sets an attribute to @a len bytes, any but NUL; MEMSESS_RC_BAD_NAME, MEMSESS_RC_BAD_VALUE,
 * MEMSESS_RC_TOO_LARGE. If that gives the session another user (MemSessUserAttr), it gets a new id,
 * as by memsess_renew. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_set,
                        (memsess_t *session, const char *name, const char *value,
                         apr_size_t len));

/** Removes an attribute; MEMSESS_RC_ABSENT if there is none. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_unset, (memsess_t *session, const char *name));

/**
 * Adds to an integer, exactly, even if other requests add at the same time; an absent one is 0.
 * @param now the sum as this request sees it (others may have added meanwhile); NULL: not wanted
 * @return also MEMSESS_RC_BAD_NAME, MEMSESS_RC_NOT_INTEGER, MEMSESS_RC_OVERFLOW,
 *         MEMSESS_RC_TOO_LARGE
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_incr,
                        (memsess_t *session, const char *name, apr_int64_t by,
                         apr_int64_t *now));

/** Gives the same data a new id; the old id is dead with the commit. For every change of
 * privilege. MEMSESS_RC_ABSENT if there is no session. After memsess_set there is one; then this
 * also allows it to begin if the request came with an id that was renewed meanwhile. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_renew, (memsess_t *session));

/** Ends the session and clears the cookie; an attribute that is set afterwards begins another one.
 * The same holds in the state MEMSESS_STATE_EXPIRED. MEMSESS_RC_ABSENT if there is no session. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_destroy, (memsess_t *session));

/** Ends the session and all others of the same user, by the attribute that MemSessUserAttr names
 * here. Without a user it ends this session alone. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_destroy_all, (memsess_t *session));

/** Ends all other sessions of the same user, and lets this one go on; since version 1.2. Without
 * a user it does nothing. MEMSESS_RC_ABSENT if there is no session. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_destroy_others, (memsess_t *session));

/**
 * Says what a response header says: "MemSess-Destroy" and "id=PUBLIC_ID", "MemSess-Expire" and
 * "86400", "MemSess-Set" and "a=1&b=two%20words", and whatever headers later versions have. All of
 * it is done, or nothing. Since version 1.3.
 * @param error receives NULL, or what is malformed; NULL: not wanted
 * @return also MEMSESS_RC_MALFORMED; MEMSESS_RC_ABSENT if there is no session, and what is said
 *         neither begins one nor is about another user; for attributes what memsess_set and
 *         memsess_incr return
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_say,
                        (memsess_t *session, const char *header, const char *value,
                         const char **error));

/** Makes the session end exactly at that time, whatever the time-outs are; 0: by time-outs
 * again. The time is remembered with the session. MEMSESS_RC_ABSENT if there is none. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_expire, (memsess_t *session, apr_time_t when));

/* -- Sessions of a module's own, beside those of MemSess On ------------------------------------ */

/** A kind of sessions: a label and a cookie. */
typedef struct memsess_kind_t memsess_kind_t;

/**
 * Makes a kind.
 * @param label sessions of two labels never meet, nor do they meet those of MemSess On, even if a
 *        client sends a cookie under the other's name; 1 to 32 of [A-Za-z0-9_.-]
 * @param argv the words of MemSessCookie: NAME [ATTR...]
 * @return NULL, or what is wrong with the words and how to fix it
 */
APR_DECLARE_OPTIONAL_FN(const char *, memsess_kind_make,
                        (memsess_kind_t **kind, const char *label, int argc,
                         char *const argv[], apr_pool_t *p));

/**
 * Hides the cookie of a kind from back ends and CGI programs of a virtual host, also in requests
 * that do not open the session, unless MemSessCookieForward is On there. Since version 1.1.
 * @param s the host; the main server stands for all hosts. To be called while directives are read
 */
APR_DECLARE_OPTIONAL_FN(void, memsess_kind_hide, (const memsess_kind_t *kind, server_rec *s));

/**
 * memsess_open for that kind of session, whether MemSess is On or Off here. All other settings are
 * those of the request's section.
 * @param kind lives as long as the request
 * @return also MEMSESS_RC_CONFLICT: another kind has a cookie of that name in this request
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_open_kind,
                        (request_rec *r, const memsess_kind_t *kind, memsess_t **session));

#ifdef __cplusplus
}
#endif

#endif
