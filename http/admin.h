/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/admin.h
 * @brief SetHandler memsess-admin: lists and ends a user's sessions, and tells what became of one.
 */
#ifndef MEMSESS_ADMIN_H
#define MEMSESS_ADMIN_H

#include "httpd.h"

/** The handler. */
int memsess_admin_handler(request_rec *r);

#endif
