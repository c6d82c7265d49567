/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/read.h"

#include <string.h>

#include "apr_strings.h"
#include "base/clock.h"
#include "base/log.h"
#include "session/record.h"
#include "session/seal.h"

/* A reading is repeated at most this often while other members go on writing. */
#define READINGS_MAX 4

/* What the servers of one key said, in the key's own order. */
typedef struct query_t {
    memsess_copies_t of;
    apr_pool_t *p;
    memsess_session_t *newest;
    apr_uint64_t least; /* as in memsess_reading_t */
} query_t;

/* -- Asking ----------------------------------------------------------------------------------- */

static void complain(const query_t *query, const memsess_get_t *get, const char *trouble)
{
    memsess_complain(&query->of, get->server, MEMSESS_RECORD, trouble, query->p);
}

static const char *too_large(apr_size_t size, apr_size_t most, apr_pool_t *p)
{
    return apr_psprintf(p, "too large to be read: unpacked it takes %" APR_SIZE_T_FMT " bytes, "
                        "more than %" APR_SIZE_T_FMT ", which is %d times the largest "
                        "MemSessMaxSize here: raise MemSessMaxSize", size, most,
                        MEMSESS_UNPACK_TIMES);
}

static void take_record(query_t *query, memsess_copy_t *copy, const memsess_get_t *get,
                        const char *data, apr_size_t len)
{
    apr_size_t most = query->of.store->conf.unpack;

    switch (memsess_record_decode(data, len, query->of.store->conf.secrets != NULL, query->of.key,
                                  most, &copy->session, query->p)) {
    case MEMSESS_RECORD_OK:
        copy->state = COPY_HELD;
        if (!query->newest || memsess_is_newer(copy->session, query->newest)) {
            query->newest = copy->session;
        }
        return;
    case MEMSESS_RECORD_NEWER:
        copy->state = COPY_LATER;
        complain(query, get,
                 "of a later version of mod_memsess: the session is unavailable here until this "
                 "member is updated");
        return;
    case MEMSESS_RECORD_LARGE:
        copy->state = COPY_SILENT;
        complain(query, get, too_large(memsess_record_claims(data), most, query->p));
        return;
    case MEMSESS_RECORD_FOREIGN:
        copy->state = COPY_SILENT;
        complain(query, get, "another session's: it is not used");
        return;
    default:
        copy->state = COPY_DAMAGED;
        complain(query, get, "damaged: it counts as missing");
    }
}

static void take_answer(query_t *query, memsess_copy_t *copy, const memsess_get_t *get)
{
    const memsess_secrets_t *secrets = query->of.store->conf.secrets;
    memsess_seal_status_t sealed;
    apr_size_t len;
    char *data;
    int aged;

    /* If even a new connection brought another session's record, and records are sealed, an
     * attacker put it there: unsealing refuses it. */
    if (get->rv != APR_SUCCESS && !(secrets && get->rv == MEMSESS_FOREIGN)) {
        copy->state = get->rv == MEMSESS_ABSENT ? COPY_NONE : COPY_SILENT;
        return;
    }
    sealed = memsess_unseal(secrets, query->of.key, MEMSESS_RECORD, get->data, get->len, &data, &len,
                            &aged, query->p);
    if (sealed == MEMSESS_SEAL_FAILED) {
        copy->state = COPY_SILENT;
        complain(query, get, memsess_seal_words(sealed));
        return;
    }
    if (sealed != MEMSESS_SEAL_OK) {
        copy->state = COPY_DAMAGED;
        complain(query, get,
                 apr_pstrcat(query->p, memsess_seal_words(sealed), ": it counts as missing",
                             NULL));
        return;
    }
    take_record(query, copy, get, data, len);
    if (copy->state == COPY_HELD) {
        copy->aged = aged;
        copy->len = get->len;
    }
}

static int is_of(const void *key, const char *data, apr_size_t len)
{
    return memsess_record_is_of(data, len, key) && memsess_seal_is_of(data, len, key);
}

