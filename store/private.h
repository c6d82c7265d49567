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
    apr_interval_time_t timeout; /* the longest of its servers' time-outs */
    volatile apr_uint64_t complained_at;
    volatile apr_uint32_t complaints; /* their number in the second that began at complained_at */
    volatile apr_uint32_t later;      /* how many things wait to be done, see store/later.c */
    pthread_mutex_t line_lock;
    struct waiter_t *line;            /* requests that wait for a lock; under line_lock */
};

/* What one server answered about a key, or about a record that was sent to it. */
typedef struct memsess_copy_t {
    unsigned at; /* the index of this server in the store */
    enum {
        COPY_UNASKED,
        COPY_SILENT,
        COPY_NONE,
        COPY_DAMAGED,
        COPY_LATER, /* a later version has written it */
        COPY_HELD,
        COPY_REFUSED
    } state;
    memsess_session_t *session;
    int claimed, tried; /* whether this server is claimed now, and whether that was tried */
    apr_size_t len;     /* of the record as it lies in memcached */
    int aged;           /* an older secret sealed it */
    int was_late;       /* the server was once too slow to be sent a copy that others took */
} memsess_copy_t;

/* The length of a digest in base64url. */
#define MEMSESS_DIGEST_TEXT 43

/* The copies of one record: whose they are, and what is known of each, in the key's own order. */
typedef struct memsess_copies_t {
    memsess_store_t *store;
    const memsess_key_t *key;
    memsess_copy_t *copy;
    unsigned n;
    char text[MEMSESS_DIGEST_TEXT + 1]; /* the key's digest in base64url */
} memsess_copies_t;

/** Finds the servers of a key in the key's own order, as many as are ever looked at. The key stays
 * the caller's, and has to live as long as @a of. */
void memsess_order(memsess_copies_t *of, memsess_store_t *store, const memsess_key_t *key,
                   apr_pool_t *p);

/** The record's key in memcached on that server. The keys of its claims and marks go on with a @a kind
 * and @a what; of the record, both are empty. */
const char *memsess_key_text(const memsess_copies_t *of, unsigned at, const char *kind,
                             const char *what, apr_pool_t *p);

/** Whether a placement names that server. */
int memsess_is_placed(const memsess_store_t *store, const memsess_placement_t *placement,
                      unsigned at);

/** What that server's clock said when the record was written to it, in seconds; 0: not known. */
apr_int64_t memsess_written_at(const memsess_store_t *store, const memsess_placement_t *placement,
                               unsigned at);

/** As memsess_store_written_ago. */
apr_interval_time_t memsess_written_ago(const memsess_store_t *store,
                                        const memsess_session_t *session);

/** Whether the copy's server is not known to be down. */
int memsess_is_up(const memsess_store_t *store, const memsess_copy_t *copy);

/** Whether a session of which there is one copy stays on that server; @a before is the session as
 * it was read. */
int memsess_stays(const memsess_store_t *store, const memsess_session_t *before, int outdated,
                  const memsess_copy_t *copy);

/** The kind of item that a record is, for memsess_seal. */
#define MEMSESS_RECORD "record"

/** Whether @a those, which has a bit for each server in a key's order, names the i-th. */
int memsess_has_bit(apr_uint64_t those, unsigned i);

/** Whether record @a a counts more than record @a b of the same session: as a tombstone, or else by
 * its higher revision. */
int memsess_is_newer(const memsess_session_t *a, const memsess_session_t *b);

/** Whether they are one and the same record. */
int memsess_is_same(const memsess_session_t *a, const memsess_session_t *b);

/** Whether nobody has written it yet: memsess_store_blank made it. */
int memsess_is_blank(const memsess_session_t *session);

/** Whether there can be no newer record than @a newest, although no server that has it can be
 * believed alone, and others are silent. Asks the servers that answered whether they would know of
 * one. */
int memsess_is_vouched(const memsess_copies_t *of, const memsess_session_t *newest);

/** Logs what is wrong with an item on a server, but not more often than a log can bear. */
void memsess_complain(const memsess_copies_t *of, const memsess_server_t *server, const char *item,
                      const char *trouble, apr_pool_t *p);

#endif
