/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The words of MemSessServers, separated by spaces or line ends. The module's own source is
 * compiled in. Accepted words make a pool that can be used, whatever the order of its servers. */

#include "../unit/unit_httpd.h"
#include "fuzz.h"

#include <sys/un.h>

#include "store/ring.h"

#include "../../memsess_conf.c"

module AP_MODULE_DECLARE_DATA memsess_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, memsess_commands, NULL, 0};

static void check_member(const memsess_member_t *member)
{
    const memsess_server_conf_t *server = &member->server;
    memsess_member_t again;
    const char *shown;

    HOLDS(server->name && *server->name && !fuzz_has_control(server->name));
    HOLDS(member->weight >= 1 && member->weight <= MEMSESS_WEIGHT_MAX);
    HOLDS(!server->host == (server->path != NULL));
    if (server->path) {
        HOLDS(server->path[0] == '/' && server->path[1]);
        HOLDS(strlen(server->path) < sizeof(((struct sockaddr_un *)0)->sun_path));
        return;
    }
    HOLDS(server->port >= 1 && *server->host && strlen(server->host) <= 253);
    /* The address as it is shown if the server has no other name; a host called unix can only be
     * written without a port. */
    shown = apr_psprintf(fuzz_pool, strchr(server->host, ':') ? "[%s]:%d" : "%s:%d", server->host,
                         server->port);
    if (strcmp(server->host, "unix")) {
        HOLDS(!memsess_member_parse(&again, shown, fuzz_pool));
        HOLDS(!strcmp(memsess_member_address(&again.server, fuzz_pool), shown));
        HOLDS(!strcmp(again.server.name, shown));
    }
}

static void check_order(const apr_array_header_t *members)
{
    unsigned n = (unsigned)members->nelts, i, got;
    memsess_node_t *nodes = apr_palloc(fuzz_pool, sizeof(*nodes) * n);
    memsess_node_t *turned = apr_palloc(fuzz_pool, sizeof(*nodes) * n);
    unsigned order[MEMSESS_ORDER_MAX], turned_order[MEMSESS_ORDER_MAX];
    memsess_key_t key;

    HOLDS(memsess_key_make(&key, "", "id") == APR_SUCCESS);
    for (i = 0; i < n; i++) {
        const memsess_member_t *member = &APR_ARRAY_IDX(members, i, memsess_member_t);

        HOLDS(memsess_node_init(&nodes[i], member->server.name, member->weight) == APR_SUCCESS);
        turned[n - 1 - i] = nodes[i];
    }
    got = memsess_ring_order(nodes, n, &key, order, n);
    HOLDS(got == (n < MEMSESS_ORDER_MAX ? n : MEMSESS_ORDER_MAX));
    HOLDS(memsess_ring_order(turned, n, &key, turned_order, n) == got);
    for (i = 0; i < got; i++) {
        HOLDS(!strcmp(nodes[order[i]].name, turned[turned_order[i]].name));
    }
}

void fuzz(const unsigned char *data, size_t len)
{
    static const command_rec command = {.name = "MemSessServers"};
    memsess_srv_conf_t *conf = memsess_srv_conf_create(fuzz_pool, NULL);
    void *vector[1];
    server_rec server = {.module_config = (struct ap_conf_vector_t *)vector};
    cmd_parms cmd = {.pool = fuzz_pool, .temp_pool = fuzz_pool, .server = &server,
                     .info = (void *)&slot_members, .cmd = &command};
    char *text = fuzz_string(data, len), *word, *state;
    int accepted = 0, i;

    vector[0] = conf;
    memsess_module.module_index = 0;
    for (word = apr_strtok(text, " \n", &state); word; word = apr_strtok(NULL, " \n", &state)) {
        const char *error = set_servers(&cmd, NULL, word);

        HOLDS(!error || strstr(error, word));
        accepted += !error;
    }
    HOLDS(conf->members->nelts == (accepted ? accepted : 1));
    for (i = 0; i < conf->members->nelts; i++) {
        check_member(&APR_ARRAY_IDX(conf->members, i, memsess_member_t));
    }
    check_order(conf->members);
}
