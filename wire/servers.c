/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "wire/servers.h"

#include <stdlib.h>
#include <string.h>

#include "apr_atomic.h"
#include "apr_strings.h"
#include "apr_thread_proc.h"
#include "base/clock.h"
#include "base/crew.h"
#include "base/log.h"
#include "base/thread.h"
#include "wire/conn.h"
#include "wire/resolve.h"
#include "wire/turn.h"

struct memsess_server_t {
    apr_pool_t *p;
    memsess_server_conf_t conf;
    memsess_pool_t *pool;
    memsess_link_t link;
    memsess_turns_t turns;
    volatile apr_uint32_t names; /* what memsess_host_moved said last */
    volatile apr_uint32_t moved; /* the name leads elsewhere since the prober looked last */
    volatile apr_uint32_t down;
    volatile apr_uint32_t epoch; /* grows when connections made before are not to be trusted */
    volatile apr_uint64_t back_at; /* what its own clock said when it was found to answer again; 0:
                                      it does not tell */
    volatile apr_uint64_t back_steady; /* our monotonic clock then; 0: it was not away */
    volatile apr_uint64_t refused_since; /* by our monotonic clock */
    volatile apr_uint32_t refused_len;   /* the smallest record that it has refused since then */
    apr_time_t next_probe;       /* only the prober uses it */
};

/* A thread that looks after all servers, now and then and when it is woken. */
typedef struct keeper_t {
    memsess_pool_t *pool;
    apr_interval_time_t (*look)(memsess_pool_t *pool); /* returns how long it may rest */
    memsess_duty_t duty;
    pthread_t thread;
    int is_started;
    volatile apr_uint32_t stopping;
    apr_file_t *wake_in, *wake_out;
} keeper_t;

struct memsess_pool_t {
    apr_pool_t *p;
    apr_array_header_t *servers; /* of memsess_server_t * */
    memsess_resolver_t *resolver;
    memsess_crew_t *crew;
    memsess_leases_t *leases;
    keeper_t prober;  /* tries servers that are down */
    keeper_t watcher; /* watches deadlines, those of probes, too */
    pthread_mutex_t start;         /* held while threads are started */
    volatile apr_uint32_t lacking; /* whether a thread has yet to be started */
    volatile apr_uint64_t probed_at;
    int (*call)(void *baton, int sampled);
    void *call_baton;
};

/* Whether the server gave a whole answer, or was not asked, so that the connection is in step with
 * it. A refusal is an answer, too, but it comes in many shapes, so the connection is not kept after
 * it. */
static int in_step(apr_status_t rv)
{
    return rv == APR_SUCCESS || rv == MEMSESS_ABSENT || rv == MEMSESS_EXISTS
           || rv == MEMSESS_UNSENT;
}

/* A blocking read ends with the kernel's own code for a time-out, so there are two codes. */
static int timed_out(apr_status_t rv)
{
    return APR_STATUS_IS_EAGAIN(rv) || APR_STATUS_IS_TIMEUP(rv);
}

/* -- Health ---------------------------------------------------------------------------------- */

static void wake(const keeper_t *keeper)
{
    apr_file_putc('!', keeper->wake_out);
}

/* A server at its limit is up, and serves the connections that it has accepted. */
static void warn_of_limit(const memsess_server_t *server)
{
    char text[MEMSESS_WARNING_LEN];

    apr_snprintf(text, sizeof(text), "server %s accepts no more connections: requests wait for those "
                 "that a child has, and a child that has none goes without: raise memcached's -c, or "
                 "lower MemSessConnections (here %d)", server->conf.name, server->conf.max_conns);
    if (memsess_count_warn(MEMSESS_WARN_CONNECTIONS, text)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s", text);
    }
}

/* Every child finds this out on its own; the first one logs it. */
static void found_down(memsess_server_t *server, apr_status_t rv)
{
    char words[MEMSESS_WORDS_LEN];

    if (rv == MEMSESS_TOO_MANY) {
        warn_of_limit(server);
    }
    else if (memsess_count_down(server->conf.count, rv)) {
        memsess_log(MEMSESS_LOG_ERR, 0, "server %s is down: %s; trying it again every %"
                    APR_TIME_T_FMT " ms", server->conf.name,
                    memsess_error_words(rv, server->conf.timeout, words),
                    apr_time_as_msec(server->conf.retry));
    }
}

static void found_up(memsess_server_t *server, apr_time_t begun)
{
    if (memsess_count_up(server->conf.count, begun)) {
        memsess_log(MEMSESS_LOG_NOTICE, 0, "server %s is back", server->conf.name);
    }
}

/* No connection that was made before is used again. */
static void distrust(memsess_server_t *server)
{
    apr_atomic_inc32(&server->epoch);
    memsess_turns_close(&server->turns);
}

static void server_failed(memsess_server_t *server, apr_status_t rv)
{
    found_down(server, rv);
    distrust(server);
    if (apr_atomic_cas32(&server->down, 1, 0) == 0) {
        if (server->link.host) {
            memsess_host_again(server->link.host);
        }
        wake(&server->pool->prober);
    }
    memsess_turns_dismiss(&server->turns);
}

/* Connects; the connection belongs to the present epoch. */
static apr_status_t conn_connect(memsess_conn_t *c, memsess_server_t *server)
{
    c->epoch = apr_atomic_read32(&server->epoch);
    return memsess_conn_open(c, &server->link);
}

