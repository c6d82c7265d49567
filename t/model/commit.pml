/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The commit protocol of store/claim.c and store/commit.c, for spin: one session, N copies of it on
 * NS servers in the session's own order 0, 1, 2; writers that increment once, one that ends the
 * session, readers that repair. Or one user's epoch (EPOCH): log-ins that make it if there is none,
 * and one process that changes it, which ends all sessions. t/model/run says which configurations
 * are searched, all of them exhaustively.
 *
 * What is abstract
 *  - A value is a set: the writers that have incremented, and ENDED. An increment that is made twice
 *    is found, since it is made upon a value that has it already. The value of an epoch is the
 *    process that made it.
 *  - Claims are made one after the other, in order: of the revision before on all servers, if that
 *    is claimed, too, and then of the next one. The code makes each of the two on all servers at
 *    once, and so in any order. That takes more states: AT_ONCE.
 *  - An operation on a server is one atomic step; a replace that finds nothing, and the set that
 *    follows it, are two. On a server that is away an operation fails. The server may have kept it,
 *    and then carries it out when it comes back with its memory.
 *  - Time passes as its rules allow: a claim expires only when nobody works under it, and not while
 *    a process claims the same revision upon a young reading (claim_ttl is long enough for that).
 *    All readings at hand are then too old to be believed (CLAIM_SAFE).
 *  - Members' clocks do not appear: durations are measured by the monotonic clock, and what a server
 *    missed by the server's own clock. If a switch lets members' clocks decide, these may say
 *    anything.
 *  - A process that makes the first record of a key claims it by the name "first", and gives it a
 *    revision above any that the key can have had. Nobody makes the first record of a session that
 *    others know of: for sessions that claim is left out, although the code makes it there, too.
 *  - The code knows when a record's writer must have sent all copies: by the time since the record
 *    was first seen, or by a server's own clock. Here that is so when the writer is not sending
 *    them now. Its claim is then known by the writer's number.
 *  - A server that is up may be late (UNSENTS): what is for it cannot be sent in time; or full (FULLS):
 *    it refuses what it is sent. One server is. Another one may go away (AWAYS), even if it alone
 *    has what was acknowledged, but not while a commit does without the late or full one, nor while
 *    another process goes by what it read beside a commit that had no claim there: the two would
 *    disagree on two servers. It comes back with its memory. A commit that does without a server is
 *    over before its first claim expires, or is not acknowledged (IN_TIME).
 *  - A server goes away or loses its memory only while another one that can be reached holds all
 *    that was acknowledged or shown, and no two servers do so within one commit (claim_ttl): that is
 *    the condition of the guarantee.
 *
 * What must be true of every reading that is believed: nothing that was acknowledged before it began
 * is missing, and no revision or epoch that is over comes back. A session that is there is never
 * "certainly not there". If no server fails, N servers always have all that was acknowledged.
 *
 * Switches that take one mechanism out, or break an assumption:
 *  NO_CLAIMS        nobody claims
 *  ONE_CLAIM        a claim is made on one server only, the first one that its process takes to be up
 *  ONE_IF_UP        the same, by a process that takes all servers to be up; others claim on all
 *  OWN_UNCLAIMED    process 0, which wrote the record that is there, writes the next one without a claim
 *  PLAIN_REPAIR     a repair claims nothing
 *  NO_REREAD        a reading older than CLAIM_SAFE is built upon; this is also what happens if its
 *                   age is told by a clock that is set back
 *  NO_HELD          a reading ends at the homes, whatever they lack
 *  READ_ONE         a reading may end with the first copy of a server that was not away
 *  NO_SECOND        a record that too few servers have is not read once more
 *  NO_FRESH         a server that was away is believed alone, although another one is silent; this is
 *                   also what happens if a writer's clock tells what was written before
 *  NO_VOUCH         nobody vouches for a server that was away
 *  VOUCH_EMPTY      servers that lost their memory vouch, too, for one that was away
 *  TIE_BY_CLOCK     of two records of one revision, the one that a clock calls the later one counts
 *  NO_TOMB          a tombstone does not count more than a higher revision
 *  NO_PART          a record that is not on all of its servers yet is built upon without being
 *                   claimed, too
 *  PASS_BY_CLOCK    the writer's clock tells whether it must have sent all copies of that record
 *  REPAIR_BY_CLOCK  the same, for repairs only
 *  AGE_ALONE        once that record is old enough, not even another process's claim of it counts
 *  NO_ONCE          a revision is sent to a server again when another server failed
 *  NO_SET           no set follows a replace that finds nothing
 *  NO_WHOLE         a commit that ran out of time after its first copy counts as done
 *  NO_PLACED        a process that holds no claim where the session lies may write
 *  STRAYS_DELETED   strays are deleted without a claim
 *  NO_STAY          with one copy, it moves to the first server that is up
 *  NO_OUTDATED      with one copy, it stays where it lies although an earlier server has an older one
 *  HOMES_ALONE      a record that no home has is certainly not there, whichever server is silent
 *  STRAYS_KEPT      a commit is acknowledged although a server that was left out keeps its old copy,
 *                   and copies are too few
 *  UNSENT_CLAIM     a server that is too late to be claimed is done without
 *  REFUSED_STAYS    where a server refuses a claim, its old copy stays
 *  PLACED_STRAYS    such a copy is deleted only if the revision before was written there
 *  STALLS           a writer is stopped for longer than its claim lives
 *  TAKES            this many living claims are removed while their holders work under them
 *  BLIND            one writer takes two of three servers to be away, which the others see
 *  LOW_FIRST        the first record of a key has revision 1
 *  FIRST_BY_REV     the first record is claimed by the revision that its writer has for it, not as
 *                   "first"
 *  FIRST_ALONE      a process that builds upon a record which some server lacks does not claim
 *                   "first", too, so it does not meet those that see no record
 *  FIRST_UNREAD     a process that has claimed "first" does not read again, although another one may
 *                   have given that claim back
 *  FIRST_ONTO       a process that has claimed "first" builds upon what it finds under that claim
 *  NO_UNSEEN        a record that is not seen for now counts as certainly not there
 *  PASS_ONCE        with PASSES, no server is asked once more
 * switches for what the code does:
 *  AT_ONCE          claims are made in any order
 *  REPAIRS          a process repairs right before it writes: this stands for a reader beside it, in
 *                   fewer states
 *  PASSES           readers pass over this server, which is slow, and write nothing
 * a switch for what it could do:
 *  CLAIM_READS      each claim brings what its server has; a reading that is older than CLAIM_SAFE is
 *                   not repeated if that is the record which is built upon, everywhere
 * and beginnings:
 *  APART            process 0 takes server 0 to be down, and process 1 server 1
 *  RETURNED         server 1 missed a revision, and is back with its old memory
 *  NOTICED          with RETURNED: every process knows that server 1 was away
 *  EMPTIED          server 1 was restarted, and has nothing; with RETURNED, server 2
 *  PENDING          a dead writer's copy waits in a server that hangs
 *  OLD_LIST         the one copy lies on server 1, and one member's list has no server 0
 *  OLDER_FIRST      the one copy lies on server 1, and server 0, back, has an older one
 *  HIDDEN           the only copy of an epoch waits in server HIDDEN_AT, which hangs
 *  BESIDE           claims were lost, and a process wrote beside a tombstone
 *
 * What is left out
 *  - Evictions, more than three servers, one commit that meets two failures, a claim of which the
 *    answer is lost, and an add of a claim that was repeated. Epochs on a server that is late or full.
 *  - Servers' clocks that are set, or that are not told. Members' clocks then tell what was written
 *    before a server came back, and tell a repair that a writer must have sent all copies. They also
 *    do so within the two seconds that servers' clocks leave open, if those say that the writer's
 *    clock agrees with ours.
 *  - Members that have not noticed that a server was away.
 *  - Two writers' numbers that are the same by chance; records of later versions.
 *  - The lock, the line for it and its renewal; MemSessLock none, which is this same protocol; the
 *    local cache; ids that change (renew.pml).
 *  - A first record that nobody else can know of (memsess_store_write).
 *  - Lists of servers that differ, with two copies or more.
 *  - A writer that failed and wrote once more may have skipped the revision whose claim protects the
 *    stray that it deletes: then a copy is missing until the session is read.
 */

