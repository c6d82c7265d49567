/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/entries.h
 * @brief The list of a user's sessions: an attribute of the user's record for each, named by its
 *        public id. An attribute whose name begins with a dot is no entry.
 */
#ifndef MEMSESS_ENTRIES_H
#define MEMSESS_ENTRIES_H

#include "session/session.h"

/** Of the sessions of one user. */
typedef struct memsess_entry_t {
    const char *public_id;
    apr_time_t created, used;
    apr_interval_time_t idle; /**< it is over when unused for so long */
    const char *label;        /**< for the user to recognize it; any bytes but NUL */
} memsess_entry_t;

/** Bytes of a label that are kept. */
#define MEMSESS_LABEL_MAX 120

/** The sessions that a user's record lists and that are not over by @a now: of memsess_entry_t, the
 * one that was used last first. */
apr_array_header_t *memsess_entries_list(const memsess_session_t *record, apr_time_t now,
                                         apr_pool_t *p);

/**
 * Puts an entry into the list, or dates it, and takes those out that are over for sure. Where they are
 * then more than may be, one goes that is over, else the one that was unused for longest; never this one.
 * @param most 0: as many as there are
 */
void memsess_entries_enter(memsess_session_t *record, const memsess_entry_t *entry, unsigned most,
                           apr_time_t now, apr_pool_t *p);

/** Takes an entry out; whether it was there. */
int memsess_entries_drop(memsess_session_t *record, const char *public_id, apr_pool_t *p);

/** Whether the entry, if it is listed, need not be dated again yet. */
int memsess_entries_dated(const memsess_session_t *record, const memsess_entry_t *entry);

/** Puts attributes in name order, as records have them. */
void memsess_entries_sort(apr_array_header_t *attrs);

#endif