static void prepare_gets(const query_t *query, memsess_copy_t *const *wanted, unsigned n,
                         memsess_get_t *gets)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        gets[i].server = query->of.store->servers[wanted[i]->at];
        gets[i].key = memsess_key_text(&query->of, wanted[i]->at, "", "", query->p);
        gets[i].check = is_of;
        gets[i].baton = query->of.key;
    }
}

static void trace_answer(const query_t *query, const memsess_copy_t *copy)
{
    static const char *const said[] = {"was not asked", "did not answer", "has none",
                                       "has none that can be used", "has one of a later version",
                                       "has it", "refused"};
    apr_uint64_t revision = copy->state == COPY_HELD ? copy->session->revision : 0;

    memsess_trace(MEMSESS_RECORD " %s: server %s %s (revision %" APR_UINT64_T_FMT ")",
                  memsess_key_log(query->of.key, query->p),
                  memsess_server_conf(query->of.store->servers[copy->at])->name, said[copy->state],
                  revision);
}

/* The copies of a revision are alike to the byte, so as a rule only the first one has to be
 * unsealed and decoded. */
static void take_like(query_t *query, memsess_copy_t *const *wanted, unsigned i,
                      const memsess_get_t *gets)
{
    const memsess_copy_t *first = wanted[0];

    if (i && first->state == COPY_HELD && gets[i].rv == APR_SUCCESS && gets[0].rv == APR_SUCCESS
        && gets[i].len == gets[0].len && !memcmp(gets[i].data, gets[0].data, gets[0].len)) {
        wanted[i]->state = COPY_HELD;
        wanted[i]->session = first->session;
        wanted[i]->aged = first->aged;
        wanted[i]->len = first->len;
    }
    else {
        take_answer(query, wanted[i], &gets[i]);
    }
}

static void take_answers(query_t *query, memsess_copy_t *const *wanted, unsigned n,
                         const memsess_get_t *gets)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        take_like(query, wanted, i, gets);
        trace_answer(query, wanted[i]);
    }
}

/* Asks the servers of these copies, all at once. */
static void ask(query_t *query, memsess_copy_t *const *wanted, unsigned n)
{
    memsess_get_t *gets = apr_pcalloc(query->p, sizeof(*gets) * n);

    prepare_gets(query, wanted, n, gets);
    memsess_pool_mget(gets, (int)n, query->p);
    take_answers(query, wanted, n, gets);
}

/* Finds the next servers in order that are not known to be down, as many as there are copies;
 * returns how many it has found. */
static unsigned want_next(query_t *query, unsigned *from, memsess_copy_t **wanted)
{
    const memsess_store_conf_t *conf = &query->of.store->conf;
    unsigned n = 0;

    while (*from < query->of.n && n < conf->copies) {
        memsess_copy_t *copy = &query->of.copy[(*from)++];

        if (copy->state != COPY_UNASKED) {
            continue;
        }
        if (memsess_server_is_down(query->of.store->servers[copy->at])) {
            copy->state = COPY_SILENT;
            continue;
        }
        wanted[n++] = copy;
    }
    return n;
}

/*
 * As want_next, but passes over a slow server, and returns 0 if there is no reason for that or it would
 * not do. As many servers as there are copies have to answer: a writer that lost sight of one of them
 * then wrote to another one. One copy has one home, and two slow servers may only seem so.
 */
static unsigned want_quick(const query_t *query, memsess_copy_t **wanted)
{
    unsigned copies = query->of.store->conf.copies, passed_over = 0, n = 0, i;

    for (i = 0; i < query->of.n && n < copies; i++) {
        memsess_server_t *server = query->of.store->servers[query->of.copy[i].at];

        if (memsess_server_is_down(server)) {
            continue;
        }
        if (memsess_server_is_slow(server)) {
            passed_over++;
        }
        else {
            wanted[n++] = &query->of.copy[i];
        }
    }
    return copies > 1 && passed_over == 1 && n == copies ? n : 0;
}

static void ask_next(query_t *query, unsigned *from)
{
    memsess_copy_t *wanted[MEMSESS_COPIES_MAX];
    unsigned n = want_next(query, from, wanted);

    if (n) {
        ask(query, wanted, n);
    }
}