/* A figure out of a server's stats; -1: it is not there. */
static apr_int64_t stat_of(const char *stats, const char *name)
{
    const char *line = stats;
    apr_size_t len = strlen(name);

    while ((line = strstr(line, "STAT ")) != NULL) {
        line += sizeof("STAT ") - 1;
        if (!strncmp(line, name, len) && line[len] == ' ') {
            return apr_atoi64(line + len);
        }
    }
    return -1;
}

/* What a server tells of itself, and its own clock; -1 for what it does not tell. */
typedef struct told_t {
    apr_int64_t says[MEMSESS_SAYS_N], seconds;
} told_t;

static apr_status_t ask_stats(memsess_server_t *server, told_t *told)
{
    memsess_conn_t c = {.fd = -1};
    memsess_server_count_t *count = server->conf.count;
    const char *stats = "";
    apr_status_t rv = conn_connect(&c, server);
    unsigned i;

    if (rv == APR_SUCCESS) {
        rv = memsess_conn_ask(&c, "stats\r\n", &stats);
    }
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        told->says[i] = rv == APR_SUCCESS ? stat_of(stats, memsess_says_names[i].stat) : -1;
    }
    told->seconds = rv == APR_SUCCESS ? stat_of(stats, "time") : -1;
    if (told->seconds > 0) {
        memsess_count_server_started(count, told->seconds - told->says[MEMSESS_SAYS_UPTIME],
                                     memsess_clock_steady());
    }
    if (memsess_count_says(count, told->says)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s",
                    memsess_count_evicting(count, server->conf.name, c.p));
    }
    memsess_conn_close(&c, &server->link);
    return rv;
}

/* Notes that a server is back: what it has from before may be old. Right after it stood still,
 * memcached tells the time of before, so the later one counts: what it tells, or what was to be
 * expected. */
static void note_back(memsess_server_t *server)
{
    told_t told;

    if (ask_stats(server, &told) == APR_SUCCESS && told.seconds > memsess_server_clock(server)) {
        memsess_count_server_told(server->conf.count, told.seconds, memsess_clock_steady());
    }
    apr_atomic_set64(&server->back_at, (apr_uint64_t)memsess_server_clock(server));
    apr_atomic_set64(&server->back_steady, (apr_uint64_t)memsess_clock_steady());
}

/* Opens a further connection and keeps it for requests: a server at its limit may have no other for
 * us. */
static apr_status_t open_another(memsess_server_t *server)
{
    memsess_conn_t *c = memsess_conn_make();
    apr_status_t rv = c ? conn_connect(c, server) : APR_ENOMEM;

    if (rv == APR_SUCCESS) {
        memsess_conn_rest(c);
        memsess_turns_add(&server->turns, c);
    }
    else {
        free(c);
    }
    return rv;
}

static void probe(memsess_server_t *server)
{
    apr_time_t begun = memsess_clock_steady();
    apr_status_t rv;

    distrust(server);
    rv = open_another(server);
    if (rv == APR_SUCCESS) {
        found_up(server, begun);
        note_back(server); /* before anybody uses it again */
        apr_atomic_set32(&server->down, 0);
    }
    else {
        found_down(server, rv);
        if (server->link.host) {
            memsess_host_again(server->link.host);
        }
    }
}

/* Tries whether a server that is up accepts a further connection. */
static void probe_limit(memsess_server_t *server)
{
    apr_status_t rv;

    memsess_turns_attempt(&server->turns);
    rv = open_another(server);
    if (rv == MEMSESS_TOO_MANY || timed_out(rv)) {
        warn_of_limit(server);
    }
}

static apr_status_t run_version(memsess_server_t *server);

/* Tries a server that is up, as far as this child knows. */
static void check(memsess_server_t *server)
{
    apr_time_t begun = memsess_clock_steady();

    if (run_version(server) == APR_SUCCESS) {
        found_up(server, begun);
    }
}

/* While there is no prober, requests look after the servers, at most this often. */
#define PROBE_BY_HAND apr_time_from_msec(50)

static apr_status_t start_lacking(memsess_pool_t *pool);

/* Probes a server if that is due; returns for how long there is nothing to do. */
static apr_interval_time_t probe_one(memsess_server_t *server)
{
    apr_time_t now = memsess_clock_steady();

    if (!memsess_server_is_down(server)) {
        if (memsess_count_check_due(server->conf.count, server->conf.retry)) {
            check(server);
        }
        if (apr_atomic_xchg32(&server->moved, 0)) {
            memsess_count_server_moved(server->conf.count);
            memsess_server_tell(server);
            note_back(server);
        }
        memsess_turns_tidy(&server->turns);
    }
    if (!memsess_server_is_down(server) && !memsess_turns_are_scarce(&server->turns)) {
        server->next_probe = 0;
        return MEMSESS_SAMPLE_EVERY;
    }
    if (server->next_probe && server->next_probe <= now) {
        (memsess_server_is_down(server) ? probe : probe_limit)(server);
    }
    if (server->next_probe <= now) {
        server->next_probe = memsess_clock_steady() + server->conf.retry;
    }
    return server->next_probe - memsess_clock_steady();
}

