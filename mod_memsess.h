/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_memsess.h
 * @brief Sessions for other modules: optional functions, so that a module runs with and without
 *        mod_memsess, whichever is loaded first.
 *
 * A module retrieves what it calls once, in a hook such as post_config or optional_fn_retrieve:
 *
 *     static APR_OPTIONAL_FN_TYPE(memsess_open) *session_open;
 *     session_open = APR_RETRIEVE_OPTIONAL_FN(memsess_open);   // NULL without mod_memsess
 *
 * Everything is lazy: the pool is asked by the first call that must know, once for each client
 * request. Changes are remembered, seen at once by later reads of the same client request, and
 * carried out together with what the response's MemSess-* headers ask for, in one commit before
 * the first byte of the response leaves; MemSessWriteback, lists of keys and verbs are not for
 * modules. Calls take effect in their order, and before the headers: a MemSess-Destroy header ends
 * also what calls have set. If the commit fails, the response becomes an error (500, or what
 * MemSessOnError says) and the session stays as it was. Environment variables and request headers
 * show the session as it was found.
 *
 * Lifetimes: a session and all that is got from it live as long as the request that the client
 * sent; what is given is copied. Subrequests and internal redirects have the same session. A
 * session is used by the thread that runs its request, and by no other at the same time.
 *
 * Versions: within one MEMSESS_API_MAJOR functions are added, and none is changed or removed, so a
 * module goes on with every later version. One that needs a function added by minor version N
 * finds NULL where that is not yet there.
 */
#ifndef MOD_MEMSESS_H
#define MOD_MEMSESS_H

#include "httpd.h"
#include "apr_optional.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MEMSESS_API_MAJOR 1
#define MEMSESS_API_MINOR 2
#define MEMSESS_API_VERSION (MEMSESS_API_MAJOR * 1000 + MEMSESS_API_MINOR)

/** A session of one client request. */
typedef struct memsess_req_t memsess_t;

/** What calls answer. Later versions may add some: take those for failures. */
typedef enum {
    MEMSESS_RC_OK = 0,          /**< found, or done */
    MEMSESS_RC_ABSENT = 1,      /**< certain: there is no such attribute, or no session */
    MEMSESS_RC_UNAVAILABLE = 2, /**< the store could not tell; see memsess_deny */
    MEMSESS_RC_OFF = 3,         /**< requests here have no session: MemSess is Off */
    MEMSESS_RC_TOO_LATE = 4,    /**< the response has begun, nothing can be changed any more */
    MEMSESS_RC_BAD_NAME = 5,    /**< not 1 to 64 of [A-Za-z0-9_.-] */
    MEMSESS_RC_BAD_VALUE = 6,   /**< there is a NUL in it */
    MEMSESS_RC_TOO_LARGE = 7,   /**< the session would be larger than MemSessMaxSize */
    MEMSESS_RC_NOT_INTEGER = 8, /**< the attribute is no integer of 64 bits */
    MEMSESS_RC_OVERFLOW = 9,    /**< the integer would no longer fit in 64 bits */
    MEMSESS_RC_CONFLICT = 10    /**< two kinds of sessions use one cookie name here */
} memsess_rc_t;

/** How the session was found: what MEMSESS_STATE says. Pending changes do not show. */
typedef enum {
    MEMSESS_STATE_NONE,       /**< no cookie came */
    MEMSESS_STATE_ACTIVE,
    MEMSESS_STATE_UNKNOWN,    /**< certain: there is no such session */
    MEMSESS_STATE_EXPIRED,
    MEMSESS_STATE_INVALID,    /**< the cookie has not the form or the signature of ours */
    MEMSESS_STATE_UNAVAILABLE /**< the store could not answer */
} memsess_state_t;

/** MEMSESS_API_VERSION of the mod_memsess that is loaded. */
APR_DECLARE_OPTIONAL_FN(int, memsess_api_version, (void));

/** A code in words, for logs. */
APR_DECLARE_OPTIONAL_FN(const char *, memsess_explain, (memsess_rc_t rc));

/**
 * The session of a request, whether there is one yet or not: the first attribute that is set
 * begins it. Costs no look-up. In hooks before the section of the request is known it is the
 * server's.
 * @return MEMSESS_RC_OK, or MEMSESS_RC_OFF and NULL in @a session
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_open, (request_rec *r, memsess_t **session));

/**
 * What a handler returns for MEMSESS_RC_UNAVAILABLE: where MemSessOnError is deny, 503, with
 * Retry-After put into the response; where it is anonymous, OK: go on as without a session.
 */
APR_DECLARE_OPTIONAL_FN(int, memsess_deny, (memsess_t *session, request_rec *r));

/* -- Reading. The answer to a client whose session was read is kept by no shared cache, unless it
 * says Cache-Control: public, and gets Vary: Cookie. ------------------------------------------- */

