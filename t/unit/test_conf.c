/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The directives: values, defaults, merging and what is refused. The module's own source is
 * compiled in, and the few functions of httpd that it calls are stood in for below.
 */

#include "unit.h"
#include "unit_httpd.h"

#include <sys/stat.h>

#include "conf/others.h"
#include "conf/private.h"

/* These two look at httpd's tree of directives: t/383 and t/385 test them. */
void memsess_conf_warn_of_tunnels(server_rec *main_server, apr_pool_t *ptemp)
{
    (void)main_server;
    (void)ptemp;
}

#include "../../conf/secrets.c"
#include "../../memsess_conf.c"
#undef APLOG_USE_MODULE
#define APLOG_USE_MODULE(module) struct module /* once is enough */
#include "../../conf/check.c"
#include "../../conf/share.c"

/* -- httpd ------------------------------------------------------------------------------------- */

module AP_MODULE_DECLARE_DATA memsess_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, memsess_commands, NULL, 0};

static char logged[8192];

AP_DECLARE(void) ap_log_error_(const char *file, int line, int module_index, int level,
                               apr_status_t status, const server_rec *s, const char *fmt, ...)
{
    size_t len = strlen(logged);
    va_list args;

    (void)file;
    (void)line;
    (void)module_index;
    (void)status;
    (void)s;
    if ((level & APLOG_LEVELMASK) > APLOG_ERR) {
        return; /* it is allowed nevertheless, or intended */
    }
    va_start(args, fmt);
    apr_vsnprintf(logged + len, sizeof(logged) - len, fmt, args);
    va_end(args);
}

/* -- A configuration --------------------------------------------------------------------------- */

static server_rec *new_server(server_rec *main_server)
{
    server_rec *s = apr_pcalloc(unit_pool, sizeof(*s));
    void **srv = apr_pcalloc(unit_pool, sizeof(void *) * 2);
    void **dir = apr_pcalloc(unit_pool, sizeof(void *) * 2);

    srv[0] = memsess_srv_conf_create(unit_pool, s);
    dir[0] = memsess_dir_conf_create(unit_pool, NULL);
    s->module_config = (struct ap_conf_vector_t *)srv;
    s->lookup_defaults = (struct ap_conf_vector_t *)dir;
    s->process = apr_pcalloc(unit_pool, sizeof(*s->process));
    s->process->pool = unit_pool;
    s->log.level = APLOG_WARNING;
    s->is_virtual = main_server != NULL;
    s->server_hostname = apr_pstrdup(unit_pool, main_server ? "shop.example" : "main.example");
    s->port = 8080;
    s->defn_name = "vhosts.conf";
    s->defn_line_number = 47;
    if (main_server) {
        s->next = main_server->next;
        main_server->next = s;
    }
    return s;
}

static memsess_dir_conf_t *server_dir(server_rec *s)
{
    return ((void **)s->lookup_defaults)[0];
}

/* Merges every virtual host with the main server, as httpd does after reading all. */
static void merge_server(server_rec *main_server, server_rec *s)
{
    void **srv = (void **)s->module_config, **dir = (void **)s->lookup_defaults;

    srv[0] = memsess_srv_conf_merge(unit_pool, memsess_srv_conf(main_server), srv[0]);
    dir[0] = memsess_dir_conf_merge(unit_pool, server_dir(main_server), dir[0]);
}

static memsess_dir_conf_t *merge_dir(void *base, void *add)
{
    return memsess_dir_conf_merge(unit_pool, base, add);
}

static const command_rec *find_command(const char *name)
{
    const command_rec *cmd;

    for (cmd = memsess_commands; cmd->name; cmd++) {
        if (!strcasecmp(cmd->name, name)) {
            return cmd;
        }
    }
    print_error("no directive %s\n", name);
    fail();
    return NULL;
}

/* Splits a line into words; a word in double quotes may be empty or contain spaces. */
static int split(char *line, char *words[], int most)
{
    int n = 0;

    for (;;) {
        char end = ' ';

        line += strspn(line, " ");
        if (!*line) {
            words[n] = NULL;
            return n;
        }
        if (*line == '"') {
            end = *line++;
        }
        assert_true(n < most);
        words[n++] = line;
        line += strcspn(line, end == ' ' ? " " : "\"");
        if (*line) {
            *line++ = '\0';
        }
    }
}

/* Applies a line as httpd does, by the directive's kind of arguments. */
static const char *conf_in(server_rec *s, void *dir_conf, const char *line)
{
    static ap_directive_t no_directive;
    char *words[40], *copy = apr_pstrdup(unit_pool, line);
    const command_rec *cmd;
    cmd_parms parms;
    int i, n = split(copy, words, COUNT(words) - 1);

    memset(&parms, 0, sizeof(parms));
    cmd = find_command(words[0]);
    parms.info = cmd->cmd_data;
    parms.pool = parms.temp_pool = unit_pool;
    parms.server = s;
    parms.cmd = cmd;
    parms.directive = apr_pmemdup(unit_pool, &no_directive, sizeof(no_directive));
    parms.directive->directive = cmd->name;
    parms.directive->args = apr_pstrdup(unit_pool, strchr(line, ' ') ? strchr(line, ' ') + 1 : "");
    parms.directive->filename = "memsess.conf";
    parms.directive->line_num = 11;
    switch (cmd->args_how) {
    case TAKE1:
        assert_int_equal(n, 2);
        return cmd->func.take1(&parms, dir_conf, words[1]);
    case TAKE12:
        assert_in_range(n, 2, 3);
        return cmd->func.take2(&parms, dir_conf, words[1], words[2]);
    case ITERATE:
        assert_true(n >= 2);
        for (i = 1; i < n; i++) {
            const char *error = cmd->func.take1(&parms, dir_conf, words[i]);

            if (error) {
                return error;
            }
        }
        return NULL;
    case TAKE_ARGV:
        return cmd->func.take_argv(&parms, dir_conf, n - 1, words + 1);
    default:
        print_error("%s: arguments of an unknown kind\n", line);
        fail();
        return NULL;
    }
}

static const char *conf_server(server_rec *s, const char *line)
{
    return conf_in(s, server_dir(s), line);
}

static void must(server_rec *s, const char *line)
{
    const char *error = conf_server(s, line);

    if (error) {
        print_error("%s: %s\n", line, error);
    }
    assert_null(error);
}

static void must_in(server_rec *s, void *dir_conf, const char *line)
{
    assert_null(conf_in(s, dir_conf, line));
}

/* The line must be refused, with a message that begins with the directive and its value. */
static void assert_refused(server_rec *s, const char *line, const char *value)
{
    const char *error = conf_server(s, line);
    const char *name = find_command(apr_pstrmemdup(unit_pool, line, strcspn(line, " ")))->name;
    const char *start = apr_pstrcat(unit_pool, name, " ", value, ": ", NULL);

    if (!error || strncmp(error, start, strlen(start)) != 0) {
        print_error("%s: %s\n", line, error ? error : "not refused");
    }
    assert_non_null(error);
    assert_memory_equal(error, start, strlen(start));
    assert_true(strlen(error) > strlen(start) + 5);
}

static server_rec *main_server;
static char dir_name[200];

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");

    if (unit_setup(state)) {
        return -1;
    }
    memsess_module.module_index = 0;
    logged[0] = '\0';
    memsess_conf_start(unit_pool);
    main_server = new_server(NULL);
    snprintf(dir_name, sizeof(dir_name), "%s/memsess-unit-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir_name) ? 0 : -1;
}

static int teardown(void **state)
{
    unlink(apr_pstrcat(unit_pool, dir_name, "/auth", NULL));
    rmdir(dir_name);
    return unit_teardown(state);
}

#define CONF_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* -- The table --------------------------------------------------------------------------------- */

