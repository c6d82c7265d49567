/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "wire/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "apr_atomic.h"
#include "apr_buckets.h"
#include "apr_network_io.h"
#include "apr_portable.h"
#include "apr_reslist.h"
#include "apr_strings.h"
#include "base/clock.h"

/* A connection that was idle for this long is looked at before its use; under load none is. */
#define IDLE_FOR_LONG apr_time_from_msec(10)

/* apr_memcache must not hash, choose or ping: there is one server, and wire/health.c knows its
 * health. */
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
 * apr_memcache connects to IPv4 addresses and unix sockets only, waits a fixed second for that, and
 * waits for answers for ever. So we connect a socket of our own, of any family, within the
 * time-out, bound its waits in the kernel, and hand it to apr_memcache: the list that it takes its
 * connections from is public, so we put our own in its place, with this one connection in it. */

/* A copy of what apr_memcache.c defines and does not publish. It is the same in apr-util 1.4 to 1.7
 * and in APR's trunk. apr_memcache sets the fields that are not set here before each use. */
struct apr_memcache_conn_t {
    char *buffer;
    apr_size_t blen;
    apr_pool_t *p;
    apr_pool_t *tp;
    apr_socket_t *sock;
    apr_bucket_brigade *bb;
    apr_bucket_brigade *tb;
    apr_memcache_server_t *ms;
};

/* apr_memcache reads lines of 512 bytes into its buffer. */
#define LINE_BUFFER 1024

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

/* What has not reached a server when its connection is given up must not reach it later: the kernel
 * would go on sending it for minutes. */
static void forget_when_closed(apr_socket_t *wire)
{
    struct linger none = {.l_onoff = 1};
    apr_os_sock_t fd;

    apr_os_sock_get(&fd, wire);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
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
        forget_when_closed(*wire);
    }
    return APR_SUCCESS;
}

/* A socket to the server, connected within the time-out, whose waits are bounded. */
static apr_status_t wire_connect(apr_socket_t **wire, const memsess_link_t *link,
                                 apr_pool_t *p)
{
    const memsess_server_conf_t *conf = link->conf;
    apr_sockaddr_t *sa;
    apr_os_sock_t fd;
    apr_status_t rv;

    if (conf->path) {
        rv = apr_sockaddr_info_get(&sa, conf->path, APR_UNIX, 0, 0, p);
    }
    else {
        rv = memsess_host_addresses(&sa, link->host, conf->port, conf->timeout, p);
        rv = APR_STATUS_IS_TIMEUP(rv) ? MEMSESS_UNRESOLVED : rv;
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
            break; /* a call takes one time-out, however many addresses a name has */
        }
    }
    return rv;
}

/* -- Deadlines --------------------------------------------------------------------------------
 *
 * The kernel bounds each wait, but a server that sends a byte now and then could still hold a
 * request for ever. So a thread of the pool shuts down connections that are in use for too long.
 */

static void watch_begin(memsess_conn_t *c, memsess_link_t *link, int fd)
{
    int is_first;

    apr_thread_mutex_lock(link->watch);
    is_first = link->connected == NULL;
    c->fd = fd;
    c->previous = NULL;
    c->next = link->connected;
    if (c->next) {
        c->next->previous = c;
    }
    link->connected = c;
    apr_thread_mutex_unlock(link->watch);
    if (is_first) {
        apr_file_putc('!', link->wake);
    }
}

static void watch_end(memsess_conn_t *c, memsess_link_t *link)
{
    apr_thread_mutex_lock(link->watch);
    *(c->previous ? &c->previous->next : &link->connected) = c->next;
    if (c->next) {
        c->next->previous = c->previous;
    }
    c->fd = -1;
    apr_thread_mutex_unlock(link->watch);
}

static void set_due(memsess_conn_t *c, const memsess_link_t *link, apr_time_t now)
{
    apr_atomic_set64(&c->due, (apr_uint64_t)(now + link->conf->timeout));
}

