/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* APR's atomic operations again, where the thread sanitizer sees them, since libapr is not compiled
 * with it. They take the place of APR's own. */

#include "apr_atomic.h"

#define ORDER __ATOMIC_SEQ_CST

#define ATOMICS(bits)                                                                              \
    APR_DECLARE(apr_uint##bits##_t) apr_atomic_read##bits(volatile apr_uint##bits##_t *mem)        \
    {                                                                                              \
        return __atomic_load_n(mem, ORDER);                                                        \
    }                                                                                              \
    APR_DECLARE(void) apr_atomic_set##bits(volatile apr_uint##bits##_t *mem,                       \
                                           apr_uint##bits##_t n)                                   \
    {                                                                                              \
        __atomic_store_n(mem, n, ORDER);                                                           \
    }                                                                                              \
    APR_DECLARE(apr_uint##bits##_t) apr_atomic_add##bits(volatile apr_uint##bits##_t *mem,         \
                                                         apr_uint##bits##_t n)                     \
    {                                                                                              \
        return __atomic_fetch_add(mem, n, ORDER);                                                  \
    }                                                                                              \
    APR_DECLARE(apr_uint##bits##_t) apr_atomic_inc##bits(volatile apr_uint##bits##_t *mem)         \
    {                                                                                              \
        return __atomic_fetch_add(mem, 1, ORDER);                                                  \
    }                                                                                              \
    APR_DECLARE(apr_uint##bits##_t) apr_atomic_cas##bits(volatile apr_uint##bits##_t *mem,         \
                                                         apr_uint##bits##_t with,                  \
                                                         apr_uint##bits##_t cmp)                   \
    {                                                                                              \
        __atomic_compare_exchange_n(mem, &cmp, with, 0, ORDER, ORDER);                             \
        return cmp;                                                                                \
    }                                                                                              \
    APR_DECLARE(apr_uint##bits##_t) apr_atomic_xchg##bits(volatile apr_uint##bits##_t *mem,        \
                                                          apr_uint##bits##_t n)                    \
    {                                                                                              \
        return __atomic_exchange_n(mem, n, ORDER);                                                 \
    }

ATOMICS(32)
ATOMICS(64)
