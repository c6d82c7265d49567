/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/ring.h"

#include <math.h>
#include <string.h>

#include "apr_encode.h"
#include "apr_siphash.h"
#include "base/crypto.h"

apr_status_t memsess_node_init(memsess_node_t *node, const char *name, unsigned weight)
{
    unsigned char digest[MEMSESS_SHA256_BYTES];
    apr_status_t rv = memsess_sha256(name, strlen(name), digest);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    node->name = name;
    node->weight = weight;
    memcpy(node->seed, digest, sizeof(node->seed));
    return apr_encode_base64_binary(node->tag, digest + sizeof(node->seed), 6,
                                    APR_ENCODE_BASE64URL, NULL);
}

/* -weight / ln(u) with u uniform in (0,1): a server has the highest score with a probability in
 * proportion to its weight, whatever the other servers are. */
static double score(const memsess_node_t *node, const memsess_key_t *key)
{
    apr_uint64_t hash = apr_siphash24(key->digest, sizeof(key->digest), node->seed);

    return -(double)node->weight / log(((double)(hash >> 11) + 0.5) / 9007199254740992.0);
}

unsigned memsess_ring_order(const memsess_node_t *nodes, unsigned n, const memsess_key_t *key,
                            unsigned *order, unsigned want)
{
    double best[MEMSESS_ORDER_MAX];
    unsigned found = 0, i, at;

    if (want > MEMSESS_ORDER_MAX) {
        want = MEMSESS_ORDER_MAX;
    }
    for (i = 0; i < n; i++) {
        double s = n > 1 ? score(&nodes[i], key) : 0;

        /* Names break a tie, so that all members break it alike. */
        for (at = found; at > 0 && (s > best[at - 1]
                                    || (s == best[at - 1]
                                        && strcmp(nodes[i].name, nodes[order[at - 1]].name) < 0));
             at--) {
            if (at < want) {
                best[at] = best[at - 1];
                order[at] = order[at - 1];
            }
        }
        if (at < want) {
            best[at] = s;
            order[at] = i;
            if (found < want) {
                found++;
            }
        }
    }
    return found;
}
