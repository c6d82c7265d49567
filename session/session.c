/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "session/session.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_general.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "base/crypto.h"

apr_status_t memsess_session_make(memsess_session_t **session, apr_time_t now, apr_pool_t *p)
{
    memsess_session_t *s = apr_pcalloc(p, sizeof(*s));
    unsigned char random[MEMSESS_PUBLIC_ID_BYTES];
    apr_status_t rv = apr_generate_random_bytes(random, sizeof(random));

    if (rv == APR_SUCCESS) {
        apr_encode_base64_binary(s->public_id, random, sizeof(random), APR_ENCODE_BASE64URL, NULL);
        s->created = s->used = s->renewed = now;
        s->attrs = apr_array_make(p, 8, sizeof(memsess_attr_t));
        *session = s;
    }
    return rv;
}

const memsess_attr_t *memsess_session_find(const memsess_session_t *session, const char *name)
{
    const memsess_attr_t *attr = (const memsess_attr_t *)session->attrs->elts;
    const memsess_attr_t *end = attr + session->attrs->nelts;

    for (; attr < end; attr++) {
        if (*attr->name == *name && strcmp(attr->name, name) == 0) {
            return attr;
        }
    }
    return NULL;
}

const char *memsess_session_user(const memsess_session_t *session, const char *name)
{
    const memsess_attr_t *attr = memsess_session_find(session, name);

    return !attr || !attr->len || memsess_has_control(attr->value) ? NULL : attr->value;
}

int memsess_has_control(const char *text)
{
    for (; *text && !apr_iscntrl(*text); text++) {
    }
    return *text != '\0';
}

int memsess_attr_name_ok(const char *name, apr_size_t len)
{
    apr_size_t i;

    if (len < 1 || len > MEMSESS_ATTR_NAME_MAX) {
        return 0;
    }
    for (i = 0; i < len; i++) {
        if (!apr_isalnum(name[i]) && (!name[i] || !strchr("_.-", name[i]))) {
            return 0;
        }
    }
    return 1;
}

apr_status_t memsess_id_make(char id[MEMSESS_ID_LEN + 1])
{
    unsigned char random[MEMSESS_ID_BYTES];
    apr_status_t rv = apr_generate_random_bytes(random, sizeof(random));

    if (rv == APR_SUCCESS) {
        rv = apr_encode_base64_binary(id, random, sizeof(random), APR_ENCODE_BASE64URL, NULL);
    }
    return rv;
}

int memsess_base64url_ok(const char *text, apr_size_t len)
{
    apr_size_t i;

    for (i = 0; i < len; i++) {
        if (!apr_isalnum(text[i]) && text[i] != '-' && text[i] != '_') {
            return 0;
        }
    }
    return 1;
}

int memsess_id_ok(const char *id, apr_size_t len)
{
    return len == MEMSESS_ID_LEN && memsess_base64url_ok(id, len);
}

apr_status_t memsess_core_init(apr_pool_t *p)
{
    return memsess_crypto_init(p);
}

apr_status_t memsess_key_make(memsess_key_t *key, const char *ns, const char *id)
{
    const char *const strings[] = {"memsess", ns, id};
    unsigned char digest[MEMSESS_SHA512_BYTES];
    apr_status_t rv = memsess_sha512(strings, 3, digest);

    if (rv == APR_SUCCESS) {
        memcpy(key->digest, digest, sizeof(key->digest));
        memcpy(key->material, digest + sizeof(key->digest), sizeof(key->material));
    }
    return rv;
}

/* The key is the session's, so that nobody sees which sessions belong to one client. */
static apr_status_t bind_digest(unsigned char mac[MEMSESS_MAC_BYTES],
                                const memsess_session_t *session, memsess_bind_t to,
                                const char *value)
{
    unsigned char key[1 + MEMSESS_PUBLIC_ID_LEN];

    key[0] = (unsigned char)to;
    memcpy(key + 1, session->public_id, MEMSESS_PUBLIC_ID_LEN);
    return memsess_hmac(key, sizeof(key), value, strlen(value), mac);
}

apr_status_t memsess_bind(memsess_session_t *session, memsess_bind_t to, const char *value)
{
    unsigned char mac[MEMSESS_MAC_BYTES];
    apr_status_t rv;

    if (!value) {
        return APR_SUCCESS;
    }
    rv = bind_digest(mac, session, to, value);
    if (rv == APR_SUCCESS) {
        memcpy(session->binding.digest[to], mac, MEMSESS_BIND_BYTES);
        session->binding.to |= 1U << to;
    }
    return rv;
}

int memsess_bind_fits(const memsess_session_t *session, memsess_bind_t to, const char *value)
{
    unsigned char mac[MEMSESS_MAC_BYTES];

    return !(session->binding.to & 1U << to)
           || (value && bind_digest(mac, session, to, value) == APR_SUCCESS
               && memsess_equal(mac, session->binding.digest[to], MEMSESS_BIND_BYTES));
}

const char *memsess_key_log(const memsess_key_t *key, apr_pool_t *p)
{
    char *text = apr_palloc(p, 13);

    apr_encode_base64_binary(text, key->digest, 9, APR_ENCODE_BASE64URL, NULL);
    return text;
}