/* Looks after all servers; returns for how long there is nothing to do. */
static apr_interval_time_t probe_all(memsess_pool_t *pool)
{
    apr_interval_time_t rest = MEMSESS_SAMPLE_EVERY;
    int i, sampled = memsess_count_sample(memsess_clock_steady());

    start_lacking(pool);
    memsess_leases_look(pool->leases);
    if (pool->call && pool->call(pool->call_baton, sampled)) {
        rest = 0;
    }
    for (i = 0; i < pool->servers->nelts; i++) {
        apr_interval_time_t left = probe_one(APR_ARRAY_IDX(pool->servers, i, memsess_server_t *));

        rest = left < rest ? left : rest;
    }
    return rest > 1000 ? rest : 1000;
}

/* Ends what takes too long; returns for how long nothing can become due. */
static apr_interval_time_t watch_all(memsess_pool_t *pool)
{
    apr_interval_time_t rest = apr_time_from_sec(10);
    int i;

    for (i = 0; i < pool->servers->nelts; i++) {
        memsess_server_t *server = APR_ARRAY_IDX(pool->servers, i, memsess_server_t *);

        if (memsess_link_shut_overdue(&server->link) && server->conf.timeout < rest) {
            rest = server->conf.timeout;
        }
    }
    return rest;
}

static void *keeper_main(void *data)
{
    keeper_t *keeper = data;
    char c;

    while (!apr_atomic_read32(&keeper->stopping)) {
        apr_file_pipe_timeout_set(keeper->wake_in, keeper->look(keeper->pool));
        apr_file_getc(&c, keeper->wake_in);
    }
    return NULL;
}

static apr_status_t keeper_init(keeper_t *keeper, memsess_pool_t *pool,
                                apr_interval_time_t (*look)(memsess_pool_t *pool))
{
    apr_status_t rv = apr_file_pipe_create_ex(&keeper->wake_in, &keeper->wake_out,
                                              APR_FULL_NONBLOCK, pool->p);

    keeper->pool = pool;
    keeper->look = look;
    if (rv == APR_SUCCESS) {
        apr_file_inherit_unset(keeper->wake_in);
        apr_file_inherit_unset(keeper->wake_out);
    }
    return rv;
}

static apr_status_t keeper_start(keeper_t *keeper)
{
    apr_status_t rv = APR_SUCCESS;

    if (!keeper->is_started) {
        rv = memsess_thread_start(&keeper->thread, &keeper->duty, keeper_main, keeper);
        keeper->is_started = rv == APR_SUCCESS;
    }
    return rv;
}

/* Each thread is tried, whatever becomes of the others. */
static apr_status_t start_all(memsess_pool_t *pool)
{
    const apr_status_t rvs[] = {memsess_resolver_start(pool->resolver),
                                keeper_start(&pool->watcher), keeper_start(&pool->prober)};

    return rvs[0] != APR_SUCCESS ? rvs[0] : rvs[1] != APR_SUCCESS ? rvs[1] : rvs[2];
}

/* A request that needs a server while a thread is lacking tries to start the thread, and does the
 * prober's work meanwhile. One request at a time does so, and the others do not wait for it. */
static apr_status_t start_lacking(memsess_pool_t *pool)
{
    apr_status_t rv = APR_SUCCESS;

    if (apr_atomic_read32(&pool->lacking) && pthread_mutex_trylock(&pool->start) == 0) {
        rv = start_all(pool);
        apr_atomic_set32(&pool->lacking, rv != APR_SUCCESS);
        if (!pool->prober.is_started
            && memsess_due(&pool->probed_at, memsess_clock_steady(), PROBE_BY_HAND)) {
            probe_all(pool);
        }
        pthread_mutex_unlock(&pool->start);
    }
    return rv;
}

static void keeper_stop(keeper_t *keeper)
{
    apr_atomic_set32(&keeper->stopping, 1);
    wake(keeper);
    if (keeper->is_started) {
        pthread_join(keeper->thread, NULL);
    }
}

/* -- Life ------------------------------------------------------------------------------------ */

apr_status_t memsess_pool_create(memsess_pool_t **result)
{
    memsess_pool_t *pool;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    pool = apr_pcalloc(p, sizeof(*pool));
    pool->p = p;
    pool->servers = apr_array_make(p, 8, sizeof(memsess_server_t *));
    pthread_mutex_init(&pool->start, NULL);
    /* Pipes come first: the system may have none left. */
    if ((rv = keeper_init(&pool->prober, pool, probe_all)) != APR_SUCCESS
        || (rv = keeper_init(&pool->watcher, pool, watch_all)) != APR_SUCCESS) {
        apr_pool_destroy(p);
    }
    else if ((rv = memsess_resolver_create(&pool->resolver)) == APR_SUCCESS
             && (rv = memsess_crew_create(&pool->crew)) == APR_SUCCESS
             && (rv = memsess_leases_create(&pool->leases, pool->crew)) == APR_SUCCESS) {
        pool->prober.duty.what = "tries servers again that are down: requests do it, and wait for them";
        pool->watcher.duty.what = "ends answers that come drop by drop";
        *result = pool;
    }
    return rv;
}

apr_status_t memsess_pool_add(memsess_server_t **result, memsess_pool_t *pool,
                              const memsess_server_conf_t *conf)
{
    memsess_server_t *server;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    server = apr_pcalloc(p, sizeof(*server));
    server->p = p;
    server->conf = *conf;
    if (!conf->count) {
        server->conf.count = memsess_count_private(p);
    }
    server->pool = pool;
    rv = memsess_link_init(&server->link, &server->conf, pool->resolver,
                           pool->watcher.wake_out, p);
    if (rv == APR_SUCCESS) {
        memsess_turns_init(&server->turns, &server->link, &server->down);
        APR_ARRAY_PUSH(pool->servers, memsess_server_t *) = server;
        *result = server;
    }
    return rv;
}

