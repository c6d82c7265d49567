/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/epoch.h
 * @brief All sessions of a user, ended at once without a list of them.
 *
 * A user has an epoch: random bytes in a record of its own, kept by the store as sessions are, made
 * when the user's first session begins. Each session carries the epoch that it was logged in under.
 * Once the two differ, or the record is gone, the session is over: so losing the record can end
 * sessions, but never bring one back.
 */
#ifndef MEMSESS_EPOCH_H
#define MEMSESS_EPOCH_H

#include "memsess_store.h"

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

/** Reads it, alone. */
void memsess_epoch_read(memsess_store_t *store, memsess_wish_t *epoch, apr_pool_t *p);

/** Whether a session may go on, by what was found at its user's epoch key: FOUND, ENDED, or UNSEEN
 * and UNAVAILABLE as that was. */
memsess_found_t memsess_epoch_judge(const memsess_session_t *session, const memsess_wish_t *epoch);

/**
 * The user's epoch; made where none is to be seen. It will outlive a session of @a idle that
 * is re-dated now.
 * @param wait how long to wait for others who make it
 */
apr_status_t memsess_epoch_get(unsigned char epoch[MEMSESS_EPOCH_BYTES], memsess_store_t *store,
                               const memsess_key_t *key, apr_interval_time_t idle,
                               apr_interval_time_t wait, apr_pool_t *p);

/** Has it, as it was found, outlive a session of @a idle that is re-dated now. */
apr_status_t memsess_epoch_keep(memsess_store_t *store, const memsess_wish_t *epoch,
                                apr_interval_time_t idle, apr_pool_t *p);

/** Ends all sessions of the user. */
apr_status_t memsess_epoch_change(memsess_store_t *store, const memsess_key_t *key,
                                  apr_interval_time_t wait, apr_pool_t *p);

#endif