int memsess_conn_is_open(const memsess_conn_t *c)
{
    char byte;

    return c->mc && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0
           && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void memsess_conn_use(memsess_conn_t *c, memsess_link_t *link, apr_time_t now)
{
    set_due(c, link, now);
    if (c->mc && now - c->rested > IDLE_FOR_LONG && !memsess_conn_is_open(c)) {
        memsess_conn_close(c, link);
    }
}

int memsess_link_shut_overdue(memsess_link_t *link)
{
    memsess_conn_t *c;
    int any;

    apr_thread_mutex_lock(link->watch);
    any = link->connected != NULL;
    for (c = link->connected; c; c = c->next) {
        apr_uint64_t due = apr_atomic_read64(&c->due);

        if (due && due < (apr_uint64_t)memsess_clock_steady()) {
            shutdown(c->fd, SHUT_RDWR);
        }
    }
    apr_thread_mutex_unlock(link->watch);
    return any;
}

/* -- Asking ----------------------------------------------------------------------------------- */

/* A list can be long: "stats" of memcached 1.6 takes 3 kB. */
#define ANSWER_MAX 16384

/* Whether the answer is whole: a line, or a list up to its end. */
static int is_whole(const char *answer, apr_size_t len)
{
    static const char end[] = "\r\nEND\r\n";
    apr_size_t n = sizeof(end) - 1;

    if (strncmp(answer, "STAT ", 5)) {
        return memchr(answer, '\n', len) != NULL;
    }
    return len >= n && !memcmp(answer + len - n, end, n);
}

/* The kernel bounds each wait, and @a due bounds all of them. */
static apr_status_t ask(int fd, apr_time_t due, const char *command, const char **answer,
                        apr_pool_t *p)
{
    char *text = apr_palloc(p, ANSWER_MAX);
    apr_size_t len = 0;
    ssize_t n;

    text[0] = '\0';
    *answer = text;
    if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0) {
        return errno;
    }
    while (!is_whole(text, len)) {
        do {
            n = recv(fd, text + len, ANSWER_MAX - 1 - len, 0);
        } while (n < 0 && errno == EINTR && memsess_clock_steady() <= due);
        if (n < 0) {
            return errno == EINTR ? APR_TIMEUP : errno;
        }
        len += (apr_size_t)n;
        text[len] = '\0';
        if (memsess_clock_steady() > due) {
            return APR_TIMEUP;
        }
        if (n == 0) {
            return len == ANSWER_MAX - 1 ? MEMSESS_NONSENSE : MEMSESS_CLOSED;
        }
    }
    return APR_SUCCESS;
}

apr_status_t memsess_conn_ask(memsess_conn_t *c, const char *command, const char **answer)
{
    return ask(c->fd, (apr_time_t)apr_atomic_read64(&c->due), command, answer, c->p);
}

/*
 * At its limit of connections (-c), memcached says so and closes a new one, or leaves it in the
 * backlog, where it is connected all the same (-o no_maxconns_fast). So nothing that matters is
 * sent before the server has answered on a connection. If a password is configured, it is the first
 * set on the connection. A server that wants none stores it for a second, or has no room for it.
 */
static apr_status_t greet(int fd, const memsess_server_conf_t *conf, apr_pool_t *p)
{
    const struct {
        const char *answer;
        apr_status_t rv;
    } known[] = {{"VERSION ", APR_SUCCESS},
                 {"STORED", APR_SUCCESS},
                 {"SERVER_ERROR ", conf->auth ? APR_SUCCESS : MEMSESS_NONSENSE},
                 {"ERROR Too many open connections", MEMSESS_TOO_MANY},
                 {"CLIENT_ERROR ", conf->auth ? MEMSESS_AUTH_REFUSED : MEMSESS_AUTH_WANTED}};
    const char *hello = conf->auth ? apr_psprintf(p, "set auth 0 1 %" APR_SIZE_T_FMT "\r\n%s\r\n",
                                                  strlen(conf->auth), conf->auth) : "version\r\n";
    const char *answer;
    apr_status_t rv = ask(fd, memsess_clock_steady() + conf->timeout, hello, &answer, p);
    unsigned i;

    for (i = 0; rv == APR_SUCCESS && i < sizeof(known) / sizeof(known[0]); i++) {
        if (!strncmp(answer, known[i].answer, strlen(known[i].answer))) {
            return known[i].rv;
        }
    }
    return rv == APR_SUCCESS ? MEMSESS_NONSENSE : rv;
}

