/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "session/change.h"

#include <errno.h>
#include <string.h>

#include "apr_escape.h"
#include "apr_lib.h"
#include "apr_strings.h"

void memsess_changes_init(memsess_changes_t *changes, apr_pool_t *p)
{
    /* Few requests end sessions of others: these have no memory for elements until then. */
    apr_array_header_t *ends = apr_palloc(p, 2 * sizeof(*ends));

    ends[0] = ends[1] = (apr_array_header_t){.pool = p, .elt_size = sizeof(const char *)};
    memset(changes, 0, sizeof(*changes));
    changes->list = apr_array_make(p, 4, sizeof(memsess_change_t));
    changes->end_ids = &ends[0];
    changes->end_users = &ends[1];
}

void memsess_changes_join(memsess_changes_t *changes, const memsess_changes_t *more)
{
    apr_array_header_t *list = changes->list;

    if (more->destroy) {
        list->nelts = 0;
        changes->destroy = 1;
        changes->renew = changes->expire = 0;
        changes->ends = changes->lasts = 0;
    }
    changes->destroy_others |= more->destroy_others;
    changes->destroy_all |= more->destroy_all || (changes->destroy && changes->destroy_others);
    apr_array_cat(changes->end_ids, more->end_ids);
    apr_array_cat(changes->end_users, more->end_users);
    changes->renew |= more->renew;
    if (more->expire) {
        changes->expire = 1;
        changes->ends = more->ends;
        changes->lasts = more->lasts;
    }
    apr_array_cat(list, more->list);
}

int memsess_changes_any(const memsess_changes_t *changes)
{
    return changes->destroy || changes->renew || changes->expire || changes->list->nelts > 0
           || memsess_changes_end_others(changes);
}

int memsess_changes_end_others(const memsess_changes_t *changes)
{
    return changes->destroy_all || changes->destroy_others || changes->end_ids->nelts > 0
           || changes->end_users->nelts > 0;
}

int memsess_changes_touch(const memsess_changes_t *changes, const char *name)
{
    int i;

    for (i = 0; i < changes->list->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(changes->list, i, memsess_change_t).name, name)) {
            return 1;
        }
    }
    return 0;
}

int memsess_changes_has_incr(const memsess_changes_t *changes)
{
    int i;

    for (i = 0; i < changes->list->nelts; i++) {
        if (APR_ARRAY_IDX(changes->list, i, memsess_change_t).op == MEMSESS_INCR) {
            return 1;
        }
    }
    return 0;
}

int memsess_changes_begin_session(const memsess_changes_t *changes)
{
    int i;

    for (i = 0; i < changes->list->nelts; i++) {
        if (APR_ARRAY_IDX(changes->list, i, memsess_change_t).op != MEMSESS_UNSET) {
            return 1;
        }
    }
    return 0;
}

int memsess_keys_match(const apr_array_header_t *keys, const char *name)
{
    int i;

    if (!keys) {
        return 1;
    }
    for (i = 0; i < keys->nelts; i++) {
        const char *key = APR_ARRAY_IDX(keys, i, const char *);
        apr_size_t len = strlen(key);

        if (len && key[len - 1] == '*' ? !strncmp(key, name, len - 1) : !strcmp(key, name)) {
            return 1;
        }
    }
    return 0;
}

int memsess_integer_parse(const char *s, apr_int64_t *n)
{
    char *end;

    if (!apr_isdigit(*s) && !((*s == '-' || *s == '+') && apr_isdigit(s[1]))) {
        return 0;
    }
    errno = 0;
    *n = apr_strtoi64(s, &end, 10);
    return *end == '\0' && errno == 0;
}

/* Undoes form encoding in place of a copy; NULL for a bad escape or a NUL. */
static const char *decode(const char *s, apr_size_t len, apr_pool_t *p)
{
    char *raw = apr_pstrmemdup(p, s, len);
    apr_status_t rv;

    if (!memchr(raw, '%', len) && !memchr(raw, '+', len)) {
        return raw;
    }
    rv = apr_unescape_url(raw, raw, APR_ESCAPE_STRING, NULL, NULL, 1, NULL);
    return rv == APR_SUCCESS || rv == APR_NOTFOUND ? raw : NULL;
}

