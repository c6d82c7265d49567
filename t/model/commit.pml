/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The commit protocol of memsess_commit.c, for spin: one session, N copies of it on NS servers in
 * the session's own order 0, 1, 2; writers that increment once, one that ends the session, readers
 * that repair. t/model/run says which configurations are searched, all of them exhaustively.
 *
 * What is abstract
 *  - A value is a set: who has incremented, and ENDED. An increment made twice is found when it is
 *    made upon a value that has it already.
 *  - Claims are made one after the other, in order. The code makes them at once, in any order,
 *    which takes more states: AT_ONCE.
 *  - An operation on a server is one atomic step. On a server that is away it fails; it may have
 *    been kept there, and is then carried out when the server comes back with its memory.
 *  - Time is what its rules allow: a claim goes by itself only when nobody works under it, and not
 *    while somebody claims the same revision upon a reading that is young (this is CLAIM_TTL being
 *    long enough); all readings at hand are then too old to be believed (this is CLAIM_SAFE).
 *  - A server goes away or loses its memory only while another that can be reached holds all that
 *    was acknowledged or shown, and no two within one commit (CLAIM_TTL): the condition of the
 *    guarantee.
 *  - That a record is old enough for its writer to have sent all means that he did not send while
 *    this reading lasted; its claim is then told by its mark, here the writer's number.
 *
 * A writer who failed and wrote once more may have skipped the revision whose claim protects what
 * is deleted: then a copy is missing until the session is read.
 *
 * What is not modelled: servers that refuse a record, evictions, N other than 2, MemSessLock none (see
 * end.pml).
 *
 * Switches that take one mechanism out, or break an assumption:
 *  NO_CLAIMS        nobody claims
 *  ONE_CLAIM        a claim on one server only
 *  PLAIN_REPAIR     a repair claims nothing
 *  NO_REREAD        a reading above CLAIM_SAFE is believed
 *  NO_HELD          a reading ends at the homes, whatever they lack
 *  NO_SECOND        what too few servers have is not read once more
 *  NO_TIE           of two records of one revision the first in order wins, not the later written
 *  NO_PART          what is not on all of its servers yet is built upon without claiming it too
 *  AGE_ALONE        not even another's claim of it counts, once it is old enough
 *  NO_ONCE          a revision is sent to a server again when another server failed
 *  NO_WHOLE         a commit that ran out of time after its first copy counts as done
 *  NO_PLACED        who holds no claim where the session lies may write
 *  STRAYS_DELETED   copies that stood in are deleted, under no claim
 *  STALLS           a writer is stopped for longer than its claim lives
 *  BLIND            one writer takes two of three servers for away which the others see
 * and what the code does,
 *  AT_ONCE          claims in any order
 * and beginnings:
 *  RETURNED         server 1 missed a revision, and is back with its old memory
 *  PENDING          a dead writer's copy waits in a server that hangs
 */

#ifndef NS
#define NS 3 /* servers */
#endif
#define N 2 /* copies */
#define REVS 8
#ifndef FAULTS
#define FAULTS 0 /* how often servers go away or lose their memory */
#endif
#ifndef BLIPS
#define BLIPS 0 /* how often an operation times out on a server that is well */
#endif
#ifndef DEATHS
#define DEATHS 0 /* how many writers die at work */
#endif
#ifndef LATES
#define LATES 0 /* how often CLAIM_SAFE is over before the last copy is sent */
#endif
#ifndef EXPIRIES
#define EXPIRIES 2 /* how often claims go by themselves */
#endif
#ifndef INCS
#define INCS 2
#endif
#ifndef DESTROYS
#define DESTROYS 0
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef READS
#define READS 2 /* of each reader */
#endif
#define NP (INCS + DESTROYS + READERS)

#define B(i) (1 << (i))
#define ALL (B(NS) - 1)
#define HOMES (B(N) - 1)
#define ENDED 128
#define ORPHAN 16 /* of a claim: nobody works under it any more */
#define DEAD 15   /* a writer of whom only a copy is left */

#define INC 0
#define END 1
#define READ 2

#define START 0
#define AGAIN 1
#define CHECK 2

