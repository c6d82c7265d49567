/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Changes: read from write-back headers, and replayed on a session. */

#include "unit.h"

#include "session/change.h"

static memsess_changes_t *new_changes(void)
{
    memsess_changes_t *changes = apr_palloc(unit_pool, sizeof(*changes));

    memset(changes, 0xff, sizeof(*changes));
    memsess_changes_init(changes, unit_pool);
    return changes;
}

/* Parses with patterns of keys; the names that were refused come joined by spaces. */
static const char *parse_keys(memsess_changes_t *changes, memsess_verb_t op, const char *header,
                              const apr_array_header_t *keys, const char **refused)
{
    const char *error = memsess_changes_take(changes, op, unit_guard_string(header),
                                             unit_pool);

    *refused = apr_array_pstrcat(unit_pool, memsess_changes_limit(changes, keys, unit_pool), ' ');
    return error;
}

static const char *parse(memsess_changes_t *changes, memsess_verb_t op, const char *header)
{
    const char *refused;
    const char *error = parse_keys(changes, op, header, NULL, &refused);

    assert_string_equal(refused, "");
    return error;
}

static void parse_well(memsess_changes_t *changes, memsess_verb_t op, const char *header)
{
    const char *error = parse(changes, op, header);

    if (error) {
        print_error("%s: %s\n", header, error);
    }
    assert_null(error);
}

static void must_set(memsess_changes_t *changes, const char *header)
{
    parse_well(changes, MEMSESS_SET, header);
}

/* The list as text: "=name<value>", "-name" and "+name<by>". */
static const char *list_text(const memsess_changes_t *changes)
{
    const char *text = "";
    int i;

    for (i = 0; i < changes->list->nelts; i++) {
        const memsess_change_t *c = &APR_ARRAY_IDX(changes->list, i, memsess_change_t);

        switch (c->op) {
        case MEMSESS_SET:
            assert_int_equal(strlen(c->value), c->len);
            text = apr_psprintf(unit_pool, "%s=%s<%s>", text, c->name, c->value);
            break;
        case MEMSESS_UNSET:
            text = apr_psprintf(unit_pool, "%s-%s", text, c->name);
            break;
        default:
            text = apr_psprintf(unit_pool, "%s+%s<%" APR_INT64_T_FMT ">", text, c->name, c->by);
        }
    }
    return text;
}

static void assert_parsed(memsess_verb_t op, const char *header, const char *expected)
{
    memsess_changes_t *changes = new_changes();

    parse_well(changes, op, header);
    assert_string_equal(list_text(changes), expected);
}

/* The message must contain this text, so that an administrator finds the fault. */
static void assert_malformed(memsess_verb_t op, const char *header, const char *message)
{
    const char *error = parse(new_changes(), op, header);

    if (!error || !strstr(error, message)) {
        print_error("%s: %s\n", header, error ? error : "not refused");
    }
    assert_non_null(error);
    assert_non_null(strstr(error, message));
}

/* -- Reading headers --------------------------------------------------------------------------- */

static void test_set(void **state)
{
    static const struct {
        const char *header, *expected;
    } cases[] = {
        {"", ""},
        {" ", ""},
        {"&", ""},
        {" , & ,, ", ""},
        {"a=1", "=a<1>"},
        {"a=", "=a<>"},
        {"a=1&b=2", "=a<1>=b<2>"},
        {"b=2&a=1&b=3", "=b<2>=a<1>=b<3>"},
        {"a=two%20words", "=a<two words>"},
        {"a=two+words", "=a<two words>"},
        {"a=1%2B1", "=a<1+1>"},
        {"a=%26%3D%2C%3B%25", "=a<&=,;%>"},
        {"a=b=c", "=a<b=c>"},
        {"a==", "=a<=>"},
        {"a=%41%6a%6A", "=a<Ajj>"},
        {"a=%0D%0A%09", "=a<\r\n\t>"},
        {"a=%C3%A4", "=a<\xc3\xa4>"},
        {"a=\xc3\xa4\xff", "=a<\xc3\xa4\xff>"},
        {"a=%FF%01%7f", "=a<\xff\x01\x7f>"},
        {"a=%2525", "=a<%25>"},
        {"a=1, b=2", "=a<1>=b<2>"},
        {"a=1,b=2,,c=3,", "=a<1>=b<2>=c<3>"},
        {"a=1 ,\tb=2", "=a<1>=b<2>"},
        {"&a=1&&b=2&", "=a<1>=b<2>"},
        {"a=x y", "=a<x y>"},
        {"a=+", "=a< >"},
        {"a= x", "=a< x>"},
        {"%61=1", "=a<1>"},
        {"a.b-c_D9=1", "=a.b-c_D9<1>"},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        assert_parsed(MEMSESS_SET, cases[i].header, cases[i].expected);
    }
}

