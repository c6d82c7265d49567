/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_atomic.h"
#include "apr_file_io.h"
#include "apr_memcache.h"
#include "apr_network_io.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "apr_thread_proc.h"
#include "memsess_core.h"
#include "memsess_resolve.h"
#include "memsess_thread.h"

struct memsess_server_t {
    apr_pool_t *p; /* its own, since idle allocates from it under its own lock */
    memsess_server_conf_t conf;
    memsess_pool_t *pool;
    memsess_host_t *host;        /* NULL for a unix socket */
    apr_reslist_t *idle;         /* of conn_t, most of them connected */
    volatile apr_uint32_t down;
    volatile apr_uint32_t epoch; /* grows when connections made before are not to be trusted */
    volatile apr_uint64_t back_at; /* when it was last seen to be back, or 0 */
    apr_time_t next_probe;       /* the prober's own */
    apr_thread_mutex_t *watch;   /* guards connected */
    struct conn_t *connected;    /* all that have a socket */
};

struct memsess_pool_t {
    apr_pool_t *p;
    apr_array_header_t *servers; /* of memsess_server_t * */
    memsess_resolver_t *resolver;
    apr_thread_t *prober;
    apr_file_t *wake_in, *wake_out;
    volatile apr_uint32_t stopping;
};

/*
 * A connection: an apr_memcache client of its own with one server and one socket, so that
 * connecting and waiting happen under no lock that another thread needs. Its memory is its own
 * too. Without a client (mc is NULL) it is not connected.
 */
typedef struct conn_t {
    apr_pool_t *p;
    apr_memcache_t *mc;
    apr_memcache_server_t *ms;
    apr_uint32_t epoch;
    int fd;                        /* of apr_memcache's socket */
    volatile apr_uint64_t due;     /* when what it is used for has to be over; 0: it is idle */
    struct conn_t *next, *previous; /* in connected */
} conn_t;

/* apr_memcache must not hash, choose or ping: there is one server, and its health is our affair. */
static apr_uint32_t no_hash(void *baton, const char *data, const apr_size_t len)
{
    (void)baton;
    (void)data;
    (void)len;
    return 0;
}

static apr_memcache_server_t *only_server(void *baton, apr_memcache_t *mc, const apr_uint32_t hash)
{
    (void)baton;
    (void)hash;
    return mc->live_servers[0];
}

/* -- Connecting -------------------------------------------------------------------------------
 *
 * apr_memcache connects by itself, to IPv4 addresses and unix sockets only, waits a fixed second
 * for that, and then for ever for answers. So its socket is exchanged: we connect a socket of our
 * own, of any family, within the time-out, and bound its waits in the kernel; apr_memcache is let
 * connect to a "lobby", a listening socket of this process that nobody else knows, which takes no
 * time; and dup3() puts our socket in the place of the one that apr_memcache made. The lobby's
 * address, used once, tells without doubt which descriptor that is.
 */

static apr_status_t bound_waits(int fd, apr_interval_time_t timeout)
{
    struct timeval tv;

    tv.tv_sec = (time_t)apr_time_sec(timeout);
    tv.tv_usec = (suseconds_t)apr_time_usec(timeout);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv))
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv))) {
        return apr_get_netos_error();
    }
    return APR_SUCCESS;
}

static apr_status_t wire_connect_to(apr_socket_t **wire, apr_sockaddr_t *sa,
                                    const memsess_server_conf_t *conf, apr_pool_t *p)
{
    apr_status_t rv = apr_socket_create(wire, sa->family, SOCK_STREAM, 0, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = apr_socket_timeout_set(*wire, conf->timeout)) != APR_SUCCESS
        || (rv = apr_socket_connect(*wire, sa)) != APR_SUCCESS
        || (rv = apr_socket_timeout_set(*wire, -1)) != APR_SUCCESS) {
        apr_socket_close(*wire);
        return rv;
    }
    if (!conf->path) {
        apr_socket_opt_set(*wire, APR_TCP_NODELAY, 1);
        apr_socket_opt_set(*wire, APR_SO_KEEPALIVE, 1);
    }
    return APR_SUCCESS;
}

