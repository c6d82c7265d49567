/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/caches.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "http/expose.h"
#include "util_filter.h"

/* The Cache-Control of an answer that has none of its own. Each answer is looked at twice, and the
 * address of this string shows the second time that the handler did not set it. */
static const char alone[] = "private";

/* The items of a comma-separated header that are not dropped. */
static const char *filter_list(const char *list, int (*drop)(const char *item), apr_pool_t *p)
{
    apr_array_header_t *kept = apr_array_make(p, 4, sizeof(const char *));
    char *state, *item, *copy = apr_pstrdup(p, list);

    for (item = apr_strtok(copy, ",", &state); item; item = apr_strtok(NULL, ",", &state)) {
        while (apr_isspace(*item)) {
            item++;
        }
        if (*item && !drop(item)) {
            APR_ARRAY_PUSH(kept, const char *) = item;
        }
    }
    return kept->nelts ? apr_array_pstrcat(p, kept, ',') : NULL;
}

static int for_shared_caches(const char *item)
{
    return !strcasecmp(item, "public") || !strncasecmp(item, "s-maxage", 8);
}

/* Whether caches, or one network of caches, obey this header in place of Cache-Control (RFC
 * 9213). */
static int is_targeted(const char *name, const char *value)
{
    static const char suffix[] = "-Cache-Control";
    apr_size_t len = strlen(name), suffix_len = sizeof(suffix) - 1;

    (void)value;
    if (len <= suffix_len) { /* all of these names are longer */
        return 0;
    }
    return !strcasecmp(name + len - suffix_len, suffix) || !strcasecmp(name, "Surrogate-Control")
           || !strcasecmp(name, "X-Accel-Expires");
}

static int count_one(void *count, const char *name, const char *value)
{
    (void)name;
    (void)value;
    ++*(int *)count;
    return 1;
}

/* The whole Cache-Control, whichever table the handler put it into. */
static const char *take_cache_control(request_rec *r)
{
    const char *control = apr_table_get(r->headers_out, "Cache-Control");
    apr_table_t *both;
    int n = 0;

    if (!apr_table_get(r->err_headers_out, "Cache-Control")) {
        if (control) {
            apr_table_do(count_one, &n, r->headers_out, "Cache-Control", NULL);
        }
        if (n <= 1) {
            return control;
        }
    }
    both = apr_table_overlay(r->pool, r->err_headers_out, r->headers_out);

    apr_table_compress(both, APR_OVERLAP_TABLES_MERGE);
    apr_table_unset(r->headers_out, "Cache-Control");
    apr_table_unset(r->err_headers_out, "Cache-Control");
    return apr_table_get(both, "Cache-Control");
}

static const char *private_of(request_rec *r, const char *control)
{
    const char *kept;

    if (!control || control == alone
        || !(kept = filter_list(control, for_shared_caches, r->pool))) {
        return alone;
    }
    return ap_find_list_item(r->pool, kept, "private") || ap_find_list_item(r->pool, kept, "no-store")
               ? kept : apr_pstrcat(r->pool, kept, ", private", NULL);
}

static void make_private(request_rec *r, const char *control)
{
    apr_table_setn(r->headers_out, "Cache-Control", private_of(r, control));
    /* This is for caches that do not know "private", and for a mod_cache that is told to ignore
     * it. */
    r->no_cache = 1;
    apr_table_unset(r->headers_out, "Expires");
    apr_table_unset(r->err_headers_out, "Expires");
    memsess_drop_entries(r->headers_out, is_targeted, r->pool);
    memsess_drop_entries(r->err_headers_out, is_targeted, r->pool);
}

static int has_session_cookie(request_rec *r)
{
    const char *cookies = memsess_req_cookies(r);

    return cookies && memsess_strip_cookies(r, cookies) != cookies;
}

/* Whether parts of the answer may depend on sessions although it began long before them: it is a
 * page that includes others, by INCLUDES or mod_filter's BYTYPE:INCLUDES, or a directory's list, by
 * ReadmeName. */
static int may_depend_yet(const request_rec *r)
{
    const ap_filter_t *f = r->output_filters;

    if (!memsess_srv_conf(r->server)->cookies->nelts) {
        return 0;
    }
    if (r->handler && !strcmp(r->handler, DIR_MAGIC_TYPE)) {
        return 1;
    }
    while (f && !ap_strcasestr(f->frec->name, "includes")) {
        f = f->next;
    }
    return f != NULL;
}

static int varies_already(request_rec *r, const apr_table_t *headers)
{
    const char *vary = apr_table_get(headers, "Vary");

    return vary && (!strcasecmp(vary, "Cookie") || !strcmp(vary, "*")
                    || ap_find_list_item(r->pool, vary, "cookie"));
}

void memsess_mind_caches(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);
    int sets_cookie = own && own->top->cookie_set, depends = own && own->top->exposed;
    int is_own = own && own->top->exposed_own;

    if (!depends && may_depend_yet(r)) {
        depends = 1;
        is_own = has_session_cookie(r);
    }
    if (own) {
        own->top->minded |= depends;
    }
    if (depends && !varies_already(r, r->headers_out) && !varies_already(r, r->err_headers_out)) {
        apr_table_mergen(r->headers_out, "Vary", "Cookie");
    }
    if (sets_cookie || is_own) {
        const char *control = take_cache_control(r);

        if (!sets_cookie && control && control != alone
            && ap_find_list_item(r->pool, control, "public")) {
            apr_table_setn(r->headers_out, "Cache-Control", control);
        }
        else {
            make_private(r, control);
        }
    }
}

/* Otherwise mod_cache would keep the part before our filter has seen what it depends on, together
 * with its write-back headers; and each part has the environment of its page. */
void memsess_mind_part(request_rec *r)
{
    if (r->main && memsess_srv_conf(r->server)->cookies->nelts) {
        r->no_cache = 1;
    }
}

/* Whether the program's own head lets shared caches keep the answer. */
static int is_public(const char *head)
{
    const char *control = ap_strcasestr(head, "\nCache-Control:"), *end;
    const char *word = control ? ap_strcasestr(control, "public") : NULL;

    end = control ? strchr(control + 1, '\n') : NULL;
    return word && end && word < end;
}

const char *memsess_mind_head(const memsess_top_t *top, const char *head)
{
    if (!top->exposed && !top->cookie_set) {
        return "";
    }
    return top->cookie_set || (top->exposed_own && !is_public(head))
               ? "Vary: Cookie" CRLF "Cache-Control: private" CRLF : "Vary: Cookie" CRLF;
}
