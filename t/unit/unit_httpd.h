/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Replaces the few functions of httpd that the configuration calls. */
#ifndef UNIT_HTTPD_H
#define UNIT_HTTPD_H

#include <errno.h>
#include <string.h>

#include "httpd.h"
#include "ap_mpm.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "http_core.h"

/* The server's root is /nowhere; the word no-path stands for one that httpd takes for no path. */
AP_DECLARE(char *) ap_server_root_relative(apr_pool_t *p, const char *path)
{
    if (!strcmp(path, "no-path")) {
        return NULL;
    }
    return *path == '/' ? apr_pstrdup(p, path) : apr_pstrcat(p, "/nowhere/", path, NULL);
}

AP_DECLARE(apr_status_t) ap_timeout_parameter_parse(const char *text, apr_interval_time_t *t,
                                                    const char *unit)
{
    static const struct {
        const char *name;
        apr_int64_t length;
    } units[] = {{"ms", 1000}, {"s", 1000000}, {"min", 60000000}, {"h", 3600000000}};
    unsigned i;
    char *end;
    apr_int64_t n;

    errno = 0;
    n = apr_strtoi64(text, &end, 10);
    if (errno) {
        return errno;
    }
    for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (!strncasecmp(units[i].name, *end ? end : unit, strlen(units[i].name))) {
            return __builtin_mul_overflow(n, units[i].length, t) ? APR_ERANGE : APR_SUCCESS;
        }
    }
    return APR_EGENERAL;
}

/* What httpd says it is doing: serving, or only checking; and how often it has read its
 * configuration to serve: more than once means a restart. */
static int unit_run_mode = AP_SQ_RM_NORMAL, unit_main_state = AP_SQ_MS_CREATE_CONFIG;
static int unit_generation = 1;

AP_DECLARE(int) ap_state_query(int query)
{
    return query == AP_SQ_RUN_MODE     ? unit_run_mode
           : query == AP_SQ_MAIN_STATE ? unit_main_state
           : query == AP_SQ_CONFIG_GEN ? unit_generation
                                       : AP_SQ_NOT_SUPPORTED;
}

const char *memsess_see_require(cmd_parms *cmd, void *dir_conf, const char *args)
{
    (void)cmd;
    (void)dir_conf;
    (void)args;
    return NULL;
}

const char *memsess_see_handler(cmd_parms *cmd, void *dir_conf, const char *name)
{
    return memsess_see_require(cmd, dir_conf, name);
}

const char *memsess_see_merging(cmd_parms *cmd, void *dir_conf, const char *how)
{
    return memsess_see_require(cmd, dir_conf, how);
}

#endif