static void test_where_directives_may_stand(void **state)
{
    static const char *const of_vhosts[] = {
        "MemSessServers", "MemSessRedundancy", "MemSessFailover", "MemSessTimeout", "MemSessRetry",
        "MemSessConnections", "MemSessServerAuth", "MemSessNamespace", "MemSessCompress",
        "MemSessSecret", "MemSessSeal"};
    static const char *const of_sections[] = {
        "MemSess", "MemSessCookie", "MemSessCookieForward", "MemSessIdleTimeout",
        "MemSessAbsoluteTimeout", "MemSessRefresh", "MemSessExpose", "MemSessExposeKeys",
        "MemSessRenew", "MemSessWriteback", "MemSessWritebackKeys", "MemSessWritebackVerbs",
        "MemSessLock",
        "MemSessLockWait", "MemSessOnError", "MemSessMaxSize", "MemSessBind"};
    const command_rec *cmd, *other;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(of_vhosts); i++) {
        assert_int_equal(find_command(of_vhosts[i])->req_override, RSRC_CONF);
    }
    for (i = 0; i < COUNT(of_sections); i++) {
        assert_int_equal(find_command(of_sections[i])->req_override, RSRC_CONF | ACCESS_CONF);
    }
    for (cmd = memsess_commands; strcmp(cmd->name, "Require"); cmd++) {
        assert_true(!strncmp(cmd->name, "MemSess", 7));
        assert_non_null(cmd->errmsg);
        assert_true(strlen(cmd->errmsg) > 10);
        /* Directives are never allowed in .htaccess. */
        assert_int_equal(cmd->req_override & ~(RSRC_CONF | ACCESS_CONF), 0);
        for (other = memsess_commands; other < cmd; other++) {
            assert_string_not_equal(cmd->name, other->name);
        }
    }
}

static void test_defaults(void **state)
{
    const memsess_srv_conf_t *srv = memsess_srv_conf(main_server);
    const memsess_dir_conf_t *dir = server_dir(main_server);
    const memsess_member_t *member;
    memsess_store_conf_t store;

    (void)state;
    assert_int_equal(srv->members->nelts, 1);
    member = &APR_ARRAY_IDX(srv->members, 0, memsess_member_t);
    assert_string_equal(member->server.name, "127.0.0.1:11211");
    assert_string_equal(member->server.host, "127.0.0.1");
    assert_int_equal(member->server.port, 11211);
    assert_null(member->server.path);
    assert_int_equal(member->weight, 1);
    assert_int_equal(srv->copies, 2);
    assert_int_equal(srv->failover, 1);
    assert_true(srv->timeout == apr_time_from_msec(250));
    assert_true(srv->retry == apr_time_from_sec(2));
    assert_true(srv->conn_idle == apr_time_from_sec(60));
    assert_null(srv->auth);
    assert_string_equal(srv->ns, "");
    assert_int_equal(srv->compress, 2048);
    assert_null(srv->sources);
    assert_null(srv->secrets);

    assert_int_equal(dir->enabled, 0);
    assert_memory_equal(dir->cookie, &memsess_cookie_default, sizeof(*dir->cookie));
    assert_int_equal(dir->cookie_forward, 0);
    assert_true(dir->idle == apr_time_from_sec(1800));
    assert_true(dir->absolute == apr_time_from_sec(86400));
    assert_int_equal(dir->expose, MEMSESS_EXPOSE_ENV);
    assert_null(dir->expose_keys);
    assert_int_equal(dir->writeback, 0);
    assert_null(dir->writeback_keys);
    assert_int_equal(dir->lock, MEMSESS_LOCK_COMMIT);
    assert_true(dir->lock_wait == apr_time_from_sec(10));
    assert_true(dir->renew == 0);
    assert_int_equal(dir->on_error, MEMSESS_DENY);
    assert_int_equal(dir->max_size, 1000000);

    assert_true(memsess_conf_check(main_server, unit_pool, unit_pool));
    memsess_conf_store(srv, 25, &store, unit_pool);
    assert_int_equal(store.copies, 1);
    assert_int_equal(APR_ARRAY_IDX(store.members, 0, memsess_member_t).server.max_conns, 25);
    assert_string_equal(logged, "");
}

/* -- Values ------------------------------------------------------------------------------------ */

static void test_flags(void **state)
{
    static const struct {
        const char *name;
        int in_server;
        apr_size_t at;
    } flags[] = {
        {"MemSess", 0, offsetof(memsess_dir_conf_t, enabled)},
        {"MemSessCookieForward", 0, offsetof(memsess_dir_conf_t, cookie_forward)},
        {"MemSessWriteback", 0, offsetof(memsess_dir_conf_t, writeback)},
        {"MemSessFailover", 1, offsetof(memsess_srv_conf_t, failover)},
    };
    static const char *const bad[] = {"yes", "1", "onn", "o", "true"};
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(flags); i++) {
        const int *flag = (const int *)((flags[i].in_server
                                             ? (const char *)memsess_srv_conf(main_server)
                                             : (const char *)server_dir(main_server))
                                        + flags[i].at);

        must(main_server, apr_pstrcat(unit_pool, flags[i].name, " On", NULL));
        assert_int_equal(*flag, 1);
        must(main_server, apr_pstrcat(unit_pool, flags[i].name, " off", NULL));
        assert_int_equal(*flag, 0);
        must(main_server, apr_pstrcat(unit_pool, flags[i].name, " ON", NULL));
        assert_int_equal(*flag, 1);
        for (j = 0; j < COUNT(bad); j++) {
            assert_refused(main_server, apr_pstrcat(unit_pool, flags[i].name, " ", bad[j], NULL),
                           bad[j]);
        }
        assert_refused(main_server, apr_pstrcat(unit_pool, flags[i].name, " \"\"", NULL), "");
        assert_int_equal(*flag, 1);
    }
}

static void test_numbers(void **state)
{
    static const struct {
        const char *name, *good[3], *bad[4];
    } numbers[] = {
        {"MemSessRedundancy", {"1", "16", "3"}, {"0", "17", "-1", "99999999999999999999"}},
        {"MemSessMaxSize", {"1", "1000000000", "65536"},
         {"0", "1000000001", "-1", "99999999999999999999"}},
        {"MemSessCompress", {"1", "1000000000", "4096"},
         {"0", "1000000001", "-1", "99999999999999999999"}},
        {"MemSessConnections", {"1", "100000", "64"},
         {"0", "100001", "-1", "99999999999999999999"}},
    };
    static const char *const no_numbers[] = {"x", "2x", "0x2", "2.0", "+2", "2kb", "\xc2\xb2"};
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(numbers); i++) {
        for (j = 0; j < 3; j++) {
            must(main_server, apr_pstrcat(unit_pool, numbers[i].name, " ", numbers[i].good[j],
                                          NULL));
        }
        for (j = 0; j < 4; j++) {
            assert_refused(main_server, apr_pstrcat(unit_pool, numbers[i].name, " ",
                                                    numbers[i].bad[j], NULL), numbers[i].bad[j]);
        }
        for (j = 0; j < COUNT(no_numbers); j++) {
            assert_refused(main_server, apr_pstrcat(unit_pool, numbers[i].name, " ",
                                                    no_numbers[j], NULL), no_numbers[j]);
        }
        assert_refused(main_server, apr_pstrcat(unit_pool, numbers[i].name, " \"\"", NULL), "");
    }
    assert_int_equal(memsess_srv_conf(main_server)->copies, 3);
    assert_int_equal(memsess_srv_conf(main_server)->compress, 4096);
    assert_int_equal(memsess_srv_conf(main_server)->max_conns, 64);
    assert_int_equal(server_dir(main_server)->max_size, 65536);
    must(main_server, "MemSessMaxSize 2M");
    assert_int_equal(server_dir(main_server)->max_size, 2 * 1024 * 1024);
    assert_refused(main_server, "MemSessConnections 2k", "2k");
    must(main_server, "MemSessCompress Off");
    assert_int_equal(memsess_srv_conf(main_server)->compress, 0);
    assert_true(memsess_srv_conf(main_server)->compress_set);
}