static void test_unset(void **state)
{
    (void)state;
    assert_parsed(MEMSESS_UNSET, "", "");
    assert_parsed(MEMSESS_UNSET, "a", "-a");
    assert_parsed(MEMSESS_UNSET, "a&b", "-a-b");
    assert_parsed(MEMSESS_UNSET, "a, b ,c", "-a-b-c");
    assert_parsed(MEMSESS_UNSET, "%61&a%2Eb", "-a-a.b");
    assert_malformed(MEMSESS_UNSET, "a=1", "a=1");
    assert_malformed(MEMSESS_UNSET, "a=", "a=");
    assert_malformed(MEMSESS_UNSET, "a b", "a b");
    assert_malformed(MEMSESS_UNSET, "a;b", "a;b");
    assert_malformed(MEMSESS_UNSET, "a%", "a%");
    assert_malformed(MEMSESS_UNSET, "a%00", "a%00");
    assert_malformed(MEMSESS_UNSET, "*", "*");
}

static void test_incr(void **state)
{
    static const struct {
        const char *header, *expected;
    } cases[] = {
        {"hits=1&credit=-5", "+hits<1>+credit<-5>"},
        {"a=0", "+a<0>"},
        {"a=-0", "+a<0>"},
        {"a=007", "+a<7>"},
        {"a=%2B7", "+a<7>"},
        {"a=9223372036854775807", "+a<9223372036854775807>"},
        {"a=-9223372036854775808", "+a<-9223372036854775808>"},
        {"a=1, b=2", "+a<1>+b<2>"},
        {"a=1&a=2", "+a<1>+a<2>"},
        {"a=%31%32", "+a<12>"},
    };
    static const char *const malformed[] = {
        "a=", "a=x", "a=1x", "a=x1", "a=1.0", "a=1e3", "a=0x10", "a=--1", "a=%2B-1", "a=-", "a=%2B",
        "a=1%20", "a=%201", "a=+1", "a=1+", "a= 1", "a=1%0A", "a=9223372036854775808",
        "a=-9223372036854775809", "a=99999999999999999999999999", "a=-99999999999999999999999999",
        "a=1&b=x", "a==1",
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        assert_parsed(MEMSESS_INCR, cases[i].header, cases[i].expected);
    }
    for (i = 0; i < COUNT(malformed); i++) {
        assert_malformed(MEMSESS_INCR, malformed[i], "integer");
    }
    assert_malformed(MEMSESS_INCR, "b=x", "'b'");
}