static const char *take_pair(memsess_changes_t *changes, memsess_verb_t op, const char *pair,
                             apr_size_t len, apr_pool_t *p)
{
    const char *equals = op == MEMSESS_UNSET ? NULL : memchr(pair, '=', len);
    apr_size_t name_len = equals ? (apr_size_t)(equals - pair) : len;
    memsess_change_t change = {.op = op};

    change.name = decode(pair, name_len, p);
    if (!change.name || !memsess_attr_name_ok(change.name, strlen(change.name))) {
        return apr_psprintf(p, "'%s' is not an attribute name: use 1 to %d of [A-Za-z0-9_.-]",
                            apr_pescape_echo(p, apr_pstrmemdup(p, pair, name_len), 0),
                            MEMSESS_ATTR_NAME_MAX);
    }
    if (op != MEMSESS_UNSET) {
        if (!equals) {
            return apr_psprintf(p, "'%s' has no '='", change.name);
        }
        change.value = decode(equals + 1, len - (apr_size_t)(equals + 1 - pair), p);
        if (!change.value) {
            return apr_psprintf(p, "the value of '%s' has a malformed percent escape or a NUL",
                                change.name);
        }
        change.len = strlen(change.value);
    }
    if (op == MEMSESS_INCR && !memsess_integer_parse(change.value, &change.by)) {
        return apr_psprintf(p, "the value for '%s' is not a 64-bit integer", change.name);
    }
    APR_ARRAY_PUSH(changes->list, memsess_change_t) = change;
    return NULL;
}

/* Form encoding. */
static const char *take_pairs(memsess_changes_t *changes, memsess_verb_t op, const char *value,
                              apr_pool_t *p)
{
    while (*value) {
        const char *end;
        apr_size_t len;

        value += strspn(value, "&, \t");
        end = value + strcspn(value, "&,");
        len = (apr_size_t)(end - value);
        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
            len--;
        }
        if (len) {
            const char *error = take_pair(changes, op, value, len, p);

            if (error) {
                return error;
            }
        }
        value = end;
    }
    return NULL;
}

static const char *take_set(memsess_changes_t *changes, const char *value, apr_pool_t *p)
{
    return take_pairs(changes, MEMSESS_SET, value, p);
}

static const char *take_unset(memsess_changes_t *changes, const char *value, apr_pool_t *p)
{
    return take_pairs(changes, MEMSESS_UNSET, value, p);
}

static const char *take_incr(memsess_changes_t *changes, const char *value, apr_pool_t *p)
{
    return take_pairs(changes, MEMSESS_INCR, value, p);
}

/* The value behind "NAME=", decoded; NULL: it is another word, or cannot be decoded. */
static const char *named(const char *item, const char *name, apr_pool_t *p)
{
    apr_size_t len = strlen(name);
    const char *value = strncasecmp(item, name, len) || item[len] != '='
                            ? NULL : decode(item + len + 1, strlen(item + len + 1), p);

    return value && *value ? value : NULL;
}

static const char *take_destroy(memsess_changes_t *changes, const char *words, apr_pool_t *p)
{
    char *state, *item = apr_strtok(apr_pstrdup(p, words), ", \t", &state);
    const char *value;

    do {
        if (item && (!strcmp(item, "1") || !strcasecmp(item, "all"))) {
            changes->destroy = 1;
            changes->destroy_all |= *item != '1';
        }
        else if (item && !strcasecmp(item, "others")) {
            changes->destroy_others = 1;
        }
        else if (item && (value = named(item, "id", p))) {
            APR_ARRAY_PUSH(changes->end_ids, const char *) = value;
        }
        else if (item && (value = named(item, "user", p))) {
            APR_ARRAY_PUSH(changes->end_users, const char *) = value;
        }
        else {
            return "the value must be 1, all, others, id=PUBLIC_ID or user=NAME";
        }
    } while ((item = apr_strtok(NULL, ", \t", &state)));
    return NULL;
}

/* The last of several counts. */
static const char *take_expire(memsess_changes_t *changes, const char *value, apr_pool_t *p)
{
    char *state, *item = apr_strtok(apr_pstrdup(p, value), ", \t", &state);
    apr_int64_t seconds = -1;

    do {
        if (!item || !apr_isdigit(*item) || !memsess_integer_parse(item, &seconds)
            || seconds > APR_INT32_MAX) {
            return apr_psprintf(p, "the value must be a number of seconds, %d at most",
                                APR_INT32_MAX);
        }
    } while ((item = apr_strtok(NULL, ", \t", &state)));
    changes->expire = 1;
    changes->ends = 0;
    changes->lasts = apr_time_from_sec(seconds);
    return NULL;
}

static const char *take_renew(memsess_changes_t *changes, const char *value, apr_pool_t *p)
{
    char *state, *item = apr_strtok(apr_pstrdup(p, value), ", \t", &state);

    do {
        if (!item || strcmp(item, "1")) {
            return "the value must be 1";
        }
    } while ((item = apr_strtok(NULL, ", \t", &state)));
    changes->renew = 1;
    return NULL;
}

/* -- The headers ------------------------------------------------------------------------------- */

#define NAME(VERB, verb, name) [MEMSESS_##VERB] = (name),
#define WORD(VERB, verb, name) [MEMSESS_##VERB] = #verb,
#define TAKE(VERB, verb, name) [MEMSESS_##VERB] = take_##verb,