#ifndef NS
#define NS 3 /* servers */
#endif
#ifndef N
#define N 2 /* copies */
#endif
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
#ifndef SLOWS
#define SLOWS 0 /* how often a reading takes longer than CLAIM_SAFE */
#endif
#ifndef TAKES
#define TAKES 0
#endif
#ifndef UNSENTS
#define UNSENTS 0 /* how often server LATE_AT, which is up, is too slow to be sent something in time */
#endif
#ifndef FULLS
#define FULLS 0 /* how often server LATE_AT, which is up, refuses something */
#endif
#ifndef LATE_AT
#define LATE_AT 1
#endif
#if UNSENTS || FULLS
#define LEAVES_OUT
#endif
#ifndef AWAYS
#define AWAYS 0 /* how often another server goes away, and comes back with its memory */
#endif
#ifndef EXPIRIES
#define EXPIRIES 2 /* how often claims expire */
#endif
#ifndef INCS
#define INCS 2
#endif
#ifndef DESTROYS
#define DESTROYS 0
#endif
#ifndef GETS
#define GETS 0
#endif
#ifndef CHANGES
#define CHANGES 0
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef READS
#define READS 2 /* of each reader */
#endif
#ifndef HIDDEN_AT
#define HIDDEN_AT 0
#endif
#ifndef PLACES
#define PLACES 3 /* the placement in the copy of HIDDEN */
#endif
#ifdef PASS_ONCE
#define PASS_AGAIN 0
#else
#define PASS_AGAIN 1
#endif
#define NP (INCS + DESTROYS + GETS + CHANGES + READERS)
#if GETS || CHANGES
#define EPOCH
#define REVS 11
#elif defined(LEAVES_OUT)
#define REVS 10
#else
#define REVS 8
#endif

#define B(i) (1 << (i))
#define ALL (B(NS) - 1)
#define ENDED 128
#define FORMER 64 /* what was there at the beginning: another's increment, or an epoch */
#define ORPHAN 16 /* of a claim: nobody works under it any more */
#define DEAD 15   /* a writer of which only a copy is left */

/* What a process does. */
#define INC 0
#define END 1
#define READ 2
#define GET 3    /* gets an epoch: makes one if there is none, else dates it again */
#define CHANGE 4 /* changes an epoch */

/* Why it reads. */
#define START 0
#define AGAIN 1
#define CHECK 2

typedef Rec {
    byte rev; /* 0: none */
    byte val;
    byte pl; /* placement */
    byte by; /* its writer's number */
};

/* The servers. A claim of revision 0 is the one called "first". */
Rec rec[NS];
byte claim[NS * REVS];
byte up = ALL;
byte emptied;       /* servers that lost their memory since something was written */
Rec kept[NS];       /* a set that a server that is away will carry out */
byte keptdel;       /* servers that will carry out a delete of the record */

/* What each process thinks of the servers: its health table. */
byte down[NP];
byte back[NP];      /* servers that, in its eyes, came back after what they hold was written */
byte fresh[NP];     /* servers that gave it a copy that was written since */
Rec base[NP];       /* what it builds upon */
byte sends[NP];     /* the revision that it is sending copies of */
byte claiming;      /* processes between the beginning of their claim and the end of their writing */
byte part;          /* processes that build upon a record that is not on all of its servers */
#ifdef EPOCH
byte bare;          /* processes that build upon a record that a server answered it has none of */
#endif
byte blank;         /* processes that build upon nothing: they make the first record */
byte writing;       /* processes that write, and then delete strays, within CLAIM_SAFE */
byte twice;         /* processes that write once more what they have written */
byte old;           /* processes whose reading is older than CLAIM_SAFE */
byte olden;         /* processes for which that will be so of what they are just writing */
byte reading;       /* processes that read, or have read and are not done */
byte shaken;        /* reading processes: a server failed meanwhile, or they began while a copy was
                       lacking, or while they still took a server to be away */
byte near;          /* reading processes that began beside a shaken one */

/* What has been promised. */
byte acked;
byte shown;         /* the highest revision acknowledged or shown */
byte past;          /* epochs that are over */
byte given;         /* epochs that log-ins were given */
byte done;

byte faults = FAULTS, blips = BLIPS, deaths = DEATHS, lates = LATES, slows = SLOWS, takes = TAKES;
byte expiries = EXPIRIES;
#ifdef LEAVES_OUT
byte unsents = UNSENTS, fulls = FULLS;
byte lately;        /* processes that write without server LATE_AT, or will if it is late again */
byte torn;          /* processes that read while a commit was made without a claim on LATE_AT */
byte since[NP];     /* the revision that each of them claimed first */
#endif
#if AWAYS
byte aways = AWAYS, alone; /* alone: a server that is away with what it alone has */
#endif
bit flip;           /* which of two writers' numbers is higher, or which of two clocks is ahead */

#define CL(s, r) claim[(s) * REVS + (r)]
#define COPY(to, from) to.rev = from.rev; to.val = from.val; to.pl = from.pl; to.by = from.by
#define FORGET(r) r.rev = 0; r.val = 0; r.pl = 0; r.by = 0
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))

#ifdef NO_TOMB
#define NEWER(a, b) (a.rev > b.rev)
#else
#define NEWER(a, b) ((a.val & ENDED) > (b.val & ENDED) \
                     || ((a.val & ENDED) == (b.val & ENDED) && a.rev > b.rev))
#endif
#define SAME(a, b) (a.rev == b.rev && a.by == b.by)

/* Whether a value lacks what had been promised by then, or has what was over. */
#ifdef EPOCH
#define MISSES(val, must) ((val) & (must))
#define PROMISED past
#else
#define MISSES(val, must) (!((val) & ENDED) && ((val) & (must)) != (must))
#define PROMISED acked
#endif
#define HOLDS(s) ((up & B(s)) != 0 && rec[s].rev && (rec[s].rev >= shown || (rec[s].val & ENDED)) \
                  && !MISSES(rec[s].val, PROMISED))

#if NS == 3
#define FOR_ANY(what) (what(0) || what(1) || what(2))
#define COPIES (HOLDS(0) + HOLDS(1) + HOLDS(2))
#else
#define FOR_ANY(what) (what(0) || what(1))
#define COPIES (HOLDS(0) + HOLDS(1))
#endif
#define OTHER_HOLDS(s) ((s != 0 && HOLDS(0)) || (s != 1 && HOLDS(1)) \
                        || (NS == 3 && s != 2 && HOLDS(NS - 1)))

/* One member's list of servers may be an older one. */
#ifdef OLD_LIST
#define LISTED(s) ((s) != 0 || me != 0)
#define HOMES (me == 0 -> 2 : 1)
#define UNLISTED (me == 0 -> 1 : 0)
#else
#define LISTED(s) 1
#define HOMES (B(N) - 1)
#define UNLISTED 0
#endif
/* Whether it is certain that there is no record: every server that may have it says so. */
#ifdef HOMES_ALONE
#define IS_MISSING ((none & HOMES) == HOMES)
#else
#define IS_MISSING (!silent)
#endif
/* Whether the record counts as not there for now; with one copy, its home says so. */
#if N > 1
#define IS_UNSEEN (COUNT(silent) < N)
#else
#define IS_UNSEEN ((none & HOMES) == HOMES)
#endif