static void test_times(void **state)
{
    static const struct {
        const char *line;
        apr_interval_time_t time;
    } good[] = {
        {"MemSessTimeout 1ms", 1000},
        {"MemSessTimeout 100ms", 100000},
        {"MemSessTimeout 2", 2000000},
        {"MemSessTimeout 2s", 2000000},
        {"MemSessTimeout 2S", 2000000},
        {"MemSessTimeout 1h", APR_INT64_C(3600000000)},
        {"MemSessRetry 10ms", 10000},
        {"MemSessRetry 5MIN", 300000000},
        {"MemSessIdleTimeout 1s", 1000000},
        {"MemSessIdleTimeout 1000ms", 1000000},
        {"MemSessIdleTimeout 90min", APR_INT64_C(5400000000)},
        {"MemSessIdleTimeout 876000h", APR_INT64_C(3153600000000000)},
        {"MemSessAbsoluteTimeout 0", 0},
        {"MemSessAbsoluteTimeout 720h", APR_INT64_C(2592000000000)},
        {"MemSessRefresh 0", 0},
        {"MemSessRefresh 30s", 30000000},
    };
    static const char *const names[] = {"MemSessTimeout", "MemSessRetry", "MemSessIdleTimeout",
                                        "MemSessAbsoluteTimeout", "MemSessRefresh",
                                        "MemSessRenew", "MemSessLockWait"};
    static const char *const bad[] = {
        "x", "s", "-1s", "+1s", "1.5s", "1x", "1 s", "1m", "1mi", "1mins", "1minutes", "1sec",
        "1second", "1hour", "1d", "1day", "1us", "1h30min", "1s1", "0x1", "876001h",
        "9223372036854775807h", "99999999999999999999s", "9223372036854775807",
    };
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(good); i++) {
        const memsess_srv_conf_t *srv = memsess_srv_conf(main_server);
        const memsess_dir_conf_t *dir = server_dir(main_server);
        const char *line = good[i].line;

        must(main_server, line);
        assert_true(good[i].time == (line[7] == 'T'   ? srv->timeout
                                     : line[9] == 't' ? srv->retry
                                     : line[7] == 'I' ? dir->idle
                                     : line[7] == 'A' ? dir->absolute : dir->refresh));
    }
    for (i = 0; i < COUNT(names); i++) {
        for (j = 0; j < COUNT(bad); j++) {
            assert_refused(main_server, apr_pstrcat(unit_pool, names[i], " \"", bad[j], "\"",
                                                    NULL), bad[j]);
        }
        assert_refused(main_server, apr_pstrcat(unit_pool, names[i], " \"\"", NULL), "");
    }
    must(main_server, "MemSessRenew 15min");
    assert_true(server_dir(main_server)->renew == apr_time_from_sec(900));
    must(main_server, "MemSessRenew 0");
    assert_true(server_dir(main_server)->renew == 0);
    must(main_server, "MemSessLockWait 0");
    assert_true(server_dir(main_server)->lock_wait == 0);
    must(main_server, "MemSessLockWait 1500ms");
    assert_true(server_dir(main_server)->lock_wait == apr_time_from_msec(1500));
    assert_refused(main_server, "MemSessTimeout 0", "0");
    assert_refused(main_server, "MemSessTimeout 0ms", "0ms");
    assert_refused(main_server, "MemSessTimeout 61min", "61min");
    assert_refused(main_server, "MemSessRetry 9ms", "9ms");
    assert_refused(main_server, "MemSessRetry 61min", "61min");
    assert_refused(main_server, "MemSessIdleTimeout 0", "0");
    assert_refused(main_server, "MemSessIdleTimeout 999ms", "999ms");
}

static void test_words(void **state)
{
    const memsess_dir_conf_t *dir = server_dir(main_server);

    (void)state;
    must(main_server, "MemSessLock none");
    assert_int_equal(dir->lock, MEMSESS_LOCK_NONE);
    must(main_server, "MemSessLock request");
    assert_int_equal(dir->lock, MEMSESS_LOCK_REQUEST);
    must(main_server, "MemSessLock Commit");
    assert_int_equal(dir->lock, MEMSESS_LOCK_COMMIT);
    assert_refused(main_server, "MemSessLock all", "all");
    assert_refused(main_server, "MemSessLock \"\"", "");
    assert_refused(main_server, "MemSessLock commits", "commits");
    must(main_server, "MemSessOnError anonymous");
    assert_int_equal(dir->on_error, MEMSESS_ANONYMOUS);
    must(main_server, "MemSessOnError DENY");
    assert_int_equal(dir->on_error, MEMSESS_DENY);
    assert_refused(main_server, "MemSessOnError allow", "allow");
    assert_refused(main_server, "MemSessOnError den", "den");
}

static void test_bind(void **state)
{
    (void)state;
    assert_int_equal(server_dir(main_server)->bind, 0);
    must(main_server, "MemSessBind off");
    assert_int_equal(server_dir(main_server)->bind, 0);
    assert_refused(new_server(NULL), "MemSessBind ua off", "off");
    assert_refused(new_server(NULL), "MemSessBind off ua", "ua");
    assert_refused(new_server(NULL), "MemSessBind cookie", "cookie");
    must(main_server = new_server(NULL), "MemSessBind UA");
    assert_int_equal(server_dir(main_server)->bind, 1 << MEMSESS_BIND_UA);
    must(main_server, "MemSessBind ip");
    assert_int_equal(server_dir(main_server)->bind, 1 << MEMSESS_BIND_UA | 1 << MEMSESS_BIND_IP);
}

static char *no_variable(apr_pool_t *p, server_rec *s, conn_rec *c, request_rec *r, char *name)
{
    return apr_pstrcat(p, s || c || r ? "" : name, NULL);
}

/* MemSessBind tls is of no use without mod_ssl. */
static void test_bind_tls(void **state)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *lookup = no_variable;

    (void)state;
    must(main_server, "MemSessBind ip tls");
    assert_int_equal(server_dir(main_server)->bind, 1 << MEMSESS_BIND_IP | 1 << MEMSESS_BIND_TLS);
    assert_false(memsess_conf_check(main_server, unit_pool, unit_pool));
    assert_non_null(strstr(logged, "MemSessBind"));
    assert_non_null(strstr(logged, "mod_ssl"));
    memsess_conf_start(unit_pool);
    must(main_server = new_server(NULL), "MemSessBind ip");
    assert_true(memsess_conf_check(main_server, unit_pool, unit_pool));
    apr_hook_global_pool = unit_pool;
    apr_dynamic_fn_register("ssl_var_lookup", (apr_opt_fn_t *)lookup);
    must(main_server = new_server(NULL), "MemSessBind tls");
    assert_true(memsess_conf_check(main_server, unit_pool, unit_pool));
}

/* The client's properties are noted if any section binds sessions, even one of the main server. */
static void test_bind_anywhere(void **state)
{
    server_rec *vhost = new_server(main_server);

    (void)state;
    must(main_server, "MemSessBind off");
    must_in(vhost, memsess_dir_conf_create(unit_pool, NULL), "MemSessBind off");
    merge_server(main_server, vhost);
    assert_false(memsess_srv_conf(vhost)->binds);
    must_in(vhost = new_server(main_server), memsess_dir_conf_create(unit_pool, NULL),
            "MemSessBind ip");
    merge_server(main_server, vhost);
    assert_true(memsess_srv_conf(vhost)->binds);
    assert_false(memsess_srv_conf(main_server)->binds);
    must_in(main_server, memsess_dir_conf_create(unit_pool, NULL), "MemSessBind ip");
    merge_server(main_server, vhost = new_server(main_server));
    assert_true(memsess_srv_conf(vhost)->binds);
}

static void test_expose(void **state)
{
    static const struct {
        const char *line;
        int expose;
    } good[] = {
        {"MemSessExpose env", MEMSESS_EXPOSE_ENV},
        {"MemSessExpose headers", MEMSESS_EXPOSE_HEADERS},
        {"MemSessExpose env headers", MEMSESS_EXPOSE_ENV | MEMSESS_EXPOSE_HEADERS},
        {"MemSessExpose Headers ENV", MEMSESS_EXPOSE_ENV | MEMSESS_EXPOSE_HEADERS},
        {"MemSessExpose env env", MEMSESS_EXPOSE_ENV},
        {"MemSessExpose none", 0},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(good); i++) {
        server_rec *s = new_server(NULL);

        must(s, good[i].line);
        assert_int_equal(server_dir(s)->expose, good[i].expose);
        assert_true(server_dir(s)->expose_set);
    }
    assert_refused(new_server(NULL), "MemSessExpose none env", "env");
    assert_refused(new_server(NULL), "MemSessExpose env none", "none");
    assert_refused(new_server(NULL), "MemSessExpose all", "all");
    assert_refused(new_server(NULL), "MemSessExpose env,headers", "env,headers");
    assert_refused(new_server(NULL), "MemSessExpose \"\"", "");

    /* A second line adds to the first one. */
    must(main_server, "MemSessExpose env");
    must(main_server, "MemSessExpose headers");
    assert_int_equal(server_dir(main_server)->expose,
                     MEMSESS_EXPOSE_ENV | MEMSESS_EXPOSE_HEADERS);
}