/*
 * The newest record names the servers that it was written to. One that was not asked yet stood in
 * for a home that was away. It may have a still newer record, and that may name further servers:
 * each revision was written to a server that the revision before it names.
 */
static void ask_placement(query_t *query)
{
    memsess_copy_t *wanted[MEMSESS_COPIES_MAX];
    unsigned i, j, n;

    do {
        n = 0;
        for (i = 0; query->newest && i < query->newest->placement.n; i++) {
            for (j = 0; j < query->of.n; j++) {
                memsess_copy_t *copy = &query->of.copy[j];

                if (copy->state == COPY_UNASKED && n < MEMSESS_COPIES_MAX
                    && !memcmp(query->of.store->nodes[copy->at].tag,
                               query->newest->placement.tag[i], MEMSESS_TAG_LEN)) {
                    wanted[n++] = copy;
                }
            }
        }
        if (n) {
            ask(query, wanted, n);
        }
    } while (n);
}

/* -- What the answers tell -------------------------------------------------------------------- */

static int has_answered(const memsess_copy_t *copy)
{
    return copy->state != COPY_SILENT && copy->state != COPY_UNASKED;
}

static int has_none(const memsess_copy_t *copy)
{
    return copy->state == COPY_NONE || copy->state == COPY_DAMAGED;
}

static int is_newest_copy(const query_t *query, const memsess_copy_t *copy)
{
    return copy->state == COPY_HELD && memsess_is_same(copy->session, query->newest);
}

/* Whether a copy is the newest and its server was not away since the copy was written: the server
 * would know of a newer one. */
static int is_fresh_copy(const query_t *query, const memsess_copy_t *copy)
{
    const memsess_session_t *newest = query->newest;
    const memsess_store_t *store = query->of.store;

    return is_newest_copy(query, copy)
           && memsess_server_was_there(store->servers[copy->at],
                                       memsess_written_at(store, &newest->placement, copy->at),
                                       newest->written);
}

static int is_fresh(const query_t *query)
{
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        if (is_fresh_copy(query, &query->of.copy[i])) {
            return 1;
        }
    }
    return 0;
}

/* How many servers have the newest copy. */
static unsigned count_held(const query_t *query)
{
    unsigned i, held = 0;

    for (i = 0; i < query->of.n; i++) {
        held += (unsigned)is_newest_copy(query, &query->of.copy[i]);
    }
    return held;
}

static const memsess_copy_t *newest_copy(const query_t *query)
{
    const memsess_copy_t *copy = query->of.copy;

    while (!is_newest_copy(query, copy)) {
        copy++;
    }
    return copy;
}

/* Whether a server answered, but lacks the newest record, or cannot be believed alone, since it was
 * away. A server that would refuse the record does not count: else every reading would lead to a
 * write. */
static int is_lacking(const query_t *query, const memsess_copy_t *copy)
{
    return has_answered(copy) && !is_fresh_copy(query, copy)
           && !memsess_server_refuses(query->of.store->servers[copy->at], newest_copy(query)->len);
}

/* How many of the servers that a write would choose now are lacking, as is_lacking says. */
static unsigned count_lacking(const query_t *query, int outdated)
{
    const memsess_store_t *store = query->of.store;
    unsigned i, chosen = 0, lacking = 0;

    for (i = 0; i < query->of.n; i++) {
        if (memsess_stays(store, query->newest, outdated, &query->of.copy[i])
            && memsess_is_up(store, &query->of.copy[i])) {
            return (unsigned)is_lacking(query, &query->of.copy[i]);
        }
    }
    for (i = 0; i < query->of.n && chosen < store->conf.copies; i++) {
        const memsess_copy_t *copy = &query->of.copy[i];

        if (memsess_is_up(store, copy)) {
            chosen++;
            lacking += (unsigned)is_lacking(query, copy);
        }
    }
    return lacking;
}

