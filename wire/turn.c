/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "wire/turn.h"

#include <stdlib.h>

#include "apr_atomic.h"
#include "base/clock.h"

/* A thread that waits: on its own stack, and in the queue until it has a connection or is
 * dismissed. */
struct memsess_waiter_t {
    pthread_cond_t called;
    memsess_conn_t *c;
    int is_queued;
    memsess_waiter_t *next;
};

memsess_conn_t *memsess_conn_make(void)
{
    memsess_conn_t *c = calloc(1, sizeof(*c));

    if (c) {
        c->fd = -1;
    }
    return c;
}

void memsess_turns_init(memsess_turns_t *turns, memsess_link_t *link, volatile apr_uint32_t *down)
{
    turns->link = link;
    turns->down = down;
    turns->most = link->conf->max_conns;
    turns->last = &turns->first;
    pthread_mutex_init(&turns->lock, NULL);
}

/* -- Under the lock --------------------------------------------------------------------------- */

/* Whether the server has refused some of the connections that MemSessConnections allows. */
static int is_limited(const memsess_turns_t *turns)
{
    return turns->most < turns->link->conf->max_conns;
}

static memsess_conn_t *pop(memsess_turns_t *turns)
{
    memsess_conn_t *c = turns->resting;

    if (c) {
        turns->resting = c->below;
    }
    return c;
}

static memsess_conn_t *grab(memsess_turns_t *turns)
{
    memsess_conn_t *c = pop(turns);

    if (!c && turns->n < turns->most && (c = memsess_conn_make())) {
        turns->n++;
    }
    return c;
}

static void dequeue(memsess_turns_t *turns, memsess_waiter_t *waiter)
{
    memsess_waiter_t **at = &turns->first;

    while (*at && *at != waiter) { /* the waiter is in the list */
        at = &(*at)->next;
    }
    *at = waiter->next;
    if (!*at) {
        turns->last = at;
    }
    waiter->is_queued = 0;
}

/* Gives a connection to the first thread that waits, or lets it rest. */
static void pass_on(memsess_turns_t *turns, memsess_conn_t *c)
{
    memsess_waiter_t *waiter = turns->first;

    if (waiter) {
        dequeue(turns, waiter);
        waiter->c = c;
        pthread_cond_signal(&waiter->called);
    }
    else {
        c->below = turns->resting;
        turns->resting = c;
    }
}

/* If one more connection may be opened, the first thread that waits opens it. */
static void invite(memsess_turns_t *turns)
{
    memsess_conn_t *c = turns->first && turns->n < turns->most ? memsess_conn_make() : NULL;

    if (c) {
        turns->n++;
        pass_on(turns, c);
    }
}

static void wait_in_turn(memsess_turns_t *turns, memsess_waiter_t *waiter,
                         apr_interval_time_t wait)
{
    apr_time_t end = memsess_clock_steady() + wait;

    memsess_cond_init(&waiter->called);
    waiter->is_queued = 1;
    *turns->last = waiter;
    turns->last = &waiter->next;
    while (waiter->is_queued && wait > 0) {
        memsess_cond_wait(&waiter->called, &turns->lock, wait);
        wait = end - memsess_clock_steady();
    }
    if (waiter->is_queued) {
        dequeue(turns, waiter);
    }
    pthread_cond_destroy(&waiter->called);
}

/* -- Taking and giving ------------------------------------------------------------------------ */

/* A connection's age is checked when it is taken, too: a firewall may have forgotten an old one. */
static int is_too_old(const memsess_turns_t *turns, const memsess_conn_t *c)
{
    return c->mc && memsess_clock_steady() - c->rested > turns->link->conf->idle;
}

/* This is asked under the lock as well: a request whose connection was refused comes here again, and
 * the server may have been found down since. */
static int is_down(const memsess_turns_t *turns)
{
    return apr_atomic_read32(turns->down) != 0;
}

apr_status_t memsess_turn_take(memsess_conn_t **c, memsess_turns_t *turns,
                               apr_interval_time_t wait)
{
    memsess_waiter_t waiter = {.c = NULL};
    int close = 0, was_down;

    pthread_mutex_lock(&turns->lock);
    /* The server is looked at only once: it may come back at any moment, and nobody would call a
     * thread that waits while a connection rests. */
    was_down = is_down(turns);
    waiter.c = turns->first || was_down ? NULL : grab(turns);
    if (waiter.c) {
        close = is_too_old(turns, waiter.c) && !is_limited(turns);
    }
    else {
        turns->is_wanted = 1;
        if (wait && !was_down) {
            wait_in_turn(turns, &waiter, wait);
        }
    }
    pthread_mutex_unlock(&turns->lock);
    *c = waiter.c;
    if (close) {
        memsess_conn_close(*c, turns->link);
    }
    return *c ? APR_SUCCESS : was_down || is_down(turns) ? MEMSESS_DOWN : MEMSESS_UNSENT;
}

