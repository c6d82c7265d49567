/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/json.h
 * @brief Text, and a user's list of sessions, as JSON of ASCII characters alone.
 */
#ifndef MEMSESS_JSON_H
#define MEMSESS_JSON_H

#include "session/session.h"

/** Text in quotes. Each byte that is not UTF-8 becomes U+FFFD. */
const char *memsess_json_string(const char *text, apr_pool_t *p);

/**
 * A user's sessions, as memsess_epoch_list lists them: [{"id": ..., "created": ..., "used": ...,
 * "label": ..., "current": ...}, ...].
 * @param current the public id of the session that asks; NULL: "current" is left out
 */
const char *memsess_json_sessions(const apr_array_header_t *list, const char *current,
                                  apr_pool_t *p);

#endif
