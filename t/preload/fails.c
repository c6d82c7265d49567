/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Failures of the system for the module: to be preloaded, by t/lib/MemSess/Member.pm. As long as
 * the file that MEMSESS_T_FAILS names exists, with -threads or -pipes appended to its name,
 * everything of that kind that mod_memsess.so asks for fails. httpd itself gets what it asks for.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALLER __builtin_return_address(0)

static int fails(const char *what, void *caller)
{
    const char *name = getenv("MEMSESS_T_FAILS");
    char path[4096];
    Dl_info info;

    snprintf(path, sizeof(path), "%s-%s", name ? name : "", what);
    return dladdr(caller, &info) && strstr(info.dli_fname, "/mod_memsess.so")
           && access(path, F_OK) == 0;
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
                   void *(*run)(void *), void *restrict data)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return fails("threads", CALLER) ? EAGAIN : real(thread, attr, run, data);
}

/* This is a function of libapr. */
int apr_file_pipe_create_ex(void *in, void *out, int blocking, void *p)
{
    int (*real)(void *, void *, int, void *);

    *(void **)&real = dlsym(RTLD_NEXT, "apr_file_pipe_create_ex");
    return fails("pipes", CALLER) ? EMFILE : real(in, out, blocking, p);
}