const char *const memsess_header_names[] = {MEMSESS_HEADERS(NAME)};
const char *const memsess_verb_names[] = {MEMSESS_HEADERS(WORD)[MEMSESS_ADMIN] = "admin"};

memsess_verb_t memsess_header_find(const char *name)
{
    int i = 0;

    while (i < MEMSESS_HEADERS_N && strcasecmp(name, memsess_header_names[i])) {
        i++;
    }
    return (memsess_verb_t)i;
}

const char *memsess_changes_take(memsess_changes_t *changes, memsess_verb_t verb,
                                 const char *value, apr_pool_t *p)
{
    static const char *(*const take[])(memsess_changes_t *, const char *, apr_pool_t *) = {
        MEMSESS_HEADERS(TAKE)};

    return take[verb](changes, value, p);
}

apr_array_header_t *memsess_changes_limit(memsess_changes_t *changes,
                                          const apr_array_header_t *keys, apr_pool_t *p)
{
    apr_array_header_t *refused = apr_array_make(p, 0, sizeof(const char *));
    apr_array_header_t *list = changes->list;
    int i, n = list->nelts;

    list->nelts = 0;
    for (i = 0; i < n; i++) {
        const memsess_change_t change = APR_ARRAY_IDX(list, i, memsess_change_t);

        if (memsess_keys_match(keys, change.name)) {
            APR_ARRAY_PUSH(list, memsess_change_t) = change;
        }
        else {
            APR_ARRAY_PUSH(refused, const char *) = change.name;
        }
    }
    return refused;
}

/* -- Attributes -------------------------------------------------------------------------------- */

/* Where name is among the attributes, or would be; found says which. */
static int position(const apr_array_header_t *attrs, const char *name, int *found)
{
    int low = 0, high = attrs->nelts;

    *found = 0;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(APR_ARRAY_IDX(attrs, middle, memsess_attr_t).name, name);

        if (order == 0) {
            *found = 1;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

static void put_attr(apr_array_header_t *attrs, int at, int found, const memsess_change_t *change)
{
    memsess_attr_t *attr;

    if (!found) {
        apr_array_push(attrs);
        attr = (memsess_attr_t *)attrs->elts + at;
        memmove(attr + 1, attr, sizeof(*attr) * (size_t)(attrs->nelts - 1 - at));
        attr->name = change->name;
    }
    attr = (memsess_attr_t *)attrs->elts + at;
    attr->value = change->value;
    attr->len = change->len;
}

static void remove_attr(apr_array_header_t *attrs, int at)
{
    memsess_attr_t *attr = (memsess_attr_t *)attrs->elts + at;

    memmove(attr, attr + 1, sizeof(*attr) * (size_t)(attrs->nelts - 1 - at));
    attrs->nelts--;
}

static const char *increment(apr_array_header_t *attrs, int at, int found,
                             const memsess_change_t *incr, apr_pool_t *p)
{
    memsess_change_t set = {.op = MEMSESS_SET, .name = incr->name};
    apr_int64_t n = 0;

    if (found && !memsess_integer_parse(APR_ARRAY_IDX(attrs, at, memsess_attr_t).value, &n)) {
        return apr_psprintf(p, "MemSess-Incr: the session's value of '%s' is not a 64-bit integer",
                            incr->name);
    }
    if (__builtin_add_overflow(n, incr->by, &n)) {
        return apr_psprintf(p, "MemSess-Incr: '%s' would no longer fit in 64 bits", incr->name);
    }
    set.value = apr_psprintf(p, "%" APR_INT64_T_FMT, n);
    set.len = strlen(set.value);
    put_attr(attrs, at, found, &set);
    return NULL;
}

const char *memsess_change_apply(const memsess_change_t *change, apr_array_header_t *attrs,
                                 apr_pool_t *p)
{
    int found, at = position(attrs, change->name, &found);

    if (change->op == MEMSESS_INCR) {
        return increment(attrs, at, found, change, p);
    }
    if (change->op == MEMSESS_SET) {
        put_attr(attrs, at, found, change);
    }
    else if (found) {
        remove_attr(attrs, at);
    }
    return NULL;
}

const char *memsess_changes_apply(const memsess_changes_t *changes,
                                  const memsess_session_t *session, memsess_session_t **result,
                                  apr_pool_t *p)
{
    memsess_session_t *s = apr_pmemdup(p, session, sizeof(*s));
    int i;

    s->attrs = apr_array_copy(p, session->attrs);
    for (i = 0; i < changes->list->nelts; i++) {
        const char *error = memsess_change_apply(
            &APR_ARRAY_IDX(changes->list, i, memsess_change_t), s->attrs, p);

        if (error) {
            return error;
        }
    }
    *result = s;
    return NULL;
}
