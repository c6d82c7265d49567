/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/private.h
 * @brief What the files of the store share.
 */
#ifndef MEMSESS_STORE_PRIVATE_H
#define MEMSESS_STORE_PRIVATE_H

#include <pthread.h>

#include "memsess_store.h"
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

/* What became of the copies of one write. */
typedef struct memsess_sent_t {
    unsigned stored;
    unsigned refused; /* certainly not stored; what was there is as it was */
    unsigned unsent;  /* it was too late for them */
    unsigned failed;  /* they may have been stored or not */
    int down;         /* whether one of these is down now, so that others would be chosen */
    apr_status_t rv;  /* why, unless all were stored */
} memsess_sent_t;

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

/** Whether it is not known to be down. */
int memsess_is_up(const memsess_store_t *store, const memsess_copy_t *copy);

/** Whether the one copy of a session stays on that server; @a before is the session as it was. */
int memsess_stays(const memsess_store_t *store, const memsess_session_t *before, int outdated,
                  const memsess_copy_t *copy);

/** What records are sealed as. */
#define MEMSESS_RECORD "record"

/** Whether the server that is the i-th in a key's order is one of those that bits tell. */
int memsess_has_bit(apr_uint64_t those, unsigned i);

/** The copies of a revision are all sent within this time, or not at all. */
#define MEMSESS_ALL_SENT apr_time_from_msec(100)

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

/** Asks all servers of a key, all at once, whatever each of them says. */
void memsess_ask_all(const memsess_copies_t *of, apr_pool_t *p);

/** Whether a server has a record of a later version; what it has otherwise is not told. */
int memsess_is_later_at(const memsess_copies_t *of, const memsess_copy_t *copy, apr_pool_t *p);

/** As the wait of memsess_store_commit: the same is written once more, by whoever has the time. */
#define MEMSESS_REPAIRING (-1)

/**
 * Writes a revision, all copies at the same time, to the first servers in order that are not down.
 * Under a claim: each copy is sent once at most, to claimed servers alone, and none at @a not_after
 * or later (by the monotonic clock), nor MEMSESS_ALL_SENT after this call
 * began to send. What refuses it becomes COPY_REFUSED, and is not chosen again.
 * @param before what it follows under the claim; NULL: nobody knows of the session yet
 */
void memsess_write_copies(memsess_sent_t *sent, const memsess_copies_t *of,
                          memsess_session_t *session, const memsess_reading_t *before,
                          apr_time_t not_after, apr_pool_t *p);

/** Where one of these servers has just come back, the record is read, and so repaired, once that is
 * some seconds ago. */
void memsess_read_later(memsess_store_t *store, const memsess_key_t *key,
                        const memsess_placement_t *placement);

/** Has @a look called every MEMSESS_LEASE_EVERY seconds until it calls memsess_later_done; then, or when
 * the process ends, @a end, which calls memsess_later_over. @return whether there was room */
int memsess_later_begin(memsess_store_t *store, memsess_lease_t *lease, void (*look)(void *),
                        void (*end)(void *), void *baton);
void memsess_later_done(memsess_store_t *store, memsess_lease_t *lease);
void memsess_later_over(memsess_store_t *store);

#endif
