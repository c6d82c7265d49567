/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the fuzz targets share. A target is one file that defines fuzz(), which aborts where a
 * property does not hold; libFuzzer or replay.c calls it. Memory of fuzz_pool is allocated piece by
 * piece, so that the address sanitizer sees where each ends.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_lib.h"
#include "apr_pools.h"
#include "apr_strings.h"
#include "base/secret.h"
#include "session/session.h"

/* Of one input. */
extern apr_pool_t *fuzz_pool;

/* Two secrets of the namespace "shop", the second one older; and a third of which they know not. */
extern const memsess_secrets_t *fuzz_secrets, *fuzz_other_secrets;

/* What a target defines. */
void fuzz(const unsigned char *data, size_t len);

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The bytes up to the first NUL as a string of its own. */
static inline char *fuzz_string(const unsigned char *data, size_t len)
{
    return apr_pstrmemdup(fuzz_pool, (const char *)data, len ? strnlen((const char *)data, len)
                                                             : 0);
}

/* Whether a session is in order, as every one that was decoded must be. */
static inline int fuzz_is_sane(const memsess_session_t *s)
{
    const char *previous = "";
    int i;

    for (i = 0; i < s->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(s->attrs, i, memsess_attr_t);

        if (!memsess_attr_name_ok(attr->name, strlen(attr->name))
            || strcmp(previous, attr->name) >= 0 || strlen(attr->value) != attr->len) {
            return 0;
        }
        previous = attr->name;
    }
    return strlen(s->public_id) == MEMSESS_PUBLIC_ID_LEN && s->placement.n <= MEMSESS_COPIES_MAX
           && (!s->moved || !s->attrs->nelts);
}

static inline int fuzz_has_control(const char *s)
{
    for (; *s; s++) {
        if (apr_iscntrl(*s)) {
            return 1;
        }
    }
    return 0;
}

#endif
