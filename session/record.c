/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "session/record.h"

#include <string.h>
#include <zlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "apr_encode.h"

/*
 * All numbers are in network order.
 *
 *   0  "MSS" and the version        56  written, microseconds
 *   4  flags                        64  renewed, microseconds
 *   5  number of placement tags,    72  public id, 12 bytes
 *      128 for "unused", 64 for
 *      "lasts"
 *   6  number of its writer         84  payload length before compression
 *   8  first half of the key        88  number of attributes
 *  24  revision                     92  XXH3 of all other bytes, 32 bits
 *  32  created, microseconds        96  placement: tags of 8 bytes, then clocks of 4
 *  40  used, microseconds           ..  payload: per attribute the name's length (1 byte), name,
 *  48  idle, microseconds               NUL, the value's length (4 bytes), value, NUL;
 *                                       of a session that moved: nothing, or its new id, as
 *                                       memsess_seal_id makes it
 *
 * Between placement and payload there are 16 bytes for each flag of what the session is bound to.
 * If the session has a user, the digest of the user's name and the epoch follow, 12 bytes each,
 * then 4 bytes of the log-in's second, and one byte that says whether it is in the user's list.
 *
 * Because of the NULs, names and values can be used in place. By the key's half an answer for
 * another key is found out, by the hash a damaged one.
 */
#define VERSION 2
#define HEADER 96
#define SIZE_AT 84
#define HASH_AT 92
#define ATTR_OVERHEAD 7
#define PLACE_LEN (MEMSESS_TAG_LEN + 4)

#define FLAG_ENDED 1
#define FLAG_COMPRESSED 2
#define FLAG_MOVED 4
#define FLAG_FIXED 8
#define FLAG_LOGIN 16
#define FLAG_BIND 32 /* and the two after it: one for each of MEMSESS_BINDS */

/* These are in the byte with the number of placement tags. */
#define UNUSED 0x80
#define LASTS 0x40

#define LOGIN_BYTES (MEMSESS_USER_BYTES + MEMSESS_EPOCH_BYTES + 5)

/* Deflate cannot do better than this, so a length beyond it is a lie. */
#define DEFLATE_RATIO_MAX 1040

static void put32(unsigned char *at, apr_uint32_t n)
{
    at[0] = (unsigned char)(n >> 24);
    at[1] = (unsigned char)(n >> 16);
    at[2] = (unsigned char)(n >> 8);
    at[3] = (unsigned char)n;
}

static apr_uint32_t get32(const unsigned char *at)
{
    return (apr_uint32_t)at[0] << 24 | (apr_uint32_t)at[1] << 16 | (apr_uint32_t)at[2] << 8 | at[3];
}

static void put64(unsigned char *at, apr_uint64_t n)
{
    put32(at, (apr_uint32_t)(n >> 32));
    put32(at + 4, (apr_uint32_t)n);
}

static apr_uint64_t get64(const unsigned char *at)
{
    return (apr_uint64_t)get32(at) << 32 | get32(at + 4);
}

static apr_uint32_t record_hash(const unsigned char *record, apr_size_t len)
{
    return (apr_uint32_t)(XXH3_64bits(record, HASH_AT)
                          ^ XXH3_64bits(record + HASH_AT + 4, len - HASH_AT - 4));
}

apr_size_t memsess_record_size(const memsess_session_t *session)
{
    const memsess_attr_t *attr = (const memsess_attr_t *)session->attrs->elts;
    apr_size_t size = 0;
    int i;

    for (i = 0; i < session->attrs->nelts; i++) {
        size += ATTR_OVERHEAD + strlen(attr[i].name) + attr[i].len;
    }
    return size;
}

static apr_size_t head_len(unsigned tags, unsigned flags)
{
    apr_size_t len = HEADER + PLACE_LEN * (apr_size_t)tags;
    unsigned i;

    for (i = 0; i < MEMSESS_BINDS; i++) {
        len += flags & FLAG_BIND << i ? MEMSESS_BIND_BYTES : 0;
    }
    return len + (flags & FLAG_LOGIN ? LOGIN_BYTES : 0);
}