static void test_malformed(void **state)
{
    static const memsess_verb_t with_value[] = {MEMSESS_SET, MEMSESS_INCR};
    static const char *const bad_values[] = {"%", "%2", "%zz", "%2g", "%g2", "1%", "1%%31", "%00",
                                             "1%002", "%2%35", "%-1", "%+1", "%u0041"};
    static const char *const bad_names[] = {
        "a b", "a%20b", "a+b", "a;b", "a/b", "a%2Fb", "a[]", "a*", "*", "\xc3\xa4", "%C3%A4", "a%",
        "a%0", "%00", "a%00", "a%00b", "%0A", "a:b", "a\"", "a%3Db",
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
    };
    unsigned i, j;

    (void)state;
    for (j = 0; j < COUNT(with_value); j++) {
        memsess_verb_t op = with_value[j];

        assert_malformed(op, "a", "'='");
        assert_malformed(op, "a=1&b", "'b'");
        assert_malformed(op, "=1", "name");
        assert_malformed(op, "=", "name");
        assert_malformed(op, "a=1&=2", "name");
        for (i = 0; i < COUNT(bad_values); i++) {
            assert_malformed(op, apr_pstrcat(unit_pool, "x=", bad_values[i], NULL), "'x'");
            assert_malformed(op, apr_pstrcat(unit_pool, "y=1&x=", bad_values[i], "&z=3", NULL),
                             "'x'");
            assert_malformed(op, apr_pstrcat(unit_pool, "y=1,x=", bad_values[i], ",z=3", NULL),
                             "'x'");
        }
        for (i = 0; i < COUNT(bad_names); i++) {
            assert_malformed(op, apr_pstrcat(unit_pool, bad_names[i], "=1", NULL), "name");
        }
    }
    for (i = 0; i < COUNT(bad_names); i++) {
        assert_malformed(MEMSESS_UNSET, bad_names[i], "name");
    }
}

/* The log quotes what is malformed, so the message must not bring line ends into it. */
static void test_messages_are_fit_for_a_log(void **state)
{
    static const memsess_verb_t ops[] = {MEMSESS_SET, MEMSESS_UNSET, MEMSESS_INCR};
    unsigned i, j;
    int c;

    (void)state;
    for (i = 0; i < COUNT(ops); i++) {
        for (c = 1; c < 256; c++) {
            const char *header = apr_psprintf(unit_pool, "a%cb/=%c%%", c, c);
            const char *error = parse(new_changes(), ops[i], header);

            for (j = 0; error && error[j]; j++) {
                assert_in_range((unsigned char)error[j], ' ', '~');
            }
        }
    }
}

static void test_longest_name(void **state)
{
    char name[MEMSESS_ATTR_NAME_MAX + 1];

    (void)state;
    memset(name, 'n', MEMSESS_ATTR_NAME_MAX);
    name[MEMSESS_ATTR_NAME_MAX] = '\0';
    assert_parsed(MEMSESS_UNSET, name, apr_pstrcat(unit_pool, "-", name, NULL));
    assert_malformed(MEMSESS_UNSET, apr_pstrcat(unit_pool, name, "n", NULL), "name");
}

static void test_large_headers(void **state)
{
    enum { LARGE = 65000 };
    memsess_changes_t *changes = new_changes();
    char *header = apr_palloc(unit_pool, LARGE + 1);
    int i;

    (void)state;
    for (i = 0; i + 4 <= LARGE; i += 4) {
        memcpy(header + i, "a=1,", 4);
    }
    header[i] = '\0';
    must_set(changes, header);
    assert_int_equal(changes->list->nelts, LARGE / 4);

    changes = new_changes();
    memset(header, 'x', LARGE);
    memcpy(header, "a=", 2);
    header[LARGE] = '\0';
    must_set(changes, header);
    assert_int_equal(APR_ARRAY_IDX(changes->list, 0, memsess_change_t).len, LARGE - 2);
}

static void test_random_headers(void **state)
{
    static const char alphabet[] = "ab=&,%0123456789+- ;A\xff\t";
    char header[60];
    unsigned i, j;

    (void)state;
    for (i = 0; i < 50000; i++) {
        memsess_changes_t *changes;
        unsigned len = unit_below(sizeof(header) - 1);

        if (i % 1000 == 0) {
            apr_pool_clear(unit_pool);
        }
        for (j = 0; j < len; j++) {
            header[j] = i % 4 ? alphabet[unit_below(sizeof(alphabet) - 1)]
                              : (char)(1 + unit_below(255));
        }
        header[len] = '\0';
        changes = new_changes();
        if (!parse(changes, (memsess_verb_t)(i % 3), header)) {
            for (j = 0; j < (unsigned)changes->list->nelts; j++) {
                const memsess_change_t *c = &APR_ARRAY_IDX(changes->list, j, memsess_change_t);

                assert_int_equal(c->op, i % 3);
                assert_true(memsess_attr_name_ok(c->name, strlen(c->name)));
                assert_true(c->op != MEMSESS_SET || strlen(c->value) == c->len);
            }
        }
    }
}

