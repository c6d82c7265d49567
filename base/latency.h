/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/latency.h
 * @brief How long things took: counted in buckets, and read as percentiles. Pure.
 */
#ifndef MEMSESS_LATENCY_H
#define MEMSESS_LATENCY_H

#include "apr_time.h"

/** Buckets of latencies: four for each doubling, up to 2^27 microseconds. */
#define MEMSESS_BUCKETS 104

/** How often something happened, by how long it took. */
typedef struct memsess_histogram_t {
    apr_uint64_t n, bucket[MEMSESS_BUCKETS];
} memsess_histogram_t;

/** The bucket of a latency; and the first latency, in microseconds, above a bucket. */
unsigned memsess_bucket_of(apr_interval_time_t took);
apr_interval_time_t memsess_bucket_end(unsigned bucket);

/** The latency that this share of all (0.99, say) do not exceed; 0 if there are none. */
apr_interval_time_t memsess_percentile(const memsess_histogram_t *histogram, double share);

#endif