typedef Rec {
    byte rev; /* 0: none */
    byte at;  /* when it was written, among those of the same revision */
    byte val;
    byte pl; /* placement */
    byte by; /* the mark of its writer's claim */
};

/* The servers. */
Rec rec[NS];
byte claim[NS * REVS];
byte up = ALL;
Rec kept[NS];       /* a set that a server that is away will carry out */
byte keptdel;       /* servers that will carry out a delete of the record */
byte writes[REVS];

/* What a process thinks of the servers, its health table. */
byte down[NP];
byte back[NP];      /* came back, in its eyes, after what they hold was written */
Rec base[NP];       /* what it builds upon */
byte claiming;      /* processes between the begin of their claim and the end of their writing */
byte part;          /* processes that build upon what is not on all of its servers */
byte done_by;       /* processes that pass over the claim of who wrote what they build upon */
byte writing;       /* processes that write, and then delete what stood in, within CLAIM_SAFE */
byte sending;       /* processes that send copies */
byte sent_since[NP]; /* those that did so since this process began to read */
byte twice;         /* processes that write once more what they have written */
byte old;           /* processes whose reading is above CLAIM_SAFE */
byte olden;         /* the same, for what they are just writing */
byte reading;       /* processes that read, or have read and are not done */
byte shaken;        /* those that a server failed meanwhile, or that began while a copy lacked
                       or while they still took a server for away */
byte near;          /* those that began beside one of these */

/* What has been promised. */
byte acked;
byte shown;         /* the highest revision acknowledged or shown */
byte done;

byte faults = FAULTS, blips = BLIPS, deaths = DEATHS, lates = LATES, expiries = EXPIRIES;

#define CL(s, r) claim[(s) * REVS + (r)]
#define COPY(to, from) to.rev = from.rev; to.at = from.at; to.val = from.val; to.pl = from.pl; to.by = from.by
#define FORGET(r) r.rev = 0; r.at = 0; r.val = 0; r.pl = 0; r.by = 0

#ifdef NO_TIE
#define NEWER(a, b) (a.rev > b.rev)
#else
#define NEWER(a, b) (a.rev > b.rev || (a.rev == b.rev && a.at > b.at))
#endif
#define SAME(a, b) (!NEWER(a, b) && !NEWER(b, a))

#define HOLDS(s) ((up & B(s)) != 0 && rec[s].rev >= shown && (rec[s].val & acked) == acked)
#if NS == 3
#define OTHER_HOLDS(s) ((s != 0 && HOLDS(0)) || (s != 1 && HOLDS(1)) || (s != 2 && HOLDS(2)))
#define ANY_NEWER(b) (NEWER(rec[0], b) || NEWER(rec[1], b) || NEWER(rec[2], b))
#define CLAIMED(s, r) ((up & B(s)) && CL(s, r))
#define ANY_CLAIM(r) (CLAIMED(0, r) || CLAIMED(1, r) || CLAIMED(2, r))
#else
#define OTHER_HOLDS(s) ((s != 0 && HOLDS(0)) || (s != 1 && HOLDS(1)))
#define ANY_NEWER(b) (NEWER(rec[0], b) || NEWER(rec[1], b))
#define CLAIMED(s, r) ((up & B(s)) && CL(s, r))
#define ANY_CLAIM(r) (CLAIMED(0, r) || CLAIMED(1, r))
#endif

#if NS == 3
#define COPIES (HOLDS(0) + HOLDS(1) + HOLDS(2))
#else
#define COPIES (HOLDS(0) + HOLDS(1))
#endif

#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))

/* The revision to be written, and that before while its writer may still be at work on it. */
#ifdef AGE_ALONE
#define DONE_BY(s) (done_by & B(me))
#else
#define DONE_BY(s) ((done_by & B(me)) && (CL(s, base[me].rev) & 15) == base[me].by)
#endif
#define BLOCKED(s) (CL(s, base[me].rev + 1) \
                    || ((part & B(me)) && CL(s, base[me].rev) && !DONE_BY(s)))

/* Only what is claimed is written to. */
#if defined(NO_CLAIMS) || defined(PLAIN_REPAIR) || defined(ONE_CLAIM)
#define MAY_WRITE(s) 1
#else
#define MAY_WRITE(s) (held & B(s))
#endif

