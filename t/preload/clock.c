/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The two clocks of one process, which a test sets while it runs: to be preloaded, by
 * t/lib/MemSess, or included, by the unit tests. Each of two files holds a number of microseconds,
 * a signed number of eight bytes: MEMSESS_T_PASSED, by how much both clocks are ahead, as if that
 * time had passed; and MEMSESS_T_CLOCK, by how much the wall clock alone is ahead of that, as if
 * somebody had set it. Waits for a condition, and those of poll, end when their time has passed by
 * these clocks. Other waits in the kernel do not (memcached's epoll, for example: it looks at the
 * clock once a second, and when a client connects), and the times of files do not change.
 *
 * Why not libfaketime: it reads its file at each call under a lock of its own, gives a condition on
 * the monotonic clock the wall clock's shift, and lets a wait that is under way end as if nobody
 * had set the clock.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000
/* How soon a wait notices that a clock was set. */
#define CLOCK_SLICE 10000000

typedef int clock_gettime_t(clockid_t, struct timespec *);

static const int64_t clock_nothing;
static const volatile int64_t *clock_passed = &clock_nothing, *clock_ahead = &clock_nothing;

static const volatile int64_t *clock_map(const char *variable)
{
    const char *name = getenv(variable);
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(clock_nothing), PROT_READ, MAP_SHARED, fd, 0);

    if (!name) {
        return &clock_nothing;
    }
    if (memory == MAP_FAILED) {
        abort();
    }
    close(fd);
    return memory;
}

__attribute__((constructor)) static void clock_open(void)
{
    clock_passed = clock_map("MEMSESS_T_PASSED");
    clock_ahead = clock_map("MEMSESS_T_CLOCK");
}

static void clock_add(struct timespec *t, int64_t ns)
{
    int64_t sum = t->tv_nsec + ns;

    t->tv_sec += sum / BILLION - (sum % BILLION < 0);
    t->tv_nsec = sum % BILLION + (sum % BILLION < 0 ? BILLION : 0);
}

static int machines_clock(clockid_t which, struct timespec *t)
{
    static clock_gettime_t *volatile real;

    if (!real) {
        real = (clock_gettime_t *)dlsym(RTLD_NEXT, "clock_gettime");
    }
    return real(which, t);
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    int rv = machines_clock(which, t);

    if (rv == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        clock_add(t, (*clock_passed + *clock_ahead) * 1000);
    }
    else if (rv == 0 && (which == CLOCK_MONOTONIC || which == CLOCK_MONOTONIC_COARSE)) {
        clock_add(t, *clock_passed * 1000);
    }
    return rv;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;
    int rv = clock_gettime(CLOCK_REALTIME, &t);

    (void)zone;
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return rv;
}

time_t time(time_t *seconds)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (seconds) {
        *seconds = t.tv_sec;
    }
    return t.tv_sec;
}

#ifndef __SANITIZE_THREAD__ /* the thread sanitizer has its own, to see what they do */

/* A timed wait is over when its clock shows that time, whether time passed or the clock was
 * set. The kernel knows only the machine's clock, so it is asked for one slice of time after
 * another. After each slice the caller checks its condition, as after any wake-up: otherwise a
 * signal that comes as a slice ends would be lost. The monotonic clock began at zero when the
 * machine booted. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    struct timespec now, slice;
    int64_t left;
    int rv;

    clock_gettime(until->tv_sec < BILLION ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now);
    left = (int64_t)(until->tv_sec - now.tv_sec) * BILLION + until->tv_nsec - now.tv_nsec;
    if (left <= 0) {
        return ETIMEDOUT;
    }
    machines_clock(CLOCK_MONOTONIC, &slice);
    clock_add(&slice, left < CLOCK_SLICE ? left : CLOCK_SLICE);
    rv = pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &slice);
    return rv == ETIMEDOUT ? 0 : rv;
}

static int64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    static int (*volatile real)(struct pollfd *, nfds_t, int);
    int64_t end = clock_ms() + timeout, left = timeout;
    int rv = 0;

    if (!real) {
        real = (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    }
    if (timeout <= 0) {
        return real(fds, n, timeout);
    }
    do {
        rv = real(fds, n, (int)(left < CLOCK_SLICE / 1000000 ? left : CLOCK_SLICE / 1000000));
        left = end - clock_ms();
    } while (rv == 0 && left > 0);
    return rv;
}

/* A compiler that checks sizes (_FORTIFY_SOURCE) calls this one if it cannot see the size. */
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
    (void)size;
    return poll(fds, n, timeout);
}

#endif
