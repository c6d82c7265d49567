/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The end of a session, for spin: that nobody brings it back, whether he claimed something or not.
 * commit.pml has claims, and takes a tombstone for a record like others; here a server has a record
 * and beside it a tombstone, each looked at and written by steps of their own, and there are no
 * claims at all: those of a writer who knows an older revision meet nobody, since with MemSessLock
 * none revisions are not claimed. All sessions here are such.
 *
 * Two copies on three servers in the session's own order 0, 1, 2; one that ends the session, some
 * that overwrite it, some that commit (which is what repairs and re-dates are too), and one that
 * reads all the while. What has been acknowledged as ended must never be read as alive.
 *
 * A server goes away or loses its memory only while another that can be reached holds what was
 * acknowledged. Away, it may have been sent something, and then does it when it is back. Records
 * are numbered in the order in which they were made.
 *
 * Switches that take one mechanism out:
 *  IN_PLACE      a tombstone takes the record's place
 *  PLAIN_SET     records are not replaced but set
 *  BY_REVISION   a tombstone counts by its revision only
 */

#define NS 3
#define N 2
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef OVERS
#define OVERS 1
#endif
#ifndef TRIES
#define TRIES 1 /* of who does not end it */
#endif
#ifndef COMMITS
#define COMMITS 1
#endif
#define NP (1 + OVERS + COMMITS)

#define B(i) (1 << (i))
#define ALL (B(NS) - 1)
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))

#define END 0
#define OVER 1
#define COMMIT 2
#define READ 3

/* The servers: the record's revision, 0 for none, and where it was written to; the tombstone's. */
byte rec[NS], place[NS], tomb[NS];
byte up = ALL;
byte away_since;    /* servers that were away after what they hold was written */
byte kept[NS], kept_place[NS]; /* what one that is away will do: a replace */
byte kept_tomb[NS], kept_del;  /* a tombstone's, and the record's removal */

byte revision = 1;
bit acked;          /* that it has ended */
byte done;
byte faults = FAULTS;

#define KNOWS(s) ((up & B(s)) && (acked -> tomb[s] != 0 : rec[s] != 0 && !(away_since & B(s))))

/* What is stored, and by whom it was sent: a replace finds nothing where there is no record. */
#ifdef PLAIN_SET
#define TAKES(s) 1
#else
#define TAKES(s) (!(saw & B(s)) || rec[s])
#endif

inline put_record(s, n, where)
{
    rec[s] = n; place[s] = where; away_since = away_since & ~B(s)
}