void memsess_pool_call(memsess_pool_t *pool, int (*call)(void *baton, int sampled), void *baton)
{
    pool->call = call;
    pool->call_baton = baton;
}

apr_status_t memsess_pool_start(memsess_pool_t *pool)
{
    apr_atomic_set32(&pool->lacking, 1);
    return start_lacking(pool);
}

void memsess_pool_abandon(memsess_pool_t *pool)
{
    memsess_leases_abandon(pool->leases);
}

void memsess_pool_destroy(memsess_pool_t *pool)
{
    int i;

    keeper_stop(&pool->prober);
    memsess_leases_destroy(pool->leases);
    keeper_stop(&pool->watcher);
    memsess_crew_destroy(pool->crew);
    for (i = 0; i < pool->servers->nelts; i++) {
        memsess_server_t *server = APR_ARRAY_IDX(pool->servers, i, memsess_server_t *);

        memsess_turns_close(&server->turns);
        apr_pool_destroy(server->p);
    }
    memsess_resolver_destroy(pool->resolver);
    pthread_mutex_destroy(&pool->start);
    apr_pool_destroy(pool->p);
}

int memsess_server_is_down(memsess_server_t *server)
{
    start_lacking(server->pool); /* every request that needs a server asks this first */
    return apr_atomic_read32(&server->down) != 0;
}

apr_int64_t memsess_server_clock(const memsess_server_t *server)
{
    return memsess_count_server_clock(server->conf.count);
}

/* How far apart two members may be in what they take for a server's clock, in seconds. */
#define CLOCK_ERROR 2

int memsess_server_sees_alike(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall)
{
    apr_int64_t ahead = (apr_time_sec(wall) - clock)
                        - (apr_time_sec(memsess_clock_wall()) - memsess_server_clock(server));

    return ahead <= CLOCK_ERROR && ahead >= -CLOCK_ERROR;
}

int memsess_server_was_there(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall)
{
    apr_int64_t back_at = (apr_int64_t)server->back_at;
    /* This goes by our wall clock as it is now, which may have been set. */
    apr_interval_time_t ago = memsess_clock_wall() - wall;

    if (!server->back_steady) {
        return 1;
    }
    /* The server's own clock counts, unless it is not told, or was set back meanwhile. */
    if (back_at && memsess_server_clock(server) + CLOCK_ERROR >= back_at) {
        if (clock > back_at + CLOCK_ERROR || clock < back_at - CLOCK_ERROR) {
            return clock > back_at;
        }
        if (!memsess_server_sees_alike(server, clock, wall)) {
            return 0;
        }
    }
    return ago < memsess_clock_steady() - (apr_time_t)server->back_steady;
}

/* Other members may see the server back a retry later. */
int memsess_server_is_just_back(const memsess_server_t *server)
{
    return server->back_steady
           && memsess_clock_steady() - (apr_time_t)server->back_steady
                  < apr_time_from_sec(2 * CLOCK_ERROR) + server->conf.retry;
}

memsess_leases_t *memsess_server_leases(memsess_server_t *server)
{
    return server->pool->leases;
}

const memsess_server_conf_t *memsess_server_conf(const memsess_server_t *server)
{
    return &server->conf;
}

/* -- Operations ------------------------------------------------------------------------------ */

/* If all connections are in use, a request waits for its turn as long as this many others before it
 * may take, each the whole of MemSessTimeout. If one takes longer, the server is found down, which
 * ends the waiting, too. So the limit is only reached with more threads than this to a connection,
 * and a server that is always slow. */
#define TURNS 20

/* The use of a connection. */
typedef struct use_t {
    memsess_server_t *server;
    memsess_conn_t *c;
    int is_new;       /* it was opened for this */
    apr_time_t begun; /* 0: the server was not asked anything */
} use_t;

/* Opens the connection. If that fails, it is given back: either there are others, and this returns
 * 0, or the server is down. */
static int conn_open(use_t *use, apr_status_t *rv)
{
    memsess_server_t *server = use->server;

    *rv = conn_connect(use->c, server);
    use->is_new = 1;
    if (*rv == APR_SUCCESS) {
        memsess_turn_opened(&server->turns);
    }
    else if (memsess_turn_refused(&server->turns, use->c)) {
        if (*rv == MEMSESS_TOO_MANY) {
            warn_of_limit(server);
        }
        wake(&server->pool->prober);
        use->c = NULL;
        return 0;
    }
    else {
        server_failed(server, *rv);
        memsess_turn_give(&server->turns, use->c);
        use->c = NULL;
    }
    return 1;
}

/* Makes sure that the connection is open: the server may have closed it since its last use. */
static int conn_ready(use_t *use, apr_status_t *rv)
{
    use->is_new = 0;
    use->begun = memsess_clock_steady();
    do {
        memsess_conn_use(use->c, &use->server->link);
    } while (!use->c->mc && memsess_turn_exchange(&use->c, &use->server->turns));
    return use->c->mc || conn_open(use, rv);
}

/* Follows a name that leads elsewhere now: connections to its old address are closed as they are
 * given back. */