/* Whether a server that the newest record was written to answered without it. */
static int is_partial(const query_t *query)
{
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        const memsess_copy_t *copy = &query->of.copy[i];

        if (has_answered(copy) && !is_newest_copy(query, copy)
            && memsess_is_placed(query->of.store, &query->newest->placement, copy->at)) {
            return 1;
        }
    }
    return 0;
}

/* Whether any server answered that it has no record at all. */
static int is_bare(const query_t *query)
{
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        if (has_none(&query->of.copy[i])) {
            return 1;
        }
    }
    return 0;
}

/* Whether a server that comes before all those that have the newest record has an older one. */
static int is_outdated(const query_t *query)
{
    unsigned i;

    for (i = 0; i < query->of.n && !is_newest_copy(query, &query->of.copy[i]); i++) {
        if (query->of.copy[i].state == COPY_HELD) {
            return 1;
        }
    }
    return 0;
}

/*
 * Whether the record that was found is certain to be the newest. A server that was away since it
 * was written may have missed later ones; it is believed if no server that may know better is
 * silent.
 */
static int is_trusted(const query_t *query)
{
    int silent = 0;
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        const memsess_copy_t *copy = &query->of.copy[i];

        silent |= copy->state == COPY_SILENT
                  && memsess_is_placed(query->of.store, &query->newest->placement, copy->at);
    }
    return !silent || is_fresh(query);
}

/* Whether a later version has written the record: then it belongs to that version, whatever other
 * servers have, and this version must not write it. */
static int is_later(const query_t *query)
{
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        if (query->of.copy[i].state == COPY_LATER) {
            return 1;
        }
    }
    return 0;
}

/*
 * What it means that no server has the session. Its copies may lie on any of the servers that are
 * looked at, so it is certainly not there if none of them is silent, and most likely not if fewer
 * are silent than would have a copy. With one copy, a single server that is away would make all
 * sessions unavailable: so a session that its home does not have counts as not there for now.
 */
static memsess_found_t judge_none(const query_t *query)
{
    unsigned copies = query->of.store->conf.copies, i, silent = 0;

    for (i = 0; i < query->of.n; i++) {
        silent += query->of.copy[i].state == COPY_SILENT;
    }
    if (!silent) {
        return MEMSESS_MISSING;
    }
    return silent < copies || (copies == 1 && has_none(&query->of.copy[0])) ? MEMSESS_UNSEEN
                                                                            : MEMSESS_UNAVAILABLE;
}

static apr_uint64_t those_that_answered(const query_t *query)
{
    apr_uint64_t those = 0;
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        those |= (apr_uint64_t)has_answered(&query->of.copy[i]) << i;
    }
    return those;
}

static unsigned count_answered(const query_t *query)
{
    unsigned i, answered = 0;

    for (i = 0; i < query->of.n; i++) {
        answered += has_answered(&query->of.copy[i]);
    }
    return answered;
}

/* -- Reading ---------------------------------------------------------------------------------- */

/* Asks further servers, as needed, after the first ones in order were asked. */
static void ask_rest(query_t *query, unsigned from)
{
    unsigned copies = query->of.store->conf.copies, tries;

    /* As many servers have to answer as there are copies: for one that turns out to be down, the
     * next one is asked. */
    while (count_answered(query) < copies && from < query->of.n) {
        ask_next(query, &from);
    }
    /* A session that began while a home was away lies on stand-ins. A session of which there is one
     * copy may lie where an earlier list of servers has put it. */
    for (tries = 0; tries < (copies == 1 ? 2 : 1) && !query->newest; tries++) {
        ask_next(query, &from);
    }
    ask_placement(query);
    /* If there are fewer copies than there should be, or none can be believed, stand-ins may know
     * better: another member may have seen a home go. */
    while (from < query->of.n && query->newest
           && (count_held(query) < copies || !is_fresh(query))) {
        ask_next(query, &from);
        ask_placement(query);
    }
}

static void begin_query(query_t *query, memsess_store_t *store, const memsess_key_t *key,
                        apr_pool_t *p)
{
    memset(query, 0, sizeof(*query));
    query->p = p;
    memsess_order(&query->of, store, key, p);
}

