/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/entries.h
 * @brief The list of a user's sessions: the user's record has an attribute for each, named by the
 *        session's public id. An attribute whose name begins with a dot is no entry.
 */
#ifndef MEMSESS_ENTRIES_H
#define MEMSESS_ENTRIES_H

#include "session/session.h"

/** One session in the list of its user. */
typedef struct memsess_entry_t {
    const char *public_id;
    apr_time_t created, used;
    apr_interval_time_t idle; /**< the session is over when unused for this long */
    const char *label;        /**< by which the user recognizes it; any bytes but NUL */
} memsess_entry_t;

/** At most this many bytes of a label are kept. */
#define MEMSESS_LABEL_MAX 120

/** The sessions that a user's record lists and that are not over at @a now, as memsess_entry_t; the
 * one that was used last comes first. */
apr_array_header_t *memsess_entries_list(const memsess_session_t *record, apr_time_t now,
                                         apr_pool_t *p);

/**
 * Puts an entry into the list, or dates it, and takes out entries that are certainly over. While
 * there are then more than @a most, one that is over goes, or else the one that was unused for
 * longest; but never this entry.
 * @param most 0: any number
 */
void memsess_entries_enter(memsess_session_t *record, const memsess_entry_t *entry, unsigned most,
                           apr_time_t now, apr_pool_t *p);

/** Takes an entry out; returns whether it was there. */
int memsess_entries_drop(memsess_session_t *record, const char *public_id, apr_pool_t *p);

/** Whether the entry need not be dated again yet, or is not listed. */
int memsess_entries_dated(const memsess_session_t *record, const memsess_entry_t *entry);

/** Puts attributes in name order, as records have them. */
void memsess_entries_sort(apr_array_header_t *attrs);

#endif
