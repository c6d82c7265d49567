/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/private.h
 * @brief What the files of the store share.
 */
#ifndef MEMSESS_STORE_PRIVATE_H
#define MEMSESS_STORE_PRIVATE_H

#include <pthread.h>

#include "store/copies.h"
#include "store/ring.h"

struct memsess_store_t {
    memsess_store_conf_t conf;
    unsigned n;
    memsess_node_t *nodes;
    memsess_server_t **servers;
    apr_interval_time_t timeout; /* the longest of all servers' */
    volatile apr_uint64_t complained_at;
    volatile apr_uint32_t complaints; /* in that second, of records */
    volatile apr_uint32_t later;      /* things to be done, see later.c */
    pthread_mutex_t line_lock;
    struct waiter_t *line;            /* who waits for a lock, see store/lock.c; under line_lock */
};

/* What one server said of a key, or of what was to be written to it. */
typedef struct memsess_copy_t {
    unsigned at; /* in the store */
    enum {
        COPY_UNASKED,
        COPY_SILENT,
        COPY_NONE,
        COPY_DAMAGED,
        COPY_LATER, /* of a later version than ours */
        COPY_HELD,
        COPY_REFUSED
    } state;
    memsess_session_t *session;
    int claimed, tried; /* to be */
    apr_size_t len;     /* of the record in memcached */
    int aged;           /* an older secret sealed it */
} memsess_copy_t;

/* What a digest takes in base64url. */
#define MEMSESS_DIGEST_TEXT 43

/* The copies of one record: whose they are, and what is known of each, in the key's own order. */
typedef struct memsess_copies_t {
    memsess_store_t *store;
    const memsess_key_t *key;
    memsess_copy_t *copy;
    unsigned n;
    char text[MEMSESS_DIGEST_TEXT + 1]; /* the key's digest in base64url */
} memsess_copies_t;

/** The servers of a key in its own order, as many as are ever looked at; the key stays the caller's. */
void memsess_order(memsess_copies_t *of, memsess_store_t *store, const memsess_key_t *key,
                   apr_pool_t *p);

/** The key in memcached of the record on that server, which others are made of. */
const char *memsess_key_text(const memsess_copies_t *of, unsigned at, apr_pool_t *p);

/** Whether that server is one of a placement. */
int memsess_is_placed(const memsess_store_t *store, const memsess_placement_t *placement,
                      unsigned at);

/** What that server's own clock said when it was written to, in seconds; 0: nobody knew. */
apr_int64_t memsess_written_at(const memsess_store_t *store, const memsess_placement_t *placement,
                               unsigned at);

/** As memsess_store_written_ago. */
apr_interval_time_t memsess_written_ago(const memsess_store_t *store,
                                        const memsess_session_t *session);

/** Whether it is not known to be down. */
int memsess_is_up(const memsess_store_t *store, const memsess_copy_t *copy);

/** Whether the one copy of a session stays on that server; @a before is the session as it was. */
int memsess_stays(const memsess_store_t *store, const memsess_session_t *before, int outdated,
                  const memsess_copy_t *copy);

/** What records are sealed as. */
#define MEMSESS_RECORD "record"

/** Whether the server that is the i-th in a key's order is one of those that bits tell. */
int memsess_has_bit(apr_uint64_t those, unsigned i);

/** Of two records of one session, the one that counts: a tombstone, else the higher revision. */
int memsess_is_newer(const memsess_session_t *a, const memsess_session_t *b);

/** Whether they are one and the same record. */
int memsess_is_same(const memsess_session_t *a, const memsess_session_t *b);

/** Whether nobody has written it: it was made by memsess_store_blank. */
int memsess_is_blank(const memsess_session_t *session);

/** Whether no newer record than this can be there, of which no server that has it can be believed alone,
 * and others are silent: asks those that answered whether they would know. */
int memsess_is_vouched(const memsess_copies_t *of, const memsess_session_t *newest);

/** Says what is wrong with an item on a server; not more often than a log can bear. */
void memsess_complain(const memsess_copies_t *of, const memsess_server_t *server, const char *item,
                      const char *trouble, apr_pool_t *p);

#endif
