/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* To be preloaded where httpd runs under callgrind, which makes every answer slow: servers on this
 * machine are near nevertheless, as they are without it. */
typedef struct memsess_server_count_t memsess_server_count_t;
int memsess_count_is_near(const memsess_server_count_t *count);

int memsess_count_is_near(const memsess_server_count_t *count)
{
    (void)count;
    return 1;
}
