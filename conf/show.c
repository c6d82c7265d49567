/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The configuration in force, in the words of the directives; without anything that is a secret. */

#include "conf/private.h"

#include <string.h>

#include "apr_strings.h"
#include "conf/server.h"
#include "session/change.h"

/* Each is given the place of a value. */

static const char *show_flag(const void *value, apr_pool_t *p)
{
    (void)p;
    return memsess_flag_words[*(const int *)value != 0];
}

static const char *show_lock(const void *value, apr_pool_t *p)
{
    (void)p;
    return memsess_lock_words[*(const int *)value];
}

static const char *show_on_error(const void *value, apr_pool_t *p)
{
    (void)p;
    return memsess_on_error_words[*(const int *)value];
}

static const char *show_int(const void *value, apr_pool_t *p)
{
    return apr_itoa(p, *(const int *)value);
}

static const char *show_user_sessions(const void *value, apr_pool_t *p)
{
    return *(const int *)value ? show_int(value, p) : memsess_flag_words[0];
}

static const char *show_size(const void *value, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT, *(const apr_int64_t *)value);
}

static const char *show_compress(const void *value, apr_pool_t *p)
{
    return *(const apr_int64_t *)value ? show_size(value, p) : memsess_flag_words[0];
}

/* By the largest unit that tells it whole. */
static const char *show_time(const void *value, apr_pool_t *p)
{
    static const struct {
        apr_interval_time_t unit;
        const char *name;
    } units[] = {{apr_time_from_sec(3600), "h"}, {apr_time_from_sec(60), "min"},
                 {APR_USEC_PER_SEC, "s"}, {1000, "ms"}};
    apr_interval_time_t t = *(const apr_interval_time_t *)value;
    unsigned i = 0;

    while (i < 3 && t % units[i].unit) {
        i++;
    }
    return t ? apr_psprintf(p, "%" APR_INT64_T_FMT "%s", t / units[i].unit, units[i].name) : "0";
}

static const char *show_text(const void *value, apr_pool_t *p)
{
    const char *text = *(const char *const *)value;

    (void)p;
    return text ? text : "none";
}

static const char *show_namespace(const void *value, apr_pool_t *p)
{
    return **(const char *const *)value ? show_text(value, p) : "\"\"";
}

static const char *show_keys(const void *value, apr_pool_t *p)
{
    return apr_array_pstrcat(p, *(const apr_array_header_t *const *)value, ' ');
}

/* Words, each for a bit; @a none: no bit is set. */
static const char *words_of(int bits, const char *none, const char *const words[], int n,
                            apr_pool_t *p)
{
    const char *text = NULL;
    int i;

    for (i = 0; i < n; i++) {
        if (bits & 1 << i) {
            text = text ? apr_pstrcat(p, text, " ", words[i], NULL) : words[i];
        }
    }
    return text ? text : none;
}

static const char *show_expose(const void *value, apr_pool_t *p)
{
    return words_of(*(const int *)value, memsess_expose_words[0], memsess_expose_words + 1, 3, p);
}

static const char *show_bind(const void *value, apr_pool_t *p)
{
    return words_of(*(const int *)value, memsess_bind_words[0], memsess_bind_words + 1, 3, p);
}

static const char *show_verbs(const void *value, apr_pool_t *p)
{
    return words_of(*(const int *)value, "", memsess_verb_names, MEMSESS_VERBS, p);
}

/* Where secrets come from. */
static const char *show_secret(const void *value, apr_pool_t *p)
{
    const apr_array_header_t *sources = *(const apr_array_header_t *const *)value;
    const char *text = "";
    int i;

    for (i = 0; i < sources->nelts; i++) {
        const char *source = APR_ARRAY_IDX(sources, i, const char *);
        apr_size_t path = memsess_conf_source_len(source);

        text = apr_pstrcat(p, text, i ? " " : "", apr_pstrmemdup(p, source, path),
                           source[path] ? " ..." : "", NULL);
    }
    return text;
}

static const char *show_servers(const void *value, apr_pool_t *p)
{
    const apr_array_header_t *members = *(const apr_array_header_t *const *)value;
    const char *text = "";
    int i;

    for (i = 0; i < members->nelts; i++) {
        const memsess_member_t *member = &APR_ARRAY_IDX(members, i, memsess_member_t);
        const char *address = memsess_member_address(&member->server, p);
        const char *named = strcmp(address, member->server.name)
                                ? apr_pstrcat(p, "name=", member->server.name, NULL) : "";
        const char *weight = member->weight > 1 ? apr_psprintf(p, "weight=%u", member->weight) : "";

        text = apr_pstrcat(p, text, i ? " " : "", address, *named || *weight ? "?" : "", weight,
                           *named && *weight ? "&" : "", named, NULL);
    }
    return text;
}

/* All that is said, also what is the default. */
static const char *show_cookie(const void *value, apr_pool_t *p)
{
    const memsess_cookie_t *cookie = *(const memsess_cookie_t *const *)value;
    static const char *const secure[] = {[MEMSESS_SECURE_AUTO] = "auto", [MEMSESS_SECURE_ON] = "on",
                                         [MEMSESS_SECURE_OFF] = "off"};

    return apr_pstrcat(p, cookie->name, " Path=", cookie->path,
                       cookie->domain ? " Domain=" : "", cookie->domain ? cookie->domain : "",
                       " SameSite=", cookie->same_site, " Secure=", secure[cookie->secure],
                       " HttpOnly=", cookie->http_only ? "on" : "off",
                       cookie->partitioned ? " Partitioned" : "",
                       cookie->max_age ? " Max-Age=" : "",
                       cookie->max_age ? apr_psprintf(p, "%" APR_INT64_T_FMT,
                                                      apr_time_sec(cookie->max_age)) : "", NULL);
}

/* These are set in ways of their own, and shown like others; of auth, the file's name alone. */
#define show_connections show_int
#define show_local_cache show_compress
#define show_auth show_text
#define show_attr_name show_text
#define show_login_url show_text

/* -- All of them ------------------------------------------------------------------------------- */

static void show(apr_array_header_t *shown, const char *directive, const char *value)
{
    APR_ARRAY_PUSH(shown, memsess_setting_t) =
        (memsess_setting_t){.directive = directive, .value = value};
}

#define SHOW(type, field, default, args, name, kind, least, most)                                  \
    if (conf->field##_set) {                                                                       \
        show(shown, #name, show_##kind(&conf->field, p));                                          \
    }

apr_array_header_t *memsess_conf_show_srv(const memsess_srv_conf_t *conf, apr_pool_t *p)
{
    apr_array_header_t *shown = apr_array_make(p, 8, sizeof(memsess_setting_t));

    MEMSESS_SRV_SETTINGS(SHOW)
    return shown;
}

apr_array_header_t *memsess_conf_show_dir(const memsess_dir_conf_t *conf, apr_pool_t *p)
{
    apr_array_header_t *shown = apr_array_make(p, 8, sizeof(memsess_setting_t));

    MEMSESS_DIR_SETTINGS(SHOW)
    return shown;
}
