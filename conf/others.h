/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file conf/others.h
 * @brief Directives of other modules, which we only look at: httpd calls every module that knows
 *        one.
 */
#ifndef MEMSESS_OTHERS_H
#define MEMSESS_OTHERS_H

#include "httpd.h"
#include "http_config.h"

#define MEMSESS_ADMIN_HANDLER "memsess-admin"

/** Whether a Require directive is negated. */
int memsess_is_negated(const ap_directive_t *d, apr_pool_t *p);

/** Notes what Require asks of the session in this section. */
const char *memsess_see_require(cmd_parms *cmd, void *dir_conf, const char *args);

/** AuthMerging, which belongs to mod_authz_core. */
const char *memsess_see_merging(cmd_parms *cmd, void *dir_conf, const char *how);

/** Notes SetHandler memsess-admin, which may stand in the configuration, not in .htaccess. */
const char *memsess_see_handler(cmd_parms *cmd, void *dir_conf, const char *name);

#endif