/* Those that are claimed: where it lies, and where it is to lie. */
#define NEEDED(s) (got < N || (base[me].pl & B(s)))
#ifdef ONE_CLAIM
#define ENOUGH held
#else
#define ENOUGH (COUNT(held) >= N && !(base[me].pl & B(s)))
#endif

/* Down in anybody's eyes. */
#if NP == 2
#define DOWNS (down[0] | down[1])
#elif NP == 3
#define DOWNS (down[0] | down[1] | down[2])
#endif

byte di, dm;

inline begin_to_send()
{
    sending = sending | B(me);
    di = 0;
    do
    :: di < NP -> sent_since[di] = sent_since[di] | B(me); di++
    :: else -> di = 0; break
    od
}

inline stored(srv, what)
{
    COPY(rec[srv], what);
    di = 0;
    do
    :: di < NP -> back[di] = back[di] & ~B(srv); di++
    :: else -> di = 0; break
    od
}

/* Claims of one revision that are this process's: given back, or left to go by themselves. */
inline let_go(rv, left)
{
    di = 0;
    do
    :: di < NS ->
        if
        :: CL(di, rv) == me + 1 -> CL(di, rv) = ((up & B(di)) && !left -> 0 : (me + 1) | ORPHAN)
        :: else
        fi;
        if
        :: CL(di, (rv) - 1) == me + 1 ->
            CL(di, (rv) - 1) = ((up & B(di)) && !left -> 0 : (me + 1) | ORPHAN)
        :: else
        fi;
        di++
    :: else -> di = 0; break
    od
}

/* The next servers in order, as many as there are copies, that are not known to be down. */
inline choose_next()
{
    wanted = 0; s = 0;
    do
    :: s < NS && COUNT(wanted) < most ->
        if
        :: asked & B(s)
        :: !(asked & B(s)) && (down[me] & B(s)) -> asked = asked | B(s); silent = silent | B(s)
        :: else -> wanted = wanted | B(s); asked = asked | B(s)
        fi;
        s++
    :: else -> s = 0; break
    od
}