/* Whether a server that @a one was written to has @a other, which therefore came later. */
static int is_overwritten(const query_t *query, const memsess_session_t *one,
                          const memsess_session_t *other)
{
    unsigned i;

    for (i = 0; i < query->of.n; i++) {
        const memsess_copy_t *copy = &query->of.copy[i];

        if (copy->state == COPY_HELD && memsess_is_same(copy->session, other)
            && memsess_is_placed(query->of.store, &one->placement, copy->at)) {
            return 1;
        }
    }
    return 0;
}

/* There are two records of one revision only if claims were lost. The one that some server has in
 * the other's place counts. If no server tells, either would do, but all members have to take the
 * same. */
static void settle_ties(query_t *query)
{
    unsigned i;

    for (i = 0; i < query->of.n && query->newest; i++) {
        memsess_session_t *one = query->newest, *other = query->of.copy[i].session;
        int loses, wins;

        if (query->of.copy[i].state != COPY_HELD || memsess_is_same(one, other)
            || memsess_is_newer(one, other)) {
            continue;
        }
        loses = is_overwritten(query, one, other);
        wins = is_overwritten(query, other, one);
        if (loses == wins ? other->writer > one->writer : loses) {
            query->newest = other;
        }
        memsess_complain(&query->of, query->of.store->servers[query->of.copy[i].at], MEMSESS_RECORD,
                         "one of two with the same revision: claims were lost, so one of the two "
                         "changes may be lost, too",
                         query->p);
    }
}

/* Servers do not all answer at the same moment: a copy may be written to a server that has answered
 * already, and be deleted from one that has not yet. So if too few of the servers that answered
 * have the newest record, all are asked once more, until two readings say the same. */
static void ask_again(query_t *query)
{
    const memsess_session_t *last = NULL;
    apr_uint64_t least;
    unsigned tries, from;

    for (tries = 0;
         tries < READINGS_MAX && query->newest && count_held(query) < count_answered(query)
         && count_held(query) < query->of.store->conf.copies
         && !(last && memsess_is_same(query->newest, last));
         tries++) {
        last = query->newest;
        least = query->least;
        begin_query(query, query->of.store, query->of.key, query->p);
        query->least = least;
        from = 0;
        ask_next(query, &from);
        ask_rest(query, from);
    }
}

static memsess_facts_t facts_of(const query_t *query)
{
    int outdated = is_outdated(query);

    return (memsess_facts_t){
        .answered = those_that_answered(query),
        .lacks = count_lacking(query, outdated),
        .partial = is_partial(query),
        .outdated = outdated,
        .bare = is_bare(query),
        .aged = newest_copy(query)->aged,
    };
}

static memsess_found_t judge(const query_t *query)
{
    const memsess_session_t *newest = query->newest;

    if (is_later(query)) {
        return MEMSESS_UNAVAILABLE;
    }
    if (!newest) {
        return judge_none(query);
    }
    if (!is_trusted(query) && !memsess_is_vouched(&query->of, newest)) {
        return MEMSESS_UNAVAILABLE;
    }
    if (!newest->ended && newest->revision < query->least) {
        memsess_log(MEMSESS_LOG_WARNING, 0,
                    "session %s: revision %" APR_UINT64_T_FMT " is the newest that is left, but "
                    "there was a revision %" APR_UINT64_T_FMT ", so it is not used",
                    memsess_key_log(query->of.key, query->p), newest->revision, query->least);
        return MEMSESS_UNSEEN;
    }
    return newest->ended ? MEMSESS_ENDED : MEMSESS_FOUND;
}

/* Whether a server still has the newest record. A stand-in may have had a newer one, and given it up
 * to that server after that one had answered. */
static int is_still_newest(const query_t *query)
{
    memsess_copy_t again = {.at = newest_copy(query)->at}, *wanted = &again;
    query_t now = {.of = query->of, .p = query->p};

    ask(&now, &wanted, 1);
    return again.state == COPY_HELD && memsess_is_same(again.session, query->newest);
}

/* Whether those that were asked in a slow server's stead tell for certain what the newest record is:
 * one of them has it, was not away since, and would know of a newer one. */
