/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/private.h"

#include "apr_time.h"

/* Whether a server told what it has of the record, and this version understands it. */
static int is_plain(const memsess_copy_t *copy)
{
    return copy->state == COPY_HELD || copy->state == COPY_NONE;
}

/*
 * A member that wrote a newer record, while a server that has this one was away, wrote as many
 * copies as there are to be, or one to each server that was left. So if fewer servers than that are
 * silent, one of those that answer was written to. That one would have the newer record, or a later
 * one, if it has kept its memory since; and so would the server that was away, if it was written
 * to.
 */
int memsess_is_vouched(const memsess_copies_t *of, const memsess_session_t *newest)
{
    const memsess_store_t *store = of->store;
    apr_interval_time_t ago = memsess_written_ago(store, newest);
    unsigned copies = store->conf.copies < of->n ? store->conf.copies : of->n - 1, silent = 0, i;

    for (i = 0; i < of->n; i++) {
        silent += of->copy[i].state == COPY_SILENT;
        if (of->copy[i].state != COPY_SILENT && !is_plain(&of->copy[i])) {
            return 0;
        }
    }
    for (i = 0; i < of->n && ago >= 0 && silent < copies; i++) {
        if (is_plain(&of->copy[i])
            && !memsess_server_kept(store->servers[of->copy[i].at],
                                    ago + apr_time_from_sec(MEMSESS_AGE_ERROR))) {
            return 0;
        }
    }
    return ago >= 0 && silent < copies;
}
