/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/turn.h
 * @brief The connections of this process to one server: which of them rest, and whose turn it is
 *        where there are fewer than are asked for. For wire/servers.c alone.
 *
 * Whoever waits is served in order of arrival: what is given back goes to the first who waits, not
 * to who comes by. Nobody may wait here who has another connection, to whatever server.
 */
#ifndef MEMSESS_TURN_H
#define MEMSESS_TURN_H

#include "base/thread.h"
#include "wire/conn.h"

typedef struct memsess_waiter_t memsess_waiter_t;

typedef struct memsess_turns_t {
    memsess_link_t *link;
    volatile apr_uint32_t *down; /**< nobody waits for a server that is down */
    pthread_mutex_t lock;        /**< guards all that follows */
    int most;                    /**< MemSessConnections, or what the server was seen to accept */
    int n;                       /**< in use, at rest or being made */
    int is_wanted;               /**< somebody would have had one more */
    memsess_conn_t *resting;     /**< the one used last comes first */
    memsess_waiter_t *first, **last;
} memsess_turns_t;

void memsess_turns_init(memsess_turns_t *turns, memsess_link_t *link, volatile apr_uint32_t *down);

/**
 * A connection that rested, or one that has yet to be opened.
 * @param wait how long to wait for one; 0: not at all
 * @return APR_SUCCESS, MEMSESS_UNSENT where there was none in time, or MEMSESS_DOWN
 */
apr_status_t memsess_turn_take(memsess_conn_t **c, memsess_turns_t *turns,
                               apr_interval_time_t wait);

/** Gives one back, open or closed. */
void memsess_turn_give(memsess_turns_t *turns, memsess_conn_t *c);

/** Exchanges one that is closed for one at rest; 0: there is none. */
int memsess_turn_exchange(memsess_conn_t **c, memsess_turns_t *turns);

/** One could be opened: where others were refused, the next one may be tried. */
void memsess_turn_opened(memsess_turns_t *turns);

/** It could not be opened: gives it back, and so many are the most for now; 0: it is the only one,
 * and is not given back. */
int memsess_turn_refused(memsess_turns_t *turns, memsess_conn_t *c);

/** Whether the server has refused connections, and more were asked for since the last attempt. */
int memsess_turns_are_scarce(memsess_turns_t *turns);

/** Somebody is about to attempt it. */
void memsess_turns_attempt(memsess_turns_t *turns);

/** A further one, open, that the process happens to have. */
void memsess_turns_add(memsess_turns_t *turns, memsess_conn_t *c);

/** Has all who wait go on without one, as the server is down. */
void memsess_turns_dismiss(memsess_turns_t *turns);

/** Closes those that have rested for too long, but one where the server has refused others. */
void memsess_turns_tidy(memsess_turns_t *turns);

/** Closes all that rest. */
void memsess_turns_close(memsess_turns_t *turns);

/** A connection, not yet open; NULL: no memory. */
memsess_conn_t *memsess_conn_make(void);

#endif
