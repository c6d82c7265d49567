/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/repair.h"

#include <string.h>

#include "base/clock.h"
#include "http_connection.h"
#include "http_request.h"

/* An answer that takes longer than this does not keep a repair waiting. */
#define LONG_ANSWER apr_time_from_sec(1)

/* This much of an answer fits into the buffers between us and the client, so it is flushed before a
 * repair. A longer part is not: a slow client would keep the thread. */
#define AT_ONCE 65536

void memsess_repair_see(memsess_top_t *top, const memsess_reading_t *reading)
{
    int i;

    for (i = 0; top->lacking && i < top->lacking->nelts; i++) {
        memsess_reading_t *known = &APR_ARRAY_IDX(top->lacking, i, memsess_reading_t);

        if (!memcmp(known->key.digest, reading->key.digest, sizeof(known->key.digest))) {
            *known = *reading;
            return;
        }
    }
    if (reading->facts.lacks) {
        if (!top->lacking) {
            top->lacking = apr_array_make(top->p, 2, sizeof(memsess_reading_t));
        }
        APR_ARRAY_PUSH(top->lacking, memsess_reading_t) = *reading;
    }
}

void memsess_repair_done(memsess_top_t *top, const memsess_key_t *key)
{
    memsess_reading_t whole = {.key = *key};

    memsess_repair_see(top, &whole);
}

/* The client's request, if it found copies lacking; else NULL. */
static memsess_top_t *lacking_top(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);

    return own && own->top->lacking && own->top->lacking->nelts ? own->top : NULL;
}

static void repair_all(memsess_top_t *top)
{
    memsess_store_t *store = memsess_srv_conf(top->server)->store;
    memsess_reading_t *reading;

    while ((reading = apr_array_pop(top->lacking))) {
        memsess_store_repair(store, reading, top->p);
    }
}

static int takes_long(const memsess_top_t *top)
{
    return memsess_clock_steady() - APR_ARRAY_IDX(top->lacking, 0, memsess_reading_t).read_at
           > LONG_ANSWER;
}

/* Sends what is on its way to the client, so that it does not wait for the repair. */
static void flush(conn_rec *c, apr_pool_t *p)
{
    apr_bucket_brigade *bb = apr_brigade_create(p, c->bucket_alloc);

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    ap_pass_brigade(c->output_filters, bb);
}

apr_status_t memsess_repair_behind(ap_filter_t *f, apr_bucket_brigade *bb)
{
    memsess_top_t *top = lacking_top(f->r);
    apr_off_t len = -1;
    apr_status_t rv;
    int is_end;

    if (!top) {
        return ap_pass_brigade(f->next, bb);
    }
    is_end = !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
    apr_brigade_length(bb, 0, &len);
    rv = ap_pass_brigade(f->next, bb);
    if (is_end && len < AT_ONCE) {
        flush(f->c, f->r->pool);
    }
    if (is_end || takes_long(top)) {
        repair_all(top);
    }
    return rv;
}

static int has_end_of_request(const apr_bucket_brigade *bb)
{
    const apr_bucket *e;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
        if (AP_BUCKET_IS_EOR(e)) {
            return 1;
        }
    }
    return 0;
}

apr_status_t memsess_repair_behind_head(request_rec *r, ap_filter_t *f, apr_bucket_brigade *bb)
{
    memsess_top_t *top = lacking_top(r);
    apr_status_t rv;

    /* The end of the request may free all that the request has, so nothing can be done after it. */
    if (!top || has_end_of_request(bb)) {
        return ap_pass_brigade(f->next, bb);
    }
    rv = ap_pass_brigade(f->next, bb);
    repair_all(top);
    return rv;
}