proctype P(byte kind)
{
    byte s, wanted, asked, none, silent, saw, newest, where, ended, mine, whole, got, must, tries;
    bit away;

begin:
/* -- a reading -------------------------------------------------------------------------------- */
    atomic {
        must = acked; asked = 3; wanted = 3; none = 0; silent = 0; saw = 0; newest = 0; where = 0;
        ended = 0; away = 0
    }
ask:
    do
    :: atomic {
        wanted ->
        if
        :: wanted & 1 -> s = 0
        :: wanted & 2 -> s = 1
        :: wanted & 4 -> s = 2
        fi;
        wanted = wanted & ~B(s);
        if
        :: !(up & B(s)) -> silent = silent | B(s); s = 0; goto ask
        :: (up & B(s)) && rec[s] ->
            saw = saw | B(s);
            if
            :: rec[s] > newest -> newest = rec[s]; where = place[s]; away = (away_since & B(s)) != 0
            :: rec[s] == newest && !(away_since & B(s)) -> away = 0
            :: else
            fi;
#ifdef IN_PLACE
            if
            :: tomb[s] > ended -> ended = tomb[s]
            :: else
            fi;
#endif
            s = 0; goto ask
        :: else -> none = none | B(s)
        fi
       };
       /* There is no record: there may be a tombstone. */
       atomic {
        if
        :: !(up & B(s)) -> none = none & ~B(s); silent = silent | B(s)
        :: (up & B(s)) && tomb[s] > ended -> ended = tomb[s]
        :: else
        fi;
        s = 0
       }
    :: atomic {
        wanted == 0 ->
        if
        :: newest && (where & ~asked) -> wanted = where & ~asked; asked = asked | wanted
        :: !(newest && (where & ~asked)) && COUNT(saw) < N && asked != ALL ->
            wanted = ALL & ~asked; asked = ALL
        :: else -> break
        fi
       }
    od;
    atomic {
#ifdef BY_REVISION
        if
        :: ended < newest -> ended = 0
        :: else
        fi;
#endif
        if
        :: !ended && newest && !(away && (silent & where)) -> assert(!must) /* it is alive? */
        :: else
        fi;
        if
        :: kind == READ && done < NP -> goto begin
        :: kind == READ && done == NP -> goto leave
        :: kind != READ && (ended || !newest || (away && (silent & where)) || tries == (kind == END -> 2 : TRIES)) -> goto leave
        :: else
        fi;
        tries++; must = 0; got = 0
    }

/* -- a write ---------------------------------------------------------------------------------- */
    atomic {
        revision++; mine = revision;
        /* To overwrite it has to be whole; else it is committed. */
        if
        :: kind == OVER && saw == where && COUNT(saw) == N && !silent -> wanted = where
        :: else -> wanted = up; s = NS - 1;
            do
            :: COUNT(wanted) > N ->
                if
                :: wanted & B(s) -> wanted = wanted & ~B(s)
                :: else
                fi;
                s--
            :: else -> break
            od
        fi;
        whole = wanted; s = 0;
        /* Who shares no server with the session must not write. */
        if
        :: !(whole & where) -> goto leave
        :: else
        fi
    }
    do
    :: atomic {
        wanted ->
        if /* all at once: in any order */
        :: wanted & 1 -> s = 0
        :: wanted & 2 -> s = 1
        :: wanted & 4 -> s = 2
        fi;
        wanted = wanted & ~B(s);
        if
        :: kind != END && (up & B(s)) && TAKES(s) ->
#ifdef IN_PLACE
            tomb[s] = 0;
#endif
            put_record(s, mine, whole); got = got | B(s); s = 0; goto next
        :: kind != END && (up & B(s)) && !TAKES(s) -> s = 0; goto next
        :: kind != END && !(up & B(s)) ->
            if
            :: kept[s] = mine; kept_place[s] = whole
            :: true
            fi;
            s = 0; goto next
        :: kind == END && (up & B(s)) -> tomb[s] = (tomb[s] -> tomb[s] : mine)
        :: kind == END && !(up & B(s)) ->
            if
            :: kept_tomb[s] = mine
            :: true
            fi;
            s = 0; goto next
        fi
       };
       atomic {
        if
#ifdef IN_PLACE
        :: up & B(s) -> rec[s] = mine; place[s] = whole; got = got | B(s)
#else
        :: up & B(s) -> rec[s] = 0; got = got | B(s)
#endif
        :: !(up & B(s)) ->
            if
            :: kept_del = kept_del | B(s)
            :: true
            fi
        fi;
        s = 0
       };
next:
       skip
    :: atomic { wanted == 0 -> break }
    od;
    atomic {
        if
        :: kind == END && got == whole -> acked = 1
        :: got != whole -> goto begin /* not on all of them: it is looked at again */
        :: else
        fi
    }
leave:
    atomic {
        if
        :: kind != READ -> done++
        :: else
        fi
    }
}

active proctype World()
{
    byte s;

endworld:
    do
    :: atomic {
        faults && up == ALL && done < NP ->
        select(s : 0 .. NS - 1);
        if
        :: (s != 0 && KNOWS(0)) || (s != 1 && KNOWS(1)) || (s != 2 && KNOWS(2)) ->
            faults--;
            if
            :: printf("server %d goes away\n", s); up = up & ~B(s); away_since = away_since | B(s)
            :: printf("server %d restarts empty\n", s); rec[s] = 0; place[s] = 0; tomb[s] = 0
            fi
        :: else
        fi;
        s = 0
       }
    :: atomic {
        up != ALL ->
        if
        :: !(up & 1) -> s = 0
        :: !(up & 2) -> s = 1
        :: !(up & 4) -> s = 2
        fi;
        if
        :: printf("server %d is back\n", s);
            if
            :: kept_tomb[s] && !tomb[s] -> tomb[s] = kept_tomb[s]
            :: else
            fi;
            if
            :: kept[s] && rec[s] -> rec[s] = kept[s]; place[s] = kept_place[s]
            :: else
            fi;
            if
            :: kept_del & B(s) -> rec[s] = 0
            :: else
            fi
        :: printf("server %d is back, empty\n", s); rec[s] = 0; place[s] = 0; tomb[s] = 0
        fi;
        kept[s] = 0; kept_place[s] = 0; kept_tomb[s] = 0; kept_del = kept_del & ~B(s);
        up = ALL; s = 0
       }
    od
}

init {
    byte i;

    atomic {
        rec[0] = 1; place[0] = 3;
        rec[1] = 1; place[1] = 3;
        run P(END);
        run P(READ);
        do
        :: i < OVERS -> run P(OVER); i++
        :: i >= OVERS && i < OVERS + COMMITS -> run P(COMMIT); i++
        :: else -> break
        od
    }
}