/* -- Which names ------------------------------------------------------------------------------- */

static apr_array_header_t *make_keys(const char *line)
{
    apr_array_header_t *keys = apr_array_make(unit_pool, 4, sizeof(const char *));
    char *rest = apr_pstrdup(unit_pool, line), *last, *key;

    while ((key = apr_strtok(rest, " ", &last)) != NULL) {
        rest = NULL;
        APR_ARRAY_PUSH(keys, const char *) = key;
    }
    return keys;
}

static void test_keys(void **state)
{
    const apr_array_header_t *keys = make_keys("user cart.* a*b");

    (void)state;
    assert_true(memsess_keys_match(NULL, "anything"));
    assert_false(memsess_keys_match(make_keys(""), "anything"));
    assert_true(memsess_keys_match(make_keys("*"), "anything"));
    assert_true(memsess_keys_match(keys, "user"));
    assert_false(memsess_keys_match(keys, "use"));
    assert_false(memsess_keys_match(keys, "user1"));
    assert_false(memsess_keys_match(keys, "User"));
    assert_true(memsess_keys_match(keys, "cart."));
    assert_true(memsess_keys_match(keys, "cart.a"));
    assert_true(memsess_keys_match(keys, "cart.a.b"));
    assert_false(memsess_keys_match(keys, "cart"));
    assert_false(memsess_keys_match(keys, "xcart.a"));
    /* A star has a meaning only at the end. */
    assert_false(memsess_keys_match(keys, "axb"));
}

static void test_names_that_are_not_allowed(void **state)
{
    const apr_array_header_t *keys = make_keys("hits cart*");
    memsess_changes_t *changes = new_changes();
    const char *refused;

    (void)state;
    assert_null(parse_keys(changes, MEMSESS_SET, "hits=1&cart=2&cart2=3", keys, &refused));
    assert_string_equal(refused, "");
    assert_string_equal(list_text(changes), "=hits<1>=cart<2>=cart2<3>");

    changes = new_changes();
    assert_null(parse_keys(changes, MEMSESS_SET, "user=x&hits=1&admin=y", keys, &refused));
    assert_string_equal(refused, "user admin");
    assert_string_equal(list_text(changes), "=hits<1>");

    assert_null(parse_keys(changes, MEMSESS_UNSET, "%75ser", keys, &refused));
    assert_string_equal(refused, "user");
    assert_string_equal(list_text(changes), "=hits<1>");

    assert_null(parse_keys(changes, MEMSESS_INCR, "credit=1", keys, &refused));
    assert_string_equal(refused, "credit");

    /* A malformed header is refused, whether its names are allowed or not. */
    assert_non_null(parse_keys(changes, MEMSESS_SET, "user=%zz", keys, &refused));
    assert_non_null(parse_keys(changes, MEMSESS_INCR, "credit=x", keys, &refused));
}

/* -- What a list means ------------------------------------------------------------------------- */

static void test_anything_to_do(void **state)
{
    memsess_changes_t *changes = new_changes();

    (void)state;
    assert_false(memsess_changes_any(changes));
    must_set(changes, "");
    assert_false(memsess_changes_any(changes));
    changes->destroy = 1;
    assert_true(memsess_changes_any(changes));
    changes = new_changes();
    changes->renew = 1;
    assert_true(memsess_changes_any(changes));
    changes = new_changes();
    changes->expire = 1;
    assert_true(memsess_changes_any(changes));
    assert_false(memsess_changes_begin_session(changes));
    changes = new_changes();
    parse_well(changes, MEMSESS_UNSET, "a");
    assert_true(memsess_changes_any(changes));
}

