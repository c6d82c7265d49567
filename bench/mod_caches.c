/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Candidates for a local cache, side by side: each keeps and gives out the same sessions, as the same
 * records. They differ in where a record lies and what guards it.
 *
 *   ring      session/cache.c: a ring of records in shared memory, without a lock
 *   shmcb     mod_socache_shmcb under a mutex, which it needs
 *   slotmem   mod_slotmem_shm under a mutex: a record lies in the slot that its key says, if there
 *             is room for it
 *   unlocked  the same without a mutex: the record's own hash tells a torn one
 *
 * /caches/WHICH/get?N reads N sessions at random, in one request; /caches/WHICH/mixed?N writes
 * every tenth instead. A missing session is put, as by a request that reads it from the pool.
 * /caches/misses says how many were missing, and resets the counter.
 */
#include "httpd.h"
#include "ap_provider.h"
#include "ap_slotmem.h"
#include "ap_socache.h"
#include "apr_atomic.h"
#include "apr_shm.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "session/cache.h"
#include "session/record.h"
#include "util_mutex.h"

#define MUTEX "bench-caches"
#define CACHE_SIZE (64 * 1024 * 1024)
#define SESSIONS 10000
#define ATTRIBUTES 8
#define ATTRIBUTE_LEN 126 /* with its name, 128 */
#define SLOT_SIZE 2048    /* of slotmem, which could keep no larger record */
#define LIFETIME apr_time_from_sec(3600)
#define REVISION 1

module AP_MODULE_DECLARE_DATA caches_module;

typedef struct {
    const char *name;
    int (*get)(unsigned n, memsess_session_t **session, apr_pool_t *p);
    void (*put)(unsigned n, apr_pool_t *p);
} cache_t;

typedef struct {
    apr_size_t len;
    unsigned char record[SLOT_SIZE - sizeof(apr_size_t)];
} slot_t;

static server_rec *server;
static apr_global_mutex_t *mutex;
static memsess_key_t *keys;
static memsess_session_t *session_there;
static volatile apr_uint32_t *misses;

static memsess_cache_t *ring;
static const ap_socache_provider_t *shmcb;
static ap_socache_instance_t *shmcb_instance;
static const ap_slotmem_provider_t *slotmem;
static ap_slotmem_instance_t *slots;

/* -- The caches ------------------------------------------------------------------------------- */

static int ring_get(unsigned n, memsess_session_t **session, apr_pool_t *p)
{
    apr_time_t read_at;

    return memsess_cache_get(ring, &keys[n], REVISION, session, &read_at, p);
}

static void ring_put(unsigned n, apr_pool_t *p)
{
    memsess_cache_put(ring, &keys[n], session_there, apr_time_now(), p);
}

static int decode(const void *record, apr_size_t len, unsigned n, memsess_session_t **session,
                  apr_pool_t *p)
{
    return memsess_record_decode(record, len, 0, &keys[n], len, session, p) == MEMSESS_RECORD_OK
           && (*session)->revision == REVISION;
}

static slot_t *encode(unsigned n, apr_pool_t *p)
{
    slot_t *slot = apr_palloc(p, sizeof(*slot));
    char *record;

    if (memsess_record_encode(session_there, &keys[n], 0, &record, &slot->len, p) != APR_SUCCESS
        || slot->len > sizeof(slot->record)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server, "a session does not fit a slot");
        exit(1);
    }
    memcpy(slot->record, record, slot->len);
    return slot;
}

static int shmcb_get(unsigned n, memsess_session_t **session, apr_pool_t *p)
{
    unsigned int len = SLOT_SIZE;
    unsigned char *record = apr_palloc(p, len);
    apr_status_t rv;

    apr_global_mutex_lock(mutex);
    rv = shmcb->retrieve(shmcb_instance, server, keys[n].digest, sizeof(keys[n].digest), record,
                         &len, p);
    apr_global_mutex_unlock(mutex);
    return rv == APR_SUCCESS && decode(record, len, n, session, p);
}

