/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/roster.h
 * @brief The members that one member has seen lately, in memory that its children share and that is
 *        all zero at first.
 */
#ifndef MEMSESS_ROSTER_H
#define MEMSESS_ROSTER_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "apr_time.h"

/** How many members are shown: if there are more, those that were seen last. */
#define MEMSESS_ROSTER 32
/** A member that was not seen for this long is forgotten. */
#define MEMSESS_ROSTER_FOR apr_time_from_sec(600)

#define MEMSESS_MEMBER_LEN 80
#define MEMSESS_MEMBER_VERSION_LEN 24

/** One member that was seen. */
typedef struct memsess_fellow_t {
    const char *name;
    const char *version; /**< of the module; "": it does not tell */
    apr_time_t seen_at;  /**< when it left its last sign, by the steady clock */
    int is_self;
    int knows_ahead;     /**< whether the next figure is known */
    apr_int64_t ahead;   /**< by how many seconds its clock is ahead of this member's */
    int differs;         /**< it has another pool than this member in a namespace of both */
} memsess_fellow_t;

typedef struct memsess_roster_t {
    struct {
        volatile apr_uint64_t seen_at, ahead, is_self; /* ahead: shifted, 0: not known */
        volatile apr_uint64_t differed_at;
        char name[MEMSESS_MEMBER_LEN + 1], version[MEMSESS_MEMBER_VERSION_LEN + 1];
    } slot[MEMSESS_ROSTER];
} memsess_roster_t;

/** A member was seen; by one thread of all children at a time. */
void memsess_roster_note(memsess_roster_t *roster, const memsess_fellow_t *fellow);

/** Clocks that differ by at most this many seconds count as alike: servers tell whole seconds. */
#define MEMSESS_APART 3

/** How far a member's clock is from this one's, such as "5 s ahead"; NULL: they are alike, or that
 * is not known. */
const char *memsess_fellow_apart(const memsess_fellow_t *fellow, apr_pool_t *p);

/** Those that were seen lately, of memsess_fellow_t: this one first, others by name. */
apr_array_header_t *memsess_roster_read(const memsess_roster_t *roster, apr_time_t now,
                                        apr_pool_t *p);

#endif