static void test_expire(void **state)
{
    static const char *const bad[] = {"", " ", ",", "x", "-1", "+1", "1.5", "1s", "0x1", "1,x",
                                      "2147483648", "99999999999999999999"};
    static const struct {
        const char *header;
        int seconds;
    } good[] = {{"0", 0}, {"60", 60}, {" 7 ", 7}, {"5,6, 7", 7}, {"2147483647", 2147483647}};
    memsess_changes_t *changes;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(bad); i++) {
        changes = new_changes();
        assert_non_null(memsess_changes_take(changes, MEMSESS_EXPIRE, bad[i], unit_pool));
        assert_false(memsess_changes_any(changes));
    }
    for (i = 0; i < COUNT(good); i++) {
        changes = new_changes();
        changes->ends = 17;
        assert_null(memsess_changes_take(changes, MEMSESS_EXPIRE, good[i].header, unit_pool));
        assert_true(changes->expire && !changes->ends);
        assert_true(changes->lasts == apr_time_from_sec(good[i].seconds));
    }
}

static void test_renew(void **state)
{
    static const char *const bad[] = {"", " ", ",", "0", "yes", "11", "1,x"};
    memsess_changes_t *changes = new_changes();
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(bad); i++) {
        assert_non_null(memsess_changes_take(changes, MEMSESS_RENEW, bad[i], unit_pool));
        assert_false(memsess_changes_any(changes));
    }
    assert_null(memsess_changes_take(changes, MEMSESS_RENEW, "1, 1", unit_pool));
    assert_true(changes->renew);
}

/* Their rows stand in the order of their effect, which the contract gives. */
static void test_headers(void **state)
{
    static const char *const order[] = {"MemSess-Destroy", "MemSess-Unset",  "MemSess-Set",
                                        "MemSess-Incr",    "MemSess-Expire", "MemSess-Renew"};
    unsigned i;

    (void)state;
    assert_int_equal(MEMSESS_HEADERS_N, COUNT(order));
    for (i = 0; i < COUNT(order); i++) {
        assert_string_equal(memsess_header_names[i], order[i]);
        assert_int_equal(memsess_header_find(order[i]), i);
    }
    assert_int_equal(memsess_header_find("memsess-RENEW"), MEMSESS_RENEW);
    assert_int_equal(memsess_header_find("MemSess-Set2"), MEMSESS_HEADERS_N);
    assert_int_equal(memsess_header_find("MemSess-"), MEMSESS_HEADERS_N);
}

static void test_join(void **state)
{
    memsess_changes_t *changes = new_changes(), *more = new_changes();

    (void)state;
    must_set(changes, "a=1&b=1");
    must_set(more, "b=2");
    parse_well(more, MEMSESS_UNSET, "a");
    memsess_changes_join(changes, more);
    assert_string_equal(list_text(changes), "=a<1>=b<1>=b<2>-a");
    assert_false(changes->destroy || changes->renew || changes->expire);

    more = new_changes();
    more->renew = more->expire = 1;
    more->ends = 17;
    more->lasts = 18;
    memsess_changes_join(changes, more);
    assert_true(changes->renew && changes->expire && changes->ends == 17 && changes->lasts == 18);
    memsess_changes_join(changes, new_changes());
    assert_true(changes->renew && changes->expire && changes->ends == 17);

    /* The destruction drops what was asked for before it. */
    more = new_changes();
    more->destroy = 1;
    must_set(more, "c=3");
    memsess_changes_join(changes, more);
    assert_string_equal(list_text(changes), "=c<3>");
    assert_true(changes->destroy);
    assert_false(changes->renew || changes->expire);

    more = new_changes();
    must_set(more, "d=4");
    memsess_changes_join(changes, more);
    assert_string_equal(list_text(changes), "=c<3>=d<4>");
    assert_true(changes->destroy);
}

static void test_what_begins_a_session(void **state)
{
    memsess_changes_t *changes = new_changes();

    (void)state;
    assert_false(memsess_changes_begin_session(changes));
    changes->renew = changes->destroy = 1;
    assert_false(memsess_changes_begin_session(changes));
    parse_well(changes, MEMSESS_UNSET, "a&b");
    assert_false(memsess_changes_begin_session(changes));
    must_set(changes, "a=1");
    assert_true(memsess_changes_begin_session(changes));
    assert_false(memsess_changes_has_incr(changes));

    changes = new_changes();
    parse_well(changes, MEMSESS_INCR, "a=0");
    assert_true(memsess_changes_begin_session(changes));
    assert_true(memsess_changes_has_incr(changes));
}