/* A socket to the server, connected within the time-out, whose waits are bounded. */
static apr_status_t wire_connect(apr_socket_t **wire, const memsess_server_t *server,
                                 apr_pool_t *p)
{
    const memsess_server_conf_t *conf = &server->conf;
    apr_sockaddr_t *sa;
    apr_os_sock_t fd;
    apr_status_t rv;

    if (conf->path) {
        rv = apr_sockaddr_info_get(&sa, conf->path, APR_UNIX, 0, 0, p);
    }
    else {
        rv = memsess_host_addresses(&sa, server->host, conf->port, conf->timeout, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (; sa; sa = sa->next) {
        rv = wire_connect_to(wire, sa, conf, p);
        if (rv == APR_SUCCESS) {
            apr_os_sock_get(&fd, *wire);
            return bound_waits(fd, conf->timeout);
        }
        if (APR_STATUS_IS_TIMEUP(rv)) {
            break; /* one time-out a call, however many addresses a name has */
        }
    }
    return rv;
}

static apr_status_t lobby_open(apr_socket_t **lobby, apr_sockaddr_t **address, apr_pool_t *p)
{
    apr_status_t rv;

    if ((rv = apr_sockaddr_info_get(address, "127.0.0.1", APR_INET, 0, 0, p)) != APR_SUCCESS
        || (rv = apr_socket_create(lobby, APR_INET, SOCK_STREAM, 0, p)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = apr_socket_bind(*lobby, *address)) != APR_SUCCESS
        || (rv = apr_socket_listen(*lobby, 8)) != APR_SUCCESS
        || (rv = apr_socket_addr_get(address, APR_LOCAL, *lobby)) != APR_SUCCESS) {
        apr_socket_close(*lobby);
    }
    return rv;
}

static int is_guest(int fd, const struct sockaddr_in *lobby)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET
           && peer.sin_port == lobby->sin_port
           && peer.sin_addr.s_addr == lobby->sin_addr.s_addr;
}

/* The descriptor that is connected to the lobby, or -1. New descriptors are the lowest free ones,
 * so the first guess is right but for races. */
static int find_guest(const struct sockaddr_in *lobby, int guess)
{
    struct rlimit limit;
    int fd, end = 65536;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
        && limit.rlim_cur < (1 << 20)) {
        end = (int)limit.rlim_cur;
    }
    for (fd = guess; fd < end; fd++) {
        if (is_guest(fd, lobby)) {
            return fd;
        }
    }
    for (fd = 0; fd < guess; fd++) {
        if (is_guest(fd, lobby)) {
            return fd;
        }
    }
    return -1;
}

/* -- Deadlines --------------------------------------------------------------------------------
 *
 * The kernel bounds each wait; a server that sends a byte now and then would still be waited for
 * without end. So the prober shuts down what is in use for too long.
 */

static void wake_prober(memsess_pool_t *pool)
{
    apr_file_putc('!', pool->wake_out);
}

static void watch_begin(conn_t *c, memsess_server_t *server, int fd)
{
    int is_first;

    apr_thread_mutex_lock(server->watch);
    is_first = server->connected == NULL;
    c->fd = fd;
    c->previous = NULL;
    c->next = server->connected;
    if (c->next) {
        c->next->previous = c;
    }
    server->connected = c;
    apr_thread_mutex_unlock(server->watch);
    if (is_first) {
        wake_prober(server->pool);
    }
}

static void watch_end(conn_t *c, memsess_server_t *server)
{
    apr_thread_mutex_lock(server->watch);
    *(c->previous ? &c->previous->next : &server->connected) = c->next;
    if (c->next) {
        c->next->previous = c->previous;
    }
    c->fd = -1;
    apr_thread_mutex_unlock(server->watch);
}

static void set_due(conn_t *c, const memsess_server_t *server)
{
    apr_atomic_set64(&c->due, (apr_uint64_t)(apr_time_now() + server->conf.timeout));
}

