/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/renew.h
 * @brief What becomes of an id when its session gets another one, or ends: clients may come with it
 *        late, or again, or because they never got the new one.
 *
 * An id that MemSessRenew changed leads to the new id, which is sealed into the old id's tombstone,
 * so that only a client with the old id can read it. It leads there until some seconds after a
 * client first came with the new id: that request notes it in the session, once, and sets a mark
 * beside it that expires. An id that a response had renewed leads nowhere.
 */
#ifndef MEMSESS_RENEW_H
#define MEMSESS_RENEW_H

#include "http/request.h"

/**
 * Makes the tombstone of a session that goes on under another id.
 * @param key of the old id
 * @param next the new id, which clients with the old one are told; NULL: nobody is told
 */
apr_status_t memsess_renew_tombstone(memsess_session_t **tombstone,
                                     const memsess_session_t *newest, const memsess_key_t *key,
                                     const char *next, apr_pool_t *p);

/**
 * Follows such a tombstone, which was just read, to the session: sets key, id and what is found
 * there.
 * @param comes the request has just come: the old id may be dead already, and then the request stays
 *        with the tombstone. A request that is under way finds its session wherever it is.
 */
void memsess_renew_follow(memsess_req_t *req, memsess_store_t *store, int comes, apr_pool_t *p);

/** Whether this request is the first that comes with its session's present id. */
int memsess_renew_is_first(const memsess_req_t *req);

/** Lets the old id live for some seconds more, before the session itself says that the new one was
 * used. */
void memsess_renew_mark_first(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p);

/** Marks that a session is about to be destroyed, for requests that come with its id soon after. */
void memsess_renew_mark_end(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p);

/** Notes, of a session that is over, where its end is marked. */
void memsess_renew_see_over(const memsess_req_t *req, memsess_over_t *over);

/** Whether a request came with the id of a session that goes on under another one, or that has just
 * been destroyed: it is late then, and its response must not write. If it came with several ids,
 * one such id is enough. */
int memsess_renew_is_late(const memsess_req_t *req, memsess_store_t *store, apr_pool_t *p);

#endif