static int is_enough(const query_t *query)
{
    unsigned i, answered = 0;

    for (i = 0; i < query->of.n; i++) {
        answered += query->of.copy[i].state == COPY_HELD || query->of.copy[i].state == COPY_NONE;
    }
    return answered == query->of.store->conf.copies && query->newest && !query->newest->ended
           && query->newest->revision >= query->least && is_fresh(query) && !is_partial(query)
           && is_still_newest(query);
}

/* The rest of a reading, after the first servers in order were asked. */
static void find_rest(query_t *query, unsigned from, memsess_reading_t *reading)
{
    int is_there;

    ask_rest(query, from);
    ask_again(query);
    settle_ties(query);
    reading->found = judge(query);
    is_there = reading->found == MEMSESS_FOUND || reading->found == MEMSESS_ENDED;
    reading->session = is_there ? query->newest : NULL;
    reading->facts = is_there ? facts_of(query) : (memsess_facts_t){0};
}

void memsess_read(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p)
{
    query_t query;
    unsigned from = 0;

    reading->read_at = memsess_clock_steady();
    begin_query(&query, store, &reading->key, p);
    query.least = reading->least;
    ask_next(&query, &from);
    find_rest(&query, from, reading);
}

int memsess_state_at(const memsess_copies_t *of, const memsess_copy_t *copy, apr_pool_t *p)
{
    memsess_copy_t asked = {.at = copy->at}, *wanted = &asked;
    query_t query = {.of = *of, .p = p};

    ask(&query, &wanted, 1);
    return asked.state;
}

void memsess_ask_all(const memsess_copies_t *of, apr_pool_t *p)
{
    memsess_copy_t **wanted = apr_palloc(p, sizeof(*wanted) * of->n);
    query_t query = {.of = *of, .p = p};
    unsigned i;

    for (i = 0; i < of->n; i++) {
        wanted[i] = &of->copy[i];
    }
    ask(&query, wanted, of->n);
}

/* One of several readings whose first servers are asked all at once. */
typedef struct part_t {
    query_t query;
    memsess_copy_t *wanted[MEMSESS_COPIES_MAX];
    unsigned n, from;
    int passes_over; /* a slow server is not among them */
    memsess_get_t *gets;
} part_t;

static void begin_part(part_t *part, memsess_store_t *store, const memsess_reading_t *reading,
                       memsess_get_t *gets, apr_pool_t *p)
{
    begin_query(&part->query, store, &reading->key, p);
    part->query.least = reading->least;
    part->n = want_quick(&part->query, part->wanted);
    part->passes_over = part->n != 0;
    if (!part->n) {
        part->n = want_next(&part->query, &part->from, part->wanted);
    }
    part->gets = gets;
    prepare_gets(&part->query, part->wanted, part->n, gets);
}

static void end_part(part_t *part, memsess_reading_t *reading, apr_time_t read_at)
{
    take_answers(&part->query, part->wanted, part->n, part->gets);
    reading->read_at = read_at;
    if (!part->passes_over) {
        find_rest(&part->query, part->from, reading);
    }
    else if (is_enough(&part->query)) {
        reading->found = MEMSESS_FOUND;
        reading->session = part->query.newest;
        reading->facts = (memsess_facts_t){.passed_over = 1};
    }
    else {
        memsess_read(part->query.of.store, reading, part->query.p);
    }
}

void memsess_read_all(memsess_store_t *store, memsess_reading_t *const *readings, unsigned n,
                      apr_pool_t *p)
{
    part_t *parts = apr_pcalloc(p, sizeof(*parts) * n);
    memsess_get_t *gets = apr_pcalloc(p, sizeof(*gets) * n * store->conf.copies), *end = gets;
    apr_time_t read_at = memsess_clock_steady();
    unsigned i;

    for (i = 0; i < n; i++) {
        begin_part(&parts[i], store, readings[i], end, p);
        end += parts[i].n;
    }
    memsess_pool_mget(gets, (int)(end - gets), p);
    for (i = 0; i < n; i++) {
        end_part(&parts[i], readings[i], read_at);
    }
}