/* Whether anything is connected, and so has to be watched. */
static int shut_overdue(memsess_server_t *server)
{
    conn_t *c;
    int any;

    apr_thread_mutex_lock(server->watch);
    any = server->connected != NULL;
    for (c = server->connected; c; c = c->next) {
        apr_uint64_t due = apr_atomic_read64(&c->due);

        if (due && due < (apr_uint64_t)apr_time_now()) {
            shutdown(c->fd, SHUT_RDWR);
        }
    }
    apr_thread_mutex_unlock(server->watch);
    return any;
}

/* Has apr_memcache connect to the lobby, and puts the wire in that socket's place. */
static apr_status_t exchange(conn_t *c, memsess_server_t *server, apr_socket_t *wire,
                             const apr_sockaddr_t *lobby)
{
    apr_os_sock_t wire_fd;
    void *inner;
    apr_status_t rv;
    int guess, fd;

    if ((rv = apr_memcache_server_create(c->p, "127.0.0.1", lobby->port, 0, 1, 1, 0, &c->ms))
            != APR_SUCCESS
        || (rv = apr_memcache_create(c->p, 1, 0, &c->mc)) != APR_SUCCESS) {
        return rv;
    }
    c->mc->hash_func = no_hash;
    c->mc->server_func = only_server;
    apr_memcache_add_server(c->mc, c->ms);

    apr_os_sock_get(&wire_fd, wire);
    guess = fcntl(wire_fd, F_DUPFD_CLOEXEC, 0);
    if (guess < 0) {
        return errno;
    }
    close(guess);
    rv = apr_reslist_acquire(c->ms->conns, &inner);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    fd = find_guest(&lobby->sa.sin, guess);
    rv = fd < 0 ? APR_ENOSOCKET : dup3(wire_fd, fd, O_CLOEXEC) < 0 ? errno : APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        apr_reslist_invalidate(c->ms->conns, inner);
        return rv;
    }
    watch_begin(c, server, fd);
    return apr_reslist_release(c->ms->conns, inner);
}

static void conn_close(conn_t *c, memsess_server_t *server)
{
    if (c->fd >= 0) {
        watch_end(c, server);
    }
    if (c->p) {
        apr_pool_destroy(c->p); /* apr_memcache's own clean-up says quit and closes */
    }
    c->p = NULL;
    c->mc = NULL;
}

/* memcached's text-protocol authentication is a first set on the connection. */
static apr_status_t authenticate(conn_t *c, const char *auth)
{
    char *secret = apr_pstrdup(c->p, auth);

    return apr_memcache_set(c->mc, "auth", secret, strlen(secret), 0, 0);
}

static apr_status_t conn_open(conn_t *c, memsess_server_t *server)
{
    apr_socket_t *wire = NULL, *lobby;
    apr_sockaddr_t *address;
    apr_status_t rv;

    c->epoch = apr_atomic_read32(&server->epoch);
    set_due(c, server);
    rv = apr_pool_create_unmanaged_ex(&c->p, NULL, NULL);
    if (rv != APR_SUCCESS) {
        c->p = NULL;
        return rv;
    }
    rv = wire_connect(&wire, server, c->p);
    if (rv == APR_SUCCESS) {
        rv = lobby_open(&lobby, &address, c->p);
        if (rv == APR_SUCCESS) {
            rv = exchange(c, server, wire, address);
            apr_socket_close(lobby);
        }
        apr_socket_close(wire);
    }
    if (rv == APR_SUCCESS && server->conf.auth) {
        rv = authenticate(c, server->conf.auth);
    }
    if (rv != APR_SUCCESS) {
        conn_close(c, server);
    }
    set_due(c, server);
    return rv;
}

/* The list of idle connections makes them unconnected, since it does so under its lock. */
static apr_status_t conn_make(void **resource, void *params, apr_pool_t *p)
{
    conn_t *c = calloc(1, sizeof(*c));

    (void)params;
    (void)p;
    if (c) {
        c->fd = -1;
    }
    *resource = c;
    return c ? APR_SUCCESS : APR_ENOMEM;
}