static void shmcb_put(unsigned n, apr_pool_t *p)
{
    slot_t *slot = encode(n, p);

    apr_global_mutex_lock(mutex);
    shmcb->store(shmcb_instance, server, keys[n].digest, sizeof(keys[n].digest),
                 apr_time_now() + LIFETIME, slot->record, (unsigned)slot->len, p);
    apr_global_mutex_unlock(mutex);
}

static unsigned slot_of(unsigned n)
{
    apr_uint32_t bits;

    memcpy(&bits, keys[n].digest, sizeof(bits));
    return bits % slotmem->num_slots(slots);
}

static int unlocked_get(unsigned n, memsess_session_t **session, apr_pool_t *p)
{
    slot_t *slot = apr_palloc(p, sizeof(*slot));
    unsigned at = slot_of(n);

    return slotmem->get(slots, at, (unsigned char *)slot, sizeof(slot->len)) == APR_SUCCESS
           && slot->len <= sizeof(slot->record)
           && slotmem->get(slots, at, (unsigned char *)slot, sizeof(slot->len) + slot->len)
                  == APR_SUCCESS
           && slot->len <= sizeof(slot->record) && decode(slot->record, slot->len, n, session, p);
}

static void unlocked_put(unsigned n, apr_pool_t *p)
{
    slot_t *slot = encode(n, p);

    slotmem->put(slots, slot_of(n), (unsigned char *)slot, sizeof(slot->len) + slot->len);
}

static int slotmem_get(unsigned n, memsess_session_t **session, apr_pool_t *p)
{
    int found;

    apr_global_mutex_lock(mutex);
    found = unlocked_get(n, session, p);
    apr_global_mutex_unlock(mutex);
    return found;
}

static void slotmem_put(unsigned n, apr_pool_t *p)
{
    slot_t *slot = encode(n, p);

    apr_global_mutex_lock(mutex);
    slotmem->put(slots, slot_of(n), (unsigned char *)slot, sizeof(slot->len) + slot->len);
    apr_global_mutex_unlock(mutex);
}

static const cache_t caches[] = {
    {"ring", ring_get, ring_put},
    {"shmcb", shmcb_get, shmcb_put},
    {"slotmem", slotmem_get, slotmem_put},
    {"unlocked", unlocked_get, unlocked_put},
};
#define CACHES (sizeof(caches) / sizeof(*caches))

/* -- The load --------------------------------------------------------------------------------- */