proctype P(byte me; byte kind)
{
    byte s, wanted, most, asked, silent, none, hold, top, stale, lacks;
    byte must, mustrev, reads, why, held, got, tries;
    bit failed, late, sent, more, whole, again, dead;
    byte lastrev, lastat;
#ifdef AT_ONCE
    byte tried;
#endif
    Rec nw, nx;

begin:
    why = START;

/* -- find ----------------------------------------------------------------------------------- */
read:
    atomic {
        must = acked; mustrev = shown; reading = reading | B(me); sent_since[me] = sending;
        if
        :: why != CHECK -> shaken = shaken & ~B(me); near = near & ~B(me)
        :: else
        fi;
        if
        :: COPIES < N || down[me] -> shaken = shaken | B(me)
        :: COPIES >= N && !down[me] && (shaken & ~B(me)) -> near = near | B(me)
        :: else
        fi;
        asked = 0; silent = 0; none = 0; hold = 0; top = 0;
        FORGET(nw);
        if
        :: why != CHECK -> old = old & ~B(me)
        :: else
        fi;
        most = N;
        choose_next()
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
        :: up & B(s) ->
            printf("P%d reads %d on server %d\n", me, rec[s].rev, s);
            if
            :: rec[s].rev == 0 -> none = none | B(s)
            :: else ->
                hold = hold | B(s);
                if
                :: NEWER(rec[s], nw) || (SAME(rec[s], nw) && !(top & (B(s) - 1))) ->
                    if
                    :: NEWER(rec[s], nw) -> top = 0
                    :: else
                    fi;
                    COPY(nw, rec[s])
                :: else
                fi;
                if
                :: rec[s].rev == nw.rev && rec[s].at == nw.at -> top = top | B(s)
                :: else
                fi
            fi
        :: !(up & B(s)) -> printf("P%d finds server %d away (read)\n", me, s);
            silent = silent | B(s); down[me] = down[me] | B(s)
        :: (up & B(s)) && blips && up == ALL && !(DOWNS & ~B(s)) ->
            printf("P%d has a time-out on server %d (read)\n", me, s);
            blips--; silent = silent | B(s); down[me] = down[me] | B(s)
        fi;
        s = 0
       }
    :: atomic {
        wanted == 0 ->
        if
        :: nw.rev && (nw.pl & ~asked) -> wanted = nw.pl & ~asked; asked = asked | wanted
        :: nw.rev == 0 && asked != ALL -> most = N; choose_next()
#ifndef NO_HELD
        /* Who was away or lost its memory may be what is missing: go on until N copies are seen. */
        :: nw.rev && !(nw.pl & ~asked) && COUNT(hold) < N && asked != ALL ->
            most = N - COUNT(hold); choose_next()
#endif
        :: else -> break
        fi
       }
    od;
    atomic {
#ifndef NO_SECOND
        /* They did not all answer at one time: what too few of them have is read once more. */
        if
        :: COUNT(top) < N && nw.rev && COUNT(top) < COUNT(none | hold) &&
           (nw.rev != lastrev || nw.at != lastat) ->
            printf("P%d reads once more\n", me); lastrev = nw.rev; lastat = nw.at;
            goto read
        :: else -> lastrev = 0; lastat = 0
        fi;
#endif
        /* Which homes lack what the newest copy says. */
        stale = 0; s = 0;
        do
        :: s < N ->
            if
            :: (none & B(s)) || ((hold & B(s)) && !(top & B(s))) -> stale = stale | B(s)
            :: else
            fi;
            s++
        :: else -> s = 0; break
        od;
        /* And whether a server that it was written to answered without it. */
        lacks = nw.pl & (none | hold) & ~top;
        whole = COUNT(top) >= N;
        more = 1; /* is it believed? */
        if
        :: nw.rev == 0 -> more = 0; assert((none & HOMES) != HOMES) /* never "no such session" */
        :: else ->
            if
            :: (top & ~back[me]) == 0 && (silent & nw.pl) -> more = 0
            :: else
            fi
        fi;
        asked = 0; silent = 0; none = 0; hold = 0; top = 0; most = 0;
        if
        :: more ->
            assert((nw.val & must) == must); /* nothing acknowledged is missing */
            assert(nw.rev >= mustrev)        /* and nothing goes back */
        :: else
        fi;
        must = 0; mustrev = 0;
        if
        :: !more -> goto leave
        :: else
        fi;
        if
        :: why == START || !NEWER(base[me], nw) ->
            if
            :: why == CHECK && NEWER(nw, base[me]) -> more = 0
            :: else
            fi;
            COPY(base[me], nw);
            part = part & ~B(me);
            done_by = done_by & ~B(me);
            if
#ifndef NO_PART
            :: lacks -> part = part | B(me)
            /* It was old enough when the reading began: its writer can send no more of it. */
            :: lacks && (nw.by == 0 || nw.by == DEAD || !(sent_since[me] & B(nw.by - 1))) ->
                part = part | B(me); done_by = done_by | B(me)
#endif
            :: else
            fi
        :: else
        fi;
        lacks = 0;
        if
        :: why == START && kind != READ && nw.rev > shown && whole -> shown = nw.rev
        :: else
        fi;
        if
        /* What is to be written once more is not the newest now: whether that was built upon it
         * nobody can tell. An error. */
        :: again && !SAME(nw, nx) -> FORGET(nw); stale = 0; goto leave
        :: else
        fi;
        FORGET(nw);
        if
        :: kind == READ && (stale == 0) -> goto seen
        :: kind == READ && stale -> stale = 0; goto commit
        :: kind == READ && stale -> stale = 0; goto seen /* it may be under way */
        :: kind != READ && (base[me].val & ENDED) && !again -> stale = 0; goto leave
        :: kind != READ && (again || !(base[me].val & ENDED)) && why != CHECK -> stale = 0; goto commit
        :: kind != READ && (again || !(base[me].val & ENDED)) && why == CHECK && more -> stale = 0; goto write
        :: kind != READ && (again || !(base[me].val & ENDED)) && why == CHECK && !more ->
            stale = 0; goto busy
        fi
    }

/* -- claim_take ------------------------------------------------------------------------------- */
commit:
    atomic {
        more = 0; held = 0; s = 0; got = 0; wanted = 0;
#ifdef BLIND
        /* One writer takes two of three servers for away which all others see. */
        if
        :: me == 0 -> down[0] = 3
        :: else
        fi;
#endif
        claiming = claiming | B(me); olden = olden & ~B(me);
        assert(base[me].rev + 1 < REVS)
    }
#if defined(PLAIN_REPAIR)
    if
    :: kind == READ -> goto write
    :: else
    fi;
#endif
#ifdef NO_CLAIMS
    goto write;
#endif
#ifdef AT_ONCE
    do
    :: atomic {
        wanted -> /* all at once: in any order */
        if
        :: wanted & 1 -> s = 0
        :: wanted & 2 -> s = 1
        :: wanted & 4 -> s = 2
        fi;
        wanted = wanted & ~B(s); tried = tried | B(s);
        if
        :: (up & B(s)) && !BLOCKED(s) ->
            printf("P%d claims %d on server %d, part %d\n", me, base[me].rev + 1, s, (part >> me) & 1);
            CL(s, base[me].rev + 1) = me + 1; held = held | B(s);
            if
            :: (part & B(me)) && !CL(s, base[me].rev) -> CL(s, base[me].rev) = me + 1
            :: else
            fi
        :: (up & B(s)) && BLOCKED(s) -> printf("P%d is too late for %d on server %d\n", me, base[me].rev + 1, s); goto busy
        :: !(up & B(s)) -> printf("P%d finds server %d away (claim)\n", me, s); down[me] = down[me] | B(s)
        fi;
        s = 0
       }
    :: atomic {
        wanted == 0 ->
        got = 0; s = 0;
        do
        :: s < NS ->
            if
            :: held & B(s) -> got++
            :: !(tried & B(s)) && !(down[me] & B(s)) && NEEDED(s) -> wanted = wanted | B(s); got++
            :: else
            fi;
            s++
        :: else -> s = 0; got = 0; break
        od;
        if
        :: wanted == 0 -> tried = 0; break
        :: else
        fi
       }
    od;
#else
    do
    :: atomic {
        s < NS ->
        if
        :: (down[me] & B(s)) || ENOUGH -> skip
        :: else ->
            if
            :: (up & B(s)) && !BLOCKED(s) ->
                printf("P%d claims %d on server %d, part %d\n", me, base[me].rev + 1, s, (part >> me) & 1);
                CL(s, base[me].rev + 1) = me + 1; held = held | B(s);
                if
                :: (part & B(me)) && !CL(s, base[me].rev) -> CL(s, base[me].rev) = me + 1
                :: else
                fi
            :: (up & B(s)) && BLOCKED(s) -> printf("P%d is too late for %d on server %d\n", me, base[me].rev + 1, s); goto busy
            :: !(up & B(s)) -> printf("P%d finds server %d away (claim)\n", me, s); down[me] = down[me] | B(s)
            fi
        fi;
        s++
       }
    :: atomic { s == NS -> s = 0; break }
    od;
#endif
    atomic {
        if
        :: held == 0 -> goto leave
#ifndef NO_PLACED
        /* Somebody who sees none of the session's servers could meet nobody there. */
        :: held && !(held & base[me].pl) -> let_go(base[me].rev + 1, 0); goto leave
        :: held && (held & base[me].pl)
#else
        :: else
#endif
        fi;
        if
#ifndef NO_REREAD
        :: old & B(me) -> why = CHECK; goto read
#endif
        :: else
        fi
    }

/* -- write_claimed ---------------------------------------------------------------------------- */
write:
    atomic {
        more = 0; tries = 0; late = 0; sent = 0; why = AGAIN; writing = writing | B(me);
        nx.rev = base[me].rev + 1;
        writes[nx.rev]++; nx.at = writes[nx.rev]; nx.by = me + 1;
        if
        :: again -> nx.val = base[me].val
        :: !again && kind == INC -> assert(!(base[me].val & B(me))); nx.val = base[me].val | B(me)
        :: !again && kind == END -> nx.val = base[me].val | ENDED
        :: !again && kind == READ -> nx.val = base[me].val
        fi
    }
attempt:
    atomic {
        failed = 0; got = 0; wanted = 0; s = 0;
        begin_to_send();
        do
        :: s < NS && COUNT(wanted) < N ->
            if
            :: !(down[me] & B(s)) && MAY_WRITE(s) -> wanted = wanted | B(s)
            :: else
            fi;
            s++
        :: else -> s = 0; break
        od;
        nx.pl = wanted
    }
    do
    :: atomic {
        wanted && !late ->
        if /* all at once: in any order */
        :: wanted & 1 -> s = 0
        :: wanted & 2 -> s = 1
        :: wanted & 4 -> s = 2
        fi;
        if
        :: up & B(s) -> printf("P%d writes %d.%d to server %d, placement %d, value %d\n", me, nx.rev, nx.at, s, nx.pl, nx.val); sent = 1; stored(s, nx); got = got | B(s)
        :: !(up & B(s)) ->
            printf("P%d finds server %d away (write)\n", me, s);
            sent = 1; failed = 1; down[me] = down[me] | B(s);
            if
            :: kept[s].rev == 0 -> COPY(kept[s], nx)
            :: true
            fi
        :: (up & B(s)) && blips && up == ALL && !(DOWNS & ~B(s)) ->
            printf("P%d has a time-out on server %d (write)\n", me, s);
            blips--; sent = 1; failed = 1; down[me] = down[me] | B(s);
            if
            :: stored(s, nx)
            :: true
            fi
        :: lates && kind != READ -> lates--; late = 1; printf("P%d is out of time\n", me)
        :: deaths -> deaths--; printf("P%d dies\n", me); dead = 1; goto leave
        fi;
        wanted = wanted & ~B(s); s = 0
       }
    :: atomic {
        wanted == 0 || late ->
        wanted = 0;
        if
#ifdef NO_ONCE
        :: failed && tries + 1 < NS && !late -> tries++; goto attempt
#else
        :: failed && got && !late -> failed = 0; goto rewrite
#ifndef NO_WHOLE
        :: late && got -> late = 0; failed = 0; goto rewrite
#endif
#endif
        :: else -> break
        fi
       }
    od;
    atomic {
        tries = 0; failed = 0; 
        if
#ifdef NO_WHOLE
        :: got -> skip
        :: !got && late -> goto unwritten
#else
        :: got && !late -> skip
        :: !got && late && !sent -> goto unwritten
#ifdef NO_ONCE
        :: got && late -> goto leave
#endif
        :: !got && late && sent -> goto leave /* nobody can tell: an error, never once more */
#endif
        :: !got && !late -> goto leave
        fi;
        got = 0; sent = 0
    }

/* -- drop_strays ------------------------------------------------------------------------------ */
    atomic { sending = sending & ~B(me) }
/* Under a claim of what would be written there next. */
    do
    :: atomic {
        held & base[me].pl & ~nx.pl ->
        if
        :: held & base[me].pl & ~nx.pl & 1 -> s = 0
        :: held & base[me].pl & ~nx.pl & 2 -> s = 1
        :: held & base[me].pl & ~nx.pl & 4 -> s = 2
        fi;
#ifndef STRAYS_DELETED
        if
        :: !(up & B(s)) || CL(s, nx.rev + 1) -> held = held & ~B(s); goto next_stray
        :: else -> CL(s, nx.rev + 1) = me + 1
        fi
       };
       atomic {
#endif
        if
        :: up & B(s) -> assert(rec[s].rev != nx.rev + 1); FORGET(rec[s])
        :: !(up & B(s)) -> down[me] = down[me] | B(s); keptdel = keptdel | B(s)
        :: !(up & B(s)) -> down[me] = down[me] | B(s)
        fi;
#ifndef STRAYS_DELETED
        CL(s, nx.rev + 1) = ((up & B(s)) -> 0 : (me + 1) | ORPHAN);
#endif
        held = held & ~B(s);
next_stray:
        s = 0
       }
    :: atomic { !(held & base[me].pl & ~nx.pl) -> break }
    od;
    atomic {
        printf("P%d is done: %d acknowledged\n", me, nx.rev);
        acked = acked | (nx.val & (kind == INC -> B(me) : (kind == END -> ENDED : 0)));
        if
        :: nx.rev > shown -> shown = nx.rev
        :: else
        fi;
        let_go(nx.rev, ORPHAN);
        claiming = claiming & ~B(me); writing = writing & ~B(me);
        held = 0; stale = 0; late = 0; again = 0; twice = twice & ~B(me); whole = 0;
        if
        :: kind == READ && reads + 1 < READS -> reads++; FORGET(nx); FORGET(base[me]); goto begin
        :: else -> goto leave
        fi
    }

/* A server failed: the same once more, elsewhere, as a revision of its own. */
rewrite:
    atomic {
        sending = sending & ~B(me); writing = writing & ~B(me);
        let_go(nx.rev, ORPHAN);
        COPY(base[me], nx);
        claiming = claiming & ~B(me); part = part & ~B(me);
        old = (old & ~B(me)) | (olden & B(me));
        held = 0; got = 0; sent = 0; stale = 0; tries = 0; again = 1; twice = twice | B(me); why = AGAIN;
        goto commit
    }

/* Time was over before anything was sent: the claim stays until it goes by itself. */
unwritten:
    atomic {
        sending = sending & ~B(me); writing = writing & ~B(me);
        let_go(nx.rev, 0);
        FORGET(nx); late = 0; sent = 0; stale = 0; held = 0; goto wait
    }
busy:
    atomic {
        wanted = 0;
#ifdef AT_ONCE
        tried = 0;
#endif
        let_go(base[me].rev + 1, 0);
        held = 0; s = 0; more = 0
    }
wait:
    atomic {
        claiming = claiming & ~B(me);
        if
        :: kind == READ -> goto seen
        :: else
        fi;
        why = AGAIN
    }
    /* It tries now and then; nothing changes before one of these. */
    (ANY_NEWER(base[me])
     || !(ANY_CLAIM(base[me].rev + 1) || ((part & B(me)) && ANY_CLAIM(base[me].rev)))
     || ((part & B(me)) && !ANY_CLAIM(base[me].rev + 1) && !(done_by & B(me)) && base[me].by
         && (base[me].by == DEAD || !(sending & B(base[me].by - 1))))) -> goto read;

seen:
    atomic {
        if
        :: base[me].rev > shown && whole -> shown = base[me].rev
        :: else
        fi;
        if
        :: reads + 1 < READS -> reads++; FORGET(base[me]); goto begin
        :: else
        fi
    }
leave:
    atomic {
        sending = sending & ~B(me); writing = writing & ~B(me);
        if
        :: nx.rev != base[me].rev + 1 && !dead -> let_go(base[me].rev + 1, 0)
        :: else -> let_go(base[me].rev + 1, ORPHAN)
        fi;
        dead = 0;
        claiming = claiming & ~B(me); old = old & ~B(me); olden = olden & ~B(me);
        down[me] = 0; back[me] = 0; part = part & ~B(me); done_by = done_by & ~B(me); twice = twice & ~B(me);
        sent_since[me] = 0;
        reading = reading & ~B(me); shaken = shaken & ~B(me); near = near & ~B(me);
        done++
    }
}

