/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "wire/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_atomic.h"
#include "apr_network_io.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "base/clock.h"

/* After a rest this long a connection is looked at before it is used; under load none is. */
#define IDLE_FOR_LONG apr_time_from_msec(10)

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

/* What a server has not got by the time that its connection is given up must not reach it later:
 * the kernel would go on sending it for minutes. */
static void forget_when_closed(apr_socket_t *wire)
{
    struct linger none = {1, 0};
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
    struct sockaddr_in peer = {0};
    socklen_t len = sizeof(peer);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET
           && peer.sin_port == lobby->sin_port
           && peer.sin_addr.s_addr == lobby->sin_addr.s_addr;
}

/* The descriptor that is connected to the lobby, or -1. New descriptors are the lowest free ones,
 * so the first guess is right but for races with other threads: it is near, above or below. */
static int find_guest(const struct sockaddr_in *lobby, int guess)
{
    struct rlimit limit;
    int away, end = 65536;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
        && limit.rlim_cur < (1 << 20)) {
        end = (int)limit.rlim_cur;
    }
    for (away = 0; away < end; away++) {
        if (guess + away < end && is_guest(guess + away, lobby)) {
            return guess + away;
        }
        if (away <= guess && is_guest(guess - away, lobby)) {
            return guess - away;
        }
    }
    return -1;
}

/* -- Deadlines --------------------------------------------------------------------------------
 *
 * The kernel bounds each wait; a server that sends a byte now and then would still be waited for
 * without end. So a thread of the pool shuts down what is in use for too long.
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

void memsess_conn_use(memsess_conn_t *c, memsess_link_t *link)
{
    apr_time_t now = memsess_clock_steady();

    set_due(c, link, now);
    if (c->mc && now - c->rested > IDLE_FOR_LONG && !memsess_conn_is_open(c)) {
        memsess_conn_close(c, link);
    }
}

/* Whether anything is connected, and so has to be watched. */
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

/* Lists are long: "stats" of memcached 1.6 takes 3 kB. */
#define ANSWER_MAX 16384

/* Whether it is a line, or a list up to its end. */
static int is_whole(const char *answer, apr_size_t len)
{
    static const char end[] = "\r\nEND\r\n";
    apr_size_t n = sizeof(end) - 1;

    if (strncmp(answer, "STAT ", 5)) {
        return memchr(answer, '\n', len) != NULL;
    }
    return len >= n && !memcmp(answer + len - n, end, n);
}

/* Each wait is bounded by the kernel, and all of them by @a due. */
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
        } while (n < 0 && errno == EINTR);
        if (n < 0) {
            return errno;
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
 * At its limit of connections (-c) memcached says so and closes, or leaves new ones in the backlog,
 * where they are connected all the same (-o no_maxconns_fast). So nothing is sent that matters
 * before the server has answered on a connection. Where it wants a password, that is the first set
 * on the connection; one that wants none stores it, not for long, or has no room for it.
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

/* Has apr_memcache connect to the lobby, and puts the wire in that socket's place. */
static apr_status_t exchange(memsess_conn_t *c, memsess_link_t *link, apr_socket_t *wire,
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
    /* Were it to connect again, that would be to whoever has the lobby's port by then. */
    c->ms->port = 0;
    /* apr_memcache closes its descriptor when it sees fit, and the number may then be anybody's:
     * what is watched is the wire itself, which stays open until memsess_conn_close. */
    watch_begin(c, link, wire_fd);
    return apr_reslist_release(c->ms->conns, inner);
}

void memsess_conn_close(memsess_conn_t *c, memsess_link_t *link)
{
    if (c->fd >= 0) {
        watch_end(c, link);
    }
    if (c->p) {
        apr_pool_destroy(c->p); /* apr_memcache's own clean-up says quit and closes */
    }
    c->p = NULL;
    c->mc = NULL;
}

apr_status_t memsess_conn_open(memsess_conn_t *c, memsess_link_t *link)
{
    apr_socket_t *wire = NULL, *lobby;
    apr_sockaddr_t *address;
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
        rv = lobby_open(&lobby, &address, c->p);
        if (rv == APR_SUCCESS) {
            rv = exchange(c, link, wire, address);
            apr_socket_close(lobby);
        }
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