static void follow_name(memsess_server_t *server)
{
    apr_uint32_t names = apr_atomic_read32(&server->names), now;

    if (server->link.host && (now = memsess_host_moved(server->link.host)) != names
        && apr_atomic_cas32(&server->names, now, names) == names) {
        memsess_log(MEMSESS_LOG_NOTICE, 0, "server %s: its name leads to another address now",
                    server->conf.name);
        distrust(server);
        /* The new server may have been used, and left, before. The prober asks for its clock. */
        apr_atomic_set64(&server->back_at, (apr_uint64_t)memsess_server_clock(server));
        apr_atomic_set64(&server->back_steady, (apr_uint64_t)memsess_clock_steady());
        apr_atomic_set32(&server->moved, 1);
        wake(&server->pool->prober);
    }
}

/* Takes an open connection, once it is our turn; if @a wait is 0, at once or not at all. */
static apr_status_t conn_take(use_t *use, memsess_server_t *server, int wait)
{
    apr_status_t rv;

    use->server = server;
    follow_name(server);
    do {
        use->begun = 0;
        rv = memsess_turn_take(&use->c, &server->turns, wait ? TURNS * server->conf.timeout : 0);
    } while (rv == APR_SUCCESS && !conn_ready(use, &rv));
    return rv;
}

static void conn_give(memsess_conn_t *c, memsess_server_t *server, apr_status_t rv)
{
    memsess_conn_rest(c);
    if (!in_step(rv) || c->epoch != apr_atomic_read32(&server->epoch)) {
        memsess_conn_close(c, &server->link);
    }
    memsess_turn_give(&server->turns, c);
}

typedef apr_status_t operation_t(memsess_conn_t *c, void *args);

/* Returns what the operation returned; but if the watcher ended it, that was a time-out. */
static apr_status_t operate(memsess_conn_t *c, operation_t *operation, void *args)
{
    apr_status_t rv = operation(c, args);

    return !in_step(rv) && memsess_conn_is_overdue(c) ? APR_TIMEUP : rv;
}

/* How an operation is run. */
#define STORES 1  /* the server can refuse it */
#define ONCE 2    /* it is not repeated, whatever happens */
#define AT_ONCE 4 /* it is not run if all connections are in use */

/* apr_memcache has one error for a refusal, for nonsense and for the end of the connection. */
#define UNCLEAR APR_EGENERAL

/* About how many bytes an item takes beside its key and its value. */
#define ITEM_HEAD 59

/* memcached refuses an item that is larger than its limit, or that it finds no room for. A proxy
 * does not tell the limit. */
static apr_status_t refusal(memsess_conn_t *c, const memsess_put_t *put)
{
    const char *settings;
    apr_int64_t most = memsess_conn_ask(c, "stats settings\r\n", &settings) == APR_SUCCESS
                           ? stat_of(settings, "item_size_max") : -1;

    if (most < 0) {
        return MEMSESS_REFUSED;
    }
    return (apr_int64_t)(put->len + strlen(put->key) + ITEM_HEAD) > most ? MEMSESS_TOO_LARGE
                                                                         : MEMSESS_FULL;
}

/* Why an answer was unclear. It was a refusal only if the operation stores, the connection stayed
 * open, and the server still answers on a new one. */
static apr_status_t reason(memsess_conn_t *c, memsess_server_t *server,
                           const memsess_put_t *refused)
{
    int was_open = memsess_conn_is_open(c);
    apr_status_t rv;

    memsess_conn_close(c, &server->link);
    rv = conn_connect(c, server);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return refused ? refusal(c, refused) : was_open ? MEMSESS_NONSENSE : MEMSESS_CLOSED;
}

/* For this time, a server that has refused a record is believed to refuse any that is as long. The
 * slack is there since a record is some bytes longer the more servers have it. */
#define REFUSED_FOR apr_time_from_sec(60)
#define REFUSED_SLACK 256

int memsess_server_refuses(const memsess_server_t *server, apr_size_t len)
{
    return server->refused_since
           && memsess_clock_steady() - (apr_time_t)server->refused_since < REFUSED_FOR
           && len + REFUSED_SLACK >= server->refused_len;
}

/* Sessions can be lost by this, although the server is up. */
static void found_refusing(memsess_server_t *server, apr_status_t rv, apr_size_t len)
{
    apr_time_t now = memsess_clock_steady();
    char words[MEMSESS_WORDS_LEN];

    /* The refusal of a larger record does not prolong the time in which a smaller one is not tried. */
    if (!server->refused_since || now - (apr_time_t)server->refused_since >= REFUSED_FOR
        || len < server->refused_len) {
        apr_atomic_set32(&server->refused_len, (apr_uint32_t)len);
        apr_atomic_set64(&server->refused_since, (apr_uint64_t)now);
    }
    if (memsess_count_refusing(server->conf.count, rv)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "server %s refuses sessions: %s", server->conf.name,
                    memsess_error_words(rv, 0, words));
    }
}

static void count_operation(memsess_server_t *server, apr_time_t begun, apr_status_t rv)
{
    memsess_count_operation(server->conf.count, memsess_clock_steady() - begun,
                            in_step(rv) ? MEMSESS_ANSWERED
                                        : timed_out(rv) ? MEMSESS_TIMED_OUT : MEMSESS_FAILED,
                            rv);
    if (in_step(rv)) {
        found_up(server, begun);
    }
}