/* Whether somebody claims this revision upon a reading that he still believes. */
inline is_claimed_for(rv)
{
    di = 0; dm = 0;
    do
    :: di < NP ->
        if
        :: ((claiming & B(di)) && !(old & B(di))
            && (base[di].rev + 1 == rv || (((part | twice) & B(di)) && base[di].rev == rv))) -> dm = 1
        :: (writing & B(di)) && base[di].rev + 2 == rv -> dm = 1
        :: else
        fi;
        di++
    :: else -> di = 0; break
    od
}

active proctype World()
{
    byte s, r, p;

endworld:
    do
    /* A server goes away, or loses its memory in a restart. */
    :: atomic {
        faults && up == ALL && done < NP && !shaken && !near ->
        select(s : 0 .. NS - 1);
        if
        :: OTHER_HOLDS(s) && !(DOWNS & ~B(s)) ->
            if
            :: printf("server %d goes away\n", s); up = up & ~B(s)
            :: printf("server %d restarts empty\n", s); FORGET(rec[s]);
                r = 0;
                do
                :: r < REVS -> CL(s, r) = 0; r++
                :: else -> r = 0; break
                od
            fi;
            faults--; shaken = shaken | reading
        :: else
        fi;
        s = 0
       }
    /* It comes back, with what it has kept or without anything. */
    :: atomic {
        up != ALL ->
        if
        :: !(up & 1) -> s = 0
        :: !(up & 2) -> s = 1
        :: NS == 3 && !(up & 4) -> s = 2
        fi;
        if
        :: printf("server %d is back, late write %d\n", s, kept[s].rev); if
           :: kept[s].rev -> COPY(rec[s], kept[s])
           :: else
           fi;
           if
           :: keptdel & B(s) -> FORGET(rec[s])
           :: else
           fi
        :: printf("server %d is back, empty\n", s); FORGET(rec[s]);
           r = 0;
           do
           :: r < REVS -> CL(s, r) = 0; r++
           :: else -> r = 0; break
           od
        fi;
        FORGET(kept[s]); keptdel = keptdel & ~B(s);
        up = ALL; s = 0
       }
    /* Somebody's prober finds it. */
    :: atomic {
        done < NP ->
        select(p : 0 .. NP - 1);
        if
        :: down[p] & up -> printf("P%d's prober finds %d back\n", p, down[p] & up);
            back[p] = back[p] | (down[p] & up);
            down[p] = down[p] & ~up
        :: else
        fi;
        p = 0
       }
    /* Claims of a revision go by themselves. */
    :: atomic {
        expiries ->
        select(r : 2 .. REVS - 1);
        is_claimed_for(r);
#ifdef STALLS
        dm = 0;
#endif
        if
        :: dm == 0 && (0
#if NS == 3
            || CL(2, r)
#endif
            || CL(0, r) || CL(1, r)) ->
            s = 0; p = 0;
            do
            :: s < NS ->
                if
                :: CL(s, r) & ORPHAN -> CL(s, r) = 0; p = 1
#ifdef STALLS
                :: CL(s, r) && !(CL(s, r) & ORPHAN) -> CL(s, r) = 0; p = 1
                :: CL(s, r) == 0
#else
                :: else
#endif
                fi;
                s++
            :: else -> s = 0; break
            od;
            if
            :: p ->
                printf("claims of %d go\n", r);
                expiries--; old = old | ((B(NP) - 1) & ~claiming); p = 0;
                do
                :: p < NP ->
                    if
                    :: (claiming & B(p)) && base[p].rev + 1 < r -> olden = olden | B(p)
                    :: else
                    fi;
                    p++
                :: else -> break
                od
            :: else
            fi;
            p = 0
        :: else
        fi;
        dm = 0; r = 0
       }
    od
}

