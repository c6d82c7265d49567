/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file conf/others.h
 * @brief Directives of other modules that we look at: httpd calls every module that knows one.
 */
#ifndef MEMSESS_OTHERS_H
#define MEMSESS_OTHERS_H

#include "httpd.h"
#include "http_config.h"

#define MEMSESS_ADMIN_HANDLER "memsess-admin"

/** Whether a Require directive is negated. */
int memsess_is_negated(const ap_directive_t *d, apr_pool_t *p);

/** Notes what Require asks of sessions in this section. */
const char *memsess_see_require(cmd_parms *cmd, void *dir_conf, const char *args);

/** AuthMerging, which is mod_authz_core's. */
const char *memsess_see_merging(cmd_parms *cmd, void *dir_conf, const char *how);

/** Notes where SetHandler memsess-admin stands, which is for the configuration, not for .htaccess. */
const char *memsess_see_handler(cmd_parms *cmd, void *dir_conf, const char *name);

#endif