static void test_keys(void **state)
{
    static const char *const names[] = {"MemSessExposeKeys", "MemSessWritebackKeys"};
    static const char *const bad[] = {"", "**", "a*b", "*a", "a b", "a/b", "a=b", "a,b",
                                      "\xc3\xa4", "a**"};
    memsess_dir_conf_t *dir = server_dir(main_server);
    char name[67];
    unsigned i, j;

    (void)state;
    memset(name, 'n', sizeof(name));
    for (i = 0; i < COUNT(names); i++) {
        const apr_array_header_t *const *keys = i ? &dir->writeback_keys : &dir->expose_keys;

        must(main_server, apr_pstrcat(unit_pool, names[i], " user cart.*", NULL));
        must(main_server, apr_pstrcat(unit_pool, names[i], " *", NULL));
        assert_int_equal((*keys)->nelts, 3);
        assert_string_equal(APR_ARRAY_IDX(*keys, 0, const char *), "user");
        assert_string_equal(APR_ARRAY_IDX(*keys, 1, const char *), "cart.*");
        assert_string_equal(APR_ARRAY_IDX(*keys, 2, const char *), "*");
        for (j = 0; j < COUNT(bad); j++) {
            assert_refused(main_server, apr_pstrcat(unit_pool, names[i], " \"", bad[j], "\"",
                                                    NULL), bad[j]);
        }
        name[64] = '\0';
        must(main_server, apr_pstrcat(unit_pool, names[i], " ", name, "*", NULL));
        name[64] = 'n';
        name[65] = '\0';
        assert_refused(main_server, apr_pstrcat(unit_pool, names[i], " ", name, NULL), name);
    }
}

static void test_namespace(void **state)
{
    char name[130];
    int c;

    (void)state;
    must(main_server, "MemSessNamespace \"my shop: \xc3\xa4\"");
    assert_string_equal(memsess_srv_conf(main_server)->ns, "my shop: \xc3\xa4");
    must(main_server, "MemSessNamespace \"\"");
    assert_string_equal(memsess_srv_conf(main_server)->ns, "");
    memset(name, 'n', sizeof(name));
    name[128] = '\0';
    must(main_server, apr_pstrcat(unit_pool, "MemSessNamespace ", name, NULL));
    name[128] = 'n';
    name[129] = '\0';
    assert_refused(main_server, apr_pstrcat(unit_pool, "MemSessNamespace ", name, NULL), name);
    for (c = 1; c < 32; c++) {
        const char *value = apr_psprintf(unit_pool, "a%cb", c);

        assert_refused(main_server, apr_pstrcat(unit_pool, "MemSessNamespace \"", value, "\"",
                                                NULL), value);
    }
}

static void test_connections(void **state)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(main_server);

    (void)state;
    must(main_server, "MemSessConnections 5 idle=30s");
    assert_int_equal(conf->max_conns, 5);
    assert_true(conf->conn_idle == apr_time_from_sec(30));
    must(main_server, "MemSessConnections 6 IDLE=1ms");
    assert_true(conf->conn_idle == apr_time_from_msec(1));
    must(main_server, "MemSessConnections 7");
    assert_int_equal(conf->max_conns, 7);
    assert_true(conf->conn_idle == apr_time_from_sec(60));
    assert_refused(main_server, "MemSessConnections 5 30s", "30s");
    assert_refused(main_server, "MemSessConnections 5 idle=", "idle=");
    assert_refused(main_server, "MemSessConnections 5 idle=x", "idle=x");
    assert_refused(main_server, "MemSessConnections 5 idle=0", "idle=0");
    assert_refused(main_server, "MemSessConnections 5 idle=-1s", "idle=-1s");
    assert_refused(main_server, "MemSessConnections 5 max=3", "max=3");
    assert_refused(main_server, "MemSessConnections idle=5s 5", "idle=5s");
}

static void test_cookie(void **state)
{
    const memsess_dir_conf_t *dir = server_dir(main_server);

    (void)state;
    must(main_server, "MemSessCookie sid Path=/shop SameSite=Strict");
    assert_string_equal(dir->cookie->name, "sid");
    assert_string_equal(dir->cookie->path, "/shop");
    assert_string_equal(dir->cookie->same_site, "Strict");
    assert_int_equal(dir->cookie->secure, MEMSESS_SECURE_AUTO);
    /* A later line starts from the defaults. */
    must(main_server, "MemSessCookie other");
    assert_string_equal(dir->cookie->path, "/");
    assert_refused(main_server, "MemSessCookie s Path=x", "s Path=x");
    assert_refused(main_server, "MemSessCookie __Host-s", "__Host-s");
    assert_refused(main_server, "MemSessCookie s SameSite=None", "s SameSite=None");
    assert_refused(main_server, "MemSessCookie s Partitioned", "s Partitioned");
    assert_refused(main_server, "MemSessCookie", "");
}

/* -- MemSessServers ---------------------------------------------------------------------------- */

static const memsess_member_t *only_member(const server_rec *s)
{
    const memsess_srv_conf_t *conf = ap_get_module_config(s->module_config, &memsess_module);

    assert_int_equal(conf->members->nelts, 1);
    return &APR_ARRAY_IDX(conf->members, 0, memsess_member_t);
}

static void test_servers_spellings(void **state)
{
    static const struct {
        const char *arg, *name, *host;
        int port;
        const char *path;
        unsigned weight;
    } good[] = {
        {"127.0.0.1", "127.0.0.1:11211", "127.0.0.1", 11211, NULL, 1},
        {"127.0.0.1:1", "127.0.0.1:1", "127.0.0.1", 1, NULL, 1},
        {"127.0.0.1:65535", "127.0.0.1:65535", "127.0.0.1", 65535, NULL, 1},
        {"127.0.0.1:011211", "127.0.0.1:11211", "127.0.0.1", 11211, NULL, 1},
        {"cache", "cache:11211", "cache", 11211, NULL, 1},
        {"Cache-1.Example.COM:12", "cache-1.example.com:12", "cache-1.example.com", 12, NULL, 1},
        {"cache_1", "cache_1:11211", "cache_1", 11211, NULL, 1},
        {"1cache", "1cache:11211", "1cache", 11211, NULL, 1},
        {"[::1]", "[::1]:11211", "::1", 11211, NULL, 1},
        {"[0:0:0::0001]:12", "[::1]:12", "::1", 12, NULL, 1},
        {"[2001:DB8::A]:12", "[2001:db8::a]:12", "2001:db8::a", 12, NULL, 1},
        {"[::ffff:10.0.0.1]:12", "[::ffff:10.0.0.1]:12", "::ffff:10.0.0.1", 12, NULL, 1},
        {"unix:/run/Mem cached.sock", "unix:/run/Mem cached.sock", NULL, 0,
         "/run/Mem cached.sock", 1},
        {"UNIX:/a", "unix:/a", NULL, 0, "/a", 1},
        {"a?weight=5", "a:11211", "a", 11211, NULL, 5},
        {"a?weight=1000", "a:11211", "a", 11211, NULL, 1000},
        {"a?name=x", "x", "a", 11211, NULL, 1},
        {"a:1?name=X.y_z:1/[2]-3", "X.y_z:1/[2]-3", "a", 1, NULL, 1},
        {"a:1?weight=7&name=x", "x", "a", 1, NULL, 7},
        {"a:1?NAME=x&Weight=007", "x", "a", 1, NULL, 7},
        {"[::1]:2?weight=3&name=x", "x", "::1", 2, NULL, 3},
        {"unix:/a/b?weight=3&name=x", "x", NULL, 0, "/a/b", 3},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(good); i++) {
        server_rec *s = new_server(NULL);
        const memsess_member_t *member;

        must(s, apr_pstrcat(unit_pool, "MemSessServers \"", good[i].arg, "\"", NULL));
        member = only_member(s);
        assert_string_equal(member->server.name, good[i].name);
        if (good[i].host) {
            assert_string_equal(member->server.host, good[i].host);
            assert_int_equal(member->server.port, good[i].port);
            assert_null(member->server.path);
        }
        else {
            assert_null(member->server.host);
            assert_string_equal(member->server.path, good[i].path);
        }
        assert_int_equal(member->weight, good[i].weight);
    }
}