/* -- Replaying --------------------------------------------------------------------------------- */

static memsess_session_t *new_session(const char *attrs)
{
    memsess_changes_t *changes = new_changes();
    memsess_session_t *empty, *session;

    assert_int_equal(memsess_session_make(&empty, 4711, unit_pool), APR_SUCCESS);
    empty->revision = 7;
    empty->idle = 4712;
    must_set(changes, attrs);
    assert_null(memsess_changes_apply(changes, empty, &session, unit_pool));
    return session;
}

static const char *session_text(const memsess_session_t *session)
{
    const char *text = "", *previous = "";
    int i;

    for (i = 0; i < session->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(session->attrs, i, memsess_attr_t);

        assert_true(strcmp(previous, attr->name) < 0);
        assert_int_equal(strlen(attr->value), attr->len);
        assert_ptr_equal(memsess_session_find(session, attr->name), attr);
        text = apr_psprintf(unit_pool, "%s%s%s=%s", text, i ? "&" : "", attr->name, attr->value);
        previous = attr->name;
    }
    return text;
}

static void assert_applied(const memsess_changes_t *changes, const char *before, const char *after)
{
    memsess_session_t *session = new_session(before), *result = NULL;
    memsess_session_t copy = *session;
    const char *text = session_text(session);
    const char *error = memsess_changes_apply(changes, session, &result, unit_pool);

    if (error) {
        print_error("%s: %s\n", list_text(changes), error);
    }
    assert_null(error);
    assert_string_equal(session_text(result), after);
    /* Everything but the attributes stays as it was, and the session that was read is not
     * touched. */
    assert_string_equal(result->public_id, session->public_id);
    assert_true(result->revision == 7 && result->created == 4711 && result->idle == 4712);
    assert_true(result->used == session->used && result->ended == session->ended);
    assert_ptr_not_equal(result, session);
    assert_memory_equal(&copy, session, sizeof(copy));
    assert_string_equal(session_text(session), text);
}

static void assert_not_applicable(const memsess_changes_t *changes, const char *before,
                                  const char *message)
{
    memsess_session_t *session = new_session(before), *result = NULL;
    const char *text = session_text(session);
    const char *error = memsess_changes_apply(changes, session, &result, unit_pool);

    assert_non_null(error);
    assert_non_null(strstr(error, message));
    assert_null(result);
    assert_string_equal(session_text(session), text);
}

static void test_apply_nothing(void **state)
{
    (void)state;
    assert_applied(new_changes(), "", "");
    assert_applied(new_changes(), "a=1&b=2", "a=1&b=2");
}

static void test_apply_set(void **state)
{
    memsess_changes_t *changes = new_changes();

    (void)state;
    must_set(changes, "m=1");
    assert_applied(changes, "", "m=1");
    assert_applied(changes, "m=0", "m=1");
    assert_applied(changes, "a=0", "a=0&m=1");
    assert_applied(changes, "z=0", "m=1&z=0");
    assert_applied(changes, "a=0&m=0&z=0", "a=0&m=1&z=0");
    assert_applied(changes, "l=0&n=0", "l=0&m=1&n=0");
    must_set(changes, "z=26&a=1&m=&aa=11&Z=0");
    assert_applied(changes, "", "Z=0&a=1&aa=11&m=&z=26");
    must_set(changes, "a=2&a=3");
    assert_applied(changes, "a=9", "Z=0&a=3&aa=11&m=&z=26");
}

static void test_apply_unset(void **state)
{
    memsess_changes_t *changes = new_changes();

    (void)state;
    parse_well(changes, MEMSESS_UNSET, "m");
    assert_applied(changes, "", "");
    assert_applied(changes, "m=1", "");
    assert_applied(changes, "a=1&z=2", "a=1&z=2");
    assert_applied(changes, "a=1&m=5&z=2", "a=1&z=2");
    assert_applied(changes, "m=5&z=2", "z=2");
    assert_applied(changes, "a=1&m=5", "a=1");
    parse_well(changes, MEMSESS_UNSET, "z&m&a");
    assert_applied(changes, "a=1&m=5&z=2", "");
}

