/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A wall clock of its own for one httpd, which can be set while it runs: to be preloaded, by
 * t/lib/MemSess/Member.pm. The file that MEMSESS_T_CLOCK names holds by how many microseconds it is
 * ahead, as a signed number of eight bytes. The monotonic clock stays as it is, and so does the
 * time of files.
 *
 * Why not libfaketime: it reads its file at each call under a lock of its own, gives a condition on
 * the monotonic clock the wall clock's shift, and lets a wait that is under way end as if nobody
 * had set the clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000
/* How soon a wait notices that the clock was set. */
#define SLICE 10000000

static const int64_t right;
static const volatile int64_t *ahead = &right;

__attribute__((constructor)) static void open_clock(void)
{
    const char *name = getenv("MEMSESS_T_CLOCK");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED) {
        abort();
    }
    close(fd);
    ahead = memory;
}

static void add(struct timespec *t, int64_t ns)
{
    int64_t sum = t->tv_nsec + ns;

    t->tv_sec += sum / BILLION - (sum % BILLION < 0);
    t->tv_nsec = sum % BILLION + (sum % BILLION < 0 ? BILLION : 0);
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    static int (*volatile real)(clockid_t, struct timespec *);
    int rv;

    if (!real) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    rv = real(which, t);
    if (rv == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        add(t, *ahead * 1000);
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

/* As the kernel does it: a wait for a time of the wall clock is over when that clock shows it, by
 * itself or because it was set. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    int rv = ETIMEDOUT;

    if (until->tv_sec < BILLION) { /* of the monotonic clock, which began at zero when we booted */
        return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, until);
    }
    while (rv == ETIMEDOUT) {
        struct timespec now, slice;
        int64_t left;

        clock_gettime(CLOCK_REALTIME, &now);
        clock_gettime(CLOCK_MONOTONIC, &slice);
        left = (int64_t)(until->tv_sec - now.tv_sec) * BILLION + until->tv_nsec - now.tv_nsec;
        if (left <= 0) {
            break;
        }
        add(&slice, left < SLICE ? left : SLICE);
        rv = pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &slice);
    }
    return rv;
}
