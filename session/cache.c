/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "session/cache.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "apr_shm.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "session/record.h"

/* How many bytes of the ring there are for each slot of the index. */
#define BYTES_PER_SLOT 512
/* How many slots a key may use. */
#define WAYS 4
/* The largest entry is this part of the ring, so that an entry that is being read is not
 * overwritten at once. */
#define LARGEST_PART 16
/* Bytes of a cell: places in the ring count cells. */
#define CELL 8

/*
 * A slot holds a place and 16 bits of the key, so that most other keys are told apart without a
 * look at the ring. Places only grow: the cell in the ring is the place modulo the ring's size, and
 * a place that is farther behind the head than the ring is long has been overwritten. 0: empty.
 */
typedef apr_uint64_t slot_t;
#define PLACE_BITS 48
#define PLACE_MASK (((apr_uint64_t)1 << PLACE_BITS) - 1)

/* The memory that all processes share: the head, the slots, the ring. */
typedef struct shared_t {
    apr_uint64_t head; /* the place where the next entry goes */
    slot_t slots[];
} shared_t;

/* This stands before each record in the ring. */
typedef struct entry_t {
    apr_uint64_t place;
    apr_uint64_t revision;
    apr_time_t read_at;
    apr_time_t kept_at; /* by the steady clock, which all processes of a machine share */
    memsess_key_t key;
    apr_uint64_t len;  /* of the record */
    apr_uint64_t hash; /* hash of the members above */
} entry_t;

#define HASHED offsetof(entry_t, hash)

struct memsess_cache_t {
    shared_t *shared;
    unsigned char *ring;
    apr_uint64_t cells;   /* of the ring */
    apr_uint64_t buckets; /* of WAYS slots */
    apr_interval_time_t max_age;
    XXH128_hash_t part; /* which pool it belongs to; part of every key */
};

apr_status_t memsess_cache_create(memsess_cache_t **cache, apr_size_t size,
                                  apr_interval_time_t max_age, apr_pool_t *p)
{
    memsess_cache_t *c = apr_pcalloc(p, sizeof(*c));
    apr_size_t index;
    apr_shm_t *shm;
    apr_status_t rv;

    if (size < MEMSESS_CACHE_MIN) {
        return APR_EINVAL;
    }
    if ((rv = apr_shm_create(&shm, size, NULL, p)) != APR_SUCCESS) {
        return rv;
    }
    c->shared = apr_shm_baseaddr_get(shm);
    c->buckets = size / (BYTES_PER_SLOT + sizeof(slot_t)) / WAYS;
    index = sizeof(shared_t) + (apr_size_t)c->buckets * WAYS * sizeof(slot_t);
    memset(c->shared, 0, index);
    c->ring = (unsigned char *)c->shared + index;
    c->cells = (size - index) / CELL;
    c->shared->head = 1; /* since 0 is no place */
    c->max_age = max_age;
    *cache = c;
    return APR_SUCCESS;
}

memsess_cache_t *memsess_cache_part(const memsess_cache_t *cache, const char *pool, apr_pool_t *p)
{
    memsess_cache_t *part = apr_pmemdup(p, cache, sizeof(*part));

    part->part = XXH3_128bits(pool, strlen(pool));
    return part;
}

/* The key within this part; it is as good a digest as before. */
static memsess_key_t key_in(const memsess_cache_t *c, const memsess_key_t *key)
{
    memsess_key_t own = *key;
    apr_uint64_t half[2];

    memcpy(half, own.digest, sizeof(half));
    half[0] ^= c->part.low64;
    half[1] ^= c->part.high64;
    memcpy(own.digest, half, sizeof(half));
    return own;
}

static apr_uint64_t key_bits(const memsess_key_t *key, unsigned from)
{
    apr_uint64_t bits;

    memcpy(&bits, key->digest + from, sizeof(bits));
    return bits;
}

static slot_t *bucket_of(const memsess_cache_t *c, const memsess_key_t *key)
{
    return c->shared->slots + key_bits(key, 0) % c->buckets * WAYS;
}

static slot_t tag_of(const memsess_key_t *key)
{
    return key_bits(key, 8) & ~PLACE_MASK;
}

static apr_uint64_t head_of(const memsess_cache_t *c)
{
    return __atomic_load_n(&c->shared->head, __ATOMIC_ACQUIRE);
}

static unsigned char *cell_at(const memsess_cache_t *c, apr_uint64_t place)
{
    return c->ring + place % c->cells * CELL;
}

/* Whether the cells from that place on still belong to the same entry. */
static int is_there(const memsess_cache_t *c, apr_uint64_t place)
{
    return place && head_of(c) - place <= c->cells;
}

/* The bytes from that place on to the end of the ring. */
static apr_uint64_t room_at(const memsess_cache_t *c, apr_uint64_t place)
{
    return (c->cells - place % c->cells) * CELL;
}