static void test_apply_in_the_order_of_the_list(void **state)
{
    memsess_changes_t *changes = new_changes();

    (void)state;
    parse_well(changes, MEMSESS_UNSET, "a&b");
    must_set(changes, "a=5");
    parse_well(changes, MEMSESS_INCR, "a=2&b=1");
    assert_applied(changes, "a=100&b=100", "a=7&b=1");

    changes = new_changes();
    parse_well(changes, MEMSESS_INCR, "a=2");
    must_set(changes, "a=5");
    parse_well(changes, MEMSESS_UNSET, "a");
    assert_applied(changes, "a=100", "");
}

static void test_apply_incr(void **state)
{
    memsess_changes_t *changes = new_changes();

    (void)state;
    parse_well(changes, MEMSESS_INCR, "n=1");
    assert_applied(changes, "", "n=1");
    assert_applied(changes, "n=41", "n=42");
    assert_applied(changes, "n=-1", "n=0");
    assert_applied(changes, "n=9223372036854775806", "n=9223372036854775807");
    assert_applied(changes, "n=-9223372036854775808", "n=-9223372036854775807");
    assert_applied(changes, "a=x&n=009&z=y", "a=x&n=10&z=y");
    parse_well(changes, MEMSESS_INCR, "n=-3");
    assert_applied(changes, "n=2", "n=0");
    assert_applied(changes, "", "n=-2");

    changes = new_changes();
    parse_well(changes, MEMSESS_INCR, "n=-9223372036854775808");
    assert_applied(changes, "", "n=-9223372036854775808");
    assert_applied(changes, "n=9223372036854775807", "n=-1");

    changes = new_changes();
    parse_well(changes, MEMSESS_INCR, "n=9223372036854775807");
    assert_applied(changes, "n=-9223372036854775808", "n=-1");
}

static void test_apply_incr_that_cannot_be(void **state)
{
    static const char *const no_integers[] = {
        "n=", "n=x", "n=1x", "n=1.5", "n=%201", "n=1%20", "n=1%0A", "n=9223372036854775808",
        "n=-9223372036854775809", "n=99999999999999999999",
    };
    memsess_changes_t *up = new_changes(), *down = new_changes(), *far = new_changes();
    unsigned i;

    (void)state;
    parse_well(up, MEMSESS_INCR, "n=1");
    parse_well(down, MEMSESS_INCR, "n=-1");
    parse_well(far, MEMSESS_INCR, "n=-9223372036854775808");
    for (i = 0; i < COUNT(no_integers); i++) {
        assert_not_applicable(up, no_integers[i], "'n'");
        assert_not_applicable(up, no_integers[i], "integer");
    }
    assert_not_applicable(up, "n=9223372036854775807", "64 bits");
    assert_not_applicable(down, "n=-9223372036854775808", "64 bits");
    assert_not_applicable(far, "n=-1", "64 bits");

    /* If one change of a list cannot be made, none is. */
    must_set(up, "a=1");
    assert_not_applicable(up, "n=x", "'n'");
    up = new_changes();
    must_set(up, "a=1");
    parse_well(up, MEMSESS_INCR, "n=1");
    assert_not_applicable(up, "n=x", "'n'");
}