#define SEES(s) (!(down[me] & B(s)) && LISTED(s))

/* Whether the servers that answered would know of a newer record: its writer wrote it to one of them,
 * unless as many are silent as it wrote copies; and they have kept their memory. */
#ifdef VOUCH_EMPTY
#define KEPT 1
#else
#define KEPT (((none | hold) & emptied) == 0)
#endif
#if defined(NO_VOUCH)
#define VOUCHED 0
#elif N < NS
#define VOUCHED (COUNT(silent) < N && KEPT)
#else
#define VOUCHED (COUNT(silent) < NS - 1 && KEPT)
#endif

/* A process that has claimed "first" reads again. */
#if !defined(EPOCH) || defined(FIRST_UNREAD)
#define REREAD 0
#else
#define REREAD (blank | bare)
#endif

/* Whether "first" would have to be claimed, too, and was not. */
#if defined(EPOCH) && !defined(FIRST_ALONE)
#define NEWLY_BARE (none && !(bare & B(me)))
#else
#define NEWLY_BARE 0
#endif

#ifdef EPOCH
#define FIRSTS(p) ((blank | bare) & B(p))
#else
#define FIRSTS(p) 0
#endif

/* What is claimed: the next revision. */
#ifdef FIRST_BY_REV
#define WHAT (base[me].rev + 1)
#else
#define WHAT (((blank & B(me)) != 0) -> 0 : base[me].rev + 1)
#endif

/* Whether the writer of what is built upon must have sent all of it. */
#define SENT_ALL (base[me].by == 0 || base[me].by == DEAD || sends[base[me].by - 1] != base[me].rev)
#if defined(PASS_BY_CLOCK)
#define MAY_PASS 1
#elif defined(REPAIR_BY_CLOCK)
#define MAY_PASS (SENT_ALL || job == READ)
#else
#define MAY_PASS SENT_ALL
#endif
#ifdef AGE_ALONE
#define PASSED(s) pass
#else
#define PASSED(s) (pass && (CL(s, base[me].rev) & 15) == base[me].by)
#endif

/* The servers to claim: those where the record lies, and those where it is to lie. */
#if defined(ONE_CLAIM)
#define LONE (!held)
#elif defined(ONE_IF_UP)
#define LONE (!held && !tried && !down[me])
#endif
#ifdef LONE
#define NEEDED(s) (lone -> !wanted : (got < N && !LEFT_OUT(s)) || (base[me].pl & B(s)))
#define CLAIMED(s) (lone -> ALL : B(s))
#else
#define NEEDED(s) ((got < N && !LEFT_OUT(s)) || (base[me].pl & B(s)))
#define CLAIMED(s) B(s)
#endif

/* A server that is up, but refuses, or was twice too slow to be sent its copy while others took
 * theirs, is left out of the commit. */
#ifdef LEAVES_OUT
#define LEFT_OUT(s) ((refusing & B(s)) != 0)
#if AWAYS
#define NO_OTHER_FAILURE \
    (up == ALL && !DOWNS && (aways == AWAYS || (lately & B(me)) || !(shaken | near | twice)))
#else
#define NO_OTHER_FAILURE (up == ALL && !DOWNS)
#endif
#define IS_LATE(s) (unsents && (s) == LATE_AT && NO_OTHER_FAILURE)
#define IS_FULL(s) (fulls && (s) == LATE_AT && NO_OTHER_FAILURE)
#else
#define LEFT_OUT(s) 0
#endif

/* Only servers that are claimed are written to. */
#if defined(NO_CLAIMS) || defined(PLAIN_REPAIR)
#define MAY_WRITE(s) 1
#else
#define MAY_WRITE(s) (held & B(s))
#endif

/* With one copy, it stays where it lies, unless an earlier server has an older one. */
#ifdef NO_OUTDATED
#define MOVES 0
#else
#define MOVES outdated
#endif
#if N > 1 || defined(NO_STAY)
#define STAYS(s) 0
#else
#define STAYS(s) ((base[me].pl & B(s)) && !MOVES)
#endif

/* The servers that any process takes to be down. */
#if NP == 1
#define DOWNS down[0]
#elif NP == 2
#define DOWNS (down[0] | down[1])
#elif NP == 3
#define DOWNS (down[0] | down[1] | down[2])
#endif
#define MAY_BLIP(s) (blips && up == ALL && !(DOWNS & ~B(s)))

/* If nothing fails, all copies are always there. */
#if FAULTS == 0 && BLIPS == 0 && TAKES == 0 && AWAYS == 0 && !defined(LEAVES_OUT) \
    && !defined(APART) && !defined(RETURNED) && !defined(EMPTIED) \
    && !defined(PENDING) && !defined(HIDDEN) && !defined(OLDER_FIRST) && !defined(BESIDE) \
    && !defined(EPOCH)
#define CHECK_COPIES assert(COPIES >= N)
#else
#define CHECK_COPIES skip
#endif

/* Which server is next: what is done on several at once is done in any order. */
inline any_of(those)
{
    if
    :: those & 1 -> s = 0
    :: those & 2 -> s = 1
    :: those & 4 -> s = 2
    fi
}

inline next_of(those)
{
#ifdef AT_ONCE
    any_of(those)
#else
    if
    :: those & 1 -> s = 0
    :: !(those & 1) && (those & 2) -> s = 1
    :: !(those & 3) && (those & 4) -> s = 2
    fi
#endif
}

byte di, dm;

inline stored(srv, what)
{
    COPY(rec[srv], what);
    di = 0;
    do
    :: di < NP -> back[di] = back[di] & ~B(srv); di++
    :: else -> di = 0; break
    od;
    CHECK_COPIES
}

/* Gives back this process's claims of a revision and of the one before, or leaves them to expire. */
inline let_go(rv, left)
{
    di = 0;
    do
    :: di < NS ->
#ifdef EPOCH
        if
        :: CL(di, 0) == me + 1 -> /* "first" is given back */
            CL(di, 0) = ((up & B(di)) -> 0 : (me + 1) | ORPHAN)
        :: else
        fi;
#endif
        if
        :: CL(di, rv) == me + 1 -> CL(di, rv) = ((up & B(di)) && !left -> 0 : (me + 1) | ORPHAN)
        :: else
        fi;
        if
        :: (rv) > 1 && CL(di, (rv) - 1) == me + 1 ->
            CL(di, (rv) - 1) = ((up & B(di)) && !left -> 0 : (me + 1) | ORPHAN)
        :: else
        fi;
        di++
    :: else -> di = 0; break
    od
}

/* Chooses the next servers in order that are not known to be down, as many as there are copies. */
inline choose_next()
{
    wanted = 0; s = 0;
    do
    :: s < NS && COUNT(wanted) < N ->
        if
        :: asked & B(s)
        :: !(asked & B(s)) && (down[me] & B(s)) -> asked = asked | B(s); silent = silent | B(s)
        :: else -> wanted = wanted | B(s); asked = asked | B(s)
        fi;
        s++
    :: else -> s = 0; break
    od
}

/* Takes what one server has: the newest record so far, or another one of the same revision. */
inline take_answer()
{
    if
    :: rec[s].rev == 0 -> none = none | B(s)
    :: else ->
        hold = hold | B(s);
        fresh[me] = (fresh[me] & ~B(s)) | (B(s) & ~back[me]);
        if
        :: nw.rev == 0 || NEWER(rec[s], nw) ->
            COPY(nw, rec[s]); top = B(s);
            FORGET(ot); same = 0
        :: nw.rev && SAME(rec[s], nw) && !NEWER(rec[s], nw) -> top = top | B(s)
        :: nw.rev && !SAME(rec[s], nw) && !NEWER(rec[s], nw) && !NEWER(nw, rec[s]) ->
            COPY(ot, rec[s]); same = same | B(s)
        :: else
        fi
    fi
}