/* Counts a use, unless nothing was asked at all. */
static void count_use(const use_t *use, apr_status_t rv)
{
    if (use->begun && rv != MEMSESS_UNSENT) {
        count_operation(use->server, use->begun, rv);
    }
}

/* Runs an operation once more, on another connection than the one that broke. */
static apr_status_t operate_anew(use_t *use, operation_t *operation, void *args)
{
    apr_status_t rv;

    if (!conn_open(use, &rv)) {
        rv = conn_take(use, use->server, 1);
    }
    return rv == APR_SUCCESS ? operate(use->c, operation, args) : rv;
}

static int was_refused(const use_t *use, apr_status_t rv, int how)
{
    return rv == UNCLEAR && (how & STORES) && memsess_conn_is_open(use->c);
}

/*
 * Runs an operation on a connection. If it fails on one that was used before, the server may have
 * restarted meanwhile: the operation is then repeated once, on a new connection, unless it must not
 * be. It is not repeated after a time-out, and a server that fails on a new connection is down.
 */
static apr_status_t run_one(use_t *use, memsess_server_t *server, operation_t *operation,
                            void *args, int how)
{
    int refused, blamed = 1;
    apr_status_t rv = conn_take(use, server, !(how & AT_ONCE));

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = operate(use->c, operation, args);
    refused = was_refused(use, rv, how);
    if (!use->is_new && !refused && !in_step(rv) && !timed_out(rv)) {
        memsess_conn_close(use->c, &server->link);
        distrust(server);
        blamed = !(how & ONCE);
        rv = blamed ? operate_anew(use, operation, args) : MEMSESS_CLOSED;
        if (!use->c) {
            return rv;
        }
        refused = was_refused(use, rv, how);
    }
    if (rv == UNCLEAR) {
        rv = reason(use->c, server, refused ? args : NULL);
    }
    if (memsess_is_refused(rv) && (how & STORES)) {
        found_refusing(server, rv, ((const memsess_put_t *)args)->len);
    }
    else if (blamed && !in_step(rv) && rv != MEMSESS_FOREIGN) {
        server_failed(server, rv);
    }
    conn_give(use->c, server, rv);
    return rv;
}

/* Runs an operation, and counts it. */
static apr_status_t run(memsess_server_t *server, operation_t *operation, void *args, int how)
{
    apr_status_t rv = MEMSESS_DOWN;
    use_t use;

    if (!memsess_server_is_down(server)) {
        rv = run_one(&use, server, operation, args, how);
        count_use(&use, rv);
    }
    return rv;
}

static apr_status_t version_operation(memsess_conn_t *c, void *args)
{
    apr_status_t rv;
    apr_pool_t *p;
    char *version;

    (void)args;
    apr_pool_create(&p, c->p);
    rv = apr_memcache_version(c->ms, p, &version);
    apr_pool_destroy(p);
    return rv;
}

/* If all connections are in use, their uses will tell how the server is. */
static apr_status_t run_version(memsess_server_t *server)
{
    use_t use;

    return run_one(&use, server, version_operation, NULL, AT_ONCE);
}

/* Asks as any use of the server would: one that hangs is down after this, so the request does not
 * wait for it twice. */
static apr_status_t try_version(memsess_server_t *server)
{
    return memsess_server_is_down(server) ? MEMSESS_DOWN : run_version(server);
}

apr_status_t memsess_server_tell(memsess_server_t *server)
{
    told_t told = {.seconds = 0};
    apr_status_t rv = try_version(server);

    if (in_step(rv)) {
        rv = ask_stats(server, &told);
    }
    if (rv == APR_SUCCESS && told.seconds > 0) {
        memsess_count_server_told(server->conf.count, told.seconds, memsess_clock_steady());
    }
    return rv;
}

/* Another server may answer under the same address. If a machine was put back to an earlier state,
 * its clock is behind; and a clock that was set back proves nothing. */
int memsess_server_kept(memsess_server_t *server, apr_interval_time_t since)
{
    const memsess_server_count_t *count = server->conf.count;
    apr_status_t rv = try_version(server);
    told_t told;

    /* MEMSESS_UNSENT: all connections are in use, so the server is there. */
    return (in_step(rv) || rv == MEMSESS_UNSENT) && ask_stats(server, &told) == APR_SUCCESS
           && memsess_count_server_known(count, memsess_clock_steady()) > since
           && !told.says[MEMSESS_SAYS_EVICTIONS] && told.seconds > 0
           && told.seconds + CLOCK_ERROR >= memsess_server_clock(server)
           && !memsess_count_server_set_back(count);
}

typedef struct get_args_t {
    memsess_get_t *get;
    apr_pool_t *p;
} get_args_t;

/* apr_memcache does not look at the key of an answer. */
static apr_status_t check_answer(const memsess_get_t *get, apr_status_t rv)
{
    if (rv == APR_SUCCESS && get->check && !get->check(get->baton, get->data, get->len)) {
        memsess_log(MEMSESS_LOG_ERR, 0, "server %s answered for another key: dropped the "
                    "connection", get->server->conf.name);
        rv = MEMSESS_FOREIGN;
    }
    return rv;
}

static apr_status_t get_operation(memsess_conn_t *c, void *args)
{
    memsess_get_t *get = ((get_args_t *)args)->get;

    return check_answer(get, apr_memcache_getp(c->mc, ((get_args_t *)args)->p, get->key,
                                               &get->data, &get->len, NULL));
}

