/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/kept.h"

#include <string.h>

#include "apr_strings.h"
#include "base/crypto.h"

/* Another version of the module may find these: a change here needs another number in the key. */
#define KEY "memsess_kept 1"

typedef struct item_t {
    struct item_t *next;
    const char *name;
    void *bytes;
    apr_size_t len;
} item_t;

typedef struct shelf_t {
    apr_pool_t *p; /* NULL: the list is empty */
    item_t *first;
} shelf_t;

struct memsess_kept_t {
    apr_pool_t *process;
    shelf_t before, next;
};

memsess_kept_t *memsess_kept(apr_pool_t *process)
{
    void *kept = NULL;

    apr_pool_userdata_get(&kept, KEY, process);
    if (!kept) {
        kept = apr_pcalloc(process, sizeof(memsess_kept_t));
        ((memsess_kept_t *)kept)->process = process;
        apr_pool_userdata_set(kept, KEY, NULL, process);
    }
    return kept;
}

static const item_t *find(const shelf_t *shelf, const char *name)
{
    const item_t *item;

    for (item = shelf->first; item && strcmp(item->name, name); item = item->next) {
    }
    return item;
}

const void *memsess_kept_find(const memsess_kept_t *kept, const char *name, apr_size_t len)
{
    const item_t *item = find(&kept->before, name);

    return item && (!len || len == item->len) ? item->bytes : NULL;
}

void memsess_kept_put(memsess_kept_t *kept, const char *name, const void *bytes, apr_size_t len)
{
    item_t *item;

    if (find(&kept->next, name)) {
        return;
    }
    if (!kept->next.p) {
        apr_pool_create(&kept->next.p, kept->process);
    }
    item = apr_palloc(kept->next.p, sizeof(*item));
    item->name = apr_pstrdup(kept->next.p, name);
    item->bytes = apr_pstrmemdup(kept->next.p, bytes, len);
    item->len = len;
    item->next = kept->next.first;
    kept->next.first = item;
}

void memsess_kept_turn(memsess_kept_t *kept)
{
    static const shelf_t empty;
    item_t *item;

    for (item = kept->before.first; item; item = item->next) {
        memsess_cleanse(item->bytes, item->len);
    }
    if (kept->before.p) {
        apr_pool_destroy(kept->before.p);
    }
    kept->before = kept->next;
    kept->next = empty;
}