/* Takes room for @a cells cells, in one piece. If the ring goes round once while a process writes its
 * entry, that process spoils another entry, which then does not match its hash. */
static apr_uint64_t take_room(memsess_cache_t *c, apr_uint64_t cells)
{
    apr_uint64_t place;

    do {
        place = __atomic_fetch_add(&c->shared->head, cells, __ATOMIC_ACQ_REL);
    } while (place % c->cells + cells > c->cells);
    return place;
}

/* The slot of a key, or else the slot whose entry is the oldest. */
static slot_t *slot_for(memsess_cache_t *c, const memsess_key_t *key)
{
    slot_t *slot = bucket_of(c, key), *end = slot + WAYS, *oldest = slot;

    for (; slot < end; slot++) {
        slot_t is = __atomic_load_n(slot, __ATOMIC_RELAXED);

        if ((is & ~PLACE_MASK) == tag_of(key) && (is & PLACE_MASK)) {
            return slot;
        }
        if ((is & PLACE_MASK) < (__atomic_load_n(oldest, __ATOMIC_RELAXED) & PLACE_MASK)) {
            oldest = slot;
        }
    }
    return oldest;
}

void memsess_cache_put(memsess_cache_t *cache, const memsess_key_t *key,
                       const memsess_session_t *session, apr_time_t read_at, apr_pool_t *p)
{
    entry_t entry = {.revision = session->revision,
                     .read_at = read_at,
                     .kept_at = memsess_clock_steady(),
                     .key = key_in(cache, key)};
    apr_uint64_t cells;
    unsigned char *at;
    apr_size_t len;
    char *record;

    if (memsess_record_encode(session, &entry.key, 0, &record, &len, p) != APR_SUCCESS) {
        return;
    }
    cells = (sizeof(entry) + len + CELL - 1) / CELL;
    if (cells > cache->cells / LARGEST_PART) {
        return;
    }
    entry.len = len;
    entry.place = take_room(cache, cells);
    entry.hash = XXH3_64bits(&entry, HASHED);
    at = cell_at(cache, entry.place);
    memcpy(at, &entry, sizeof(entry));
    memcpy(at + sizeof(entry), record, len);
    __atomic_store_n(slot_for(cache, &entry.key), tag_of(&entry.key) | (entry.place & PLACE_MASK),
                     __ATOMIC_RELEASE);
}

/* The entry of a slot, if it is of that key and whole. Shared memory is checked before it is
 * believed, since another process may have written anything there. */
static int entry_of(const memsess_cache_t *c, slot_t slot, const memsess_key_t *key, entry_t *entry)
{
    apr_uint64_t place = slot & PLACE_MASK;

    if ((slot & ~PLACE_MASK) != tag_of(key) || !is_there(c, place)
        || room_at(c, place) < sizeof(*entry)) {
        return 0;
    }
    memcpy(entry, cell_at(c, place), sizeof(*entry));
    return entry->place == place && entry->hash == XXH3_64bits(entry, HASHED)
           && entry->len <= room_at(c, place) - sizeof(*entry)
           && memcmp(&entry->key, key, sizeof(*key)) == 0;
}

static slot_t *find(const memsess_cache_t *c, const memsess_key_t *key, entry_t *entry)
{
    slot_t *slot = bucket_of(c, key), *end = slot + WAYS;

    for (; slot < end; slot++) {
        if (entry_of(c, __atomic_load_n(slot, __ATOMIC_ACQUIRE), key, entry)) {
            return slot;
        }
    }
    return NULL;
}

int memsess_cache_get(memsess_cache_t *cache, const memsess_key_t *key, apr_uint64_t revision,
                      memsess_session_t **session, apr_time_t *read_at, apr_pool_t *p)
{
    memsess_key_t own = key_in(cache, key);
    entry_t entry;
    char *record;

    if (!find(cache, &own, &entry) || entry.revision != revision
        || memsess_clock_steady() - entry.kept_at > cache->max_age) {
        return 0;
    }
    record = apr_pmemdup(p, cell_at(cache, entry.place) + sizeof(entry), (apr_size_t)entry.len);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *read_at = entry.read_at;
    return is_there(cache, entry.place)
           && memsess_record_decode(record, (apr_size_t)entry.len, 0, &own, 0, session, p)
                  == MEMSESS_RECORD_OK
           && (*session)->revision == revision;
}

apr_uint64_t memsess_cache_known(const memsess_cache_t *cache, const memsess_key_t *key)
{
    memsess_key_t own = key_in(cache, key);
    entry_t entry;

    return find(cache, &own, &entry) ? entry.revision : 0;
}

void memsess_cache_drop(memsess_cache_t *cache, const memsess_key_t *key)
{
    memsess_key_t own = key_in(cache, key);
    entry_t entry;
    slot_t *slot;

    while ((slot = find(cache, &own, &entry))) {
        slot_t was = tag_of(&own) | entry.place;

        __atomic_compare_exchange_n(slot, &was, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
}
