/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/request_private.h"

static memsess_top_t *top_make(request_rec *r)
{
    memsess_top_t *top = apr_pcalloc(r->pool, sizeof(*top));

    top->r = r;
    top->p = r->pool;
    top->server = r->server;
    return top;
}

memsess_own_t *memsess_own_find(request_rec *r, int make)
{
    request_rec *parent = r->main ? r->main : r->prev;
    memsess_own_t *parents = parent ? memsess_own(parent, make) : NULL, *own = NULL;

    if (parents || make) {
        own = apr_pcalloc(r->pool, sizeof(*own));
        own->top = parents ? parents->top : top_make(r);
        ap_set_module_config(r->request_config, &memsess_module, own);
    }
    return own;
}

memsess_reading_t memsess_req_reading(const memsess_req_t *req)
{
    return (memsess_reading_t){.key = req->key, .read_at = req->read_at, .found = req->found,
                               .session = req->session, .facts = req->facts};
}

void memsess_req_take(memsess_req_t *req, const memsess_reading_t *reading)
{
    req->found = reading->found;
    req->session = reading->session ? reading->session : req->session;
    req->facts = reading->facts;
}