static apr_status_t conn_free(void *resource, void *params, apr_pool_t *p)
{
    (void)p;
    conn_close(resource, params);
    free(resource);
    return APR_SUCCESS;
}

/* -- Health ---------------------------------------------------------------------------------- */

static void server_failed(memsess_server_t *server, apr_status_t rv)
{
    apr_atomic_inc32(&server->epoch);
    if (apr_atomic_cas32(&server->down, 1, 0) == 0) {
        memsess_log(MEMSESS_LOG_ERR, rv, "server %s is down; trying it again every %" APR_TIME_T_FMT
                    " ms", server->conf.name, apr_time_as_msec(server->conf.retry));
        if (server->host) {
            memsess_host_again(server->host);
        }
        wake_prober(server->pool);
    }
}

static void probe(memsess_server_t *server)
{
    conn_t c = {NULL, NULL, NULL, 0, -1, 0, NULL, NULL};
    char *version;

    if (conn_open(&c, server) == APR_SUCCESS
        && apr_memcache_version(c.ms, c.p, &version) == APR_SUCCESS) {
        apr_atomic_inc32(&server->epoch);
        apr_atomic_set64(&server->back_at, (apr_uint64_t)apr_time_now());
        apr_atomic_set32(&server->down, 0);
        memsess_log(MEMSESS_LOG_NOTICE, 0, "server %s is back", server->conf.name);
    }
    else if (server->host) {
        memsess_host_again(server->host);
    }
    conn_close(&c, server);
}

/* Probes what is due; returns how long there is nothing to do. */
static apr_interval_time_t probe_all(memsess_pool_t *pool)
{
    apr_interval_time_t rest = apr_time_from_sec(10);
    int i;

    for (i = 0; i < pool->servers->nelts; i++) {
        memsess_server_t *server = APR_ARRAY_IDX(pool->servers, i, memsess_server_t *);
        apr_time_t now = apr_time_now();

        if (shut_overdue(server) && server->conf.timeout < rest) {
            rest = server->conf.timeout;
        }
        if (!apr_atomic_read32(&server->down)) {
            apr_reslist_maintain(server->idle);
            server->next_probe = 0;
            continue;
        }
        if (server->next_probe && server->next_probe <= now) {
            probe(server);
        }
        if (server->next_probe <= now) {
            server->next_probe = apr_time_now() + server->conf.retry;
        }
        if (apr_atomic_read32(&server->down) && server->next_probe - apr_time_now() < rest) {
            rest = server->next_probe - apr_time_now();
        }
    }
    return rest > 1000 ? rest : 1000;
}

