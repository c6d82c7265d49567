/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The local cache, while another process writes into the memory that all processes share. The input
 * is a list of steps: a session is put, looked for or dropped, bytes are written over the memory,
 * or such entries get the right place, key and hash again. Nothing beyond that memory is touched,
 * and what is found is a sound session, of the revision that was asked for. */

#include "fuzz.h"

#include <sys/mman.h>

#include "apr_shm.h"
#include "session/cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The same values as in session/cache.c. */
#define WAYS 4
#define BUCKETS (MEMSESS_CACHE_MIN / (512 + 8) / WAYS)
#define SLOTS_AT 8
#define RING_AT (SLOTS_AT + BUCKETS * WAYS * 8)
#define CELL 8
#define CELLS ((MEMSESS_CACHE_MIN - RING_AT) / CELL)
#define PLACE_MASK (((apr_uint64_t)1 << 48) - 1)
#define ENTRY_KEY 24
#define ENTRY_HASH 96
#define ENTRY_LEN 104

/* -- The memory, between forbidden pages; this takes the place of APR's own -------------------- */

#define GUARD 65536

struct apr_shm_t {
    unsigned char *base;
};

static struct apr_shm_t shm;

APR_DECLARE(apr_status_t) apr_shm_create(apr_shm_t **m, apr_size_t size, const char *file,
                                         apr_pool_t *p)
{
    (void)file;
    (void)p;
    HOLDS(size == MEMSESS_CACHE_MIN);
    if (!shm.base) {
        shm.base = mmap(NULL, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        HOLDS(shm.base != MAP_FAILED);
        shm.base += GUARD;
        HOLDS(mprotect(shm.base, size, PROT_READ | PROT_WRITE) == 0);
    }
    memset(shm.base, 0, size);
    *m = &shm;
    return APR_SUCCESS;
}

APR_DECLARE(void *) apr_shm_baseaddr_get(const apr_shm_t *m)
{
    return m->base;
}

/* -- Keys -------------------------------------------------------------------------------------- */

#define KEYS 4

/* The first three keys share one bucket, and two of them the same bits in its slots. */
static memsess_key_t key_of(unsigned n)
{
    static const unsigned char start[KEYS] = {0, BUCKETS, 0, 5}, tag[KEYS] = {7, 9, 7, 7};
    memsess_key_t key;

    memset(&key, 0, sizeof(key));
    key.digest[0] = start[n];
    key.digest[15] = tag[n];
    key.digest[31] = (unsigned char)n;
    return key;
}

static unsigned char *slot_of(const memsess_key_t *key, unsigned way)
{
    return shm.base + SLOTS_AT + (key->digest[0] % BUCKETS * WAYS + way % WAYS) * 8;
}

/* The place where a slot says that its entry is; the memory may end before a whole entry does. */
static unsigned char *entry_of(const unsigned char *slot)
{
    apr_uint64_t place;

    memcpy(&place, slot, sizeof(place));
    return shm.base + RING_AT + (place & PLACE_MASK) % CELLS * CELL;
}

/* -- Steps ------------------------------------------------------------------------------------- */

typedef struct input_t {
    const unsigned char *at, *end;
} input_t;

static unsigned next(input_t *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static void put(memsess_cache_t *cache, const memsess_key_t *key, input_t *in)
{
    unsigned revision = next(in), len = 20 * next(in);
    memsess_attr_t attr = {.name = "data", .len = len};
    char *value = apr_palloc(fuzz_pool, len + 1);
    memsess_session_t *session;

    memset(value, 'x', len);
    value[len] = '\0';
    attr.value = value;
    HOLDS(memsess_session_make(&session, apr_time_now(), fuzz_pool) == APR_SUCCESS);
    session->revision = revision;
    APR_ARRAY_PUSH(session->attrs, memsess_attr_t) = attr;
    memsess_cache_put(cache, key, session, apr_time_now(), fuzz_pool);
}

static void get(memsess_cache_t *cache, const memsess_key_t *key, unsigned revision)
{
    memsess_session_t *session = NULL;
    apr_time_t read_at = 0;

    if (memsess_cache_get(cache, key, revision, &session, &read_at, fuzz_pool)) {
        HOLDS(session->revision == revision && fuzz_is_sane(session));
        HOLDS(read_at <= apr_time_now());
    }
}

/* Writes bytes over the head, a slot, the entry of a slot, or anything else. */
static void scribble(input_t *in, const memsess_key_t *key)
{
    unsigned where = next(in), offset = next(in), len = next(in) % 32;
    unsigned char *slot = slot_of(key, where >> 2), *at, *end = shm.base + MEMSESS_CACHE_MIN;

    switch (where % 4) {
    case 0:
        at = shm.base;
        break;
    case 1:
        at = slot + offset % 8;
        break;
    case 2:
        at = entry_of(slot) + offset;
        break;
    default:
        at = shm.base + (where << 8 | offset);
    }
    for (; len && at < end; len--) {
        *at++ = (unsigned char)next(in);
    }
}

/* Corrects an entry as an attacker would who knows the format, whatever else was written. */
static void put_right(const memsess_key_t *key)
{
    unsigned way;

    for (way = 0; way < WAYS; way++) {
        unsigned char *slot = slot_of(key, way), *entry = entry_of(slot);
        apr_uint64_t place;
        XXH64_hash_t hash;

        memcpy(&place, slot, sizeof(place));
        place &= PLACE_MASK;
        if (place && entry + ENTRY_LEN <= shm.base + MEMSESS_CACHE_MIN) {
            slot[6] = key->digest[14];
            slot[7] = key->digest[15];
            memcpy(entry, &place, sizeof(place));
            memcpy(entry + ENTRY_KEY, key, sizeof(*key));
            hash = XXH3_64bits(entry, ENTRY_HASH);
            memcpy(entry + ENTRY_HASH, &hash, sizeof(hash));
        }
    }
}

void fuzz(const unsigned char *data, size_t len)
{
    input_t in = {.at = data, .end = data + len};
    memsess_cache_t *cache;

    HOLDS(memsess_cache_create(&cache, MEMSESS_CACHE_MIN, apr_time_from_sec(3600), fuzz_pool)
          == APR_SUCCESS);
    while (in.at < in.end) {
        unsigned step = next(&in);
        memsess_key_t key = key_of(step / 8 % KEYS);

        switch (step % 8) {
        case 0:
            put(cache, &key, &in);
            break;
        case 1:
            get(cache, &key, next(&in));
            break;
        case 2:
            memsess_cache_drop(cache, &key);
            break;
        case 3:
            put_right(&key);
            break;
        default:
            scribble(&in, &key);
        }
    }
}