#define HIGHER(a, b) (flip -> a.by > b.by : a.by < b.by)

/* Of two records of one revision, takes the one that some server has in the other's place. */
inline settle_tie()
{
    if
    :: ot.rev ->
        if
#ifdef TIE_BY_CLOCK
        :: HIGHER(ot, nw) ->
#else
        :: (((same & nw.pl) != 0) == ((top & ot.pl) != 0) ->
            HIGHER(ot, nw) : (same & nw.pl) != 0) ->
#endif
            printf("P%d takes the other one of revision %d\n", me, ot.rev);
            COPY(nw, ot); top = same
        :: else
        fi
    :: else
    fi;
    FORGET(ot); same = 0
}

/* Finds which of the servers that a write would choose now lack the newest record, or were away. */
inline find_stale()
{
    stale = 0; s = 0; got = 0;
#if N == 1 && !defined(NO_STAY)
    outdated = (hold & ~top & ((top & ~(top - 1)) - 1)) != 0;
#endif
    do
    :: s < NS && got < N ->
        if
        :: SEES(s) ->
            got++;
            if
            :: ((none | hold) & ~(top & fresh[me])) & B(s) -> stale = stale | B(s)
            :: else
            fi
        :: else
        fi;
        s++
    :: else -> break
    od;
#if N == 1 && !defined(NO_STAY)
    s = (nw.pl == 1 -> 0 : (nw.pl == 2 -> 1 : 2));
    if
    :: nw.rev && SEES(s) && !MOVES -> stale = (none | hold) & ~(top & fresh[me]) & B(s)
    :: else
    fi;
#endif
    s = 0; got = 0
}