static void get_alone(memsess_get_t *get, apr_pool_t *p)
{
    get_args_t args = {.get = get, .p = p};

    get->rv = run(get->server, get_operation, &args, 0);
}

apr_status_t memsess_server_get(memsess_server_t *server, const char *key, char **data,
                                apr_size_t *len, apr_pool_t *p)
{
    memsess_get_t get = {.server = server, .key = key};

    get_alone(&get, p);
    *data = get.data;
    *len = get.len;
    return get.rv;
}

/* When memcached refuses a set, it removes the item that it has; when it refuses a replace, the
 * item stays. */
static apr_status_t store(memsess_conn_t *c, const memsess_put_t *put)
{
    apr_status_t rv;

    switch (put->how) {
    case MEMSESS_PUT_ADD:
        return apr_memcache_add(c->mc, put->key, put->data, put->len, put->ttl, 0);
    case MEMSESS_PUT_REPLACE:
        /* apr_memcache has one code for "not stored", whatever the command was. */
        rv = apr_memcache_replace(c->mc, put->key, put->data, put->len, put->ttl, 0);
        if (rv != MEMSESS_EXISTS) {
            return rv;
        }
        break;
    default:
        break;
    }
    return apr_memcache_set(c->mc, put->key, put->data, put->len, put->ttl, 0);
}

static apr_status_t put_operation(memsess_conn_t *c, void *args)
{
    const memsess_put_t *put = args;

    return put->not_after && memsess_clock_steady() >= put->not_after ? MEMSESS_UNSENT : store(c, put);
}

static void put_one(void *item)
{
    memsess_put_t *put = item;

    put->rv = run(put->server, put_operation, put, STORES | (put->once ? ONCE : 0));
}

/* -- In turn, or all at once ------------------------------------------------------------------ */

/* Only what is asked in turn tells how near a server is, so each thread does it at least so often. */
#define TRY_IN_TURN 256

static int are_tried_in_turn(void)
{
    static __thread unsigned n;

    return n++ % TRY_IN_TURN == 0;
}

static int is_near(const memsess_server_t *server)
{
    return memsess_count_is_near(server->conf.count);
}

/* Near servers are sent their items one after the other, on this thread, until one of them times out;
 * how many that were. What must be sent soon is not sent behind what may hang. */
static unsigned put_in_turn(memsess_put_t *puts, unsigned n)
{
    int are_near = 1;
    unsigned i;

    for (i = 0; i < n; i++) {
        are_near &= !puts[i].not_after && is_near(puts[i].server);
    }
    for (i = 0; i < n && are_near; i++) {
        put_one(&puts[i]);
        are_near = !timed_out(puts[i].rv);
    }
    return i;
}

void memsess_pool_mput(memsess_put_t *puts, unsigned n)
{
    void *items[MEMSESS_PUTS_MAX];
    unsigned i, done = put_in_turn(puts, n);

    for (i = done; i < n; i++) {
        items[i - done] = &puts[i];
    }
    if (n > done) {
        memsess_crew_do(puts->server->pool->crew, put_one, items, n - done);
    }
}

apr_status_t memsess_server_set(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl)
{
    memsess_put_t put = {.server = server, .key = key, .data = data, .len = len, .ttl = ttl,
                         .how = MEMSESS_PUT_SET};

    put_one(&put);
    return put.rv;
}

apr_status_t memsess_server_add(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl)
{
    memsess_put_t put = {.server = server, .key = key, .data = data, .len = len, .ttl = ttl,
                         .how = MEMSESS_PUT_ADD};

    put_one(&put);
    return put.rv;
}

static apr_status_t delete_operation(memsess_conn_t *c, void *args)
{
    return apr_memcache_delete(c->mc, args, 0);
}

apr_status_t memsess_server_delete(memsess_server_t *server, const char *key)
{
    return run(server, delete_operation, (void *)key, 0);
}

/* -- Several keys at once --------------------------------------------------------------------- */

typedef enum { NOT_YET, ASKED, NOT_ASKED } state_t;

typedef struct batch_t {
    memsess_get_t *gets;
    memsess_conn_t **conns; /* on which each key is being asked for, or NULL */
    state_t *states;
    int n;
} batch_t;

/* apr_memcache asks for a hash of the key and then for the hash's server: our hash is the key's
 * index. */
static apr_uint32_t batch_hash(void *baton, const char *data, const apr_size_t len)
{
    const batch_t *batch = baton;
    int i;

    for (i = 0; i < batch->n; i++) {
        if (batch->conns[i] && strlen(batch->gets[i].key) == len
            && memcmp(batch->gets[i].key, data, len) == 0) {
            break;
        }
    }
    return (apr_uint32_t)i;
}

static apr_memcache_server_t *batch_server(void *baton, apr_memcache_t *mc,
                                           const apr_uint32_t hash)
{
    const batch_t *batch = baton;

    (void)mc;
    return batch->conns[hash]->ms;
}

/* The first key that is on the same server as this one, and so on the same connection: maybe
 * itself. */
static int shares_with(const batch_t *batch, int i)
{
    int j;

    for (j = 0; j < i && batch->gets[j].server != batch->gets[i].server; j++) {
    }
    return j;
}

