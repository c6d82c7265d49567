/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/error.h
 * @brief What can go wrong: one code for each failure, and its words for operators.
 */
#ifndef MEMSESS_ERROR_H
#define MEMSESS_ERROR_H

#include "apr_errno.h"
#include "apr_time.h"

/* E(name, words) */
#define MEMSESS_ERRORS(E)                                                                          \
    /* A server answered that it does not store the record: these are memsess_is_refused. */       \
    E(REFUSED, "the server refused to store it")                                                   \
    E(TOO_LARGE, "the record is too large for this server (raise its -I)")                         \
    E(FULL, "it is out of memory (raise its -m; with -M it evicts nothing)")                       \
    /* A server cannot be used at all, */                                                          \
    E(AUTH_WANTED, "it asks for a user and password (set MemSessServerAuth)")                      \
    E(AUTH_REFUSED, "it refuses the user and password of MemSessServerAuth")                       \
    E(TOO_MANY, "it accepts no more connections (raise its -c)")                                   \
    E(CLOSED, "the server closed the connection")                                                  \
    E(NONSENSE, "it answered with an error, or is not a memcached")                                \
    E(UNRESOLVED, "the name does not resolve: the name server has not answered yet")               \
    /* or not for this. */                                                                         \
    E(DOWN, "the servers that are needed for it are down or do not answer")                        \
    E(FOREIGN, "the server answered for another key")                                              \
    E(UNSENT, "a server could not be asked in time (raise MemSessConnections if all are in use)")  \
    /* Failures of a session's changes. */                                                         \
    E(BUSY, "other requests held the session for longer than MemSessLockWait")                     \
    E(CROWDED, "too many requests of this session are waiting in this child process already")      \
    E(GONE, "the session was ended or renewed by another request meanwhile, or is lost")           \
    E(UNSURE, "servers failed during the write, so it may or may not have been done")              \
    /* Failures of this machine. */                                                                \
    E(CRYPTO, "cryptography failed (libcrypto)")

enum {
    MEMSESS_ERRORS_BEGIN = APR_OS_START_USERERR,
#define MEMSESS_ERROR_CODE(name, words) MEMSESS_##name,
    MEMSESS_ERRORS(MEMSESS_ERROR_CODE)
#undef MEMSESS_ERROR_CODE
    MEMSESS_ERRORS_END
};

/* These come from apr_memcache, and mean nothing else here. */
#define MEMSESS_ABSENT APR_NOTFOUND /**< the server answered that there is no such key */
#define MEMSESS_EXISTS APR_EEXIST   /**< the server answered that the key is there already */

/** Room for what memsess_error_words says. */
#define MEMSESS_WORDS_LEN 160

/**
 * The words for operators of one of these codes, or of APR's.
 * @param timeout the server's time-out, if that was over; 0: not known
 * @param buf receives words that are not constant
 * @return the words, in @a buf or constant
 */
const char *memsess_error_words(apr_status_t rv, apr_interval_time_t timeout,
                                char buf[MEMSESS_WORDS_LEN]);

/** Whether a server answered that it does not store the record, for any reason. */
int memsess_is_refused(apr_status_t rv);

#endif