static void test_servers_refused(void **state)
{
    static const char *const bad[] = {
        "", " ", ":", ":11211", "a:", "a:0", "a:65536", "a:-1", "a:+1", "a:x", "a:1x", "a:1 ",
        "a:99999999999999999999", "a:1:2", "::1", "::1:11211", "1:2:3:4:5:6:7:8", "[::1", "::1]",
        "[::1]x", "[::1]:", "[::1]:0", "[::1]:x", "[::g]", "[127.0.0.1]", "[]", "[a]", "[::1%lo]",
        "[[::1]]", "999.1.1.1", "1.2.3", "1.2.3.4.5", "127.1", "12345", "127.0.0.1.", "a..b", "-a",
        ".a", "a b", "a/b", "a\\b", "a,b", "a;b", "a@b", "a\tb", "caf\xc3\xa9", "http://a",
        "a:11211/", "unix:", "unix:a", "unix:a/b", "unix:/", "unix:/a\tb", "unix:/\033", "a?",
        "a?weight",
        "a?weight=", "a?weight=0", "a?weight=-1", "a?weight=1001", "a?weight=x", "a?weight=1x",
        "a?weight=1.5", "a?weight=99999999999999999999", "a?name", "a?name=", "a?name=a b",
        "a?name=a?b", "a?name=caf\xc3\xa9", "a?name=a,b", "a?x=1", "a?weight=1&", "a?&weight=1",
        "a?weight=1?name=a", "a?weight=1,name=a", "a?weight=1;name=a", "a?weight=1&x", "?weight=1",
        "a&weight=1", "a?weight=1&weight=1", "a?name=a&name=b", "a?=", "a?=1",
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(bad); i++) {
        assert_refused(new_server(NULL),
                       apr_pstrcat(unit_pool, "MemSessServers \"", bad[i], "\"", NULL), bad[i]);
    }
}

