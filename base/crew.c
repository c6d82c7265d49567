/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/crew.h"

#include "base/thread.h"

#define HELPERS_MAX 64

/* The guard, one of the helpers, looks this often, in microseconds. */
#define TICK 2000

/* Helpers begin quick items after this many ticks, the first of which may be short. */
#define DUE 2

/* The guard goes when no call has come for so many ticks. A busy process has one all the time, and so
 * need not wake a helper for any call. */
#define QUIET 5

/* The items of one call. It lives on the caller's stack. */
typedef struct job_t {
    memsess_work_t *work;
    void *const *items;
    unsigned n, begun, under_way;
    unsigned tick; /* when it came; helpers begin its items from DUE ticks later on */
    pthread_cond_t done;
    struct job_t *next;
} job_t;

struct memsess_crew_t {
    apr_pool_t *p;
    pthread_mutex_t lock; /* guards the members below, and all jobs */
    pthread_cond_t called;
    job_t *jobs; /* with items that no thread has begun */
    pthread_t helpers[HELPERS_MAX];
    unsigned n;
    unsigned idle;  /* threads that wait for a call, and that nobody has woken yet */
    unsigned calls; /* threads that were woken: no other call may count on them */
    enum { NO_GUARD, GUARD_CALLED, GUARDED } guard;
    pthread_cond_t ticks; /* what the guard waits on */
    unsigned tick, quick; /* how many ticks there were, and how many calls with quick items */
    memsess_duty_t duty;
    int stopping;
};

apr_status_t memsess_crew_create(memsess_crew_t **result)
{
    memsess_crew_t *crew;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    crew = apr_pcalloc(p, sizeof(*crew));
    crew->p = p;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->called, NULL);
    memsess_cond_init(&crew->ticks);
    crew->duty.what = "sends copies side by side";
    crew->duty.without = "copies are sent one after the other";
    *result = crew;
    return APR_SUCCESS;
}

/* Does the next item of a job; under the lock, which is released meanwhile. */
static void do_next(memsess_crew_t *crew, job_t *job)
{
    void *item = job->items[job->begun++];
    job_t **at;

    if (job->begun == job->n) {
        for (at = &crew->jobs; *at && *at != job; at = &(*at)->next) {
        }
        if (*at) {
            *at = job->next;
        }
    }
    job->under_way++;
    pthread_mutex_unlock(&crew->lock);
    job->work(item);
    pthread_mutex_lock(&crew->lock);
    if (--job->under_way == 0) {
        pthread_cond_signal(&job->done);
    }
}

static void *helper_main(void *data);

/* Under the lock. If the system gives no thread, the work goes on without it; returns whether there
 * are as many. */
static int call_helpers(memsess_crew_t *crew, unsigned wanted)
{
    for (; wanted && crew->idle; wanted--) {
        crew->idle--;
        crew->calls++;
        pthread_cond_signal(&crew->called);
    }
    for (; wanted && crew->n < HELPERS_MAX; wanted--) {
        if (memsess_thread_start(&crew->helpers[crew->n], &crew->duty, helper_main, crew)
                != APR_SUCCESS) {
            break;
        }
        crew->n++;
    }
    return !wanted;
}

static int is_due(const memsess_crew_t *crew, const job_t *job)
{
    return crew->tick - job->tick >= DUE;
}

/* Calls helpers for what its callers have not done in time. The guard does nothing of that itself: it
 * could hang, and nobody would be there for the next call. */
static void guard(memsess_crew_t *crew)
{
    unsigned quiet = 0, quick = crew->quick;
    const job_t *job;

    crew->guard = GUARDED;
    while (!crew->stopping && (crew->jobs || quiet < QUIET)) {
        memsess_cond_wait(&crew->ticks, &crew->lock, TICK);
        crew->tick++;
        for (job = crew->jobs; job; job = job->next) {
            if (crew->tick - job->tick == DUE) {
                call_helpers(crew, job->n - job->begun);
            }
        }
        quiet = quick == crew->quick ? quiet + 1 : 0;
        quick = crew->quick;
    }
    crew->guard = NO_GUARD;
}

static void *helper_main(void *data)
{
    memsess_crew_t *crew = data;
    job_t *job;

    pthread_mutex_lock(&crew->lock);
    while (!crew->stopping) {
        if (crew->guard == GUARD_CALLED) {
            guard(crew);
            continue;
        }
        for (job = crew->jobs; job && !is_due(crew, job); job = job->next) {
        }
        if (job) {
            do_next(crew, job);
            continue;
        }
        crew->idle++;
        while (!crew->calls && !crew->stopping) {
            pthread_cond_wait(&crew->called, &crew->lock);
        }
        crew->calls -= crew->calls ? 1 : 0;
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* Under the lock. */
static void call_guard(memsess_crew_t *crew)
{
    crew->quick++;
    if (crew->guard == NO_GUARD && call_helpers(crew, 1)) {
        crew->guard = GUARD_CALLED;
    }
}

void memsess_crew_do(memsess_crew_t *crew, memsess_work_t *work, void *const *items, unsigned n,
                     int are_quick)
{
    job_t job = {.work = work, .items = items, .n = n, .done = PTHREAD_COND_INITIALIZER};

    if (n == 1) {
        work(items[0]);
    }
    if (n <= 1) {
        return;
    }
    pthread_mutex_lock(&crew->lock);
    job.tick = are_quick ? crew->tick : crew->tick - DUE;
    job.next = crew->jobs;
    crew->jobs = &job;
    if (are_quick) {
        call_guard(crew);
    }
    else {
        call_helpers(crew, n - 1);
    }
    while (job.begun < job.n) {
        do_next(crew, &job);
    }
    while (job.under_way) {
        pthread_cond_wait(&job.done, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    pthread_cond_destroy(&job.done);
}

void memsess_crew_destroy(memsess_crew_t *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->stopping = 1;
    pthread_cond_broadcast(&crew->called);
    pthread_cond_signal(&crew->ticks);
    pthread_mutex_unlock(&crew->lock);
    while (crew->n) {
        pthread_join(crew->helpers[--crew->n], NULL);
    }
    pthread_cond_destroy(&crew->called);
    pthread_cond_destroy(&crew->ticks);
    pthread_mutex_destroy(&crew->lock);
    apr_pool_destroy(crew->p);
}
