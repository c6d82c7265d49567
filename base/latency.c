/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/latency.h"

unsigned memsess_bucket_of(apr_interval_time_t took)
{
    apr_uint64_t t = (apr_uint64_t)took;
    unsigned octave, bucket;

    if (t < 4) {
        return (unsigned)t;
    }
    octave = 63 - (unsigned)__builtin_clzll(t);
    bucket = 4 * (octave - 1) + (unsigned)(t >> (octave - 2) & 3);
    return bucket < MEMSESS_BUCKETS ? bucket : MEMSESS_BUCKETS - 1;
}

apr_interval_time_t memsess_bucket_end(unsigned bucket)
{
    bucket++;
    return bucket < 4 ? bucket : (apr_interval_time_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

apr_interval_time_t memsess_percentile(const memsess_histogram_t *histogram, double share)
{
    double rank = share * (double)histogram->n, below = 0;
    unsigned i;

    for (i = 0; i < MEMSESS_BUCKETS && histogram->n; i++) {
        double in = (double)histogram->bucket[i];

        if (in > 0 && below + in >= rank) {
            double begin = i ? (double)memsess_bucket_end(i - 1) : 0;
            double end = (double)memsess_bucket_end(i);

            return (apr_interval_time_t)(begin + (end - begin) * (rank - below) / in + 0.5);
        }
        below += in;
    }
    return 0;
}