proctype P(byte me; byte kind)
{
    byte s, wanted, asked, silent, none, hold, top, same, stale, lacks;
    byte must, mustrev, reads, why, held, got, next, tried, sets;
    bit failed, late, sent, more, whole, again, dead, pass;
#ifdef LONE
    bit lone;           /* one claim is to be enough */
#endif
#ifdef CLAIM_READS
    bit unlike;         /* a server that was claimed has something else */
#endif
    byte lastrev, lastby;
    byte job = kind;    /* it may repair first */
#ifdef REPAIRS
    bit repaired;
#endif
#if N == 1
    bit outdated;
#endif
#ifdef LEAVES_OUT
    byte unsent, waslate, refused, refusing, home;
    bit unclaimed;      /* it refused a claim */
    bit keeps;          /* a server that was left out may have kept its old copy */
#endif
    Rec nw, ot, nx;

#ifdef APART
    down[me] = B(me) & 3;
#endif
begin:
#ifdef PASSES
    /* It passes over a slow server. What it does if the others do not tell enough, other readers do. */
    if
    :: kind == READ ->
        atomic {
            must = PROMISED; mustrev = shown; reading = reading | B(me); fresh[me] = 0;
            asked = B(PASSES); silent = 0; none = 0; hold = 0; top = 0; same = 0;
            FORGET(nw); FORGET(ot);
            choose_next()
        }
        do
        :: atomic {
            wanted ->
            any_of(wanted);
            wanted = wanted & ~B(s);
            if
            :: up & B(s) ->
                printf("P%d reads %d of %d on server %d\n", me, rec[s].rev, rec[s].by, s);
                take_answer()
            :: !(up & B(s)) || MAY_BLIP(s) -> silent = silent | B(s)
            fi;
            s = 0
           }
        :: atomic { wanted == 0 -> break }
        od;
        atomic {
            if
            :: !silent && nw.rev && !ot.rev && !(nw.val & ENDED) && (top & fresh[me]) &&
               !(nw.pl & (none | hold) & ~top) ->
                any_of(top);
                if
                :: PASS_AGAIN && (!(up & B(s)) || !SAME(rec[s], nw))
                :: else ->
                    printf("P%d believes %d\n", me, nw.rev);
                    assert(!MISSES(nw.val, must) && nw.rev >= mustrev)
                fi
            :: else
            fi;
            must = 0; mustrev = 0; asked = 0; silent = 0; none = 0; hold = 0; top = 0; same = 0;
            fresh[me] = 0; s = 0; FORGET(nw); FORGET(ot);
            goto leave
        }
    :: else
    fi;
#endif
    why = START;
#ifdef OLDER_FIRST
    done == me; /* one after the other */
#endif

/* -- find ----------------------------------------------------------------------------------- */
read:
    atomic {
        must = PROMISED; mustrev = shown; reading = reading | B(me);
        if
        :: why != CHECK -> shaken = shaken & ~B(me); near = near & ~B(me)
        :: else
        fi;
#ifdef LEAVES_OUT
        torn = (why != CHECK -> torn & ~B(me) : torn);
#endif
        if
        :: COPIES < N || down[me] -> shaken = shaken | B(me)
        :: COPIES >= N && !down[me] && ((shaken | twice) & ~B(me)) -> near = near | B(me)
        :: else
        fi;
        asked = UNLISTED; silent = 0; none = 0; hold = 0; top = 0; same = 0; fresh[me] = 0;
        FORGET(nw); FORGET(ot);
        if
        :: why != CHECK -> old = old & ~B(me)
        :: else
        fi;
        choose_next()
    }
ask:
    do
    :: atomic {
        wanted ->
        any_of(wanted);
        wanted = wanted & ~B(s);
        if
        :: up & B(s) ->
            printf("P%d reads %d of %d on server %d\n", me, rec[s].rev, rec[s].by, s);
            take_answer()
        :: !(up & B(s)) -> printf("P%d finds server %d away (read)\n", me, s);
            silent = silent | B(s); down[me] = down[me] | B(s)
        :: (up & B(s)) && MAY_BLIP(s) -> printf("P%d has a time-out on server %d (read)\n", me, s);
            blips--; silent = silent | B(s); down[me] = down[me] | B(s)
        fi;
        s = 0
       }
#ifdef READ_ONE
    :: atomic { top & fresh[me] -> wanted = 0; s = 0; break }
#endif
    :: atomic {
        wanted == 0 ->
        if
        :: nw.rev && (nw.pl & ~asked) -> wanted = nw.pl & ~asked; asked = asked | wanted
        :: nw.rev == 0 && asked != ALL -> choose_next()
#ifndef NO_HELD
        /* Servers that were away or lost their memory may lack something newer: the reading goes on
         * until it has seen N copies, one of them on a server that can be believed. */
        :: nw.rev && !(nw.pl & ~asked) && asked != ALL &&
           (COUNT(top) < N || !(top & fresh[me])) -> choose_next()
#endif
        :: else -> break
        fi
       }
    od;
    atomic {
#ifndef NO_SECOND
        /* The servers did not all answer at the same moment: a record that too few of them have is
         * read once more. */
        if
        :: COUNT(top) < N && nw.rev && COUNT(top) < COUNT(none | hold) &&
           (nw.rev != lastrev || nw.by != lastby) ->
            printf("P%d reads once more\n", me); lastrev = nw.rev; lastby = nw.by;
            goto read
        :: else -> lastrev = 0; lastby = 0
        fi;
#endif
        settle_tie();
        /* These servers answered without the record, although it was written to them. */
        lacks = nw.pl & (none | hold) & ~top;
        whole = COUNT(top) >= N;
        more = 1; /* whether it is believed */
        if
        :: nw.rev == 0 ->
            more = 0;
#ifdef EPOCH
            /* 2: certainly none; 1: not seen for now; 0: nobody can tell */
            got = (IS_MISSING -> 2 : (IS_UNSEEN -> 1 : 0))
#ifdef NO_UNSEEN
            ; got = (got -> 2 : 0)
#endif
#else
            /* The answer is never "there is certainly no such session". */
            assert(!IS_MISSING);
#endif
        :: else ->
#ifndef NO_FRESH
            if
            :: (top & fresh[me]) == 0 && (silent & nw.pl) && !VOUCHED -> more = 0
            :: else
            fi
#endif
        fi;
#ifdef EPOCH
        if
        :: nw.rev == 0 && why == START && ((job == GET && got) || (job == CHANGE && got == 1)) ->
            got = 0;
            printf("P%d sees no epoch\n", me);
            blank = blank | B(me);
            FORGET(base[me]);
            if /* a revision above any that the key can have had; clocks may differ by a little */
#ifndef LOW_FIRST
            :: base[me].rev = 5
            :: base[me].rev = 6
#else
            :: base[me].rev = 0
#endif
            fi;
            s = 0;
            do
            :: s < NS && COUNT(base[me].pl) < N ->
                if
                :: SEES(s) -> base[me].pl = base[me].pl | B(s)
                :: else
                fi;
                s++
            :: else -> s = 0; break
            od;
            goto judged
        :: nw.rev == 0 && why != START && (blank & B(me)) && got ->
            more = 1; got = 0; goto judged
        /* There is no epoch, so no session that could go on: the change is as good as done. */
        :: nw.rev == 0 && why == START && job == CHANGE && got == 2 ->
            past = past | FORMER
        :: else
        fi;
        got = 0;
#endif
        if
        :: more ->
            assert(!MISSES(nw.val, must)); /* nothing promised is missing */
            assert(nw.rev >= mustrev || (nw.val & ENDED)) /* and nothing goes back */
        :: else
        fi;
        must = 0; mustrev = 0;
        if
        :: !more ->
            asked = 0; silent = 0; none = 0; hold = 0; top = 0; lacks = 0; fresh[me] = 0; goto leave
        :: else
        fi;
        if
        :: why == START || (blank & B(me)) || !NEWER(base[me], nw) ->
            find_stale();
            if
            :: why == CHECK && (blank & B(me)) ->
#ifdef FIRST_ONTO
                more = !(nw.rev > base[me].rev)
#else
                more = 0; blank = blank & ~B(me)
#endif
            :: why == CHECK && !(blank & B(me)) &&
               (NEWER(nw, base[me]) || (lacks && !(part & B(me))) || NEWLY_BARE) ->
                more = 0
            :: why != CHECK -> blank = blank & ~B(me)
            :: else
            fi;
            COPY(base[me], nw);
            part = part & ~B(me);
#ifdef EPOCH
            bare = (bare & ~B(me)) | (none -> B(me) : 0);
#endif
#ifndef NO_PART
            if
            :: lacks && !again -> part = part | B(me)
            :: else
            fi
#endif
        :: else
        fi;
        if
        :: why == START && job != READ && nw.rev > shown && whole -> shown = nw.rev
        :: else
        fi;
judged:
        asked = 0; silent = 0; none = 0; hold = 0; top = 0; lacks = 0;
        must = 0; mustrev = 0; got = 0;
        fresh[me] = 0;
        if
        :: slows && why == START -> slows--; old = old | B(me)
        :: true
        fi;
        if
        /* The record that is to be written once more is not the newest now. Nobody can tell whether
         * the newest was built upon it, so this is an error. */
        :: again && !SAME(nw, nx) -> FORGET(nw); stale = 0; goto leave
        :: else
        fi;
        FORGET(nw);
#ifdef REPAIRS
        if
        :: why == START && stale && !repaired -> job = READ
        :: else
        fi;
        repaired = 1;
#endif
        if
        :: job == READ && stale == 0 -> goto seen
        :: job == READ && stale -> stale = 0; goto commit
        :: job != READ && (base[me].val & ENDED) && !again -> stale = 0; goto leave
        :: job != READ && (again || !(base[me].val & ENDED)) && why != CHECK ->
            stale = 0; goto commit
        :: job != READ && (again || !(base[me].val & ENDED)) && why == CHECK && more ->
            stale = 0; goto write
        :: job != READ && (again || !(base[me].val & ENDED)) && why == CHECK && !more ->
            stale = 0; goto busy
        fi
    }

/* -- claim_take ------------------------------------------------------------------------------- */
commit:
    atomic {
        more = 0; held = 0; s = 0; got = 0; wanted = 0; next = 0; tried = 0;
#ifdef CLAIM_READS
        unlike = 0;
#endif
#ifdef BLIND
        /* One writer takes two of three servers to be away, which all others see. */
        if
        :: me == 0 -> down[0] = 3
        :: else
        fi;
#endif
        claiming = claiming | B(me); olden = olden & ~B(me);
        assert(base[me].rev + 1 < REVS);
#ifdef LEAVES_OUT
        since[me] = (again -> since[me] : base[me].rev + 1);
#endif
        if
        :: (part & B(me)) && MAY_PASS -> pass = 1
        :: true -> pass = 0
        fi
    }
#if defined(PLAIN_REPAIR)
    if
    :: job == READ -> goto write
    :: else
    fi;
#endif
#ifdef NO_CLAIMS
    goto write;
#endif
#ifdef OWN_UNCLAIMED
    atomic {
        if
        :: base[me].by == me + 1 && !(part & B(me)) -> held = ALL & ~down[me]; goto claimed
        :: else
        fi
    }
#endif
    /* Claims are made wherever the record lies or is to lie, as far as the servers are up. A server
     * that fails is down then, and another one stands in. */
round:
    atomic {
#ifdef LONE
        lone = LONE;
#endif
        wanted = 0; got = 0; s = 0;
        do
        :: s < NS ->
            if
            :: held & B(s) -> got = got + !LEFT_OUT(s)
            :: !(held & B(s)) && !(tried & B(s)) && SEES(s) && NEEDED(s) ->
                wanted = wanted | B(s); tried = tried | B(s); got = got + !LEFT_OUT(s)
            :: else
            fi;
            s++
        :: else -> s = 0; got = 0; break
        od;
        if
        :: wanted == 0 -> tried = 0; goto claimed
#if defined(EPOCH) && !defined(FIRST_ALONE)
        :: wanted && !(part & B(me)) && !(bare & B(me)) -> goto claim_next
        :: wanted && (part & B(me)) && !(bare & B(me)) -> goto claim_before
        :: wanted && (bare & B(me))
#else
        :: wanted && !(part & B(me)) -> goto claim_next
        :: wanted && (part & B(me))
#endif
        fi
    }
#if defined(EPOCH) && !defined(FIRST_ALONE)
    do
    :: atomic {
        wanted ->
        next_of(wanted);
        wanted = wanted & ~B(s);
        if
        :: (up & B(s)) && (!CL(s, 0) || CL(s, 0) == me + 1) ->
            printf("P%d claims first too on server %d\n", me, s);
            next = next | B(s); CL(s, 0) = me + 1
        :: (up & B(s)) && CL(s, 0) && CL(s, 0) != me + 1 ->
            printf("P%d is too late for first on server %d\n", me, s); goto busy
        :: !(up & B(s)) ->
            printf("P%d finds server %d away (claim)\n", me, s); down[me] = down[me] | B(s)
        fi;
        s = 0
       }
    :: atomic { wanted == 0 -> wanted = next; next = 0; break }
    od;
    if
    :: !(part & B(me)) -> goto claim_next
    :: else
    fi;
claim_before:
#endif
    do
    :: atomic {
        wanted ->
        next_of(wanted);
        wanted = wanted & ~B(s);
        if
        :: (up & B(s)) && (!CL(s, base[me].rev) || PASSED(s)) ->
            printf("P%d claims %d too on server %d\n", me, base[me].rev, s);
            next = next | B(s);
            if
            :: !CL(s, base[me].rev) -> CL(s, base[me].rev) = me + 1
            :: else
            fi
        :: (up & B(s)) && CL(s, base[me].rev) && !PASSED(s) ->
            printf("P%d is too late for %d on server %d\n", me, base[me].rev, s); goto busy
#ifdef LEAVES_OUT
        :: IS_LATE(s) ->
            printf("P%d cannot claim %d on server %d in time\n", me, base[me].rev, s); unsents--;
#ifndef UNSENT_CLAIM
            goto busy
#endif
        :: IS_FULL(s) ->
            printf("P%d may not claim %d on server %d\n", me, base[me].rev, s); fulls--;
            refusing = refusing | B(s); unclaimed = 1; lately = lately | B(me)
#endif
        :: !(up & B(s)) ->
            printf("P%d finds server %d away (claim)\n", me, s); down[me] = down[me] | B(s)
        fi;
        s = 0
       }
    :: atomic { wanted == 0 -> wanted = next; next = 0; break }
    od;
claim_next:
    do
    :: atomic {
        wanted ->
        next_of(wanted);
        wanted = wanted & ~B(s);
        if
        :: (up & B(s)) && !CL(s, WHAT) ->
            printf("P%d claims %d on server %d\n", me, WHAT, s);
            CL(s, WHAT) = me + 1; held = held | CLAIMED(s)
#ifdef CLAIM_READS
            ; unlike = unlike || !SAME(rec[s], base[me]) || (back[me] & B(s))
#endif
        :: (up & B(s)) && CL(s, WHAT) ->
            printf("P%d is too late for %d on server %d\n", me, WHAT, s); goto busy
#ifdef LEAVES_OUT
        :: IS_LATE(s) ->
            printf("P%d cannot claim %d on server %d in time\n", me, WHAT, s); unsents--;
#ifndef UNSENT_CLAIM
            goto busy
#endif
        :: IS_FULL(s) ->
            printf("P%d may not claim %d on server %d\n", me, WHAT, s); fulls--;
            refusing = refusing | B(s); unclaimed = 1; lately = lately | B(me)
#endif
        :: !(up & B(s)) ->
            printf("P%d finds server %d away (claim)\n", me, s); down[me] = down[me] | B(s)
        fi;
        s = 0
       }
    :: atomic { wanted == 0 -> goto round }
    od;
claimed:
    atomic {
        if
        :: held == 0 -> goto leave
#ifndef NO_PLACED
        /* A process that sees none of the session's servers could not meet others there. */
        :: held && !(held & base[me].pl) -> let_go(WHAT, 0); goto leave
        :: held && (held & base[me].pl)
#else
        :: else
#endif
        fi;
        if
#if defined(CLAIM_READS)
        :: ((REREAD | (unlike || COUNT(held) < N || (base[me].pl & ~held) -> old : 0)) & B(me)) ->
            why = CHECK; unlike = 0; goto read
#elif !defined(NO_REREAD)
        :: (old | REREAD) & B(me) -> why = CHECK; goto read
#endif
        :: else
        fi
    }

/* -- write_claimed ---------------------------------------------------------------------------- */
write:
    atomic {
        more = 0; late = 0; sent = 0; why = AGAIN; writing = writing | B(me); pass = 0;
        nx.rev = base[me].rev + 1; nx.by = me + 1;
        if
        :: again || job == READ -> nx.val = base[me].val
        :: !again && job == INC ->
            assert(!(base[me].val & B(me))); nx.val = base[me].val | B(me)
        :: !again && job == END -> nx.val = base[me].val | ENDED
        :: !again && job == GET -> nx.val = (base[me].val -> base[me].val : B(me))
        :: !again && job == CHANGE -> nx.val = B(me)
        fi
    }
attempt:
    atomic {
        failed = 0; got = 0; wanted = 0; s = 0; sets = 0;
        sends[me] = nx.rev;
        do
        :: s < NS && COUNT(wanted) < N ->
            if
            :: SEES(s) && MAY_WRITE(s) && !LEFT_OUT(s) && STAYS(s) -> wanted = wanted | B(s)
            :: else
            fi;
            s++
        :: else -> s = 0; break
        od;
        do
        :: s < NS && COUNT(wanted) < N ->
            if
            :: SEES(s) && MAY_WRITE(s) && !LEFT_OUT(s) -> wanted = wanted | B(s)
            :: else
            fi;
            s++
        :: else -> s = 0; break
        od;
        nx.pl = wanted
    }
    do
    :: atomic {
        wanted -> /* all at once, so in any order */
        any_of(wanted);
        if
        :: (up & B(s)) && rec[s].rev == 0 && (base[me].pl & B(s)) && !(sets & B(s)) ->
            printf("P%d finds nothing to replace on server %d\n", me, s);
            sent = 1;
#ifdef NO_SET
            failed = 1; wanted = wanted & ~B(s)
#else
            sets = sets | B(s)
#endif
        :: (up & B(s)) && (rec[s].rev || !(base[me].pl & B(s)) || (sets & B(s))) ->
            printf("P%d writes %d to server %d, placement %d, value %d\n",
                   me, nx.rev, s, nx.pl, nx.val);
            sent = 1; stored(s, nx); got = got | B(s); wanted = wanted & ~B(s)
        :: !(up & B(s)) ->
            printf("P%d finds server %d away (write)\n", me, s);
            sent = 1; failed = 1; down[me] = down[me] | B(s); wanted = wanted & ~B(s);
            if
            :: kept[s].rev == 0 -> COPY(kept[s], nx)
            :: true
            fi
        :: (up & B(s)) && MAY_BLIP(s) ->
            printf("P%d has a time-out on server %d (write)\n", me, s);
            blips--; sent = 1; failed = 1; down[me] = down[me] | B(s); wanted = wanted & ~B(s);
            if
            :: stored(s, nx)
            :: true
            fi
#ifdef LEAVES_OUT
        :: IS_FULL(s) && !(sets & B(s)) ->
            printf("P%d may not send %d to server %d\n", me, nx.rev, s); fulls--;
            if /* a replace leaves what is there */
            :: base[me].pl & B(s)
            :: else -> FORGET(rec[s])
            fi;
            refused = refused | B(s); lately = lately | B(me); wanted = wanted & ~B(s)
        :: IS_LATE(s) && !(sets & B(s)) ->
            printf("P%d cannot send %d to server %d in time\n", me, nx.rev, s); unsents--;
            unsent = unsent | B(s); lately = lately | B(me); wanted = wanted & ~B(s)
#endif
        :: lates && job != READ && !late ->
            lates--; late = 1; wanted = wanted & sets; printf("P%d is out of time\n", me)
        :: deaths -> deaths--; printf("P%d dies\n", me); dead = 1; goto leave
        fi;
        s = 0
       }
    :: atomic {
        wanted == 0 ->
        sets = 0;
        if
#ifdef NO_ONCE
        :: failed && tried + 1 < NS && !late -> tried++; goto attempt
#else
        :: failed && got && !late -> failed = 0; goto rewrite
#ifdef LEAVES_OUT
        :: (unsent | refused) && got && !failed && !late -> goto rewrite
        :: refused && !got && !failed && !late -> goto leave
        :: unsent && !got && !failed && !late -> unsent = 0; goto unwritten
#endif
#ifndef NO_WHOLE
        :: late && got -> late = 0; failed = 0; goto rewrite
#endif
#endif
        :: else -> break
        fi
       }
    od;
    atomic {
        tried = 0; failed = 0; sends[me] = 0;
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
        :: !got && late && sent -> goto leave /* nobody can tell: an error, not tried again */
#endif
        :: !got && !late -> goto leave
        fi;
        got = 0; sent = 0
    }

/* -- drop_strays ------------------------------------------------------------------------------ */
/* Strays are deleted under a claim of what would be written there next. A server that refuses this
 * claim, or refused one before, has it made where the record lies. */
#ifdef LEAVES_OUT
#if defined(REFUSED_STAYS)
#define STRAYS (held & base[me].pl & ~nx.pl)
#elif defined(PLACED_STRAYS)
#define STRAYS ((held | refusing) & base[me].pl & ~nx.pl)
#else
#define STRAYS (((held & base[me].pl) | refusing) & ~nx.pl)
#endif
#define RELEASED(s) CL(s, nx.rev + 1) = ((up & B(s)) -> 0 : (me + 1) | ORPHAN)
#else
#define STRAYS (held & base[me].pl & ~nx.pl)
#endif
    do
    :: atomic {
        STRAYS ->
        any_of(STRAYS);
#ifndef STRAYS_DELETED
#ifdef LEAVES_OUT
        home = s;
        if
        :: !(held & B(s)) || IS_FULL(s) ->
            fulls = fulls - ((held & B(s)) != 0);
            if
            :: (up & B(s)) && !rec[s].rev -> goto next_stray
            :: else
            fi;
            home = ((nx.pl & 1) -> 0 : ((nx.pl & 2) -> 1 : 2))
        :: held & B(s)
        fi;
        if
        :: !(up & B(home)) || CL(home, nx.rev + 1) ->
            keeps = keeps || ((up & B(s)) && LEFT_OUT(s)); goto next_stray
        :: else -> CL(home, nx.rev + 1) = me + 1
        fi
#else
        if
        :: !(up & B(s)) || CL(s, nx.rev + 1) -> goto next_stray
        :: else -> CL(s, nx.rev + 1) = me + 1
        fi
#endif
       };
       atomic {
#endif
        if
#ifdef LEAVES_OUT
        :: IS_LATE(s) ->
            printf("P%d cannot delete the stray on server %d in time\n", me, s); unsents--;
            keeps = keeps || LEFT_OUT(s)
#endif
        :: up & B(s) -> assert(TAKES || rec[s].rev != nx.rev + 1); FORGET(rec[s])
        :: !(up & B(s)) -> down[me] = down[me] | B(s); keptdel = keptdel | B(s)
        :: !(up & B(s)) -> down[me] = down[me] | B(s)
        fi;
#ifdef LEAVES_OUT
        RELEASED(home);
#elif !defined(STRAYS_DELETED)
        CL(s, nx.rev + 1) = ((up & B(s)) -> 0 : (me + 1) | ORPHAN);
#endif
next_stray:
        held = held & ~B(s);
#ifdef LEAVES_OUT
        refusing = refusing & ~B(s); home = 0;
#endif
        s = 0
       }
    :: atomic { !STRAYS -> break }
    od;
    atomic {
#ifdef LEAVES_OUT
#ifndef STRAYS_KEPT
        /* The old copy would be believed if the others went: this is an error. */
        if
        :: keeps && COUNT(nx.pl) < N -> goto leave
        :: else
        fi;
#endif
        torn = torn | (unclaimed -> reading & ~B(me) : 0); unclaimed = 0;
        waslate = 0; refusing = 0; keeps = 0; lately = lately & ~B(me); since[me] = 0;
#endif
        printf("P%d is done: %d acknowledged\n", me, nx.rev);
#ifdef EPOCH
        past = past | (nx.val == base[me].val -> 0 : (base[me].val -> base[me].val : FORMER));
        given = given | (job == GET -> nx.val : 0);
#else
        acked = acked | (nx.val & (job == INC -> B(me) : (job == END -> ENDED : 0)));
#endif
        if
        :: nx.rev > shown -> shown = nx.rev
        :: else
        fi;
        let_go(WHAT, ORPHAN);
        blank = blank & ~B(me);
        claiming = claiming & ~B(me); writing = writing & ~B(me);
        held = 0; stale = 0; late = 0; again = 0; twice = twice & ~B(me); whole = 0;
        if
        :: job == READ && job == kind && reads + 1 < READS ->
            reads++; FORGET(nx); FORGET(base[me]); goto begin
#ifdef REPAIRS
        :: job != kind -> job = kind; FORGET(nx); FORGET(base[me]); goto begin
#endif
        :: else -> goto leave
        fi
    }

/* A server failed: the same content is written once more, elsewhere, as a revision of its own. */
rewrite:
    atomic {
        sends[me] = 0; writing = writing & ~B(me);
#ifdef LEAVES_OUT
        refusing = refusing | refused | (unsent & waslate);
        waslate = waslate | unsent; unsent = 0; refused = 0;
#endif
        let_go(WHAT, ORPHAN);
        COPY(base[me], nx);
        claiming = claiming & ~B(me); part = part & ~B(me); blank = blank & ~B(me);
#ifdef EPOCH
        bare = bare & ~B(me);
#endif
        old = (old & ~B(me)) | (olden & B(me));
        held = 0; got = 0; sent = 0; stale = 0; tried = 0; again = 1;
        twice = twice | B(me); why = AGAIN;
        goto commit
    }

/* Time was over before anything was sent: the claims are given back, and the writer tries again. */
unwritten:
    atomic {
        sends[me] = 0; writing = writing & ~B(me);
        let_go(WHAT, 0);
        if
        :: again -> COPY(nx, base[me])
        :: else -> FORGET(nx)
        fi;
        late = 0; sent = 0; stale = 0; held = 0; goto wait
    }
busy:
    atomic {
        wanted = 0; next = 0; tried = 0; pass = 0;
        let_go(WHAT, 0);
        held = 0; s = 0; more = 0
    }
wait:
    atomic {
        claiming = claiming & ~B(me);
        if
        :: job == READ -> goto seen
        :: else
        fi;
        why = AGAIN
    }
    /* It tries again now and then; a try can change nothing before one of these is true. */
#define ANY_NEWER(s) (((blank & B(me)) && rec[s].rev) || NEWER(rec[s], base[me]))
#define WHAT_CLAIMED(s) ((up & B(s)) && CL(s, WHAT))
#define BEFORE_CLAIMED(s) ((up & B(s)) && CL(s, base[me].rev))
    (FOR_ANY(ANY_NEWER)
     || !(FOR_ANY(WHAT_CLAIMED) || ((part & B(me)) && FOR_ANY(BEFORE_CLAIMED)))
     || ((part & B(me)) && !FOR_ANY(WHAT_CLAIMED) && MAY_PASS)) -> goto read;

seen:
    atomic {
        if
        :: base[me].rev > shown && whole -> shown = base[me].rev
        :: else
        fi;
        if
#ifdef REPAIRS
        :: job != kind -> job = kind; FORGET(base[me]); part = part & ~B(me); goto begin
#endif
        :: job == kind && reads + 1 < READS ->
            reads++; FORGET(base[me]); part = part & ~B(me); goto begin
        :: else
        fi
    }
leave:
    atomic {
        sends[me] = 0; writing = writing & ~B(me);
        if
        :: nx.rev != base[me].rev + 1 && !dead -> let_go(WHAT, 0)
        :: else -> let_go(WHAT, ORPHAN)
        fi;
        dead = 0; pass = 0;
#ifdef LEAVES_OUT
        unsent = 0; refused = 0; unclaimed = 0; torn = torn & ~B(me);
        waslate = 0; refusing = 0; keeps = 0; lately = lately & ~B(me); since[me] = 0;
#endif
        claiming = claiming & ~B(me); old = old & ~B(me); olden = olden & ~B(me);
        down[me] = 0; back[me] = 0; part = part & ~B(me); twice = twice & ~B(me);
        blank = blank & ~B(me);
#ifdef EPOCH
        bare = bare & ~B(me);
#endif
        reading = reading & ~B(me); shaken = shaken & ~B(me); near = near & ~B(me);
        done++
    }
}