static void put_placement(unsigned char *at, const memsess_placement_t *placement)
{
    unsigned i;

    memcpy(at, placement->tag, MEMSESS_TAG_LEN * (apr_size_t)placement->n);
    at += MEMSESS_TAG_LEN * (apr_size_t)placement->n;
    for (i = 0; i < placement->n; i++, at += 4) {
        put32(at, placement->clock[i]);
    }
}

static void get_placement(const unsigned char *at, unsigned n, memsess_placement_t *placement)
{
    unsigned i;

    placement->n = n;
    memcpy(placement->tag, at, MEMSESS_TAG_LEN * (apr_size_t)n);
    at += MEMSESS_TAG_LEN * (apr_size_t)n;
    for (i = 0; i < n; i++, at += 4) {
        placement->clock[i] = get32(at);
    }
}

static void put_binding(unsigned char *at, const memsess_binding_t *binding)
{
    unsigned i;

    for (i = 0; i < MEMSESS_BINDS; i++) {
        if (binding->to & 1U << i) {
            memcpy(at, binding->digest[i], MEMSESS_BIND_BYTES);
            at += MEMSESS_BIND_BYTES;
        }
    }
}

static void get_binding(const unsigned char *at, unsigned flags, memsess_binding_t *binding)
{
    unsigned i;

    for (i = 0; i < MEMSESS_BINDS; i++) {
        if (flags & FLAG_BIND << i) {
            binding->to |= 1U << i;
            memcpy(binding->digest[i], at, MEMSESS_BIND_BYTES);
            at += MEMSESS_BIND_BYTES;
        }
    }
}

static void put_login(unsigned char *at, const memsess_login_t *login)
{
    apr_decode_base64_binary(at, login->user, MEMSESS_USER_LEN, APR_ENCODE_BASE64URL, NULL);
    at += MEMSESS_USER_BYTES;
    memcpy(at, login->epoch, MEMSESS_EPOCH_BYTES);
    at += MEMSESS_EPOCH_BYTES;
    put32(at, (apr_uint32_t)apr_time_sec(login->at));
    at[4] = (unsigned char)login->listed;
}

static void get_login(const unsigned char *at, memsess_login_t *login)
{
    apr_encode_base64_binary(login->user, (const unsigned char *)at, MEMSESS_USER_BYTES,
                             APR_ENCODE_BASE64URL, NULL);
    at += MEMSESS_USER_BYTES;
    memcpy(login->epoch, at, MEMSESS_EPOCH_BYTES);
    at += MEMSESS_EPOCH_BYTES;
    login->at = apr_time_from_sec(get32(at));
    login->listed = at[4] & 1;
}

static void put_payload(unsigned char *at, const memsess_session_t *session)
{
    const memsess_attr_t *attr = (const memsess_attr_t *)session->attrs->elts;
    int i;

    for (i = 0; i < session->attrs->nelts; i++, attr++) {
        apr_size_t name_len = strlen(attr->name);

        *at++ = (unsigned char)name_len;
        memcpy(at, attr->name, name_len + 1);
        at += name_len + 1;
        put32(at, (apr_uint32_t)attr->len);
        memcpy(at + 4, attr->value, attr->len);
        at += 4 + attr->len;
        *at++ = '\0';
    }
}

/* All of the head but what depends on the flags, and the hash. */
static void put_head(unsigned char *record, const memsess_session_t *session,
                     const memsess_key_t *key, apr_size_t size)
{
    memcpy(record, "MSS", 3);
    record[3] = VERSION;
    record[5] = (unsigned char)(session->placement.n | (session->unused ? UNUSED : 0)
                                | (session->lasts ? LASTS : 0));
    record[6] = (unsigned char)(session->writer >> 8);
    record[7] = (unsigned char)session->writer;
    memcpy(record + 8, key->digest, 16);
    put64(record + 24, session->revision);
    put64(record + 32, (apr_uint64_t)session->created);
    put64(record + 40, (apr_uint64_t)session->used);
    put64(record + 48, (apr_uint64_t)session->idle);
    put64(record + 56, (apr_uint64_t)session->written);
    put64(record + 64, (apr_uint64_t)session->renewed);
    apr_decode_base64_binary(record + 72, session->public_id, MEMSESS_PUBLIC_ID_LEN,
                             APR_ENCODE_BASE64URL, NULL);
    put32(record + SIZE_AT, (apr_uint32_t)size);
    put32(record + 88, (apr_uint32_t)session->attrs->nelts);
}