static void test_replay_on_another_revision_merges(void **state)
{
    memsess_session_t *read = new_session("hits=10&cart=a&theme=dark&old=1");
    memsess_session_t *mine, *others, *merged;
    memsess_changes_t *change = new_changes(), *other = new_changes();

    (void)state;
    parse_well(change, MEMSESS_UNSET, "old");
    must_set(change, "cart=b");
    parse_well(change, MEMSESS_INCR, "hits=1");
    parse_well(other, MEMSESS_UNSET, "theme");
    must_set(other, "lang=de");
    parse_well(other, MEMSESS_INCR, "hits=5");

    assert_null(memsess_changes_apply(change, read, &mine, unit_pool));
    assert_string_equal(session_text(mine), "cart=b&hits=11&theme=dark");
    assert_null(memsess_changes_apply(other, read, &others, unit_pool));
    assert_string_equal(session_text(others), "cart=a&hits=15&lang=de&old=1");

    others->revision = 8;
    assert_null(memsess_changes_apply(change, others, &merged, unit_pool));
    assert_string_equal(session_text(merged), "cart=b&hits=16&lang=de");
    assert_int_equal(merged->revision, 8);
    assert_null(memsess_changes_apply(other, mine, &merged, unit_pool));
    assert_string_equal(session_text(merged), "cart=b&hits=16&lang=de");
    /* The result can be changed again. */
    assert_null(memsess_changes_apply(change, read, &merged, unit_pool));
    assert_string_equal(session_text(merged), session_text(mine));
}

/* Compares with a plain model: one value for each name, names a to j. */
static void test_random_lists(void **state)
{
    unsigned round, i, c;

    (void)state;
    for (round = 0; round < 3000; round++) {
        memsess_changes_t *changes = new_changes();
        const char *before = "", *after = "";
        apr_int64_t value[10];
        int there[10];
        unsigned n = unit_below(15);

        if (round % 100 == 0) {
            apr_pool_clear(unit_pool);
            changes = new_changes();
        }
        for (i = 0; i < 10; i++) {
            there[i] = unit_below(2) != 0;
            value[i] = there[i] ? (apr_int64_t)unit_below(100) : 0;
            if (there[i]) {
                before = apr_psprintf(unit_pool, "%s%s%c=%d", before, *before ? "&" : "",
                                      'a' + (int)i, (int)value[i]);
            }
        }
        while (n--) {
            int by = (int)unit_below(1000) - 500;

            c = unit_below(10);
            switch (unit_below(3)) {
            case 0:
                must_set(changes, apr_psprintf(unit_pool, "%c=%d", 'a' + (int)c, by));
                there[c] = 1;
                value[c] = by;
                break;
            case 1:
                parse_well(changes, MEMSESS_UNSET, apr_psprintf(unit_pool, "%c", 'a' + (int)c));
                there[c] = 0;
                value[c] = 0;
                break;
            default:
                parse_well(changes, MEMSESS_INCR,
                           apr_psprintf(unit_pool, "%c=%d", 'a' + (int)c, by));
                there[c] = 1;
                value[c] += by;
            }
        }
        for (i = 0; i < 10; i++) {
            if (there[i]) {
                after = apr_psprintf(unit_pool, "%s%s%c=%d", after, *after ? "&" : "",
                                     'a' + (int)i, (int)value[i]);
            }
        }
        assert_applied(changes, before, after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_set),
        UNIT_TEST(test_unset),
        UNIT_TEST(test_incr),
        UNIT_TEST(test_malformed),
        UNIT_TEST(test_messages_are_fit_for_a_log),
        UNIT_TEST(test_longest_name),
        UNIT_TEST(test_large_headers),
        UNIT_TEST(test_random_headers),
        UNIT_TEST(test_keys),
        UNIT_TEST(test_names_that_are_not_allowed),
        UNIT_TEST(test_anything_to_do),
        UNIT_TEST(test_expire),
        UNIT_TEST(test_renew),
        UNIT_TEST(test_headers),
        UNIT_TEST(test_join),
        UNIT_TEST(test_what_begins_a_session),
        UNIT_TEST(test_apply_nothing),
        UNIT_TEST(test_apply_set),
        UNIT_TEST(test_apply_unset),
        UNIT_TEST(test_apply_in_the_order_of_the_list),
        UNIT_TEST(test_apply_incr),
        UNIT_TEST(test_apply_incr_that_cannot_be),
        UNIT_TEST(test_replay_on_another_revision_merges),
        UNIT_TEST(test_random_lists),
    };

    unit_begin();
    return cmocka_run_group_tests_name("change", tests, NULL, NULL);
}