static void *APR_THREAD_FUNC prober_main(apr_thread_t *thread, void *data)
{
    memsess_pool_t *pool = data;
    char c;

    (void)thread;
    while (!apr_atomic_read32(&pool->stopping)) {
        apr_file_pipe_timeout_set(pool->wake_in, probe_all(pool));
        apr_file_getc(&c, pool->wake_in);
    }
    return NULL;
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
    if ((rv = memsess_resolver_create(&pool->resolver)) == APR_SUCCESS
        && (rv = apr_file_pipe_create_ex(&pool->wake_in, &pool->wake_out, APR_FULL_NONBLOCK, p))
               == APR_SUCCESS) {
        apr_file_inherit_unset(pool->wake_in);
        apr_file_inherit_unset(pool->wake_out);
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
    server->pool = pool;
    rv = apr_thread_mutex_create(&server->watch, APR_THREAD_MUTEX_DEFAULT, p);
    if (rv == APR_SUCCESS && conf->host) {
        rv = memsess_resolver_add(&server->host, pool->resolver, conf->host);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_reslist_create(&server->idle, 0, 0, conf->max_conns, conf->idle, conn_make,
                                conn_free, server, p);
    }
    if (rv == APR_SUCCESS) {
        /* Whoever finds all connections in use waits as long as for an answer. */
        apr_reslist_timeout_set(server->idle, conf->timeout);
        APR_ARRAY_PUSH(pool->servers, memsess_server_t *) = server;
        *result = server;
    }
    return rv;
}

apr_status_t memsess_pool_start(memsess_pool_t *pool)
{
    apr_status_t rv = memsess_resolver_start(pool->resolver);

    return rv == APR_SUCCESS
               ? memsess_thread_create(&pool->prober, prober_main, pool, pool->p) : rv;
}

void memsess_pool_destroy(memsess_pool_t *pool)
{
    apr_status_t rv;
    int i;

    apr_atomic_set32(&pool->stopping, 1);
    wake_prober(pool);
    if (pool->prober) {
        apr_thread_join(&rv, pool->prober);
    }
    for (i = 0; i < pool->servers->nelts; i++) {
        apr_pool_destroy(APR_ARRAY_IDX(pool->servers, i, memsess_server_t *)->p);
    }
    memsess_resolver_destroy(pool->resolver);
    apr_pool_destroy(pool->p);
}

int memsess_server_is_down(memsess_server_t *server)
{
    return apr_atomic_read32(&server->down) != 0;
}

apr_time_t memsess_server_back_at(memsess_server_t *server)
{
    return (apr_time_t)apr_atomic_read64(&server->back_at);
}

const memsess_server_conf_t *memsess_server_conf(const memsess_server_t *server)
{
    return &server->conf;
}

/* -- Operations ------------------------------------------------------------------------------ */

/* Whether the server gave a whole answer, so that the connection is in step with it. A refusal is
 * an answer too, but one that comes in many shapes: the connection is not kept after it. */
static int in_step(apr_status_t rv)
{
    return rv == APR_SUCCESS || rv == MEMSESS_ABSENT || rv == MEMSESS_EXISTS;
}

/* The kernel's time-out is what a blocking read meets, so it has two names. */
static int timed_out(apr_status_t rv)
{
    return APR_STATUS_IS_EAGAIN(rv) || APR_STATUS_IS_TIMEUP(rv);
}

/* A connection that may have been closed by the server since its last use. */
static apr_status_t conn_take(conn_t **c, memsess_server_t *server)
{
    void *resource;
    apr_status_t rv = apr_reslist_acquire(server->idle, &resource);

    *c = resource;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((*c)->mc && (*c)->epoch != apr_atomic_read32(&server->epoch)) {
        conn_close(*c, server);
    }
    set_due(*c, server);
    return rv;
}

static void conn_give(conn_t *c, memsess_server_t *server, apr_status_t rv)
{
    apr_atomic_set64(&c->due, 0);
    if (!in_step(rv)) {
        conn_close(c, server);
    }
    apr_reslist_release(server->idle, c);
}

typedef apr_status_t operation_t(conn_t *c, void *args);

/* What the operation returned; but where the prober ended it, that was a time-out. */
static apr_status_t operate(conn_t *c, operation_t *operation, void *args)
{
    apr_status_t rv = operation(c, args);

    return !in_step(rv) && apr_atomic_read64(&c->due) < (apr_uint64_t)apr_time_now() ? APR_TIMEUP
                                                                                     : rv;
}

/*
 * Runs an operation on a connection. Where it fails on one that was used before, the server may
 * have restarted meanwhile: it is then repeated once, on a new connection. A time-out is not
 * repeated, and a server that fails on a new connection is down.
 */
static apr_status_t run(memsess_server_t *server, operation_t *operation, void *args)
{
    conn_t *c;
    int used;
    apr_status_t rv;

    if (memsess_server_is_down(server)) {
        return MEMSESS_DOWN;
    }
    rv = conn_take(&c, server);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    used = c->mc != NULL;
    if (used) {
        rv = operate(c, operation, args);
    }
    if (!used || (!in_step(rv) && !timed_out(rv))) {
        if (used) {
            conn_close(c, server);
            apr_atomic_inc32(&server->epoch);
        }
        rv = conn_open(c, server);
        if (rv == APR_SUCCESS) {
            rv = operate(c, operation, args);
        }
    }
    if (!in_step(rv) && rv != MEMSESS_REFUSED) {
        server_failed(server, rv);
    }
    conn_give(c, server, rv);
    return rv;
}

typedef struct get_args_t {
    const char *key;
    char **data;
    apr_size_t *len;
    apr_pool_t *p;
} get_args_t;

static apr_status_t get_operation(conn_t *c, void *args)
{
    get_args_t *a = args;

    return apr_memcache_getp(c->mc, a->p, a->key, a->data, a->len, NULL);
}

apr_status_t memsess_server_get(memsess_server_t *server, const char *key, char **data,
                                apr_size_t *len, apr_pool_t *p)
{
    get_args_t args = {key, data, len, p};

    return run(server, get_operation, &args);
}

typedef struct set_args_t {
    const char *key;
    char *data;
    apr_size_t len;
    apr_uint32_t ttl;
} set_args_t;

static apr_status_t set_operation(conn_t *c, void *args)
{
    set_args_t *a = args;

    return apr_memcache_set(c->mc, a->key, a->data, a->len, a->ttl, 0);
}

apr_status_t memsess_server_set(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl)
{
    set_args_t args = {key, data, len, ttl};

    return run(server, set_operation, &args);
}

static apr_status_t add_operation(conn_t *c, void *args)
{
    set_args_t *a = args;

    return apr_memcache_add(c->mc, a->key, a->data, a->len, a->ttl, 0);
}

apr_status_t memsess_server_add(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl)
{
    set_args_t args = {key, data, len, ttl};

    return run(server, add_operation, &args);
}

static apr_status_t delete_operation(conn_t *c, void *args)
{
    return apr_memcache_delete(c->mc, args, 0);
}

apr_status_t memsess_server_delete(memsess_server_t *server, const char *key)
{
    return run(server, delete_operation, (void *)key);
}

/* -- Several keys at once --------------------------------------------------------------------- */

typedef struct batch_t {
    memsess_get_t *gets;
    conn_t **conns;
    int n;
} batch_t;

/* apr_memcache asks for a hash of the key and then for the hash's server: ours is the index. */
static apr_uint32_t batch_hash(void *baton, const char *data, const apr_size_t len)
{
    const batch_t *batch = baton;
    int i;

    for (i = 0; i < batch->n; i++) {
        if (batch->conns[i] && strncmp(batch->gets[i].key, data, len) == 0) {
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

/* Asks all servers that have an open connection, and waits for all: apr_memcache gives those that
 * take over 50 ms up. */
static void ask_connected(batch_t *batch, apr_pool_t *p)
{
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

            get->rv = value->status;
            get->data = value->data;
            get->len = value->len;
            conn_give(batch->conns[i], get->server, get->rv);
        }
    }
}

/* An open connection to ask one of several servers on; NULL: rv tells why not. */
static conn_t *take_connected(memsess_server_t *server, apr_status_t *rv)
{
    conn_t *c;

    *rv = MEMSESS_DOWN;
    if (memsess_server_is_down(server) || (*rv = conn_take(&c, server)) != APR_SUCCESS) {
        return NULL;
    }
    if (!c->mc && (*rv = conn_open(c, server)) != APR_SUCCESS) {
        server_failed(server, *rv);
        conn_give(c, server, *rv);
        return NULL;
    }
    return c;
}

void memsess_pool_mget(memsess_get_t *gets, int n, apr_pool_t *p)
{
    batch_t batch = {gets, apr_pcalloc(p, sizeof(conn_t *) * (apr_size_t)n), n};
    int i;

    if (n > 1) {
        for (i = 0; i < n; i++) {
            batch.conns[i] = take_connected(gets[i].server, &gets[i].rv);
        }
        ask_connected(&batch, p);
    }
    /* A straggler, or a connection that the server had closed: it is asked alone, by the rules
     * for one server. */
    for (i = 0; i < n; i++) {
        if (n == 1 || (batch.conns[i] && !in_step(gets[i].rv))) {
            gets[i].rv = memsess_server_get(gets[i].server, gets[i].key, &gets[i].data,
                                            &gets[i].len, p);
        }
    }
}