/** How the session was found. */
APR_DECLARE_OPTIONAL_FN(memsess_state_t, memsess_state, (memsess_t *session));

/** The public id (16 characters, safe to log, stable across renewals); MEMSESS_RC_ABSENT for a
 * session that only begins with this response. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_id, (memsess_t *session, const char **id));

/** The value of an attribute: @a len bytes (NULL: not wanted), none of them NUL, and a NUL. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_get,
                        (memsess_t *session, const char *name, const char **value,
                         apr_size_t *len));

/** Is given one attribute; anything but 0 ends the list. May change the session: the list goes on
 * as it was. */
typedef int memsess_each_t(void *baton, const char *name, const char *value, apr_size_t len);

/** All attributes, in name order (of bytes); MEMSESS_RC_ABSENT where there is no session. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_list,
                        (memsess_t *session, memsess_each_t *each, void *baton));

/** When the session ends, as far as memsess_expire said; 0: by time-outs. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_expiry, (memsess_t *session, apr_time_t *when));

/* -- Changing. Any of these can answer MEMSESS_RC_UNAVAILABLE and MEMSESS_RC_TOO_LATE; nothing is
 * changed then. -------------------------------------------------------------------------------- */

/** Sets an attribute to @a len bytes, any but NUL; MEMSESS_RC_BAD_NAME, MEMSESS_RC_BAD_VALUE,
 * MEMSESS_RC_TOO_LARGE. Where that makes the session another user's (MemSessUserAttr), it gets a
 * new id as by memsess_renew. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_set,
                        (memsess_t *session, const char *name, const char *value,
                         apr_size_t len));

/** Removes an attribute; MEMSESS_RC_ABSENT where there is none. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_unset, (memsess_t *session, const char *name));

/**
 * Adds to an integer, exactly, whoever else does so at the same time; an absent one is 0.
 * @param now the sum as this request sees it (others may have added meanwhile); NULL: not wanted
 * @return also MEMSESS_RC_BAD_NAME, MEMSESS_RC_NOT_INTEGER, MEMSESS_RC_OVERFLOW,
 *         MEMSESS_RC_TOO_LARGE
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_incr,
                        (memsess_t *session, const char *name, apr_int64_t by,
                         apr_int64_t *now));

/** A new id for the same data; the old id is dead with the commit. For every change of privilege.
 * MEMSESS_RC_ABSENT where there is no session: after memsess_set there is one, and then this also
 * says that it may begin though the request came with an id that was renewed meanwhile. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_renew, (memsess_t *session));

/** Ends the session and clears the cookie; what is set afterwards begins another one. So it does where the
 * state is MEMSESS_STATE_EXPIRED. MEMSESS_RC_ABSENT where there is no session. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_destroy, (memsess_t *session));

/** memsess_destroy, and all other sessions of the same user: of the attribute that MemSessUserAttr
 * names here. Without a user, this session alone. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_destroy_all, (memsess_t *session));

/** Ends all other sessions of the same user, and lets this one go on; since version 1.2. Without a user it does
 * nothing. MEMSESS_RC_ABSENT where there is no session. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_destroy_others, (memsess_t *session));

/** Has the session end at that time exactly, whatever the time-outs; 0: by time-outs again.
 * Remembered with the session. MEMSESS_RC_ABSENT where there is none. */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_expire, (memsess_t *session, apr_time_t when));

/* -- Sessions of a module's own, beside those of MemSess On ------------------------------------ */

/** A kind of sessions: a label and a cookie. */
typedef struct memsess_kind_t memsess_kind_t;

/**
 * Makes a kind.
 * @param label sessions of two labels never meet, nor do they meet those of MemSess On, even if a
 *        cookie is given in the other's name; 1 to 32 of [A-Za-z0-9_.-]
 * @param argv the words of MemSessCookie: NAME [ATTR...]
 * @return NULL, or what is wrong with the words and how to mend it
 */
APR_DECLARE_OPTIONAL_FN(const char *, memsess_kind_make,
                        (memsess_kind_t **kind, const char *label, int argc,
                         char *const argv[], apr_pool_t *p));

/**
 * Has the cookie of a kind taken out of what back ends and CGI programs of a virtual host see, in
 * requests too that do not open it; unless MemSessCookieForward is On there. Since version 1.1.
 * @param s for the main server: of all hosts. To be called while directives are read
 */
APR_DECLARE_OPTIONAL_FN(void, memsess_kind_hide, (const memsess_kind_t *kind, server_rec *s));

/**
 * memsess_open for that kind of session, whether MemSess is On or Off here; all other settings
 * are those of the request's section.
 * @param kind lives as long as the request
 * @return also MEMSESS_RC_CONFLICT: another kind has a cookie of that name in this request
 */
APR_DECLARE_OPTIONAL_FN(memsess_rc_t, memsess_open_kind,
                        (request_rec *r, const memsess_kind_t *kind, memsess_t **session));

#ifdef __cplusplus
}
#endif

#endif
