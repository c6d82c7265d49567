/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Write-back headers, one in each line: the first letter says which (s, u, i or e; upper case:
 * checked against a list of keys), the rest is the value. They are parsed, applied and compared
 * with a model that does the same in the plainest way. */

#include "fuzz.h"
#include "session/change.h"

static const memsess_attr_t *find(const apr_array_header_t *attrs, const char *name)
{
    int i;

    for (i = 0; i < attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(attrs, i, memsess_attr_t);

        if (!strcmp(attr->name, name)) {
            return attr;
        }
    }
    return NULL;
}

/* What the list makes of one attribute; 0: a change is refused. */
static int model(const apr_array_header_t *list, const char *name, const char **value)
{
    int i;

    for (i = 0; i < list->nelts; i++) {
        const memsess_change_t *change = &APR_ARRAY_IDX(list, i, memsess_change_t);
        apr_int64_t n = 0;
        char *end;

        if (strcmp(change->name, name)) {
            continue;
        }
        if (change->op == MEMSESS_SET) {
            *value = change->value;
        }
        else if (change->op == MEMSESS_UNSET) {
            *value = NULL;
        }
        else {
            if (*value) {
                n = apr_strtoi64(*value, &end, 10);
                if (*end || end == *value || apr_isspace(**value)) {
                    return 0;
                }
            }
            if (__builtin_add_overflow(n, change->by, &n)) {
                return 0;
            }
            *value = apr_psprintf(fuzz_pool, "%" APR_INT64_T_FMT, n);
        }
    }
    return 1;
}

static void check_order(const apr_array_header_t *attrs)
{
    const char *previous = "";
    int i;

    for (i = 0; i < attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(attrs, i, memsess_attr_t);

        HOLDS(memsess_attr_name_ok(attr->name, strlen(attr->name)));
        HOLDS(strcmp(previous, attr->name) < 0 && strlen(attr->value) == attr->len);
        previous = attr->name;
    }
}

/* Every attribute, with every byte percent-encoded in a header, must give the same attribute. */
static void check_encoding(const memsess_attr_t *attr)
{
    char *header = apr_palloc(fuzz_pool, strlen(attr->name) + 3 * attr->len + 2), *to = header;
    const memsess_change_t *change;
    memsess_changes_t changes;
    apr_size_t i;

    to += sprintf(to, "%s=", attr->name);
    for (i = 0; i < attr->len; i++) {
        to += sprintf(to, "%%%02x", (unsigned char)attr->value[i]);
    }
    memsess_changes_init(&changes, fuzz_pool);
    HOLDS(!memsess_changes_take(&changes, MEMSESS_SET, header, fuzz_pool));
    HOLDS(changes.list->nelts == 1);
    change = &APR_ARRAY_IDX(changes.list, 0, memsess_change_t);
    HOLDS(!strcmp(change->name, attr->name) && !strcmp(change->value, attr->value));
}

static void check_result(const memsess_changes_t *changes, const memsess_session_t *before)
{
    memsess_session_t *after = NULL;
    const char *error = memsess_changes_apply(changes, before, &after, fuzz_pool);
    int refused = 0, known = 0, i;

    for (i = 0; i < changes->list->nelts; i++) {
        const char *name = APR_ARRAY_IDX(changes->list, i, memsess_change_t).name, *value;
        const memsess_attr_t *was = find(before->attrs, name), *is;

        value = was ? was->value : NULL;
        if (!model(changes->list, name, &value)) {
            refused = 1;
        }
        else if (!error) {
            is = find(after->attrs, name);
            HOLDS(value ? is && !strcmp(is->value, value) : !is);
        }
    }
    HOLDS(refused == (error != NULL));
    HOLDS(!error || !fuzz_has_control(error));
    HOLDS(before->attrs->nelts == 2 && !strcmp(find(before->attrs, "n")->value, "41"));
    if (error) {
        return;
    }
    check_order(after->attrs);
    for (i = 0; i < after->attrs->nelts; i++) {
        check_encoding(&APR_ARRAY_IDX(after->attrs, i, memsess_attr_t));
    }
    /* Nothing else has changed. */
    for (i = 0; i < before->attrs->nelts; i++) {
        const memsess_attr_t *was = &APR_ARRAY_IDX(before->attrs, i, memsess_attr_t);
        const char *value = was->value;

        model(changes->list, was->name, &value);
        known += value != NULL;
    }
    HOLDS(after->attrs->nelts >= known);
}

static void check_limited(const memsess_changes_t *said, const apr_array_header_t *refused,
                          const apr_array_header_t *keys)
{
    int i;

    for (i = 0; i < said->list->nelts; i++) {
        const char *name = APR_ARRAY_IDX(said->list, i, memsess_change_t).name;

        HOLDS(!strcmp(name, "n") || !strncmp(name, "a.", 2));
    }
    for (i = 0; i < refused->nelts; i++) {
        const char *name = APR_ARRAY_IDX(refused, i, const char *);

        HOLDS(memsess_attr_name_ok(name, strlen(name)) && !memsess_keys_match(keys, name));
    }
}

static memsess_session_t *start(void)
{
    memsess_session_t *session;
    memsess_attr_t a = {.name = "a", .value = "text", .len = 4};
    memsess_attr_t n = {.name = "n", .value = "41", .len = 2};

    HOLDS(memsess_session_make(&session, 0, fuzz_pool) == APR_SUCCESS);
    APR_ARRAY_PUSH(session->attrs, memsess_attr_t) = a;
    APR_ARRAY_PUSH(session->attrs, memsess_attr_t) = n;
    return session;
}

void fuzz(const unsigned char *data, size_t len)
{
    static const char letters[] = "sui";
    static const memsess_verb_t verbs[] = {MEMSESS_SET, MEMSESS_UNSET, MEMSESS_INCR};
    apr_array_header_t *keys = apr_array_make(fuzz_pool, 2, sizeof(const char *));
    char *text = fuzz_string(data, len), *line, *state;
    memsess_changes_t changes, said;

    APR_ARRAY_PUSH(keys, const char *) = "n";
    APR_ARRAY_PUSH(keys, const char *) = "a.*";
    memsess_changes_init(&changes, fuzz_pool);
    for (line = apr_strtok(text, "\n", &state); line; line = apr_strtok(NULL, "\n", &state)) {
        const char *letter = strchr(letters, apr_tolower(*line));
        const char *error;

        if (*line == 'e') {
            error = memsess_changes_take(&changes, MEMSESS_EXPIRE, line + 1, fuzz_pool);
            HOLDS((error == NULL) == changes.expire && (!error || !fuzz_has_control(error)));
            HOLDS(changes.lasts >= 0 && changes.lasts <= apr_time_from_sec(APR_INT32_MAX));
            changes.expire = 0;
        }
        if (!letter) {
            continue;
        }
        memsess_changes_init(&said, fuzz_pool);
        error = memsess_changes_take(&said, verbs[letter - letters], line + 1, fuzz_pool);
        if (error) {
            HOLDS(*error && !fuzz_has_control(error));
            return;
        }
        if (apr_isupper(*line)) {
            check_limited(&said, memsess_changes_limit(&said, keys, fuzz_pool), keys);
        }
        memsess_changes_join(&changes, &said);
    }
    check_result(&changes, start());
}
