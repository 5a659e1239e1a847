/* Key files: the public part stands in front, in clear. */
#include "ssh_identity.h"

#include "host.h"
#include "ssh_known_hosts.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "openssh-key-v1"

static size_t number_at(const unsigned char *bytes)
{
    return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
}

/* The string at `*at`, which then is behind it; NULL past the end. */
static const unsigned char *string_at(const struct buffer *key, size_t *at, size_t *length)
{
    const unsigned char *bytes = (const unsigned char *)key->bytes;
    if (*at + 4 > key->length || (*length = number_at(bytes + *at)) > key->length - *at - 4)
        return NULL;
    const unsigned char *string = bytes + *at + 4;
    *at += 4 + *length;
    return string;
}

/* magic, cipher, kdf, its options, number of keys, public key, ... */
static void read_openssh(const struct buffer *key, struct ssh_identity *identity)
{
    size_t at = sizeof MAGIC, length = 0;
    if (key->length < sizeof MAGIC || memcmp(key->bytes, MAGIC, sizeof MAGIC) != 0)
        return;
    const unsigned char *cipher = string_at(key, &at, &length);
    if (!cipher)
        return;
    identity->encrypted = length != 4 || memcmp(cipher, "none", 4) != 0;
    if (!string_at(key, &at, &length) || !string_at(key, &at, &length))
        return;
    at += 4;
    const unsigned char *blob = string_at(key, &at, &length);
    if (!blob)
        return;
    buffer_append(&identity->blob, blob, length);
    ssh_key_type(blob, length, identity->type, sizeof identity->type);
}

void ssh_identity_parse(const char *text, size_t length, struct ssh_identity *identity)
{
    static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
    (void)length;
    const char *start = strstr(text, begin);
    const char *end = start ? strstr(start, "-----END") : NULL;
    if (end) {
        struct buffer base64 = {0}, key = {0};
        for (const char *at = start + strlen(begin); at < end; at++)
            if (!strchr(" \t\r\n", *at))
                buffer_append(&base64, at, 1);
        if (ssh_base64_decode(buffer_text(&base64), base64.length, &key))
            read_openssh(&key, identity);
        buffer_wipe(&base64);
        buffer_wipe(&key);
        return;
    }
    identity->encrypted = strstr(text, "ENCRYPTED") != NULL;
    if (strstr(text, "BEGIN RSA PRIVATE KEY"))
        strcpy(identity->type, "ssh-rsa");
}

/* "ssh-ed25519 AAAA... comment" */
static void read_public(const char *text, struct ssh_identity *identity)
{
    const char *blob = strchr(text, ' ');
    struct buffer decoded = {0};
    if (blob && ssh_base64_decode(blob + 1, strcspn(blob + 1, " \r\n"), &decoded)) {
        ssh_key_type((unsigned char *)decoded.bytes, decoded.length, identity->type, sizeof identity->type);
        buffer_free(&identity->blob);
        identity->blob = decoded;
        return;
    }
    buffer_free(&decoded);
}

void ssh_identity_look(struct runtime *runtime, const char *path, struct ssh_identity *identity)
{
    struct failure ignored;
    struct buffer text = {0}, public = {0}, name = {0};
    *identity = (struct ssh_identity){.path = path};
    bool is_private = false;
    if (host_read(runtime->local, path, &text, &ignored)) {
        is_private = strstr(buffer_text(&text), "PRIVATE KEY") != NULL;
        if (is_private)
            ssh_identity_parse(buffer_text(&text), text.length, identity);
        else
            read_public(buffer_text(&text), identity); /* IdentityFile names the public half */
    }
    identity->exists = is_private;
    buffer_wipe(&text);
    buffer_format(&name, "%s.pub", path);
    if (host_read(runtime->local, buffer_text(&name), &public, &ignored)) {
        identity->has_public = true;
        if (!identity->blob.length)
            read_public(buffer_text(&public), identity);
    }
    buffer_free(&public);
    buffer_free(&name);
}

void ssh_identity_free(struct ssh_identity *identity)
{
    buffer_free(&identity->blob);
}
