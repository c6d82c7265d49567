/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/turn.h
 * @brief The connections of this process to one server: which of them rest, and whose turn it is
 *        if there are fewer than are asked for. For this room alone.
 *
 * Threads that wait are served in order of arrival: a connection that is given back goes to the
 * first of them, not to a thread that comes later. A thread that holds another connection, to any
 * server, must not wait here.
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
    int is_wanted;               /**< a thread asked for one more and found none */
    apr_time_t lost_at;          /**< when one was last closed; 0: never */
    memsess_conn_t *resting;     /**< the one used last comes first */
    memsess_waiter_t *first, **last;
} memsess_turns_t;

void memsess_turns_init(memsess_turns_t *turns, memsess_link_t *link, volatile apr_uint32_t *down);

/**
 * Takes a connection that rested, or one that has yet to be opened.
 * @param wait how long to wait for one; 0: not at all
 * @return APR_SUCCESS, MEMSESS_UNSENT if there was none in time, or MEMSESS_DOWN
 */
apr_status_t memsess_turn_take(memsess_conn_t **c, memsess_turns_t *turns,
                               apr_interval_time_t wait);

/** Gives a connection back, open or closed. */
void memsess_turn_give(memsess_turns_t *turns, memsess_conn_t *c);

/** Exchanges a connection that is closed for one at rest; 0: none rests. */
int memsess_turn_exchange(memsess_conn_t **c, memsess_turns_t *turns);

/** To be called when a connection was opened: if others were refused, one more may be tried. */
void memsess_turn_opened(memsess_turns_t *turns);

/** To be called when a connection could not be opened. Gives it back; the number of the others is
 * the limit for now, and is returned. 0: it is the only one, and is not given back. */
int memsess_turn_refused(memsess_turns_t *turns, memsess_conn_t *c);

/** To be called when a connection that is kept was closed, before it is opened again. */
void memsess_turn_lost(memsess_turns_t *turns);

/** When the connection was closed whose place the only one takes: so lately, maybe, that the server
 * still counts it. 0: none was, or there are others. */
apr_time_t memsess_turn_replaces(memsess_turns_t *turns);

/** Whether the server has refused connections, and more were asked for since the last attempt. */
int memsess_turns_are_scarce(memsess_turns_t *turns);

/** To be called before one more connection is attempted. */
void memsess_turns_attempt(memsess_turns_t *turns);

/** Adds a further connection, which is open. */
void memsess_turns_add(memsess_turns_t *turns, memsess_conn_t *c);

/** Has all threads that wait go on without a connection, since the server is down. */
void memsess_turns_dismiss(memsess_turns_t *turns);

/** Closes connections that have rested for too long; but if the server has refused others, one
 * stays. */
void memsess_turns_tidy(memsess_turns_t *turns);

/** Closes all connections that rest. */
void memsess_turns_close(memsess_turns_t *turns);

/** A connection, not yet open; NULL: no memory. */
memsess_conn_t *memsess_conn_make(void);

#endif
