/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The content of a secret's file, and the word that names a source. */

#include "fuzz.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t without_newlines(const unsigned char *data, size_t len)
{
    while (len && (data[len - 1] == '\n' || data[len - 1] == '\r')) {
        len--;
    }
    return len;
}

static void check_keys(const memsess_raw_secret_t *raw)
{
    memsess_secrets_t *secrets = memsess_secrets_make(fuzz_pool);
    const memsess_secret_t *a = &secrets->secret[0], *b = &secrets->secret[1];

    HOLDS(memsess_secrets_add(secrets, raw, "shop") == APR_SUCCESS);
    HOLDS(memsess_secrets_add(secrets, raw, "shop2") == APR_SUCCESS);
    HOLDS(memcmp(a->cookie, a->seal, sizeof(a->seal)));
    HOLDS(memcmp(a->cookie, b->cookie, sizeof(a->cookie)));
    HOLDS(memcmp(a->seal, b->seal, sizeof(a->seal)) && memcmp(a->id, b->id, sizeof(a->id)));
}

static int is_clean(const memsess_raw_secret_t *raw)
{
    size_t i;

    for (i = 0; i < sizeof(raw->bytes) && !raw->bytes[i]; i++) {
    }
    return i == sizeof(raw->bytes) && !raw->len;
}

void fuzz(const unsigned char *data, size_t len)
{
    static memsess_raw_secret_t raw;
    size_t kept = without_newlines(data, len);
    const char *source = fuzz_string(data, len), *error;
    int fd = memfd_create("secret", MFD_CLOEXEC);

    error = memsess_secret_syntax(source);
    HOLDS(error ? *error != '\0' : source[5] == '/');

    HOLDS(fd >= 0 && write(fd, data, len) == (ssize_t)len && fchmod(fd, 0600) == 0);
    source = apr_psprintf(fuzz_pool, "file:/proc/self/fd/%d", fd);
    error = memsess_secret_read(source, 0, &raw, fuzz_pool);
    if (error) {
        HOLDS(kept < MEMSESS_SECRET_LEAST || len > MEMSESS_SECRET_MOST);
        HOLDS(is_clean(&raw) && !fuzz_has_control(error));
    }
    else {
        HOLDS(kept >= MEMSESS_SECRET_LEAST && kept <= MEMSESS_SECRET_MOST);
        HOLDS(raw.len == kept && !memcmp(raw.bytes, data, kept));
        check_keys(&raw);
    }
    HOLDS(fchmod(fd, 0604) == 0 && memsess_secret_read(source, 0, &raw, fuzz_pool));
    HOLDS(is_clean(&raw));
    close(fd);
}