apr_status_t memsess_record_encode(const memsess_session_t *session, const memsess_key_t *key,
                                   apr_size_t compress, char **data, apr_size_t *len,
                                   apr_pool_t *p)
{
    const memsess_placement_t *placement = &session->placement;
    apr_size_t size = !session->moved ? memsess_record_size(session)
                      : session->tells ? sizeof(session->moved_to) : 0;
    unsigned flags = (session->ended ? FLAG_ENDED : 0) | (session->moved ? FLAG_MOVED : 0)
                     | (session->fixed ? FLAG_FIXED : 0)
                     | (session->login.user[0] ? FLAG_LOGIN : 0) | session->binding.to * FLAG_BIND;
    apr_size_t head = head_len(placement->n, flags);
    unsigned char *record = apr_palloc(p, head + size);

    if (size > APR_UINT32_MAX) {
        return APR_ENOSPC;
    }
    if (session->moved) {
        memcpy(record + head, session->moved_to, size);
    }
    else {
        put_payload(record + head, session);
    }
    *len = head + size;
    if (compress && size > compress) {
        uLongf packed_len = compressBound(size);
        unsigned char *packed = apr_palloc(p, head + packed_len);

        if (compress2(packed + head, &packed_len, record + head, size, Z_BEST_SPEED) == Z_OK
            && packed_len < size) {
            flags |= FLAG_COMPRESSED;
            record = packed;
            *len = head + packed_len;
        }
    }
    put_head(record, session, key, size);
    record[4] = (unsigned char)flags;
    put_placement(record + HEADER, placement);
    put_binding(record + HEADER + PLACE_LEN * (apr_size_t)placement->n, &session->binding);
    if (flags & FLAG_LOGIN) {
        put_login(record + head - LOGIN_BYTES, &session->login);
    }
    put32(record + HASH_AT, record_hash(record, *len));
    *data = (char *)record;
    return APR_SUCCESS;
}

static int get_payload(const unsigned char *at, apr_size_t len, apr_uint32_t count,
                       memsess_session_t *session, apr_pool_t *p)
{
    const unsigned char *end = at + len;
    const char *previous = "";
    memsess_attr_t *attr;

    if (count > len / ATTR_OVERHEAD) {
        return 0;
    }
    session->attrs = apr_array_make(p, (int)count, sizeof(memsess_attr_t));
    session->attrs->nelts = (int)count;
    for (attr = (memsess_attr_t *)session->attrs->elts; count--; attr++) {
        apr_size_t name_len, left = (apr_size_t)(end - at);

        if (left < ATTR_OVERHEAD || left - ATTR_OVERHEAD < (name_len = *at++)
            || !memsess_attr_name_ok((const char *)at, name_len) || at[name_len] != '\0') {
            return 0;
        }
        attr->name = (const char *)at;
        at += name_len + 1;
        attr->len = get32(at);
        at += 4;
        if ((apr_size_t)(end - at) <= attr->len || at[attr->len] != '\0'
            || memchr(at, '\0', attr->len) || strcmp(previous, attr->name) >= 0) {
            return 0;
        }
        attr->value = (const char *)at;
        at += attr->len + 1;
        previous = attr->name;
    }
    return at == end;
}

static int get_moved(const unsigned char *payload, apr_size_t size, memsess_session_t *session,
                     apr_pool_t *p)
{
    if (size && size != sizeof(session->moved_to)) {
        return 0;
    }
    session->tells = size != 0;
    memcpy(session->moved_to, payload, size);
    session->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    return 1;
}

