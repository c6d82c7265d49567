/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_network_io.h"
#include "apr_strings.h"
#include "base/clock.h"

int memsess_name_is_numeric(const char *name)
{
    unsigned char binary[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1;
}

/* The lowest address of a family in a list; NULL: there is none of that family. */
static const apr_sockaddr_t *lowest_of(const apr_sockaddr_t *sa, int family, int *is_several)
{
    const apr_sockaddr_t *lowest = NULL;

    for (; sa; sa = sa->next) {
        int order = sa->family != family || !lowest
                        ? 0 : memcmp(sa->ipaddr_ptr, lowest->ipaddr_ptr, (size_t)sa->ipaddr_len);

        if (sa->family == family && (!lowest || order < 0)) {
            lowest = sa;
        }
        *is_several |= order != 0;
    }
    return lowest;
}

void memsess_name_look(memsess_name_t *found, const char *name)
{
    static const int families[] = {APR_INET, APR_INET6};
    apr_sockaddr_t *list;
    apr_pool_t *p;
    unsigned i;

    memset(found, 0, sizeof(*found));
    found->rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    if (found->rv != APR_SUCCESS) {
        return;
    }
    found->rv = apr_sockaddr_info_get(&list, name, APR_UNSPEC, 0, 0, p);
    for (i = 0; found->rv == APR_SUCCESS && i < 2; i++) {
        const apr_sockaddr_t *lowest = lowest_of(list, families[i], &found->is_several);

        if (lowest) {
            inet_ntop(lowest->family, lowest->ipaddr_ptr, found->address[found->n++],
                      INET6_ADDRSTRLEN);
        }
    }
    apr_pool_destroy(p);
}

/* -- Within a time ---------------------------------------------------------------------------- */

typedef struct looker_t {
    pid_t pid; /* 0: none */
    int fd;
} looker_t;

static void looker_start(looker_t *looker, const char *name)
{
    memsess_name_t found;
    int fds[2];

    looker->pid = 0;
    if (pipe(fds)) {
        return;
    }
    looker->pid = fork();
    if (looker->pid == 0) {
        memsess_name_look(&found, name);
        _exit(write(fds[1], &found, sizeof(found)) != sizeof(found));
    }
    close(fds[1]);
    looker->fd = fds[0];
    if (looker->pid < 0) {
        looker->pid = 0;
        close(fds[0]);
    }
}

static void looker_end(looker_t *looker, memsess_name_t *found, apr_time_t end)
{
    apr_interval_time_t left = end - memsess_clock_steady();
    struct pollfd fd = {.fd = looker->fd, .events = POLLIN};

    if (poll(&fd, 1, left > 0 ? (int)apr_time_as_msec(left) : 0) <= 0
        || read(looker->fd, found, sizeof(*found)) != sizeof(*found)) {
        memset(found, 0, sizeof(*found));
        found->rv = APR_INCOMPLETE;
    }
    close(looker->fd);
    kill(looker->pid, SIGKILL);
    while (waitpid(looker->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* How many look-ups run at the same time. */
#define LOOKERS 32

void memsess_names_look(memsess_name_t *found, const char *const *names, unsigned n,
                        apr_interval_time_t wait)
{
    apr_time_t end = memsess_clock_steady() + wait;
    looker_t lookers[LOOKERS];
    unsigned i, some;

    for (; n; n -= some, names += some, found += some) {
        some = n < LOOKERS ? n : LOOKERS;
        for (i = 0; i < some; i++) {
            looker_start(&lookers[i], names[i]);
        }
        for (i = 0; i < some; i++) {
            memset(&found[i], 0, sizeof(found[i]));
            found[i].rv = APR_INCOMPLETE;
            if (lookers[i].pid) {
                looker_end(&lookers[i], &found[i], end);
            }
        }
    }
}

/* -- What is wrong ---------------------------------------------------------------------------- */

const char *memsess_name_trouble(const memsess_name_t *found, const char *name, apr_pool_t *p)
{
    char why[120];

    if (found->is_several) {
        return apr_psprintf(p, "the name %s has several addresses, but stands for one server: all "
                            "members use the lowest, %s. If these are several memcacheds, name "
                            "each of them in MemSessServers", name, found->address[0]);
    }
    if (found->rv == APR_SUCCESS) {
        return NULL;
    }
    if (found->rv == APR_INCOMPLETE) {
        return apr_psprintf(p, "the name %s could not be looked up yet: the name server has not "
                            "answered", name);
    }
    return apr_psprintf(p, "the name %s does not resolve (%s): is it misspelt in MemSessServers? "
                        "The server counts as down until it does", name,
                        apr_strerror(found->rv, why, sizeof(why)));
}