/* Gives each connection back once, with the worst result of its keys. */
static void give_connected(const batch_t *batch)
{
    int i, j;

    for (i = 0; i < batch->n; i++) {
        apr_status_t rv = batch->gets[i].rv;

        if (!batch->conns[i] || shares_with(batch, i) != i) {
            continue;
        }
        for (j = i + 1; j < batch->n; j++) {
            if (batch->conns[j] == batch->conns[i] && in_step(rv)) {
                rv = batch->gets[j].rv;
            }
        }
        conn_give(batch->conns[i], batch->gets[i].server, rv);
    }
}

/* Asks all servers that have an open connection, and waits for all of them; apr_memcache gives up
 * those that take over 50 ms. */
static void ask_connected(batch_t *batch, apr_pool_t *p)
{
    apr_time_t begun = memsess_clock_steady();
    apr_hash_t *values = NULL;
    apr_memcache_t mc;
    apr_pool_t *temp;
    int i;

    memset(&mc, 0, sizeof(mc));
    mc.hash_func = batch_hash;
    mc.server_func = batch_server;
    mc.hash_baton = mc.server_baton = batch;
    for (i = 0; i < batch->n; i++) {
        if (batch->conns[i]) {
            apr_memcache_add_multget_key(p, batch->gets[i].key, &values);
        }
    }
    if (!values) {
        return;
    }
    apr_pool_create(&temp, p);
    apr_memcache_multgetp(&mc, temp, p, values);
    apr_pool_destroy(temp);
    for (i = 0; i < batch->n; i++) {
        memsess_get_t *get = &batch->gets[i];

        if (batch->conns[i]) {
            apr_memcache_value_t *value = apr_hash_get(values, get->key, APR_HASH_KEY_STRING);

            get->data = value->data;
            get->len = value->len;
            get->rv = check_answer(get, value->status);
            batch->states[i] = ASKED;
            if (in_step(get->rv)) {
                count_operation(get->server, begun, get->rv);
            }
        }
    }
    give_connected(batch);
    memset(batch->conns, 0, sizeof(*batch->conns) * (apr_size_t)batch->n);
}

/* Takes an open connection to one of several servers; NULL: rv tells why there is none. */
static memsess_conn_t *take_connected(memsess_server_t *server, int wait, apr_status_t *rv)
{
    use_t use = {.c = NULL};

    *rv = MEMSESS_DOWN;
    if (!memsess_server_is_down(server)) {
        *rv = conn_take(&use, server, wait);
        if (*rv != APR_SUCCESS) {
            count_use(&use, *rv);
        }
    }
    return use.c;
}

/* Takes connections to the servers that are not asked yet, as far as there are any; returns how
 * many. If @a wait is set, it waits for the first one, but for none while it has one: others may
 * wait for that. */
static int take_some(batch_t *batch, int wait)
{
    int i, had = 0;

    for (i = 0; i < batch->n; i++) {
        memsess_get_t *get = &batch->gets[i];
        int other = shares_with(batch, i), waits = wait && !had;

        if (batch->states[i] != NOT_YET) {
            continue;
        }
        if (other < i) {
            batch->conns[i] = batch->conns[other];
            batch->states[i] = batch->states[other];
            get->rv = batch->gets[other].rv;
            continue;
        }
        batch->conns[i] = take_connected(get->server, waits, &get->rv);
        had += batch->conns[i] != NULL;
        if (!batch->conns[i] && (waits || get->rv != MEMSESS_UNSENT)) {
            batch->states[i] = NOT_ASKED;
        }
    }
    return had;
}

static int are_left(const batch_t *batch)
{
    int i, left = 0;

    for (i = 0; i < batch->n; i++) {
        left += batch->states[i] == NOT_YET;
    }
    return left;
}

static void get_at_once(memsess_get_t *gets, int n, apr_pool_t *p)
{
    batch_t batch = {.gets = gets,
                     .conns = apr_pcalloc(p, sizeof(memsess_conn_t *) * (apr_size_t)n),
                     .states = apr_pcalloc(p, sizeof(state_t) * (apr_size_t)n),
                     .n = n};
    int i;

    while (n > 1 && are_left(&batch)) {
        if (take_some(&batch, 0) || take_some(&batch, 1)) {
            ask_connected(&batch, p);
        }
    }
    /* A server that was too slow, or had closed its connection, is asked once more alone, by the
     * rules for one server. */
    for (i = 0; i < n; i++) {
        if (n == 1 || (batch.states[i] == ASKED && !in_step(gets[i].rv))) {
            get_alone(&gets[i], p);
        }
    }
}

/* As many as this are asked in turn at most: one connection takes several keys at once. */
#define IN_TURN_MAX 4

/* As put_in_turn. */
static int get_in_turn(memsess_get_t *gets, int n, apr_pool_t *p)
{
    int i, are_tried = are_tried_in_turn(), are_near = n <= IN_TURN_MAX;

    for (i = 0; i < n; i++) {
        are_near &= are_tried || is_near(gets[i].server);
    }
    for (i = 0; i < n && are_near; i++) {
        get_alone(&gets[i], p);
        are_near = !timed_out(gets[i].rv);
    }
    return i;
}

void memsess_pool_mget(memsess_get_t *gets, int n, apr_pool_t *p)
{
    int asked = get_in_turn(gets, n, p);

    if (asked < n) {
        get_at_once(gets + asked, n - asked, p);
    }
}
