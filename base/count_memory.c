/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Where figures lie: the memory that all children share, and the servers that are listed. */

#include "base/count_private.h"

#include <string.h>

#include "apr_shm.h"
#include "apr_strings.h"
#include "base/version.h"

/* The memory of one server's count, known to the parent process. */
typedef struct segment_t {
    memsess_server_count_t *count;
    unsigned used; /* the last configuration that named it */
} segment_t;

/* The parent process keeps this from one configuration to the next. */
typedef struct registry_t {
    apr_pool_t *p;
    memsess_shared_t *shared;
    apr_array_header_t *segments; /* of segment_t */
    unsigned configuration;
} registry_t;

static memsess_shared_t process_only;
memsess_shared_t *memsess_shared = &process_only;
static registry_t *registry;
static apr_array_header_t *listed; /* of memsess_counted_t */

/* All zero, and on a cache line of its own, which neither APR's pools nor its shared memory ensure.
 * The memory ends with the process, not with its last child: no other process can attach to it. */
static void *aligned(void *memory, apr_size_t size)
{
    apr_uintptr_t at = (apr_uintptr_t)memory;

    return memset((char *)memory + (APR_ALIGN(at, MEMSESS_LINE_BYTES) - at), 0, size);
}

static apr_status_t make_shared(void **memory, apr_size_t size, apr_pool_t *p)
{
    apr_shm_t *shm;
    apr_status_t rv = apr_shm_create(&shm, size + MEMSESS_LINE_BYTES, NULL, p);

    if (rv == APR_SUCCESS) {
        *memory = aligned(apr_shm_baseaddr_get(shm), size);
    }
    return rv;
}

apr_status_t memsess_count_begin(apr_pool_t *process, apr_pool_t *pconf)
{
    /* Another version of the module, loaded by a graceful restart, lays its memory out in its
     * own way. */
    const char *key = apr_psprintf(pconf, "memsess_count " MEMSESS_VERSION " %" APR_SIZE_T_FMT
                                   " %" APR_SIZE_T_FMT, sizeof(memsess_shared_t),
                                   sizeof(memsess_server_count_t));
    void *found = NULL;
    apr_status_t rv = apr_pool_userdata_get(&found, key, process);

    registry = found;
    if (rv == APR_SUCCESS && !registry) {
        registry = apr_pcalloc(process, sizeof(*registry));
        registry->p = process;
        registry->segments = apr_array_make(process, 8, sizeof(segment_t));
        rv = make_shared((void **)&registry->shared, sizeof(memsess_shared_t), process);
        if (rv == APR_SUCCESS) {
            registry->shared->began = memsess_clock_steady();
            rv = apr_pool_userdata_set(registry, apr_pstrdup(process, key), NULL, process);
        }
    }
    if (rv == APR_SUCCESS) {
        memsess_shared = registry->shared;
        registry->configuration++;
        listed = apr_array_make(pconf, 8, sizeof(memsess_counted_t));
    }
    return rv;
}

/* The segment of the address; or one that no server needs; or a new one. */
static apr_status_t segment_for(segment_t **segment, const char *address)
{
    segment_t *idle = NULL;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < registry->segments->nelts; i++) {
        *segment = &APR_ARRAY_IDX(registry->segments, i, segment_t);
        if (!strcmp((*segment)->count->address, address)) {
            return APR_SUCCESS;
        }
        /* Children of the configuration before may still use it. */
        if ((*segment)->used + 1 < registry->configuration) {
            idle = *segment;
        }
    }
    *segment = idle;
    if (!idle) {
        void *memory = NULL;

        rv = make_shared(&memory, sizeof(memsess_server_count_t), registry->p);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        *segment = apr_array_push(registry->segments);
        (*segment)->count = memory;
    }
    memset((*segment)->count, 0, sizeof(memsess_server_count_t));
    apr_cpystrn((*segment)->count->address, address, MEMSESS_ADDRESS_MAX);
    (*segment)->count->since = (apr_uint64_t)memsess_clock_steady();
    return rv;
}

apr_status_t memsess_count_list(const memsess_counted_t *server, memsess_server_count_t **count)
{
    memsess_counted_t *entry;
    segment_t *segment;
    apr_status_t rv;
    int i;

    for (i = 0; i < listed->nelts; i++) {
        entry = &APR_ARRAY_IDX(listed, i, memsess_counted_t);
        if (!strcmp(entry->address, server->address)) {
            entry->implied &= server->implied;
            entry->timeout = entry->timeout == server->timeout ? server->timeout : 0;
            entry->copies = entry->copies < server->copies ? entry->copies : server->copies;
            *count = entry->count;
            return APR_SUCCESS;
        }
    }
    rv = segment_for(&segment, server->address);
    if (rv == APR_SUCCESS) {
        segment->used = registry->configuration;
        entry = apr_array_push(listed);
        *entry = *server;
        entry->count = *count = segment->count;
    }
    return rv;
}

const memsess_counted_t *memsess_count_listed(int i)
{
    return listed && i < listed->nelts ? &APR_ARRAY_IDX(listed, i, memsess_counted_t) : NULL;
}

memsess_server_count_t *memsess_count_private(apr_pool_t *p)
{
    return aligned(apr_palloc(p, sizeof(memsess_server_count_t) + MEMSESS_LINE_BYTES),
                   sizeof(memsess_server_count_t));
}

unsigned memsess_count_stripe(void)
{
    static __thread unsigned mine;

    if (!mine) {
        mine = 1 + apr_atomic_inc32(&memsess_shared->threads) % MEMSESS_STRIPES;
    }
    return mine - 1;
}
