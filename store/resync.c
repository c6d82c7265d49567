/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/resync.h"

#include <string.h>

#include "apr_encode.h"
#include "base/clock.h"
#include "session/record.h"
#include "session/seal.h"
#include "store/private.h"

/* No copy is sent later than this after its reading: a request may have written the record since. */
#define SENT_WITHIN apr_time_from_sec(1)

/* memcached takes an expiry above this many seconds for a date. A record that has longer to live
 * gets its full time when it is next re-dated. */
#define TTL_MAX (60 * 60 * 24 * 30)

int memsess_resync_can(const memsess_store_t *store)
{
    return store->conf.copies > 1;
}

static int is_of(const void *key, const char *data, apr_size_t len)
{
    return memsess_record_is_of(data, len, key) && memsess_seal_is_of(data, len, key);
}

/* Reads a record from all servers that may have it; for one that is down, the answer is
 * MEMSESS_DOWN. */
static memsess_get_t *get_all(const memsess_copies_t *of, apr_pool_t *p)
{
    memsess_get_t *gets = apr_pcalloc(p, sizeof(*gets) * of->n);
    unsigned i;

    for (i = 0; i < of->n; i++) {
        gets[i] = (memsess_get_t){
            .server = of->store->servers[of->copy[i].at],
            .key = memsess_key_text(of, of->copy[i].at, "", "", p),
            .check = is_of,
            .baton = of->key,
        };
    }
    memsess_pool_mget(gets, (int)of->n, p);
    return gets;
}

/* Finds the one record that there is. If two copies differ, only what is sealed in them tells which
 * one is newer. */
static memsess_resync_t find_source(const memsess_get_t *gets, unsigned n,
                                    const memsess_get_t **source)
{
    unsigned i;

    *source = NULL;
    for (i = 0; i < n; i++) {
        if (gets[i].rv == MEMSESS_ABSENT) {
            continue;
        }
        if (gets[i].rv != APR_SUCCESS) {
            return MEMSESS_RESYNC_UNSURE;
        }
        if (*source && (gets[i].len != (*source)->len
                        || memcmp(gets[i].data, (*source)->data, gets[i].len) != 0)) {
            return MEMSESS_RESYNC_DIFFERS;
        }
        *source = &gets[i];
    }
    return *source ? MEMSESS_RESYNC_WHOLE : MEMSESS_RESYNC_GONE;
}

/* Copies the record to homes that have none; a home that got another record meanwhile keeps that
 * one. */
static memsess_resync_t copy_to(const memsess_get_t *homes, unsigned n, const memsess_get_t *source,
                                apr_uint32_t ttl, apr_time_t not_after)
{
    memsess_put_t puts[MEMSESS_COPIES_MAX];
    unsigned i, lacking = 0;

    for (i = 0; i < n; i++) {
        if (homes[i].rv == MEMSESS_ABSENT) {
            puts[lacking++] = (memsess_put_t){
                .server = homes[i].server,
                .key = homes[i].key,
                .data = source->data,
                .len = source->len,
                .ttl = ttl < TTL_MAX ? ttl : TTL_MAX,
                .how = MEMSESS_PUT_ADD,
                .not_after = not_after,
            };
        }
    }
    if (!lacking) {
        return MEMSESS_RESYNC_WHOLE;
    }
    memsess_pool_mput(puts, lacking);
    for (i = 0; i < lacking; i++) {
        if (puts[i].rv != APR_SUCCESS && puts[i].rv != MEMSESS_EXISTS) {
            return MEMSESS_RESYNC_UNSURE;
        }
    }
    return MEMSESS_RESYNC_COPIED;
}

memsess_resync_t memsess_resync(memsess_store_t *store, const char *digest, apr_uint32_t ttl,
                                apr_pool_t *p)
{
    apr_time_t not_after = memsess_clock_steady() + SENT_WITHIN;
    const memsess_get_t *source;
    memsess_resync_t found;
    memsess_get_t *gets;
    memsess_key_t key = {{0}, {0}};
    memsess_copies_t of;
    apr_size_t len;
    unsigned copies = store->conf.copies;

    if (apr_decode_base64_binary(key.digest, digest, MEMSESS_DIGEST_LEN, APR_ENCODE_NONE, &len)
            != APR_SUCCESS
        || len != sizeof(key.digest)) {
        return MEMSESS_RESYNC_GONE;
    }
    memsess_order(&of, store, &key, p);
    gets = get_all(&of, p);
    found = find_source(gets, of.n, &source);
    return found == MEMSESS_RESYNC_WHOLE ? copy_to(gets, of.n < copies ? of.n : copies, source, ttl,
                                                   not_after) : found;
}