/* The payload as it was before compression. */
static memsess_record_status_t unpack(const unsigned char *packed, apr_size_t packed_len,
                                      apr_size_t size, apr_size_t most,
                                      const unsigned char **payload, apr_pool_t *p)
{
    unsigned char *unpacked;
    uLongf len = size;

    if (size / DEFLATE_RATIO_MAX > packed_len) {
        return MEMSESS_RECORD_DAMAGED;
    }
    if (size > most) {
        return MEMSESS_RECORD_LARGE;
    }
    *payload = unpacked = apr_palloc(p, size + 1);
    return uncompress(unpacked, &len, packed, packed_len) == Z_OK && len == size
               ? MEMSESS_RECORD_OK : MEMSESS_RECORD_DAMAGED;
}

apr_size_t memsess_record_claims(const char *data)
{
    return get32((const unsigned char *)data + SIZE_AT);
}

int memsess_record_is_of(const char *data, apr_size_t len, const memsess_key_t *key)
{
    return len < HEADER || memcmp(data, "MSS", 3) != 0 || (unsigned char)data[3] != VERSION
           || memcmp(data + 8, key->digest, 16) == 0;
}

/* Everything before the payload. */
static void get_head(const unsigned char *record, unsigned tags, apr_size_t head,
                     memsess_session_t *s)
{
    s->ended = (record[4] & FLAG_ENDED) != 0;
    s->fixed = (record[4] & FLAG_FIXED) != 0;
    s->lasts = (record[5] & LASTS) != 0;
    s->writer = (apr_uint16_t)(record[6] << 8 | record[7]);
    s->revision = get64(record + 24);
    s->created = (apr_time_t)get64(record + 32);
    s->used = (apr_time_t)get64(record + 40);
    s->idle = (apr_interval_time_t)get64(record + 48);
    s->written = (apr_time_t)get64(record + 56);
    s->renewed = (apr_time_t)get64(record + 64);
    apr_encode_base64_binary(s->public_id, record + 72, MEMSESS_PUBLIC_ID_BYTES,
                             APR_ENCODE_BASE64URL, NULL);
    s->unused = (record[5] & UNUSED) != 0;
    get_placement(record + HEADER, tags, &s->placement);
    get_binding(record + HEADER + PLACE_LEN * (apr_size_t)tags, record[4], &s->binding);
    if (record[4] & FLAG_LOGIN) {
        get_login(record + head - LOGIN_BYTES, &s->login);
    }
}

memsess_record_status_t memsess_record_decode(const char *data, apr_size_t len, int is_whole,
                                              const memsess_key_t *key, apr_size_t most,
                                              memsess_session_t **session, apr_pool_t *p)
{
    const unsigned char *record = (const unsigned char *)data;
    memsess_record_status_t status = MEMSESS_RECORD_OK;
    const unsigned char *payload;
    memsess_session_t *s;
    apr_size_t head, size;
    unsigned tags;

    if (len < 4 || memcmp(record, "MSS", 3) != 0) {
        return MEMSESS_RECORD_DAMAGED;
    }
    if (record[3] > VERSION) {
        return MEMSESS_RECORD_NEWER;
    }
    tags = len < HEADER ? 0 : record[5] & ~(unsigned)(UNUSED | LASTS);
    if (record[3] != VERSION || len < HEADER || len < (head = head_len(tags, record[4]))
        || tags > MEMSESS_COPIES_MAX
        || (!is_whole && get32(record + HASH_AT) != record_hash(record, len))) {
        return MEMSESS_RECORD_DAMAGED;
    }
    if (memcmp(record + 8, key->digest, 16) != 0) {
        return MEMSESS_RECORD_FOREIGN;
    }
    payload = record + head;
    size = memsess_record_claims(data);
    if (record[4] & FLAG_COMPRESSED) {
        status = unpack(payload, len - head, size, most, &payload, p);
    }
    else if (size != len - head) {
        status = MEMSESS_RECORD_DAMAGED;
    }
    if (status != MEMSESS_RECORD_OK) {
        return status;
    }
    s = apr_pcalloc(p, sizeof(*s));
    s->moved = (record[4] & FLAG_MOVED) != 0;
    if (!(s->moved ? get_moved(payload, size, s, p)
                   : get_payload(payload, size, get32(record + 88), s, p))) {
        return MEMSESS_RECORD_DAMAGED;
    }
    get_head(record, tags, head, s);
    *session = s;
    return MEMSESS_RECORD_OK;
}