void memsess_turn_give(memsess_turns_t *turns, memsess_conn_t *c)
{
    pthread_mutex_lock(&turns->lock);
    turns->lost_at = c->mc ? turns->lost_at : memsess_clock_steady();
    if (c->mc || turns->first) {
        pass_on(turns, c);
        c = NULL;
    }
    else {
        turns->n--;
    }
    pthread_mutex_unlock(&turns->lock);
    free(c);
}

int memsess_turn_exchange(memsess_conn_t **c, memsess_turns_t *turns)
{
    memsess_conn_t *other;

    pthread_mutex_lock(&turns->lock);
    other = pop(turns);
    turns->n -= other != NULL;
    pthread_mutex_unlock(&turns->lock);
    if (other) {
        free(*c);
        *c = other;
    }
    return other != NULL;
}

void memsess_turn_opened(memsess_turns_t *turns)
{
    pthread_mutex_lock(&turns->lock);
    turns->most += is_limited(turns);
    invite(turns);
    pthread_mutex_unlock(&turns->lock);
}

int memsess_turn_refused(memsess_turns_t *turns, memsess_conn_t *c)
{
    int others;

    pthread_mutex_lock(&turns->lock);
    others = turns->n - 1;
    if (others) {
        turns->n = turns->most = others;
    }
    pthread_mutex_unlock(&turns->lock);
    if (others) {
        free(c);
    }
    return others;
}

void memsess_turn_lost(memsess_turns_t *turns)
{
    pthread_mutex_lock(&turns->lock);
    turns->lost_at = memsess_clock_steady();
    pthread_mutex_unlock(&turns->lock);
}

apr_time_t memsess_turn_replaces(memsess_turns_t *turns)
{
    apr_time_t lost_at;

    pthread_mutex_lock(&turns->lock);
    lost_at = turns->n == 1 ? turns->lost_at : 0;
    pthread_mutex_unlock(&turns->lock);
    return lost_at;
}

/* -- Looking after connections ---------------------------------------------------------------- */

int memsess_turns_are_scarce(memsess_turns_t *turns)
{
    int are_scarce;

    pthread_mutex_lock(&turns->lock);
    are_scarce = is_limited(turns) && turns->is_wanted;
    pthread_mutex_unlock(&turns->lock);
    return are_scarce;
}

void memsess_turns_attempt(memsess_turns_t *turns)
{
    pthread_mutex_lock(&turns->lock);
    turns->is_wanted = turns->first != NULL;
    pthread_mutex_unlock(&turns->lock);
}

void memsess_turns_add(memsess_turns_t *turns, memsess_conn_t *c)
{
    pthread_mutex_lock(&turns->lock);
    if (turns->n < turns->link->conf->max_conns) {
        turns->n++;
        if (is_limited(turns)) {
            turns->most = turns->n;
            turns->most += is_limited(turns);
        }
        pass_on(turns, c);
        invite(turns);
        c = NULL;
    }
    pthread_mutex_unlock(&turns->lock);
    if (c) {
        memsess_conn_close(c, turns->link);
        free(c);
    }
}

void memsess_turns_dismiss(memsess_turns_t *turns)
{
    pthread_mutex_lock(&turns->lock);
    while (turns->first) {
        memsess_waiter_t *waiter = turns->first;

        dequeue(turns, waiter);
        pthread_cond_signal(&waiter->called);
    }
    pthread_mutex_unlock(&turns->lock);
}

static void close_all(memsess_conn_t *c, memsess_link_t *link)
{
    memsess_conn_t *next;

    for (; c; c = next) {
        next = c->below;
        memsess_conn_close(c, link);
        free(c);
    }
}

/* Takes the connections that rest out of the list, from @a at on. */
static memsess_conn_t *cut(memsess_turns_t *turns, memsess_conn_t **at)
{
    memsess_conn_t *first = *at, *c;

    for (c = first; c; c = c->below) {
        turns->n--;
    }
    *at = NULL;
    return first;
}

void memsess_turns_tidy(memsess_turns_t *turns)
{
    memsess_conn_t **at = &turns->resting, *old;

    pthread_mutex_lock(&turns->lock);
    if (*at && is_limited(turns)) {
        at = &(*at)->below;
    }
    while (*at && !is_too_old(turns, *at)) {
        at = &(*at)->below;
    }
    old = cut(turns, at);
    pthread_mutex_unlock(&turns->lock);
    close_all(old, turns->link);
}

void memsess_turns_close(memsess_turns_t *turns)
{
    memsess_conn_t *all;

    pthread_mutex_lock(&turns->lock);
    all = cut(turns, &turns->resting);
    pthread_mutex_unlock(&turns->lock);
    close_all(all, turns->link);
}