static void test_servers_long_names(void **state)
{
    char text[260];
    const char *arg;

    (void)state;
    memset(text, 'n', sizeof(text));
    text[253] = '\0';
    must(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", text, NULL));
    text[253] = 'n';
    text[254] = '\0';
    assert_refused(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", text, NULL), text);

    text[128] = '\0';
    arg = apr_pstrcat(unit_pool, "a?name=", text, NULL);
    must(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", arg, NULL));
    arg = apr_pstrcat(unit_pool, "a?name=n", text, NULL);
    assert_refused(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", arg, NULL), arg);

    /* A socket's address has room for 108 bytes, its NUL included. */
    text[106] = '\0';
    arg = apr_pstrcat(unit_pool, "unix:/", text, NULL);
    must(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", arg, NULL));
    arg = apr_pstrcat(unit_pool, "unix:/n", text, NULL);
    assert_refused(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", arg, NULL), arg);
}

static void test_servers_named_twice(void **state)
{
    static const char *const twice[][2] = {
        {"a", "a"}, {"a", "A"}, {"a", "a:11211"}, {"a:1", "a:01"}, {"127.0.0.1", "127.0.0.1:11211"},
        {"[::1]", "[0::1]:11211"}, {"[2001:db8::a]:1", "[2001:DB8:0::A]:1"},
        {"unix:/a", "unix:/a"}, {"unix:/a?name=x", "unix:/a?name=y"}, {"a?name=x", "b?name=x"},
        {"a?name=x", "a?name=y"}, {"a:1?weight=2", "a:1?weight=3"}, {"a?name=b:11211", "b"},
        {"b", "a?name=b:11211"}, {"unix:/a", "b?name=unix:/a"}, {"127.0.0.1", "localhost"},
        {"localhost.:1", "127.0.0.1:1"}, {"127.0.0.1", "[::ffff:127.0.0.1]"}, {"a.b", "a.b."},
    };
    static const char *const apart[][2] = {
        {"a", "b"}, {"a:1", "a:2"}, {"127.0.0.1:1", "localhost:2"}, {"127.0.0.1", "[::1]"},
        {"127.0.0.1", "localhost.a"}, {"127.0.0.1", "[::ffff:127.0.0.2]"}, {"a", "a.b"},
        {"unix:/a", "unix:/b"}, {"unix:/a", "unix:/A"}, {"unix:/a", "a"}, {"a?name=x", "b?name=X"},
        {"a", "b?name=a"},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(twice); i++) {
        server_rec *s = new_server(NULL);

        assert_refused(s, apr_pstrcat(unit_pool, "MemSessServers other ", twice[i][0], " more ",
                                      twice[i][1], NULL), twice[i][1]);
        /* Two lines with one name each are refused, too. */
        s = new_server(NULL);
        must(s, apr_pstrcat(unit_pool, "MemSessServers ", twice[i][0], NULL));
        assert_refused(s, apr_pstrcat(unit_pool, "MemSessServers ", twice[i][1], NULL),
                       twice[i][1]);
    }
    for (i = 0; i < COUNT(apart); i++) {
        must(new_server(NULL), apr_pstrcat(unit_pool, "MemSessServers ", apart[i][0], " ",
                                           apart[i][1], NULL));
    }
}

static void test_servers_of_virtual_hosts(void **state)
{
    server_rec *own, *inherits, *plain;
    const memsess_srv_conf_t *conf;

    (void)state;
    must(main_server, "MemSessServers a b");
    must(main_server, "MemSessServers c");
    own = new_server(main_server);
    inherits = new_server(main_server);
    plain = new_server(NULL);
    must(own, "MemSessServers x a?name=y");
    merge_server(main_server, own);
    merge_server(main_server, inherits);
    merge_server(plain, new_server(plain));

    conf = memsess_srv_conf(main_server);
    assert_int_equal(conf->members->nelts, 3);
    assert_string_equal(APR_ARRAY_IDX(conf->members, 2, memsess_member_t).server.name, "c:11211");
    conf = memsess_srv_conf(own);
    assert_int_equal(conf->members->nelts, 2);
    assert_string_equal(APR_ARRAY_IDX(conf->members, 0, memsess_member_t).server.name, "x:11211");
    assert_string_equal(APR_ARRAY_IDX(conf->members, 1, memsess_member_t).server.name, "y");
    conf = memsess_srv_conf(inherits);
    assert_ptr_equal(conf->members, memsess_srv_conf(main_server)->members);
    assert_true(conf->members_set);
    assert_string_equal(only_member(plain->next)->server.name, "127.0.0.1:11211");
}

/* -- Merging ----------------------------------------------------------------------------------- */

static void test_virtual_hosts_inherit(void **state)
{
    server_rec *vhost = new_server(main_server), *empty = new_server(main_server);
    const memsess_srv_conf_t *conf;

    (void)state;
    must(main_server, "MemSessServers a b c");
    must(main_server, "MemSessRedundancy 3");
    must(main_server, "MemSessFailover Off");
    must(main_server, "MemSessTimeout 1s");
    must(main_server, "MemSessRetry 5s");
    must(main_server, "MemSessConnections 9 idle=9s");
    must(main_server, "MemSessNamespace main");
    must(main_server, "MemSessCompress Off");
    must(main_server, "MemSessIdleTimeout 1h");
    must(vhost, "MemSessRedundancy 2");
    must(vhost, "MemSessFailover On");
    must(vhost, "MemSessTimeout 250ms");
    must(vhost, "MemSessConnections 3");
    must(vhost, "MemSessNamespace \"\"");
    must(vhost, "MemSessCompress 2048");
    merge_server(main_server, vhost);
    merge_server(main_server, empty);

    conf = memsess_srv_conf(empty);
    assert_int_equal(conf->copies, 3);
    assert_int_equal(conf->failover, 0);
    assert_true(conf->timeout == apr_time_from_sec(1));
    assert_true(conf->retry == apr_time_from_sec(5));
    assert_int_equal(conf->max_conns, 9);
    assert_true(conf->conn_idle == apr_time_from_sec(9));
    assert_string_equal(conf->ns, "main");
    assert_int_equal(conf->compress, 0);
    assert_true(server_dir(empty)->idle == apr_time_from_sec(3600));

    /* A value that equals the default counts if it was set. */
    conf = memsess_srv_conf(vhost);
    assert_int_equal(conf->copies, 2);
    assert_int_equal(conf->failover, 1);
    assert_true(conf->timeout == apr_time_from_msec(250));
    assert_true(conf->retry == apr_time_from_sec(5));
    assert_int_equal(conf->max_conns, 3);
    assert_true(conf->conn_idle == apr_time_from_sec(60));
    assert_string_equal(conf->ns, "");
    assert_int_equal(conf->compress, 2048);
}

static void test_sections_inherit(void **state)
{
    memsess_dir_conf_t *outer = memsess_dir_conf_create(unit_pool, NULL);
    memsess_dir_conf_t *inner = memsess_dir_conf_create(unit_pool, NULL);
    memsess_dir_conf_t *merged;

    (void)state;
    must(main_server, "MemSess On");
    must(main_server, "MemSessCookie sid");
    must(main_server, "MemSessExpose headers");
    must(main_server, "MemSessExposeKeys a b");
    must(main_server, "MemSessOnError anonymous");
    must(main_server, "MemSessWriteback On");
    must_in(main_server, outer, "MemSessIdleTimeout 5min");
    must_in(main_server, outer, "MemSessLock none");
    must_in(main_server, outer, "MemSessExpose env");
    must_in(main_server, inner, "MemSess Off");
    must_in(main_server, inner, "MemSessOnError deny");
    must_in(main_server, inner, "MemSessExposeKeys c");
    must_in(main_server, inner, "MemSessIdleTimeout 30min");

    merged = merge_dir(merge_dir(server_dir(main_server), outer), inner);
    assert_int_equal(merged->enabled, 0);
    assert_string_equal(merged->cookie->name, "sid");
    /* A section's own words replace the inherited ones instead of adding to them. */
    assert_int_equal(merged->expose, MEMSESS_EXPOSE_ENV);
    assert_int_equal(merged->expose_keys->nelts, 1);
    assert_string_equal(APR_ARRAY_IDX(merged->expose_keys, 0, const char *), "c");
    assert_int_equal(merged->on_error, MEMSESS_DENY);
    assert_int_equal(merged->writeback, 1);
    assert_null(merged->writeback_keys);
    assert_int_equal(merged->lock, MEMSESS_LOCK_NONE);
    assert_true(merged->idle == apr_time_from_sec(1800));
    assert_true(merged->idle_set && merged->enabled_set && !merged->absolute_set);
    /* The merge has left its inputs as they were. */
    assert_int_equal(server_dir(main_server)->enabled, 1);
    assert_int_equal(server_dir(main_server)->expose_keys->nelts, 2);
    assert_int_equal(outer->expose_keys == NULL, 1);

    /* Merging in another grouping gives the same result. */
    merged = merge_dir(server_dir(main_server), merge_dir(outer, inner));
    assert_int_equal(merged->enabled, 0);
    assert_string_equal(merged->cookie->name, "sid");
    assert_int_equal(merged->expose, MEMSESS_EXPOSE_ENV);
    assert_int_equal(merged->on_error, MEMSESS_DENY);
}

/* -- Messages once everything is read ---------------------------------------------------------- */

static void test_refresh(void **state)
{
    static const struct {
        const char *idle, *refresh;
        apr_interval_time_t expected;
    } cases[] = {
        {"30min", NULL, 60000000}, {"10min", NULL, 60000000}, {"9min", NULL, 54000000},
        {"100s", NULL, 10000000}, {"1s", NULL, 100000}, {"24h", NULL, 60000000},
        {"30min", "5min", 300000000}, {"30min", "0", 0}, {"30min", "1s", 1000000},
        /* The interval is never so long that a session in use would expire. */
        {"60s", "60s", 30000000}, {"60s", "5min", 30000000}, {"60s", "30s", 30000000},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        server_rec *s = new_server(NULL);

        must(s, apr_pstrcat(unit_pool, "MemSessIdleTimeout ", cases[i].idle, NULL));
        if (cases[i].refresh) {
            must(s, apr_pstrcat(unit_pool, "MemSessRefresh ", cases[i].refresh, NULL));
        }
        assert_true(memsess_conf_refresh(server_dir(s)) == cases[i].expected);
    }
    assert_true(memsess_conf_refresh(server_dir(main_server)) == 60000000);
}

static void test_redundancy_above_the_pool(void **state)
{
    server_rec *vhost = new_server(main_server), *other = new_server(main_server);

    (void)state;
    must(main_server, "MemSessServers a b c");
    must(main_server, "MemSessRedundancy 3");
    merge_server(main_server, other);
    must(vhost, "MemSessServers x y");
    merge_server(main_server, vhost);
    assert_false(memsess_conf_check(main_server, unit_pool, unit_pool));
    assert_non_null(strstr(logged, "MemSessRedundancy 3"));
    assert_non_null(strstr(logged, "shop.example"));
    assert_non_null(strstr(logged, "only 2 servers"));
    assert_null(strstr(logged, "main.example"));
}

static void test_redundancy_that_fits(void **state)
{
    static const struct {
        const char *servers, *redundancy;
        unsigned copies; /* 0: refused */
    } cases[] = {
        {NULL, NULL, 1}, {NULL, "1", 1}, {NULL, "2", 0}, {"a", NULL, 1}, {"a", "1", 1},
        {"a", "2", 0}, {"a b", NULL, 2}, {"a b", "2", 2}, {"a b", "3", 0}, {"a b c", NULL, 2},
        {"a b c", "1", 1}, {"a b c", "3", 3}, {"a b c", "16", 0},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        server_rec *s = new_server(NULL);
        memsess_store_conf_t store;

        logged[0] = '\0';
        if (cases[i].servers) {
            must(s, apr_pstrcat(unit_pool, "MemSessServers ", cases[i].servers, NULL));
        }
        if (cases[i].redundancy) {
            must(s, apr_pstrcat(unit_pool, "MemSessRedundancy ", cases[i].redundancy, NULL));
        }
        assert_int_equal(memsess_conf_check(s, unit_pool, unit_pool), cases[i].copies != 0);
        assert_int_equal(logged[0] == '\0', cases[i].copies != 0);
        if (cases[i].copies) {
            memsess_conf_store(memsess_srv_conf(s), 25, &store, unit_pool);
            assert_int_equal(store.copies, cases[i].copies);
        }
    }
}

/* "file:" and the path of a secret that is this letter, many times. */
static const char *secret_file(const char *letter, int len, mode_t mode)
{
    const char *path = apr_pstrcat(unit_pool, dir_name, "/", letter, NULL);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    while (len--) {
        fputs(letter, file);
    }
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
    return apr_pstrcat(unit_pool, "file:", path, NULL);
}

static void test_secrets(void **state)
{
    server_rec *heir = new_server(main_server), *own = new_server(main_server);
    server_rec *other = new_server(main_server);
    const char *a = secret_file("a", 32, 0600), *b = secret_file("b", 32, 0640);
    const memsess_secrets_t *secrets;

    (void)state;
    must(main_server, apr_pstrcat(unit_pool, "MemSessSecret ", a, " ", b, NULL));
    must(own, apr_pstrcat(unit_pool, "MemSessSecret ", b, NULL));
    must(other, "MemSessNamespace other");
    merge_server(main_server, heir);
    merge_server(main_server, own);
    merge_server(main_server, other);
    assert_true(memsess_conf_check(main_server, unit_pool, unit_pool));
    secrets = memsess_srv_conf(main_server)->secrets;
    assert_int_equal(secrets->n, 2);
    assert_memory_equal(memsess_srv_conf(heir)->secrets, secrets, sizeof(*secrets));
    /* A list of its own replaces the inherited one. */
    assert_int_equal(memsess_srv_conf(own)->secrets->n, 1);
    assert_memory_equal(&memsess_srv_conf(own)->secrets->secret[0], &secrets->secret[1],
                        sizeof(secrets->secret[0]));
    assert_memory_not_equal(&memsess_srv_conf(other)->secrets->secret[0], &secrets->secret[0],
                            sizeof(secrets->secret[0]));
    assert_string_equal(logged, "");
    unlink(a + 5);
    unlink(b + 5);
}

static void test_sealed_with_a_secret(void **state)
{
    server_rec *off = new_server(main_server), *bare = new_server(NULL);
    const char *a = secret_file("a", 32, 0600);
    memsess_store_conf_t store;

    (void)state;
    must(main_server, apr_pstrcat(unit_pool, "MemSessSecret ", a, NULL));
    must(off, "MemSessSeal Off");
    merge_server(main_server, off);
    assert_true(memsess_conf_check(main_server, unit_pool, unit_pool));
    memsess_conf_store(memsess_srv_conf(main_server), 25, &store, unit_pool);
    assert_ptr_equal(store.secrets, memsess_srv_conf(main_server)->secrets);
    /* Sealed records are not compressed, since the compressed length tells about the content. */
    assert_int_equal(store.compress, 0);
    memsess_conf_store(memsess_srv_conf(off), 25, &store, unit_pool);
    assert_null(store.secrets);
    assert_int_equal(store.compress, 2048);
    assert_non_null(memsess_srv_conf(off)->secrets);
    must(main_server, "MemSessCompress 2048");
    memsess_conf_store(memsess_srv_conf(main_server), 25, &store, unit_pool);
    assert_non_null(store.secrets);
    assert_int_equal(store.compress, 2048);
    unlink(a + 5);

    assert_true(memsess_conf_check(bare, unit_pool, unit_pool));
    memsess_conf_store(memsess_srv_conf(bare), 25, &store, unit_pool);
    assert_null(store.secrets);
    must(bare, "MemSessSeal On");
    assert_string_equal(logged, "");
    assert_false(memsess_conf_check(bare, unit_pool, unit_pool));
    assert_non_null(strstr(logged, "MemSessSeal On"));
    assert_non_null(strstr(logged, "MemSessSecret"));
}

static void test_secrets_refused(void **state)
{
    static const int modes[] = {AP_SQ_RM_NORMAL, AP_SQ_RM_CONFIG_TEST};
    const char *list = "MemSessSecret exec:/1";
    server_rec *s;
    unsigned i;
    int n;

    (void)state;
    assert_refused(main_server, "MemSessSecret 0123456789abcdef0123456789abcdef",
                   "0123456789abcdef0123456789abcdef");
    assert_refused(main_server, "MemSessSecret file:relative", "file:relative");
    assert_refused(main_server, "MemSessSecret file:/a file:/b file:/a", "file:/a");
    for (n = 2; n < 10; n++) {
        list = apr_psprintf(unit_pool, "%s exec:/%d", list, n);
    }
    assert_refused(new_server(NULL), list, "exec:/9");
    for (i = 0; i < COUNT(modes); i++) {
        const char *file = secret_file("s", 31, 0600);

        unit_run_mode = modes[i];
        s = new_server(NULL);
        logged[0] = '\0';
        memsess_conf_start(unit_pool);
        must(s, apr_pstrcat(unit_pool, "MemSessSecret ", file, " file:/nowhere/file", NULL));
        /* A host that inherits the setting does not repeat the messages. */
        merge_server(s, new_server(s));
        assert_false(memsess_conf_check(s, unit_pool, unit_pool));
        assert_non_null(strstr(logged, apr_pstrcat(unit_pool, "MemSessSecret ", file, ": ", NULL)));
        assert_non_null(strstr(logged, "MemSessSecret file:/nowhere/file: does not exist"));
        assert_null(strstr(strstr(logged, "31 bytes") + 1, "31 bytes"));
        assert_null(strstr(logged, "sss"));
        unlink(file + 5);
    }
    /* In the first of two readings, which is all that httpd -k graceful does, a failure is only
     * told; it is refused once it is certain that this is a start. */
    unit_run_mode = AP_SQ_RM_NORMAL;
    unit_main_state = AP_SQ_MS_CREATE_PRE_CONFIG;
    memsess_conf_start(unit_pool);
    logged[0] = '\0';
    assert_true(memsess_conf_check(s, unit_pool, unit_pool));
    assert_non_null(strstr(logged, "MemSessSecret file:/nowhere/file: does not exist"));
    assert_false(memsess_conf_settle(s, unit_pool));
    unit_main_state = AP_SQ_MS_CREATE_CONFIG;
    /* Reading secrets is not needed to show the configuration. */
    unit_run_mode = AP_SQ_RM_CONFIG_DUMP;
    memsess_conf_start(unit_pool);
    assert_true(memsess_conf_check(s, unit_pool, unit_pool));
    unit_run_mode = AP_SQ_RM_NORMAL;
}

/* Reads a configuration of one line in a new generation, as a server does that is restarted;
 * returns what it signs with, or NULL. */
static const memsess_secret_t *restarted(const char *line)
{
    server_rec *s = new_server(NULL);
    const memsess_secrets_t *secrets;

    logged[0] = '\0';
    unit_generation++;
    memsess_conf_start(unit_pool);
    must(s, line);
    assert_true(memsess_conf_check(s, unit_pool, unit_pool));
    assert_string_equal(logged, "");
    assert_true(memsess_conf_settle(s, unit_pool));
    secrets = memsess_srv_conf(s)->secrets;
    return secrets->n ? &secrets->secret[0] : NULL;
}

static void test_secrets_of_before(void **state)
{
    const char *a = secret_file("a", 32, 0600), *b = secret_file("b", 32, 0600);
    const char *good = apr_pstrcat(unit_pool, "MemSessSecret ", a, NULL);
    const char *both = apr_pstrcat(unit_pool, "MemSessSecret ", b, " ", a, NULL);
    const memsess_secret_t *before;

    (void)state;
    unit_generation = 0;
    before = restarted(good);
    assert_non_null(before);
    unlink(a + 5);
    assert_memory_equal(restarted(good), before, sizeof(*before));
    assert_non_null(strstr(logged, "the secret that it gave before stays in use"));
    assert_memory_equal(restarted(good), before, sizeof(*before));
    /* The first source still fails, and the line now names a second one that works. */
    assert_memory_not_equal(restarted(both), before, sizeof(*before));
    assert_non_null(strstr(logged, "the secret that it gave before stays in use"));
    /* The line names a source that was not there before, and fails. */
    before = restarted(both);
    assert_memory_equal(restarted("MemSessSecret exec:/none"), before, sizeof(*before));
    assert_non_null(strstr(logged, "MemSessSecret exec:/none: cannot be run"));
    assert_non_null(strstr(logged, "the server goes on with the secrets that it had"));
    unlink(b + 5);
    unit_generation = 1;
}

static void test_no_secrets_of_before(void **state)
{
    server_rec *s;

    (void)state;
    unit_generation = 1;
    assert_null(restarted("MemSessSecret file:/none"));
    assert_non_null(strstr(logged, "has no secret, so its sessions are unavailable"));
    /* At a start a missing secret is refused, whatever a restart used in its place. */
    unit_generation = 1;
    s = new_server(NULL);
    memsess_conf_start(unit_pool);
    must(s, "MemSessSecret file:/none");
    assert_false(memsess_conf_check(s, unit_pool, unit_pool));
}

static void test_idle_above_absolute(void **state)
{
    static const struct {
        const char *server[2], *section[2];
        int ok;
    } cases[] = {
        {{"MemSessIdleTimeout 24h"}, {NULL}, 1},
        {{"MemSessIdleTimeout 25h"}, {NULL}, 0},
        {{"MemSessIdleTimeout 25h", "MemSessAbsoluteTimeout 0"}, {NULL}, 1},
        {{"MemSessAbsoluteTimeout 48h", "MemSessIdleTimeout 25h"}, {NULL}, 1},
        {{"MemSessAbsoluteTimeout 29min"}, {NULL}, 0},
        {{"MemSessAbsoluteTimeout 30min"}, {NULL}, 1},
        {{"MemSessAbsoluteTimeout 0"}, {NULL}, 1},
        {{NULL}, {"MemSessIdleTimeout 25h"}, 0},
        {{NULL}, {"MemSessIdleTimeout 25h", "MemSessAbsoluteTimeout 25h"}, 1},
        {{NULL}, {"MemSessIdleTimeout 25h", "MemSessAbsoluteTimeout 0"}, 1},
        {{NULL}, {"MemSessAbsoluteTimeout 1min"}, 0},
        {{"MemSessIdleTimeout 1min"}, {"MemSessAbsoluteTimeout 1min"}, 1},
        {{"MemSessAbsoluteTimeout 48h"}, {"MemSessIdleTimeout 47h"}, 1},
        {{"MemSessAbsoluteTimeout 48h"}, {"MemSessIdleTimeout 49h"}, 0},
        {{"MemSessAbsoluteTimeout 0"}, {"MemSessIdleTimeout 5000h"}, 1},
        {{"MemSessIdleTimeout 2min"}, {"MemSessAbsoluteTimeout 1min"}, 0},
    };
    unsigned i, j, in_vhost;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        /* A setting of the main server also applies to a virtual host and its sections. */
        for (in_vhost = 0; in_vhost < 2; in_vhost++) {
            server_rec *s = new_server(NULL);
            server_rec *vhost = in_vhost ? new_server(s) : s;
            memsess_dir_conf_t *section = memsess_dir_conf_create(unit_pool, NULL);

            memsess_conf_start(unit_pool);
            logged[0] = '\0';
            for (j = 0; j < 2 && cases[i].server[j]; j++) {
                must(s, cases[i].server[j]);
            }
            for (j = 0; j < 2 && cases[i].section[j]; j++) {
                must_in(vhost, section, cases[i].section[j]);
            }
            if (in_vhost) {
                merge_server(s, vhost);
            }
            if (memsess_conf_check(s, unit_pool, unit_pool) != cases[i].ok) {
                print_error("case %u, in a virtual host: %u\n", i, in_vhost);
            }
            logged[0] = '\0';
            assert_int_equal(memsess_conf_check(s, unit_pool, unit_pool), cases[i].ok);
            if (!cases[i].ok) {
                assert_non_null(strstr(logged, "MemSessIdleTimeout"));
                assert_non_null(strstr(logged, "MemSessAbsoluteTimeout"));
                assert_non_null(strstr(logged, "line 11 of memsess.conf"));
            }
            else {
                assert_string_equal(logged, "");
            }
        }
    }
}

/* httpd reads its configuration twice, and again for every graceful restart. */
static void test_reading_again_starts_from_scratch(void **state)
{
    (void)state;
    must(main_server, "MemSessIdleTimeout 25h");
    assert_false(memsess_conf_check(main_server, unit_pool, unit_pool));
    memsess_conf_start(unit_pool);
    main_server = new_server(NULL);
    assert_true(memsess_conf_check(main_server, unit_pool, unit_pool));
}

static void test_what_the_store_gets(void **state)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(main_server);
    memsess_store_conf_t store;
    int i;

    (void)state;
    must(main_server, "MemSessServers a?weight=3 [::1]:12 unix:/x?name=y");
    must(main_server, "MemSessTimeout 100ms");
    must(main_server, "MemSessRetry 3s");
    must(main_server, "MemSessFailover Off");
    must(main_server, "MemSessCompress Off");
    memsess_conf_store(conf, 25, &store, unit_pool);
    assert_int_equal(store.members->nelts, 3);
    assert_int_equal(store.copies, 2);
    assert_int_equal(store.failover, 0);
    assert_int_equal(store.compress, 0);
    assert_int_equal(store.unpack, 4 * 1000000);
    for (i = 0; i < 3; i++) {
        const memsess_member_t *member = &APR_ARRAY_IDX(store.members, i, memsess_member_t);

        assert_true(member->server.timeout == apr_time_from_msec(100));
        assert_true(member->server.retry == apr_time_from_sec(3));
        assert_int_equal(member->server.max_conns, 25);
        assert_true(member->server.idle == apr_time_from_sec(60));
        assert_null(member->server.auth);
        assert_int_equal(member->weight, i ? 1 : 3);
    }
    must(main_server, "MemSessConnections 4 idle=5s");
    must(main_server, "MemSessMaxSize 3000000");
    must(main_server, "MemSessMaxSize 500");
    memsess_conf_store(conf, 25, &store, unit_pool);
    assert_int_equal(store.unpack, 4 * 3000000);
    assert_int_equal(APR_ARRAY_IDX(store.members, 2, memsess_member_t).server.max_conns, 4);
    assert_true(APR_ARRAY_IDX(store.members, 2, memsess_member_t).server.idle
                == apr_time_from_sec(5));
    /* A configuration does not change once it serves: the store has its own list. */
    assert_true(APR_ARRAY_IDX(conf->members, 2, memsess_member_t).server.timeout == 0);
}

/* -- MemSessServerAuth ------------------------------------------------------------------------- */

static const char *auth_file(const char *text, mode_t mode)
{
    const char *path = apr_pstrcat(unit_pool, dir_name, "/auth", NULL);
    FILE *file;

    unlink(path);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static const char *auth_line(const char *text, mode_t mode)
{
    return apr_pstrcat(unit_pool, "MemSessServerAuth ", auth_file(text, mode), NULL);
}

/* The password that a whole configuration gets from the file, which is read each time. */
static const char *password_of(const char *line)
{
    logged[0] = '\0';
    memsess_conf_start(unit_pool);
    must(main_server, line);
    memsess_srv_conf(main_server)->password = NULL;
    return memsess_conf_check(main_server, unit_pool, unit_pool)
               ? memsess_srv_conf(main_server)->password : NULL;
}

static void assert_auth_refused(const char *line, const char *why)
{
    assert_null(password_of(line));
    if (strncmp(logged, line, strlen(line)) || !strstr(logged, why)) {
        print_error("%s: %s\n", line, logged);
    }
    assert_memory_equal(logged, line, strlen(line));
    assert_non_null(strstr(logged, why));
    assert_null(strstr(logged, "sesame"));
}

static void test_auth(void **state)
{
    static const struct {
        const char *text, *auth;
    } good[] = {
        {"web:sesame\n", "web sesame"},
        {"web:sesame", "web sesame"},
        {"web:sesame\r\n", "web sesame"},
        {"web:sesame\nother:sesame\n", "web sesame"},
        {"web:ses:ame\n", "web ses:ame"},
        {"w:s", "w s"},
        {"caf\xc3\xa9:ses\xc3\xa4me\n", "caf\xc3\xa9 ses\xc3\xa4me"},
    };
    static const mode_t modes[] = {0600, 0400, 0640, 0660};
    unsigned i;
    memsess_store_conf_t store;

    (void)state;
    for (i = 0; i < COUNT(good); i++) {
        const char *password = password_of(auth_line(good[i].text, modes[i % COUNT(modes)]));

        assert_non_null(password);
        assert_string_equal(password, good[i].auth);
    }
    memsess_conf_store(memsess_srv_conf(main_server), 1, &store, unit_pool);
    assert_string_equal(APR_ARRAY_IDX(store.members, 0, memsess_member_t).server.auth,
                        "caf\xc3\xa9 ses\xc3\xa4me");
}

static void test_auth_refused(void **state)
{
    static const mode_t open_modes[] = {0644, 0604, 0602, 0666, 0444};
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(open_modes); i++) {
        assert_auth_refused(auth_line("web:sesame\n", open_modes[i]),
                            "readable or writable by all: chmod");
    }
    assert_auth_refused(auth_line("", 0600), "user:password");
    assert_auth_refused(auth_line("\n", 0600), "user:password");
    assert_auth_refused(auth_line("\nweb:sesame\n", 0600), "user:password");
    assert_auth_refused(auth_line("sesame\n", 0600), "user:password");
    assert_auth_refused(auth_line(":sesame\n", 0600), "user:password");
    assert_auth_refused(auth_line("web:\n", 0600), "user:password");
    assert_auth_refused(auth_line("web :sesame\n", 0600), "spaces");
    assert_auth_refused(auth_line("web:open sesame\n", 0600), "spaces");
    assert_auth_refused(auth_line("web:sesame\t\n", 0600), "spaces");
    assert_auth_refused("MemSessServerAuth /nonexistent/auth", "/nonexistent/auth: does not exist");
    assert_auth_refused("MemSessServerAuth /", "/: is a directory");
    assert_null(password_of("MemSessServerAuth relative"));
    assert_non_null(strstr(logged, "MemSessServerAuth /nowhere/relative: does not exist"));
    assert_refused(main_server, "MemSessServerAuth no-path", "no-path");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONF_TEST(test_where_directives_may_stand),
        CONF_TEST(test_defaults),
        CONF_TEST(test_flags),
        CONF_TEST(test_numbers),
        CONF_TEST(test_times),
        CONF_TEST(test_words),
        CONF_TEST(test_bind),
        CONF_TEST(test_bind_tls),
        CONF_TEST(test_bind_anywhere),
        CONF_TEST(test_expose),
        CONF_TEST(test_keys),
        CONF_TEST(test_namespace),
        CONF_TEST(test_connections),
        CONF_TEST(test_cookie),
        CONF_TEST(test_servers_spellings),
        CONF_TEST(test_servers_refused),
        CONF_TEST(test_servers_long_names),
        CONF_TEST(test_servers_named_twice),
        CONF_TEST(test_servers_of_virtual_hosts),
        CONF_TEST(test_virtual_hosts_inherit),
        CONF_TEST(test_sections_inherit),
        CONF_TEST(test_refresh),
        CONF_TEST(test_redundancy_above_the_pool),
        CONF_TEST(test_redundancy_that_fits),
        CONF_TEST(test_secrets),
        CONF_TEST(test_sealed_with_a_secret),
        CONF_TEST(test_secrets_refused),
        CONF_TEST(test_secrets_of_before),
        CONF_TEST(test_no_secrets_of_before),
        CONF_TEST(test_idle_above_absolute),
        CONF_TEST(test_reading_again_starts_from_scratch),
        CONF_TEST(test_what_the_store_gets),
        CONF_TEST(test_auth),
        CONF_TEST(test_auth_refused),
    };

    unit_begin();
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
