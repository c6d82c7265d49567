/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/session.h
 * @brief What a session, an id and a storage key are.
 *
 * This header knows APR only, not httpd: the unit tests link the files that include it without
 * httpd.
 */
#ifndef MEMSESS_CORE_H
#define MEMSESS_CORE_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "apr_time.h"

/** Bytes of randomness in a session id: 144 bits from the system's CSPRNG. */
#define MEMSESS_ID_BYTES 18
/** Characters of a session id: base64url without padding. */
#define MEMSESS_ID_LEN 24

/** Bytes of the public id, which says nothing of the session id. */
#define MEMSESS_PUBLIC_ID_BYTES 12
#define MEMSESS_PUBLIC_ID_LEN 16

#define MEMSESS_ATTR_NAME_MAX 64

/** Characters of the short hash that stands for a server in keys and records. */
#define MEMSESS_TAG_LEN 8

/** Bytes of a sealed id, which only a client with another id can read. */
#define MEMSESS_SEALED_ID_BYTES 52

/** Made of namespace and id: where a session lies, and what its seal depends on. */
#define MEMSESS_KEY_BYTES 32
typedef struct memsess_key_t {
    unsigned char digest[MEMSESS_KEY_BYTES];   /**< in memcached's key; reveals nothing of the id */
    unsigned char material[MEMSESS_KEY_BYTES]; /**< in sealed records at most, never in the clear */
} memsess_key_t;

/** One attribute. */
typedef struct memsess_attr_t {
    const char *name;  /**< 1 to 64 of [A-Za-z0-9_.-] */
    const char *value; /**< any bytes but NUL, NUL-terminated */
    apr_size_t len;    /**< of value */
} memsess_attr_t;

/** How many copies one session may have: an upper bound for MemSessRedundancy. */
#define MEMSESS_COPIES_MAX 16

/** The servers that a revision was sent to. */
typedef struct memsess_placement_t {
    unsigned n;
    char tag[MEMSESS_COPIES_MAX][MEMSESS_TAG_LEN];
    apr_uint32_t clock[MEMSESS_COPIES_MAX]; /**< what the server's own one said then, in seconds;
                                                 0: the writer did not know */
} memsess_placement_t;

/** Made of the name of a user. */
#define MEMSESS_USER_BYTES 12
#define MEMSESS_USER_LEN 16
/** The epoch of a user, which changes when all sessions of the user end. */
#define MEMSESS_EPOCH_BYTES 12

/** Whose a session is, when the user logged in, and under which epoch. */
typedef struct memsess_login_t {
    char user[MEMSESS_USER_LEN + 1]; /**< base64url of a digest; "": no user */
    unsigned char epoch[MEMSESS_EPOCH_BYTES];
    apr_time_t at;                   /**< to a second */
    int listed;                      /**< the session is over once it is not in the user's list */
} memsess_login_t;

/** What a session can be bound to, and how many bytes of each are kept. */
typedef enum { MEMSESS_BIND_UA, MEMSESS_BIND_IP, MEMSESS_BIND_TLS, MEMSESS_BINDS } memsess_bind_t;
#define MEMSESS_BIND_BYTES 16

/** The client that a session belongs to. */
typedef struct memsess_binding_t {
    unsigned to; /**< a bit for each that is set; 0: any client with the id */
    unsigned char digest[MEMSESS_BINDS][MEMSESS_BIND_BYTES];
} memsess_binding_t;

/** The state of a session at one revision. */
typedef struct memsess_session_t {
    char public_id[MEMSESS_PUBLIC_ID_LEN + 1]; /**< stable over the session's life */
    apr_uint64_t revision;                     /**< grows with every write; the highest wins, but
                                                    over a tombstone */
    apr_time_t created;                        /**< its birth */
    apr_time_t used;                           /**< its last re-dating */
    apr_time_t written;                        /**< when this revision was written */
    apr_uint16_t writer;                       /**< its number: 16 bits of its claim; 0: none */
    apr_time_t renewed;                        /**< when it got the id that it has */
    apr_interval_time_t idle;                  /**< the longest idle time-out of its uses */
    int fixed;                                 /**< over at used + idle, whatever time-outs say */
    int lasts;                                 /**< as fixed, but every use re-dates it */
    int ended;                                 /**< a tombstone: logged out or renewed, for good */
    int moved;                                 /**< a tombstone of an id: the session continues
                                                    under another one */
    int tells;                                 /**< a client with this one is told the new: */
    unsigned char moved_to[MEMSESS_SEALED_ID_BYTES]; /**< see memsess_seal_id */
    int unused;                                /**< it got its id by MemSessRenew, and no request
                                                    has come with that id yet */
    memsess_placement_t placement;             /**< where this revision was written to */
    memsess_login_t login;                     /**< whose it is */
    memsess_binding_t binding;                 /**< whom it is shown to */
    apr_array_header_t *attrs;                 /**< of memsess_attr_t, in name order */
} memsess_session_t;

/** A clean, empty session of revision 0, born at @a now. */
apr_status_t memsess_session_make(memsess_session_t **session, apr_time_t now, apr_pool_t *p);

/** The attribute of that name, or NULL. */
const memsess_attr_t *memsess_session_find(const memsess_session_t *session, const char *name);

/** The user, by that attribute; NULL if it is absent, empty, or has control characters. */
const char *memsess_session_user(const memsess_session_t *session, const char *attr);

/** Whether there is a control character in it. */
int memsess_has_control(const char *text);

/** Whether @a len bytes at @a name can name an attribute. */
int memsess_attr_name_ok(const char *name, apr_size_t len);

/** A fresh session id: MEMSESS_ID_LEN characters and a NUL. */
apr_status_t memsess_id_make(char id[MEMSESS_ID_LEN + 1]);

/** Whether @a len bytes at @a text are of base64url's alphabet. */
int memsess_base64url_ok(const char *text, apr_size_t len);

/** Whether @a len bytes at @a id have the form of a session id. */
int memsess_id_ok(const char *id, apr_size_t len);

/** Prepares what every request needs; to be called once in a process, before its threads. */
apr_status_t memsess_core_init(apr_pool_t *p);

/** The storage key of @a id in @a ns; two namespaces never share one. */
apr_status_t memsess_key_make(memsess_key_t *key, const char *ns, const char *id);

/** Binds a session to that value of its client; NULL: the client has none, and nothing is bound. */
apr_status_t memsess_bind(memsess_session_t *session, memsess_bind_t to, const char *value);

/** Whether a session is bound to that value, or to none of that kind. NULL fits no bound
 * session. */
int memsess_bind_fits(const memsess_session_t *session, memsess_bind_t to, const char *value);

/** For logs: enough of the digest to find one session's lines, and no way back to its id. */
const char *memsess_key_log(const memsess_key_t *key, apr_pool_t *p);

#endif
