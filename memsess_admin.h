/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_admin.h
 * @brief SetHandler memsess-admin: a user's sessions, to be listed and ended, and what became of one.
 */
#ifndef MEMSESS_ADMIN_H
#define MEMSESS_ADMIN_H

#include "httpd.h"
#include "http_config.h"

/** Looks on where SetHandler stands: this handler is for the configuration, not for .htaccess. */
const char *memsess_admin_see_handler(cmd_parms *cmd, void *dir_conf, const char *name);

/** The handler. */
int memsess_admin_handler(request_rec *r);

#endif
