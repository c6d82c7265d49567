/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/roster.h"

#include <stdlib.h>
#include <string.h>

#include "apr_atomic.h"
#include "apr_strings.h"

/* So that no distance of clocks is 0, which says that it is not known. */
#define SHIFT (APR_INT64_C(1) << 40)

/* What was found wrong at one server is so for as long as no comparison can have missed it. */
#define DIFFERS_FOR apr_time_from_sec(180)

static apr_time_t seen_at(const memsess_roster_t *roster, int i)
{
    return (apr_time_t)apr_atomic_read64((volatile apr_uint64_t *)&roster->slot[i].seen_at);
}

/* That of the name; else the one that was seen longest ago, or never. */
static int slot_for(const memsess_roster_t *roster, const char *name)
{
    int i, oldest = 0;

    for (i = 0; i < MEMSESS_ROSTER; i++) {
        if (seen_at(roster, i) && !strcmp(roster->slot[i].name, name)) {
            return i;
        }
        oldest = seen_at(roster, i) < seen_at(roster, oldest) ? i : oldest;
    }
    return oldest;
}

void memsess_roster_note(memsess_roster_t *roster, const memsess_fellow_t *fellow)
{
    int i = slot_for(roster, fellow->name);

    if (!seen_at(roster, i) || strcmp(roster->slot[i].name, fellow->name)) {
        apr_atomic_set64(&roster->slot[i].seen_at, 0);
        apr_atomic_set64(&roster->slot[i].differed_at, 0);
        apr_cpystrn(roster->slot[i].name, fellow->name, sizeof(roster->slot[i].name));
        roster->slot[i].version[0] = '\0';
    }
    else if (fellow->seen_at < seen_at(roster, i)) {
        return; /* another server told later news of it */
    }
    if (strcmp(roster->slot[i].version, fellow->version)) {
        apr_cpystrn(roster->slot[i].version, fellow->version, sizeof(roster->slot[i].version));
    }
    apr_atomic_set64(&roster->slot[i].is_self, (apr_uint64_t)fellow->is_self);
    apr_atomic_set64(&roster->slot[i].ahead,
                     fellow->knows_ahead ? (apr_uint64_t)(fellow->ahead + SHIFT) : 0);
    if (fellow->differs) {
        apr_atomic_set64(&roster->slot[i].differed_at, (apr_uint64_t)fellow->seen_at);
    }
    apr_atomic_set64(&roster->slot[i].seen_at, (apr_uint64_t)fellow->seen_at);
}

static int by_name(const void *a, const void *b)
{
    const memsess_fellow_t *x = a, *y = b;

    return x->is_self != y->is_self ? y->is_self - x->is_self : strcmp(x->name, y->name);
}

apr_array_header_t *memsess_roster_read(const memsess_roster_t *roster, apr_time_t now,
                                        apr_pool_t *p)
{
    apr_array_header_t *fellows = apr_array_make(p, 4, sizeof(memsess_fellow_t));
    int i;

    for (i = 0; i < MEMSESS_ROSTER; i++) {
        apr_int64_t ahead = (apr_int64_t)roster->slot[i].ahead;
        apr_time_t at = seen_at(roster, i), differed_at = (apr_time_t)roster->slot[i].differed_at;

        if (at && now - at < MEMSESS_ROSTER_FOR) {
            APR_ARRAY_PUSH(fellows, memsess_fellow_t) = (memsess_fellow_t){
                .name = apr_pstrndup(p, roster->slot[i].name, MEMSESS_MEMBER_LEN),
                .version = apr_pstrndup(p, roster->slot[i].version, MEMSESS_MEMBER_VERSION_LEN),
                .seen_at = at, .is_self = roster->slot[i].is_self != 0,
                .knows_ahead = ahead != 0, .ahead = ahead ? ahead - SHIFT : 0,
                .differs = differed_at && now - differed_at < DIFFERS_FOR};
        }
    }
    qsort(fellows->elts, (size_t)fellows->nelts, sizeof(memsess_fellow_t), by_name);
    return fellows;
}

const char *memsess_fellow_apart(const memsess_fellow_t *fellow, apr_pool_t *p)
{
    apr_int64_t apart = fellow->ahead < 0 ? -fellow->ahead : fellow->ahead;

    return apart <= MEMSESS_APART ? NULL : apr_psprintf(p, "%" APR_INT64_T_FMT " s %s", apart,
                                                        fellow->ahead < 0 ? "behind" : "ahead");
}