/* Whether a process claims this revision upon a reading that it still believes. */
inline is_claimed_for(rv)
{
    di = 0; dm = 0;
    do
    :: di < NP ->
        if
#ifdef LEAVES_OUT
        :: (lately & B(di)) && since[di] <= rv && rv <= base[di].rev -> dm = 1
#endif
        :: ((claiming & B(di)) && !(old & B(di))
            && (base[di].rev + 1 == rv || (((part | twice) & B(di)) && base[di].rev == rv)
                || (FIRSTS(di) && rv == 0))) -> dm = 1
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
        faults && up == ALL && done < NP && !shaken && !near && !twice ->
        select(s : 0 .. NS - 1);
        if
        :: OTHER_HOLDS(s) && !(DOWNS & ~B(s)) ->
            if
            :: printf("server %d goes away\n", s); up = up & ~B(s)
            :: printf("server %d restarts empty\n", s); FORGET(rec[s]);
                emptied = emptied | B(s);
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
#if AWAYS
    /* A server goes away with its memory, whatever the others have. */
    :: atomic {
        aways && up == ALL && done < NP && !(lately | torn) ->
        select(s : 0 .. NS - 1);
        if
        :: s != LATE_AT ->
            printf("server %d goes away for a while\n", s); up = up & ~B(s); alone = B(s);
            aways--; shaken = shaken | reading
        :: else
        fi;
        s = 0
       }
#endif
    /* A server comes back, with what it has kept or with nothing. */
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
#if AWAYS
        :: !(alone & B(s)) ->
           printf("server %d is back, empty\n", s); FORGET(rec[s]);
#else
        :: printf("server %d is back, empty\n", s); FORGET(rec[s]);
#endif
           emptied = emptied | B(s);
           r = 0;
           do
           :: r < REVS -> CL(s, r) = 0; r++
           :: else -> r = 0; break
           od
        fi;
        FORGET(kept[s]); keptdel = keptdel & ~B(s);
#if AWAYS
        alone = 0;
#endif
        up = ALL; s = 0
       }
    /* The prober of a process finds that a server is back. */
    :: atomic {
        done < NP ->
        select(p : 0 .. NP - 1);
        if
        :: down[p] & up -> printf("P%d's prober finds %d back\n", p, down[p] & up);
            back[p] = back[p] | (down[p] & up); fresh[p] = fresh[p] & ~(down[p] & up);
            down[p] = down[p] & ~up
        :: else
        fi;
        p = 0
       }
    /* A claim is removed while its holder works under it. */
    :: atomic {
        takes ->
        select(s : 0 .. NS - 1);
        select(r : 2 .. REVS - 1);
        if
        :: CL(s, r) && !(CL(s, r) & ORPHAN) ->
            printf("claims of %d on server %d taken away\n", r, s); takes--; CL(s, r) = 0
        :: else
        fi;
        s = 0; r = 0
       }
    /* Claims of a revision expire. */
    :: atomic {
        expiries ->
#ifdef EPOCH
        select(r : 0 .. REVS - 1);
#else
        select(r : 2 .. REVS - 1);
#endif
        is_claimed_for(r);
#ifdef STALLS
        dm = 0;
#endif
        if
        :: dm == 0 && (CL(NS - 1, r) || CL(0, r) || CL(1, r)) ->
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

#define PUT(s, r, v, p, b) rec[s].rev = r; rec[s].val = v; rec[s].pl = p; rec[s].by = b

init {
    atomic {
        shown = 1;
#if defined(EMPTIED) && defined(RETURNED)
        emptied = B(NS - 1);
#elif defined(EMPTIED)
        emptied = B(1);
#endif
#if defined(RETURNED)
        /* Server 1 was away for a while, and is back with its old memory. */
        PUT(1, 1, 0, 3, 0);
        shown = 2;
#if NS == 3
        PUT(0, 2, 0, 5, 0);
#ifndef EMPTIED
        PUT(2, 2, 0, 5, 0);
#endif
#else
        PUT(0, 2, 0, 1, 0);
#endif
#elif defined(BESIDE)
        PUT(0, 2, ENDED, 3, 0);
        PUT(1, 3, 0, 6, 0);
        PUT(2, 3, 0, 6, 0);
        acked = ENDED;
#elif defined(HIDDEN)
        up = ALL & ~B(HIDDEN_AT);
        PUT(HIDDEN_AT, 2, FORMER, PLACES, 0);
#elif defined(OLD_LIST)
        PUT(1, 1, 0, 2, 0);
#elif defined(OLDER_FIRST)
        PUT(0, 1, 0, 1, 0);
        PUT(1, 2, 0, 2, 0);
        shown = 2;
#elif defined(EPOCH) && !defined(PENDING)
#ifdef THERE
        PUT(0, 1, FORMER, 3, 0);
        PUT(1, 1, FORMER, 3, 0);
#endif
#else
        PUT(0, 1, 0, B(N) - 1, 0);
#if N > 1 && !defined(EMPTIED)
        PUT(1, 1, 0, B(N) - 1, 0);
#endif
#if N > 2
        PUT(2, 1, 0, B(N) - 1, 0);
#endif
#ifdef OWN_UNCLAIMED
        rec[0].by = 1; rec[1].by = 1;
        CL(0, 1) = 1 | ORPHAN; CL(1, 1) = 1 | ORPHAN;
#endif
#endif
#ifdef PENDING
        /* A writer died 6 s ago, having sent its first copy to server 0, which hangs. */
        up = ALL & ~1;
        kept[0].rev = 2; kept[0].val = FORMER; kept[0].pl = 3; kept[0].by = DEAD;
#endif
#ifdef PENDING
        if
        :: flip = 1
        :: true
        fi;
#endif
        di = 0;
        do
        :: di < NP ->
#if defined(NOTICED) && defined(RETURNED)
            back[di] = 2;
#endif
#ifdef OLDER_FIRST
            back[di] = (di == 0 -> 1 : 0);
#endif
            if
            :: di < INCS -> run P(di, INC)
            :: di >= INCS && di < INCS + DESTROYS -> run P(di, END)
            :: di >= INCS + DESTROYS && di < INCS + DESTROYS + GETS -> run P(di, GET)
            :: di >= INCS + DESTROYS + GETS && di < NP - READERS -> run P(di, CHANGE)
            :: di >= NP - READERS -> run P(di, READ)
            fi;
            di++
        :: di == NP -> di = 0; break
        od
    }
    /* In the end, what was acknowledged is there. */
    atomic {
        done == NP && up == ALL ->
#define HOLDS_IT(s) HOLDS(s)
#ifdef EPOCH
        /* One epoch for all, unless one was changed or came back. */
#if CHANGES == 0 && !defined(HIDDEN)
        assert(COUNT(given) <= 1);
#endif
        assert(shown <= 2 || FOR_ANY(HOLDS_IT));
#else
        assert(FOR_ANY(HOLDS_IT));
#if FAULTS == 0 && BLIPS == 0 && DEATHS == 0 && LATES == 0 && DESTROYS == 0 && TAKES == 0 \
    && AWAYS == 0 && !defined(LEAVES_OUT) && !defined(BLIND) && !defined(APART) && !defined(PENDING) \
    && !defined(BESIDE)
        assert(acked == B(INCS) - 1) /* and every writer got through */
#endif
#endif
    }
}
