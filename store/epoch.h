/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/epoch.h
 * @brief All sessions of a user: ended at once, and listed where that is asked for.
 *
 * A user has an epoch: random bytes in a record of its own, kept by the store as sessions are, made
 * when the user's first session begins. Each session carries the epoch that it was logged in under.
 * Once the two differ, or the record is gone, the session is over: so losing the record can end
 * sessions, but never bring one back.
 *
 * With MemSessUserSessions the same record has the list of the user's sessions: an attribute for each,
 * named by its public id. Every change of it is a commit like any other, so two members that write at
 * once lose nothing. A session that was listed once is over when the list has it no more. Who is
 * pruned was unused for twice its idle time-out: each session that is re-dated dates its entry, too,
 * but that may fail.
 *
 * One session may go on while the epoch changes ("others"): the record spares it, by its public id
 * and the epoch that it had, until it is written again with the new one.
 */
#ifndef MEMSESS_EPOCH_H
#define MEMSESS_EPOCH_H

#include "memsess_store.h"
#include "store/entries.h"

/** How many digests can stand for a user's name: one for each secret, or one that is of no secret. */
unsigned memsess_users(const memsess_secrets_t *secrets);

/**
 * The digest that stands for a user's name, in cookies, in records and in the key of the epoch. It is
 * keyed with a secret where there are any: nobody else can tell by it whether a name is that user's.
 * @param which of the secrets; the first, 0, makes those of log-ins
 */
apr_status_t memsess_user_make(char user[MEMSESS_USER_LEN + 1], const memsess_secrets_t *secrets,
                               unsigned which, const char *ns, const char *name);

/** Which of the secrets has made it of that name; -1: none. */
int memsess_user_which(const char *user, const memsess_secrets_t *secrets, const char *ns,
                       const char *name);

/** Where that user's epoch lies: no cookie leads there, since no session id has its form. */
apr_status_t memsess_epoch_key(memsess_key_t *key, const char *ns, const char *user);

/** Whether a session may go on, by what was found at its user's epoch key: FOUND, ENDED, or UNSEEN
 * and UNAVAILABLE as that was. */
memsess_found_t memsess_epoch_judge(const memsess_session_t *session,
                                    const memsess_reading_t *epoch);

/** The mark at the user's epoch key by which is told, for MEMSESS_MARK_END_TTL, that a session has just
 * been ended which memsess_epoch_judge calls ENDED: as one of the list, or with all others. */
const char *memsess_epoch_mark(const memsess_session_t *session, const memsess_reading_t *epoch,
                               apr_pool_t *p);

/** What ended a session that memsess_epoch_judge calls ENDED, in words for an operator. */
const char *memsess_epoch_why(const memsess_session_t *session, const memsess_reading_t *epoch);

/**
 * The user's epoch, for a session that begins; made where none is to be seen. It will outlive that
 * session, which is listed where @a most is not 0.
 * @param most sessions in the list: the one that was unused for longest goes
 * @param wait how long to wait for others who make it
 */
apr_status_t memsess_epoch_enter(memsess_login_t *login, memsess_store_t *store,
                                 const memsess_key_t *key, const memsess_entry_t *entry,
                                 unsigned most, apr_interval_time_t wait, apr_pool_t *p);

/** The sessions that a user's record lists and that are not over: of memsess_entry_t, the one that was
 * used last first, in this member's time. */
apr_array_header_t *memsess_epoch_list(const memsess_store_t *store,
                                       const memsess_session_t *record, apr_pool_t *p);

/** Has it, as it was found, outlive a session that is re-dated now; dates its entry in the list. Where
 * that wrote it, no copy is lacking any more. */
apr_status_t memsess_epoch_keep(memsess_store_t *store, memsess_reading_t *epoch,
                                const memsess_entry_t *entry, apr_pool_t *p);

/**
 * Ends all sessions of a user.
 *
 * While secrets are rotated the user may have an epoch for each. Any two of them are changed in both
 * orders: so where a session is just moving from one to another, and the old one was not changed yet
 * when that was looked at for the last time, the new one is changed after that.
 */
apr_status_t memsess_epoch_end_user(memsess_store_t *store, const memsess_secrets_t *secrets,
                                    const char *ns, const char *name, apr_interval_time_t wait,
                                    apr_pool_t *p);

/** Ends all sessions of the user that has this key. */
apr_status_t memsess_epoch_end_all(memsess_store_t *store, const memsess_key_t *key,
                                   apr_interval_time_t wait, apr_pool_t *p);

/** Those under one of the secrets alone. */
apr_status_t memsess_epoch_end_secret(memsess_store_t *store, const memsess_secrets_t *secrets,
                                      unsigned which, const char *ns, const char *name,
                                      apr_interval_time_t wait, apr_pool_t *p);

/**
 * Ends all sessions of the user but this one.
 * @param login receives what that one is to have from now on; until it has, it goes on all the same
 * @return MEMSESS_GONE where it was ended itself meanwhile: of two that do so at once the first one
 *         goes on
 */
apr_status_t memsess_epoch_end_others(memsess_login_t *login, memsess_store_t *store,
                                      const memsess_key_t *key, const memsess_session_t *session,
                                      apr_interval_time_t wait, apr_pool_t *p);

/** Ends one of the list, under whichever secret it is there. MEMSESS_ABSENT where it is nowhere. */
apr_status_t memsess_epoch_end_one(memsess_store_t *store, const memsess_secrets_t *secrets,
                                   const char *ns, const char *name, const char *public_id,
                                   apr_interval_time_t wait, apr_pool_t *p);

/** Takes one out of the list that is over by itself, or another user's by now. */
apr_status_t memsess_epoch_leave(memsess_store_t *store, const memsess_secrets_t *secrets,
                                 const char *ns, const char *name, const char *public_id,
                                 apr_interval_time_t wait, apr_pool_t *p);

#endif
