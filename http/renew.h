/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/renew.h
 * @brief What becomes of an id when its session gets another one, or ends: of those who come with
 *        it late, again, or since they never heard of the new one.
 *
 * An id that MemSessRenew changed leads to the new one, which lies in the old one's tombstone for
 * whoever has the old one. It does so until some seconds after somebody came with the new one: who
 * does so writes that once into the session, and puts a mark beside it that goes by itself. An id
 * that a response had renewed leads nowhere.
 */
#ifndef MEMSESS_RENEW_H
#define MEMSESS_RENEW_H

#include "http/request.h"

/**
 * What takes the place of a session that goes on under another id.
 * @param key of the id that it had
 * @param next the new one, to be told to whoever has that; NULL: to nobody
 */
apr_status_t memsess_renew_tombstone(memsess_session_t **tombstone,
                                     const memsess_session_t *newest, const memsess_key_t *key,
                                     const char *next, apr_pool_t *p);

/**
 * From such a tombstone, as it was found, on to the session: key, id and what is found there.
 * @param comes the request only comes: then the old id may be dead by now, and it stays with that
 *        tombstone; a request under way finds its session wherever it is
 */
void memsess_renew_follow(memsess_req_t *req, memsess_store_t *store, int comes, apr_pool_t *p);

/** Whether a request is the first one that comes with the id that its session has now. */
int memsess_renew_is_first(const memsess_req_t *req);

/** Lets the old id live for some seconds more, before that is written into the session. */
void memsess_renew_mark_first(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p);

/** Says that a session is about to be destroyed, to those who come with its id soon after. */
void memsess_renew_mark_end(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p);

/** For a session that was found to be over. */
void memsess_renew_see_over(const memsess_req_t *req, memsess_over_t *over);

/** Whether a request came with the id of a session that goes on, or that has just been destroyed: it
 * is late then, and what its response writes belongs nowhere. Of several ids one is enough. */
int memsess_renew_is_late(const memsess_req_t *req, memsess_store_t *store, apr_pool_t *p);

#endif
