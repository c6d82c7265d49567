/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/interim.h"

#include <string.h>

#include "apr_strings.h"
#include "http/repair.h"
#include "http/writeback.h"
#include "http_connection.h"
#include "http_log.h"
#include "http_protocol.h"
#include "util_filter.h"

APLOG_USE_MODULE(memsess);

/*
 * What a back end sends before its answer bypasses all filters of the request. So do a tunnel (101
 * Switching Protocols), the whole answer of a CGI program that is named nph-, and httpd's own 101
 * to a client that asks for HTTP/2. So there is a filter on the connection, which is added once.
 */
#define HEAD_MAX 65536

static ap_filter_rec_t *interim_filter_handle, *frames_filter_handle;

typedef struct interim_t {
    request_rec *r;           /* watched, and not yet answered; or NULL */
    apr_array_header_t *head; /* of char: what has come of an incomplete head */
    int is_refused;           /* our own answer was sent: the rest is dropped */
} interim_t;

/* The request of this thread, if it is passed on to an HTTP/2 back end. */
static __thread request_rec *proxied;

static apr_status_t request_over(void *r)
{
    interim_t *interim = ap_get_module_config(((request_rec *)r)->connection->conn_config,
                                              &memsess_module);

    /* A request may end late, when the next one on its connection is under way. */
    interim->r = interim->r == r ? NULL : interim->r;
    proxied = proxied == r ? NULL : proxied;
    return APR_SUCCESS;
}

static int is_to_http2(const request_rec *r)
{
    return r->proxyreq == PROXYREQ_REVERSE && r->filename
           && !strncasecmp(r->filename, "proxy:h2", 8);
}

void memsess_interim_watch(request_rec *r)
{
    conn_rec *c = r->connection;
    interim_t *interim = ap_get_module_config(c->conn_config, &memsess_module);

    if (!interim) {
        interim = apr_pcalloc(c->pool, sizeof(*interim));
        ap_set_module_config(c->conn_config, &memsess_module, interim);
        ap_add_output_filter_handle(interim_filter_handle, interim, r, c);
    }
    if (interim->r != r) {
        interim->r = r;
        interim->head = apr_array_make(r->pool, 512, 1);
        apr_pool_cleanup_register(r->pool, r, request_over, apr_pool_cleanup_null);
    }
    proxied = is_to_http2(r) ? r : NULL;
}

void memsess_interim_unwatch(conn_rec *c)
{
    interim_t *interim = ap_get_module_config(c->conn_config, &memsess_module);

    if (interim) {
        interim->r = NULL;
    }
}

static int is_whole(const apr_array_header_t *head)
{
    const char *end = head->elts + head->nelts;

    return (head->nelts >= 3 && !memcmp(end - 3, "\n" CRLF, 3))
           || (head->nelts >= 2 && !memcmp(end - 2, "\n\n", 2));
}

/* Whether the answer has ended before its head was complete. */
static int is_cut(const apr_bucket_brigade *bb)
{
    return !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_FIRST(bb));
}

/* Takes the head's bytes out of the brigade; returns whether the head is complete. */
static int take_head(apr_array_header_t *head, apr_bucket_brigade *bb)
{
    apr_bucket *e;
    const char *data;
    apr_size_t len, i;

    while ((e = APR_BRIGADE_FIRST(bb)) != APR_BRIGADE_SENTINEL(bb) && !APR_BUCKET_IS_METADATA(e)
           && !is_whole(head) && head->nelts <= HEAD_MAX
           && apr_bucket_read(e, &data, &len, APR_BLOCK_READ) == APR_SUCCESS) {
        for (i = 0; i < len && !is_whole(head); i++) {
            if (data[i]) {
                APR_ARRAY_PUSH(head, char) = data[i];
            }
        }
        if (i < len) {
            apr_bucket_split(e, i);
        }
        apr_bucket_delete(e);
    }
    return is_whole(head);
}

/* Whether another head follows this one. */
static int is_interim(const char *head)
{
    return !strncmp(head, "HTTP/1.1 1", 10) && strncmp(head, "HTTP/1.1 101", 12);
}

static void pass_head(interim_t *interim, apr_bucket_brigade *clean)
{
    request_rec *r = interim->r;
    const char *head = memsess_clean_interim(r, apr_pstrmemdup(r->pool, interim->head->elts,
                                                               (apr_size_t)interim->head->nelts));

    interim->head->nelts = 0;
    if (!is_interim(head)) {
        interim->r = NULL;
        interim->is_refused = memsess_respond_past(r, &head) != OK;
    }
    apr_brigade_puts(clean, NULL, NULL, head);
}