init {
    atomic {
#ifdef RETURNED
        /* Server 1 was away for a while, and is back with its old memory. */
        rec[0].rev = 2; rec[0].at = 1; rec[0].pl = 5;
        rec[1].rev = 1; rec[1].at = 1; rec[1].pl = 3;
        rec[2].rev = 2; rec[2].at = 1; rec[2].pl = 5;
        writes[2] = 1; shown = 2;
#else
#ifdef PENDING
        /* A writer died 6 s ago, having sent its first copy to server 0, which hangs. */
        up = ALL & ~1;
        kept[0].rev = 2; kept[0].at = 1; kept[0].val = 64; kept[0].pl = 3; kept[0].by = DEAD;
        writes[2] = 1;
#endif
        rec[0].rev = 1; rec[0].at = 1; rec[0].pl = 3;
        rec[1].rev = 1; rec[1].at = 1; rec[1].pl = 3;
        shown = 1;
#endif
        writes[1] = 1;
        di = 0;
        do
        :: di < INCS -> run P(di, INC); di++
        :: di >= INCS && di < INCS + DESTROYS -> run P(di, END); di++
        :: di >= INCS + DESTROYS && di < NP -> run P(di, READ); di++
        :: di == NP -> di = 0; break
        od
    }
    /* When all is over: what was acknowledged is there. */
    atomic {
        done == NP && up == ALL ->
        assert(HOLDS(0) || HOLDS(1)
#if NS == 3
               || HOLDS(2)
#endif
               );
#if FAULTS == 0 && BLIPS == 0 && DEATHS == 0 && LATES == 0 && DESTROYS == 0 \
    && !defined(BLIND) && !defined(PENDING)
        assert(acked == B(INCS) - 1) /* and everybody got through */
#endif
    }
}