static apr_uint64_t next_random(apr_uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Memory is freed after each, as it is after each request. */
static void work(const cache_t *cache, long count, int mixed, apr_pool_t *parent)
{
    apr_uint64_t random = (apr_uint64_t)apr_time_now() * 2654435761u | 1;
    memsess_session_t *session;
    apr_pool_t *p;
    long i;

    apr_pool_create(&p, parent);
    for (i = 0; i < count; i++) {
        unsigned n = (unsigned)(next_random(&random) % SESSIONS);
        int writes = mixed && i % 10 == 9;

        if (!writes && !cache->get(n, &session, p)) {
            apr_atomic_inc32(misses);
            writes = 1;
        }
        if (writes) {
            cache->put(n, p);
        }
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

static int caches_answer(request_rec *r)
{
    size_t i;

    if (!r->handler || strcmp(r->handler, "caches")) {
        return DECLINED;
    }
    ap_set_content_type(r, "text/plain");
    if (!strcmp(r->uri, "/caches/misses")) {
        ap_rprintf(r, "%u\n", apr_atomic_xchg32(misses, 0));
        return OK;
    }
    for (i = 0; i < CACHES; i++) {
        const char *path = apr_pstrcat(r->pool, "/caches/", caches[i].name, "/", NULL);

        if (!strncmp(r->uri, path, strlen(path))) {
            work(&caches[i], atol(r->args ? r->args : "1"), !strcmp(r->uri + strlen(path), "mixed"),
                 r->pool);
            ap_rputs("done\n", r);
            return OK;
        }
    }
    return HTTP_NOT_FOUND;
}

/* -- Setting up ------------------------------------------------------------------------------- */

static apr_status_t make_sessions(apr_pool_t *p)
{
    apr_status_t rv = memsess_core_init(p);
    int i;

    if (rv == APR_SUCCESS) {
        rv = memsess_session_make(&session_there, apr_time_now(), p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    session_there->revision = REVISION;
    for (i = 0; i < ATTRIBUTES; i++) {
        char *value = apr_pcalloc(p, ATTRIBUTE_LEN + 1);
        memsess_attr_t attr = {.name = apr_psprintf(p, "a%d", i), .value = value,
                               .len = ATTRIBUTE_LEN};

        memset(value, 'x', ATTRIBUTE_LEN);
        APR_ARRAY_PUSH(session_there->attrs, memsess_attr_t) = attr;
    }
    keys = apr_palloc(p, sizeof(*keys) * SESSIONS);
    for (i = 0; i < SESSIONS && rv == APR_SUCCESS; i++) {
        rv = memsess_key_make(&keys[i], "", apr_psprintf(p, "session-%d", i));
    }
    return rv;
}

static apr_status_t make_caches(apr_pool_t *p)
{
    struct ap_socache_hints hints = {MEMSESS_KEY_BYTES, ATTRIBUTES * ATTRIBUTE_LEN, LIFETIME};
    const char *size = apr_psprintf(p, "caches(%d)", CACHE_SIZE);
    apr_status_t rv;

    shmcb = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, "shmcb", AP_SOCACHE_PROVIDER_VERSION);
    slotmem = ap_lookup_provider(AP_SLOTMEM_PROVIDER_GROUP, "shm", AP_SLOTMEM_PROVIDER_VERSION);
    if (!shmcb || !slotmem || shmcb->create(&shmcb_instance, size, p, p)) {
        return APR_ENOTIMPL;
    }
    rv = memsess_cache_create(&ring, CACHE_SIZE, LIFETIME, p);
    if (rv == APR_SUCCESS) {
        rv = shmcb->init(shmcb_instance, "caches", &hints, server, p);
    }
    if (rv == APR_SUCCESS) {
        rv = slotmem->create(&slots, "none", SLOT_SIZE, CACHE_SIZE / SLOT_SIZE, 0, p);
    }
    if (rv == APR_SUCCESS) {
        rv = ap_global_mutex_create(&mutex, NULL, MUTEX, NULL, server, p, 0);
    }
    return rv;
}

static apr_status_t make_counter(apr_pool_t *p)
{
    apr_shm_t *shm;
    apr_status_t rv = apr_shm_create(&shm, sizeof(*misses), NULL, p);

    if (rv == APR_SUCCESS) {
        misses = apr_shm_baseaddr_get(shm);
        *misses = 0;
    }
    return rv;
}

static void fill(const cache_t *cache, apr_pool_t *parent)
{
    apr_pool_t *p;
    unsigned n;

    apr_pool_create(&p, parent);
    for (n = 0; n < SESSIONS; n++) {
        cache->put(n, p);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

static int caches_pre_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    return ap_mutex_register(p, MUTEX, NULL, APR_LOCK_DEFAULT, 0) == APR_SUCCESS ? OK : !OK;
}

static int caches_post_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    apr_status_t rv;
    size_t i;

    (void)plog;
    (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    server = s;
    if ((rv = make_sessions(p)) != APR_SUCCESS || (rv = make_caches(p)) != APR_SUCCESS
        || (rv = make_counter(p)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "cannot make the caches");
        return !OK;
    }
    for (i = 0; i < CACHES; i++) {
        fill(&caches[i], p);
    }
    return OK;
}

static void caches_child_init(apr_pool_t *p, server_rec *s)
{
    apr_status_t rv = apr_global_mutex_child_init(&mutex, apr_global_mutex_lockfile(mutex), p);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "cannot use the mutex");
        exit(APEXIT_CHILDSICK);
    }
}

static void caches_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_config(caches_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(caches_post_config, NULL, NULL, APR_HOOK_LAST);
    ap_hook_child_init(caches_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(caches_answer, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA caches_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, caches_hooks, AP_MODULE_FLAG_NONE};
