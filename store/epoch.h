/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/epoch.h
 * @brief All sessions of a user: ended at once, and listed with MemSessUserSessions.
 *
 * A user has an epoch: random bytes in a record of the user's own, which the store keeps as it
 * keeps sessions, and which is made when the user's first session begins. Each session carries the
 * epoch under which its user logged in. Once the two differ, or the record is gone, the session is
 * over: so losing the record can end sessions, but never bring one back.
 *
 * With MemSessUserSessions the same record has the list of the user's sessions: an attribute for
 * each, named by its public id. Every change of the list is a commit like any other, so two members
 * that write at once lose nothing. A session that was listed is over once the list no longer has
 * it. An entry is removed when it is as old as two idle time-outs: a session that is re-dated dates
 * its entry, too, but that may fail.
 *
 * One session may go on while the epoch changes ("others"): the record spares it, by its public id
 * and the epoch that it had, until the session is written with the new one.
 */
#ifndef MEMSESS_EPOCH_H
#define MEMSESS_EPOCH_H

#include "memsess_store.h"
#include "store/entries.h"

/** A user by name, as the hosts of one namespace know it. */
typedef struct memsess_user_t {
    const memsess_secrets_t *secrets; /**< of the host; NULL: it has none */
    const char *ns, *name;
} memsess_user_t;

/** How many digests can stand for a user's name: one for each secret; without secrets, one. */
unsigned memsess_users(const memsess_secrets_t *secrets);

/**
 * The digest that stands for a user's name, in cookies, in records and in the key of the epoch. It
 * is keyed with a secret, if there are any, so that nobody else can tell by it whether a name is
 * that user's.
 * @param which of the secrets; log-ins use the first, 0
 */
apr_status_t memsess_user_make(char digest[MEMSESS_USER_LEN + 1], const memsess_user_t *user,
                               unsigned which);

/** The key of the user's epoch under one of the secrets. */
apr_status_t memsess_user_key(memsess_key_t *key, const memsess_user_t *user, unsigned which);

/** Which of the secrets has made that digest of the user's name; -1: none. */
int memsess_user_which(const char *digest, const memsess_user_t *user);

/** The key of that user's epoch. No cookie leads to it, since no session id has this form. */
apr_status_t memsess_epoch_key(memsess_key_t *key, const char *ns, const char *user);

/** Whether a session may go on, by what was found at its user's epoch key: FOUND or ENDED; or
 * UNSEEN or UNAVAILABLE, if the epoch is. */
memsess_found_t memsess_epoch_judge(const memsess_session_t *session,
                                    const memsess_reading_t *epoch);

/** The mark at the user's epoch key that tells, for MEMSESS_MARK_END_TTL, that a session which
 * memsess_epoch_judge calls ENDED was ended just now: alone, or with all others. */
const char *memsess_epoch_mark(const memsess_session_t *session, const memsess_reading_t *epoch,
                               apr_pool_t *p);

/** What ended a session that memsess_epoch_judge calls ENDED, in words for an operator. */
const char *memsess_epoch_why(const memsess_session_t *session, const memsess_reading_t *epoch);

/**
 * Gives a session that begins its user's epoch, and makes one if none is seen. The epoch's record
 * will outlive the session. The session is listed if @a most is not 0.
 * @param most sessions may be listed: beyond that, the one that was unused for longest goes
 * @param wait how long to wait for other members that are making it
 */
apr_status_t memsess_epoch_enter(memsess_login_t *login, memsess_store_t *store,
                                 const memsess_key_t *key, const memsess_entry_t *entry,
                                 unsigned most, apr_interval_time_t wait, apr_pool_t *p);

/** The sessions that a user's record lists and that are not over, as memsess_entry_t, with times by
 * this member's clock; the one that was used last comes first. */
apr_array_header_t *memsess_epoch_list(const memsess_store_t *store,
                                       const memsess_session_t *record, apr_pool_t *p);

/** Makes sure that the epoch's record, as it was found, outlives a session that is re-dated now,
 * and dates that session's entry in the list. If this has written the record, no copy is lacking
 * any more. */
apr_status_t memsess_epoch_keep(memsess_store_t *store, memsess_reading_t *epoch,
                                const memsess_entry_t *entry, apr_pool_t *p);

/**
 * Ends all sessions of a user.
 *
 * While secrets are rotated, the user may have an epoch for each. Any two of them are changed in
 * both orders. So if a session is just moving from one to the other, and the request last looked at
 * the old one before that was changed, the new one is changed after the session has moved.
 */
apr_status_t memsess_epoch_end_user(memsess_store_t *store, const memsess_user_t *user,
                                    apr_interval_time_t wait, apr_pool_t *p);

/** Ends all sessions of the user that has this key. */
apr_status_t memsess_epoch_end_all(memsess_store_t *store, const memsess_key_t *key,
                                   apr_interval_time_t wait, apr_pool_t *p);

/** Ends those sessions of a user that are under one of the secrets. */
apr_status_t memsess_epoch_end_secret(memsess_store_t *store, const memsess_user_t *user,
                                      unsigned which, apr_interval_time_t wait, apr_pool_t *p);

/**
 * Ends all sessions of the user but this one.
 * @param login receives what this session is to have from now on; until that is written, it is
 *        spared
 * @return MEMSESS_GONE if this session was ended meanwhile: if two sessions do this at once, the
 *         first one goes on
 */
apr_status_t memsess_epoch_end_others(memsess_login_t *login, memsess_store_t *store,
                                      const memsess_key_t *key, const memsess_session_t *session,
                                      apr_interval_time_t wait, apr_pool_t *p);

/** Ends one session of the list, under any of the secrets; MEMSESS_ABSENT: it is not listed. */
apr_status_t memsess_epoch_end_one(memsess_store_t *store, const memsess_user_t *user,
                                   const char *public_id, apr_interval_time_t wait, apr_pool_t *p);

/** Takes out of the list a session that is over already, or that belongs to another user now. */
apr_status_t memsess_epoch_leave(memsess_store_t *store, const memsess_user_t *user,
                                 const char *public_id, apr_interval_time_t wait, apr_pool_t *p);

#endif