/* Passes only metadata on, so that the end of the request is still seen. */
static apr_status_t drop_data(ap_filter_t *f, apr_bucket_brigade *bb)
{
    apr_bucket *e, *next;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = next) {
        next = APR_BUCKET_NEXT(e);
        if (!APR_BUCKET_IS_METADATA(e)) {
            apr_bucket_delete(e);
        }
    }
    ap_pass_brigade(f->next, bb);
    return APR_ECONNABORTED;
}

/* Sends the head of our own answer, and ends the connection, or with HTTP/2 the stream. */
static apr_status_t refuse(ap_filter_t *f, apr_bucket_brigade *bb, apr_bucket_brigade *head)
{
    APR_BRIGADE_INSERT_TAIL(head, apr_bucket_flush_create(f->c->bucket_alloc));
    ap_pass_brigade(f->next, head);
    f->c->keepalive = AP_CONN_CLOSE;
    f->c->aborted |= !f->c->master;
    return drop_data(f, bb);
}

static apr_status_t interim_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    interim_t *interim = f->ctx;
    request_rec *r = interim->r;
    apr_bucket_brigade *clean;

    if (!r) {
        return interim->is_refused ? drop_data(f, bb) : ap_pass_brigade(f->next, bb);
    }
    clean = apr_brigade_create(r->pool, f->c->bucket_alloc);
    while (interim->r && (take_head(interim->head, bb) || is_cut(bb))) {
        pass_head(interim, clean);
    }
    if (interim->is_refused) {
        return refuse(f, bb, clean);
    }
    if (interim->r && interim->head->nelts > HEAD_MAX) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: an answer that bypasses httpd's "
                      "output filters (an interim one, a tunnel's or a nph- program's) has more "
                      "than %d bytes of headers: the connection is closed", HEAD_MAX);
        interim->r = NULL;
        interim->is_refused = 1;
        f->c->aborted = 1;
        return drop_data(f, bb);
    }
    APR_BRIGADE_PREPEND(bb, clean);
    return interim->r ? ap_pass_brigade(f->next, bb) : memsess_repair_behind_head(r, f, bb);
}

/* -- Interim answers of HTTP/2 back ends ---------------------------------------------------------
 *
 * mod_proxy_http2 passes none of them on to a client of HTTP/1, and leaves their headers among those
 * of the answer. Between the frames of an interim answer and of the answer, httpd calls nothing but
 * the filters of the back end's connection, and only if a reading ends between them. So this filter
 * has each reading end with a frame.
 */
#define FRAME_HEAD 9

typedef struct frames_t {
    unsigned char head[FRAME_HEAD];
    apr_size_t have; /* bytes of the head so far */
    apr_size_t left; /* bytes of the frame that are still to come */
} frames_t;

static void see_frame(frames_t *frames, const char *data, apr_size_t len)
{
    if (frames->left) {
        frames->left -= len;
        return;
    }
    memcpy(frames->head + frames->have, data, len);
    frames->have += len;
    if (frames->have == FRAME_HEAD) {
        frames->have = 0;
        frames->left = (apr_size_t)frames->head[0] << 16 | (apr_size_t)frames->head[1] << 8
                       | frames->head[2];
    }
}

static apr_status_t frames_filter(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                                  apr_read_type_e block, apr_off_t bytes)
{
    frames_t *frames = f->ctx;
    apr_off_t most = (apr_off_t)(frames->left ? frames->left : FRAME_HEAD - frames->have);
    apr_status_t rv;
    apr_bucket *e;
    const char *data;
    apr_size_t len;

    if (proxied && ap_is_HTTP_INFO(proxied->status)) {
        memsess_drop_interim(proxied);
    }
    if (mode != AP_MODE_READBYTES) {
        return ap_get_brigade(f->next, bb, mode, block, bytes);
    }
    rv = ap_get_brigade(f->next, bb, mode, block, bytes < most ? bytes : most);
    for (e = APR_BRIGADE_FIRST(bb); rv == APR_SUCCESS && e != APR_BRIGADE_SENTINEL(bb);
         e = APR_BUCKET_NEXT(e)) {
        if (!APR_BUCKET_IS_METADATA(e)
            && apr_bucket_read(e, &data, &len, APR_BLOCK_READ) == APR_SUCCESS) {
            see_frame(frames, data, len);
        }
    }
    return rv;
}

static int pre_connection(conn_rec *c, void *socket)
{
    (void)socket;
    if (proxied) {
        ap_add_input_filter_handle(frames_filter_handle, apr_pcalloc(c->pool, sizeof(frames_t)),
                                   NULL, c);
    }
    return OK;
}

void memsess_interim_register(void)
{
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_MIDDLE);
    interim_filter_handle = ap_register_output_filter("MEMSESS_INTERIM", interim_filter, NULL,
                                                      AP_FTYPE_CONNECTION);
    frames_filter_handle = ap_register_input_filter("MEMSESS_FRAMES", frames_filter, NULL,
                                                    AP_FTYPE_CONNECTION);
}
