/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Runs a target on one input for libFuzzer; with FUZZ_REPLAY, on the files that are named. */

#include "fuzz.h"

#include <dirent.h>
#include <dlfcn.h>

#include "apr_general.h"

apr_pool_t *fuzz_pool;

/* -- Memory of fuzz_pool: each piece is a block of its own ------------------------------------- */

typedef struct block_t {
    struct block_t *next;
    void *piece;
} block_t;

static block_t *blocks;

/* This takes the place of APR's own. */
APR_DECLARE(void *) apr_palloc(apr_pool_t *p, apr_size_t size)
{
    static void *(*real)(apr_pool_t *, apr_size_t);
    block_t *block;

    if (p != fuzz_pool) {
        if (!real) {
            *(void **)&real = dlsym(RTLD_NEXT, "apr_palloc");
        }
        return real(p, size);
    }
    block = malloc(sizeof(*block));
    block->piece = malloc(size ? size : 1);
    HOLDS(block->piece);
    block->next = blocks;
    blocks = block;
    return block->piece;
}

static void free_blocks(void)
{
    while (blocks) {
        block_t *block = blocks;

        blocks = block->next;
        free(block->piece);
        free(block);
    }
}

/* -- Running ----------------------------------------------------------------------------------- */

static apr_pool_t *process_pool;

const memsess_secrets_t *fuzz_secrets, *fuzz_other_secrets;

static const memsess_secrets_t *make_secrets(const char *letters, const char *ns)
{
    memsess_secrets_t *secrets = memsess_secrets_make(process_pool);
    memsess_raw_secret_t raw;

    for (; *letters; letters++) {
        memset(raw.bytes, *letters, raw.len = MEMSESS_SECRET_LEAST);
        HOLDS(memsess_secrets_add(secrets, &raw, ns) == APR_SUCCESS);
    }
    return secrets;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    HOLDS(apr_initialize() == APR_SUCCESS);
    apr_pool_create(&process_pool, NULL);
    HOLDS(memsess_core_init(process_pool) == APR_SUCCESS);
    fuzz_secrets = make_secrets("no", "shop");
    fuzz_other_secrets = make_secrets("x", "shop");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    apr_pool_create(&fuzz_pool, process_pool);
    fuzz(data, len);
    apr_pool_destroy(fuzz_pool);
    fuzz_pool = NULL;
    free_blocks();
    return 0;
}

#ifdef FUZZ_REPLAY

static void replay(const char *path)
{
    FILE *in = fopen(path, "rb");
    uint8_t *data;
    long len;

    HOLDS(in && fseek(in, 0, SEEK_END) == 0 && (len = ftell(in)) >= 0);
    rewind(in);
    data = malloc((size_t)len + !len); /* the memory ends where the input ends */
    HOLDS(data && fread(data, 1, (size_t)len, in) == (size_t)len);
    fclose(in);
    LLVMFuzzerTestOneInput(data, (size_t)len);
    free(data);
}

static int replay_all(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char file[4096];
    int n = 0;

    HOLDS(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
            replay(file);
            n++;
        }
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0, i;

    LLVMFuzzerInitialize(&argc, &argv);
    for (i = 1; i < argc; i++) {
        n += replay_all(argv[i]);
    }
    printf("%d inputs\n", n);
    return n ? 0 : 1;
}

#endif
