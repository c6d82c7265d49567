/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/entries.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "apr_encode.h"

/* An entry's value: birth, last use and idle time-out in seconds, 32 bits each in network order,
 * and the label. */
enum { CREATED, USED, IDLE, DATES };
#define DATES_LEN 16

static apr_uint32_t to_seconds(apr_time_t t)
{
    apr_int64_t n = apr_time_sec(t);

    return htonl((apr_uint32_t)(n < 0 ? 0 : n > APR_UINT32_MAX ? APR_UINT32_MAX : n));
}

/* How many bytes of a label are kept; a character of UTF-8 is not cut in half. */
static apr_size_t label_len(const char *label)
{
    apr_size_t len = strlen(label);

    if (len > MEMSESS_LABEL_MAX) {
        for (len = MEMSESS_LABEL_MAX; len && ((unsigned char)label[len] & 0xc0) == 0x80; len--) {
        }
    }
    return len;
}

static void entry_put(memsess_attr_t *attr, const memsess_entry_t *entry, apr_pool_t *p)
{
    const apr_uint32_t dates[DATES] = {[CREATED] = to_seconds(entry->created),
                                       [USED] = to_seconds(entry->used),
                                       [IDLE] = to_seconds(entry->idle)};
    apr_size_t len = label_len(entry->label);
    char *value = apr_palloc(p, DATES_LEN + len + 1);

    apr_encode_base64_binary(value, (const unsigned char *)dates, sizeof(dates),
                             APR_ENCODE_BASE64URL, NULL);
    memcpy(value + DATES_LEN, entry->label, len);
    value[DATES_LEN + len] = '\0';
    attr->name = entry->public_id;
    attr->value = value;
    attr->len = DATES_LEN + len;
}

/* Whether an attribute is an entry, and which. */
static int entry_get(const memsess_attr_t *attr, memsess_entry_t *entry)
{
    apr_uint32_t dates[DATES];

    if (*attr->name == '.' || attr->len < DATES_LEN || !memsess_base64url_ok(attr->value, DATES_LEN)
        || apr_decode_base64_binary((unsigned char *)dates, attr->value, DATES_LEN,
                                    APR_ENCODE_BASE64URL, NULL) != APR_SUCCESS) {
        return 0;
    }
    entry->public_id = attr->name;
    entry->created = apr_time_from_sec(ntohl(dates[CREATED]));
    entry->used = apr_time_from_sec(ntohl(dates[USED]));
    entry->idle = apr_time_from_sec(ntohl(dates[IDLE]));
    entry->label = attr->value + DATES_LEN;
    return 1;
}

static int by_use(const void *a, const void *b)
{
    const memsess_entry_t *one = a, *other = b;

    return one->used != other->used ? (one->used < other->used ? 1 : -1)
                                    : strcmp(one->public_id, other->public_id);
}

apr_array_header_t *memsess_entries_list(const memsess_session_t *record, apr_time_t now,
                                         apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(memsess_entry_t));
    memsess_entry_t entry;
    int i;

    for (i = 0; i < record->attrs->nelts; i++) {
        if (entry_get(&APR_ARRAY_IDX(record->attrs, i, memsess_attr_t), &entry)
            && entry.used + entry.idle > now) {
            APR_ARRAY_PUSH(list, memsess_entry_t) = entry;
        }
    }
    qsort(list->elts, (apr_size_t)list->nelts, sizeof(memsess_entry_t), by_use);
    return list;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const memsess_attr_t *)a)->name, ((const memsess_attr_t *)b)->name);
}

void memsess_entries_sort(apr_array_header_t *attrs)
{
    qsort(attrs->elts, (apr_size_t)attrs->nelts, sizeof(memsess_attr_t), by_name);
}

/* Whether @a one has to go before @a other: one that is over goes before one that is not, and then
 * the one that was unused for longer. Dates lag by what refresh_of says, at most a tenth of the
 * idle time-out. */
static int goes_before(const memsess_entry_t *one, const memsess_entry_t *other, apr_time_t now)
{
    int over = one->used + one->idle + one->idle / 10 < now;
    int other_over = other->used + other->idle + other->idle / 10 < now;

    return over != other_over ? over : one->used < other->used;
}

/* Takes out the entry that has to go next; the first attribute stays. */
static void shorten(apr_array_header_t *attrs, apr_time_t now)
{
    memsess_entry_t entry, oldest = {.used = APR_INT64_MAX / 2};
    int i, at = 0;

    for (i = 1; i < attrs->nelts; i++) {
        if (entry_get(&APR_ARRAY_IDX(attrs, i, memsess_attr_t), &entry)
            && goes_before(&entry, &oldest, now)) {
            oldest = entry;
            at = i;
        }
    }
    APR_ARRAY_IDX(attrs, at, memsess_attr_t) =
        APR_ARRAY_IDX(attrs, attrs->nelts - 1, memsess_attr_t);
    attrs->nelts--;
}

void memsess_entries_enter(memsess_session_t *record, const memsess_entry_t *entry, unsigned most,
                           apr_time_t now, apr_pool_t *p)
{
    apr_array_header_t *attrs = apr_array_make(p, record->attrs->nelts + 1, sizeof(memsess_attr_t));
    memsess_entry_t other;
    unsigned n = 1;
    int i;

    entry_put(apr_array_push(attrs), entry, p);
    for (i = 0; i < record->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(record->attrs, i, memsess_attr_t);

        if (!strcmp(attr->name, entry->public_id)) {
            continue;
        }
        if (entry_get(attr, &other)) {
            if (other.used + 2 * other.idle < now) {
                continue;
            }
            n++;
        }
        APR_ARRAY_PUSH(attrs, memsess_attr_t) = *attr;
    }
    for (; most && n > most; n--) {
        shorten(attrs, now);
    }
    memsess_entries_sort(attrs);
    record->attrs = attrs;
}

int memsess_entries_drop(memsess_session_t *record, const char *public_id, apr_pool_t *p)
{
    apr_array_header_t *attrs = apr_array_make(p, record->attrs->nelts, sizeof(memsess_attr_t));
    int i;

    for (i = 0; i < record->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(record->attrs, i, memsess_attr_t);

        if (*public_id == '.' || strcmp(attr->name, public_id)) {
            APR_ARRAY_PUSH(attrs, memsess_attr_t) = *attr;
        }
    }
    if (attrs->nelts == record->attrs->nelts) {
        return 0;
    }
    record->attrs = attrs;
    return 1;
}

/* How old the date of an entry gets before it is dated again. */
static apr_interval_time_t refresh_of(const memsess_entry_t *entry)
{
    apr_interval_time_t tenth = entry->idle / 10;

    return tenth < apr_time_from_sec(60) ? tenth : apr_time_from_sec(60);
}

int memsess_entries_dated(const memsess_session_t *record, const memsess_entry_t *entry)
{
    const memsess_attr_t *attr = memsess_session_find(record, entry->public_id);
    memsess_entry_t listed;
    apr_interval_time_t age;

    if (!attr || !entry_get(attr, &listed)) {
        return 1;
    }
    age = entry->used - listed.used;
    return listed.idle >= entry->idle - apr_time_from_sec(1) && age < refresh_of(entry)
           && -age < entry->idle / 2;
}