/* Hands out the one connection; once apr_memcache has discarded it, there is no other. */
static apr_status_t hand_out(void **resource, void *params, apr_pool_t *pool)
{
    memsess_conn_t *c = params;

    (void)pool;
    *resource = c->handle;
    c->handle = NULL;
    return *resource ? APR_SUCCESS : APR_ENOSOCKET;
}

/* memsess_conn_close closes the socket. Until then no other socket must get its number, since the
 * number is what is watched. */
static apr_status_t leave_open(void *resource, void *params, apr_pool_t *pool)
{
    (void)resource;
    (void)params;
    (void)pool;
    return APR_SUCCESS;
}

/* A client of apr_memcache with the wire as its only connection. */
static apr_status_t make_client(memsess_conn_t *c, memsess_link_t *link, apr_socket_t *wire)
{
    apr_os_sock_t fd;
    apr_status_t rv;

    c->handle = apr_pcalloc(c->p, sizeof(*c->handle));
    c->handle->buffer = apr_palloc(c->p, LINE_BUFFER);
    c->handle->p = c->p;
    c->handle->sock = wire;
    if ((rv = apr_pool_create(&c->handle->tp, c->p)) != APR_SUCCESS
        || (rv = apr_memcache_server_create(c->p, "", 0, 0, 1, 1, 0, &c->ms)) != APR_SUCCESS
        || (rv = apr_reslist_create(&c->ms->conns, 0, 1, 1, 0, hand_out, leave_open, c, c->p))
               != APR_SUCCESS
        || (rv = apr_memcache_create(c->p, 1, 0, &c->mc)) != APR_SUCCESS) {
        return rv;
    }
    c->handle->ms = c->ms;
    c->mc->hash_func = no_hash;
    c->mc->server_func = only_server;
    apr_memcache_add_server(c->mc, c->ms);
    apr_os_sock_get(&fd, wire);
    watch_begin(c, link, fd);
    return APR_SUCCESS;
}

void memsess_conn_close(memsess_conn_t *c, memsess_link_t *link)
{
    if (c->fd >= 0) {
        watch_end(c, link);
    }
    if (c->p) {
        apr_pool_destroy(c->p); /* closes the socket, too */
    }
    c->p = NULL;
    c->mc = NULL;
}

apr_status_t memsess_conn_open(memsess_conn_t *c, memsess_link_t *link)
{
    apr_socket_t *wire = NULL;
    apr_os_sock_t fd;
    apr_status_t rv;

    set_due(c, link, memsess_clock_steady());
    rv = apr_pool_create_unmanaged_ex(&c->p, NULL, NULL);
    if (rv != APR_SUCCESS) {
        c->p = NULL;
        return rv;
    }
    rv = wire_connect(&wire, link, c->p);
    if (rv == APR_SUCCESS) {
        apr_os_sock_get(&fd, wire);
        rv = greet(fd, link->conf, c->p);
    }
    if (rv == APR_SUCCESS) {
        rv = make_client(c, link, wire);
    }
    if (rv != APR_SUCCESS) {
        memsess_conn_close(c, link);
    }
    set_due(c, link, memsess_clock_steady());
    return rv;
}

apr_status_t memsess_link_init(memsess_link_t *link, const memsess_server_conf_t *conf,
                               memsess_resolver_t *resolver, apr_file_t *wake, apr_pool_t *p)
{
    apr_status_t rv = apr_thread_mutex_create(&link->watch, APR_THREAD_MUTEX_DEFAULT, p);

    link->conf = conf;
    link->wake = wake;
    return rv == APR_SUCCESS && conf->host ? memsess_resolver_add(&link->host, resolver, conf->host)
                                           : rv;
}

void memsess_conn_rest(memsess_conn_t *c)
{
    c->rested = memsess_clock_steady();
    apr_atomic_set64(&c->due, 0);
}

int memsess_conn_is_overdue(memsess_conn_t *c)
{
    return apr_atomic_read64(&c->due) < (apr_uint64_t)memsess_clock_steady();
}
