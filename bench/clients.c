/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Many keep-alive clients: clients PORT PATH CONNECTIONS RATE SECONDS COOKIES
 *
 * All clients connect and ask once first, a few at a time: httpd gives a thread to a connection that
 * says nothing yet. Then RATE requests a second are sent, from one connection after
 * the other, each with the cookie of its client; with a RATE of 0 each client asks again as soon as
 * it has its answer. A time begins when its request is sent, and each one counts as it is: wrk has
 * no pace, and mends its percentiles. Printed are names and figures, times in milliseconds.
 *
 * COOKIES is a file with a cookie on each line, an empty line for none; clients take them in turn.
 * An answer's body must end with a line end of its own, as all answers of the benchmark do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 512
#define RAMP 32 /* how many clients begin at a time */
#define MOST_TIMES 20000000

typedef struct client_t {
    int fd;
    int is_busy;
    int is_begun; /* some of the answer was read */
    double sent;
    const char *cookie;
} client_t;

static struct sockaddr_in address = {.sin_family = AF_INET};
static const char *path;
static client_t *clients;
static int clients_n, poller, next_client, busy;
static float *times;
static long times_n, bad, closed;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void open_client(client_t *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address))) {
        fail("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) {
        fail("epoll_ctl");
    }
}

static void ask(client_t *c)
{
    char request[4096];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s%s\r\n",
                       path, *c->cookie ? "Cookie: " : "", c->cookie, *c->cookie ? "\r\n" : "");

    if (c->fd < 0) {
        open_client(c);
    }
    c->is_begun = 0;
    busy += !c->is_busy;
    c->is_busy = 1;
    c->sent = now();
    if (len >= (int)sizeof(request) || send(c->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        closed++; /* the read tells that, too */
    }
}

/* Reads some of an answer; 1 once all of it is there. A server may close a connection whose client
 * it sees idle: the client then opens another one when it asks next, or asks again. */
static int take(client_t *c)
{
    char text[65536];
    ssize_t n = recv(c->fd, text, sizeof(text), 0);

    if (n <= 0) {
        closed++;
        close(c->fd);
        c->fd = -1;
        if (c->is_busy) {
            ask(c);
        }
        return 0;
    }
    if (!c->is_begun && (n < 13 || memcmp(text, "HTTP/1.1 200 ", 13))) {
        bad++;
    }
    c->is_begun = 1;
    return text[n - 1] == '\n' && (n == 1 || text[n - 2] != '\r');
}

static void answered(client_t *c)
{
    busy--;
    c->is_busy = 0;
    if (times_n < MOST_TIMES) {
        times[times_n++] = (float)(now() - c->sent);
    }
}

static void look(int wait)
{
    struct epoll_event events[EVENTS];
    int i, n = epoll_wait(poller, events, EVENTS, wait);

    for (i = 0; i < n; i++) {
        client_t *c = events[i].data.ptr;

        if (take(c) && c->is_busy) {
            answered(c);
        }
    }
}

/* The next client that is idle, which there is. */
static client_t *idle_client(void)
{
    client_t *c;

    do {
        c = &clients[next_client];
        next_client = (next_client + 1) % clients_n;
    } while (c->is_busy);
    return c;
}

/* Their first requests are no part of what is measured. */
static void begin(void)
{
    int i;

    for (i = 0; i < clients_n; i++) {
        clients[i].fd = -1;
        ask(&clients[i]);
        while (busy >= RAMP) {
            look(100);
        }
    }
    while (busy) {
        look(100);
    }
    times_n = bad = closed = 0;
}

static void run(double rate, double seconds)
{
    double begun = now(), end = begun + seconds * 1e3, at;
    long asked = 0;

    while ((at = now()) < end) {
        while (busy < clients_n && (rate <= 0 || (double)asked < (at - begun) / 1e3 * rate)) {
            ask(idle_client());
            asked++;
        }
        look(1);
    }
    while (busy && now() < end + 10e3) {
        look(100);
    }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

static void report(double seconds)
{
    static const struct {
        const char *name;
        double part;
    } parts[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"longest", 1}};
    size_t i;

    qsort(times, (size_t)times_n, sizeof(*times), by_size);
    printf("count %ld\nrate %.1f\nbad %ld\nclosed %ld\nstalled %d\n", times_n,
           (double)times_n / seconds, bad, closed, busy);
    for (i = 0; times_n && i < sizeof(parts) / sizeof(*parts); i++) {
        printf("%s %.3f\n", parts[i].name, times[(long)((double)(times_n - 1) * parts[i].part)]);
    }
}

static void read_cookies(const char *file)
{
    char line[1024];
    FILE *in = fopen(file, "r");
    int i, n = 0;

    if (!in) {
        fail(file);
    }
    for (; n < clients_n && fgets(line, sizeof(line), in); n++) {
        line[strcspn(line, "\n")] = '\0';
        clients[n].cookie = strdup(line);
    }
    fclose(in);
    for (i = n; i < clients_n; i++) {
        clients[i].cookie = n ? clients[i % n].cookie : "";
    }
}

int main(int argc, char **argv)
{
    if (argc != 7 || (clients_n = atoi(argv[3])) < 1) {
        fprintf(stderr, "clients PORT PATH CONNECTIONS RATE SECONDS COOKIES\n");
        return 1;
    }
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    path = argv[2];
    clients = calloc((size_t)clients_n, sizeof(*clients));
    times = malloc(MOST_TIMES * sizeof(*times));
    poller = epoll_create1(0);
    if (!clients || !times || poller < 0) {
        fail("memory");
    }
    read_cookies(argv[6]);
    begin();
    run(atof(argv[4]), atof(argv[5]));
    report(atof(argv[5]));
    return 0;
}
