/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An id that changes now and then (MemSessRenew, http/renew.c), and one browser: it sends requests
 * side by side to any members, and answers may be lost. t/model/run says which configurations are
 * searched, all of them exhaustively.
 *
 * What must hold
 *  - Once nothing is under way, the cookie that the browser has leads to the session.
 *  - A request that was sent with a cookie which was good then is not turned away (unless
 *    MARKS_LOST).
 *  - An id is never live again once it was dead.
 *
 * What is abstract
 *  - A commit on one record is one atomic step, and readings are never old: commit.pml.
 *  - The 10 s of a mark are longer than a request is on its way, and longer than a commit takes from
 *    its mark to its end. A request may take any time between its reading and its answer.
 *  - Answers that arrive do so in the order in which they were made. An answer that is overtaken by
 *    a whole later renewal would put back a cookie that is good for 10 s more, or no longer. Nothing
 *    can be done about that, since an id that the browser no longer uses has to die. But a slow
 *    server does not cause it: an answer tells the id of the moment in which its head leaves (t/306),
 *    so the answer would have to be on the network for as long as MemSessRenew says.
 *  - Chains longer than IDS, and the local cache, are left out.
 *
 * Switches that take one mechanism out
 *  BY_AGE     the old id dies some time after the new one was made, whether or not that was used
 *  NO_MARK    the old id dies with the first use of the new one
 *  LATE_MARK  the mark is put after the first use was written
 *  AS_READ    the answer tells the id that was there when the session was read
 *  JUDGED     a request is judged by the old id once more when it is answered
 * and what servers do:
 *  MARKS_LOST a mark is lost before its time
 */

#define IDS 4
#ifndef SENDS
#define SENDS 5 /* requests in all */
#endif
#ifndef SIDE
#define SIDE 3 /* at the same time */
#endif
#define NONE 255

byte cur;            /* the id that the session has */
bool moved[IDS];     /* a tombstone that tells the next id */
bool unused[IDS];
bool marked[IDS];
byte coming[IDS];    /* requests on their way with that id */
byte committing;     /* requests between a mark and the commit that it is for */
byte busy;           /* requests that are not answered, or whose answers are on their way */
byte jar;
byte sends = SENDS;
bool dead[IDS];
chan net = [SIDE + 1] of { byte };

#ifdef BY_AGE
#define DEAD(id) (moved[id] && !marked[id + 1])
#else
#define DEAD(id) (moved[id] && !unused[id + 1] && !marked[id + 1])
#endif

/* Once a request has found an id dead, no later one may find it live. */
inline judge(id)
{
    if
    :: DEAD(id) -> dead[id] = true
    :: else -> assert(!dead[id])
    fi
}

active [SIDE] proctype request()
{
    byte id, at, told;
    bool old, first;

    do
    :: atomic {
            sends > 0 ->
            sends--;
            busy++;
            id = jar;
            coming[id]++
        };
        atomic {
            coming[id]--;
            judge(id);
            if
            :: DEAD(id) ->
#ifndef MARKS_LOST
                assert(false);
#endif
                net ! NONE;
                goto done
            :: else
            fi;
            at = cur;
            old = moved[id];
            first = unused[at] && !old
        };
        told = NONE;
        if
        :: first ->
            atomic {
                committing++;
#if !defined(NO_MARK) && !defined(LATE_MARK)
                marked[at] = true
#endif
            }
        :: else
        fi;
        /* The session is only read, or written, or renewed. */
        atomic {
#ifdef JUDGED
            assert(!DEAD(id));
#endif
            if
            :: cur == at && !old && cur < IDS - 1 ->
                unused[at] = false;
                moved[at] = true;
                cur++;
                unused[cur] = true;
#ifdef BY_AGE
                marked[cur] = true;
#endif
                told = cur
            :: cur == at && first -> unused[at] = false
            :: cur == at && !first
            :: cur != at && !old -> /* another request has renewed it: a writer is told */
                if
                :: told = cur
                :: true
                fi
            :: cur != at && old
            fi;
            if
#ifdef AS_READ
            :: old -> told = at
#else
            :: old -> told = cur
#endif
            :: else
            fi;
            net ! told
        };
#ifdef LATE_MARK
        if
        :: first -> marked[at] = true
        :: else
        fi;
#endif
        atomic {
            if
            :: first -> committing--
            :: else
            fi
        };
done:   skip
    :: sends == 0 -> break
    od
}

active proctype browser()
{
    byte told;

    do
    :: atomic {
            net ? told ->
            busy--;
            if
            :: told != NONE -> jar = told
            :: true /* the answer is lost, or tells no id */
            fi;
            if
            :: busy == 0 -> judge(jar); assert(!DEAD(jar))
            :: else
            fi
        }
    :: sends == 0 && busy == 0 -> break
    od
}

/* Whether something is on its way that was sent before the 10 s began. */
#ifdef MARKS_LOST
#define LATE(n) false
#else
#define LATE(n)                                                                                    \
    (committing || len(net) || coming[0] || (n > 1 && coming[1]) || (n > 2 && coming[2]))
#endif

inline forget(n)
{
    marked[n] = false;
    if
    :: busy == 0 -> assert(!DEAD(jar))
    :: else
    fi
}

/* Time passes: 10 s since the new id was first used. */
active proctype memcached()
{
    do
    :: atomic { marked[1] && !LATE(1) -> forget(1) }
    :: atomic { marked[2] && !LATE(2) -> forget(2) }
    :: atomic { marked[3] && !LATE(3) -> forget(3) }
    :: sends == 0 && busy == 0 -> break
    od
}
