/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/json.h
 * @brief Text, and a user's list of sessions, as JSON of ASCII characters alone.
 */
#ifndef MEMSESS_JSON_H
#define MEMSESS_JSON_H

#include "session/session.h"

/** Text in quotes. What is no UTF-8 becomes U+FFFD, a byte at a time. */
const char *memsess_json_string(const char *text, apr_pool_t *p);

/**
 * The sessions that a user's record lists, as of now: [{"id": ..., "created": ..., "used": ...,
 * "label": ..., "current": ...}, ...], the one that was used last first.
 * @param current the public id of the session that asks; NULL: nothing is said of that
 */
const char *memsess_json_sessions(const memsess_session_t *record, const char *current,
                                  apr_pool_t *p);

#endif
