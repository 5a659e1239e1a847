/* known_hosts: patterns, hashed names, markers. */
#include "ssh_known_hosts.h"

#include "host.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_SIZE 20 /* SHA-1, as the file format has it */

/* ---- base64 and what keys are called ---- */

void ssh_base64(const unsigned char *bytes, size_t length, struct buffer *out)
{
    size_t size = (length + 2) / 3 * 4 + 1;
    unsigned char *text = allocate(size);
    int made = EVP_EncodeBlock(text, bytes, (int)length);
    buffer_append(out, text, (size_t)made);
    free(text);
}

bool ssh_base64_decode(const char *text, size_t length, struct buffer *out)
{
    unsigned char *bytes = allocate(length + 4);
    int made =
        length && length % 4 == 0 ? EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length) : -1;
    if (made > 0) {
        size_t padding = (text[length - 1] == '=') + (size_t)(text[length - 2] == '=');
        buffer_append(out, bytes, (size_t)made - padding);
    }
    explicit_bzero(bytes, length + 4);
    free(bytes);
    return made > 0;
}

void ssh_key_type(const unsigned char *blob, size_t length, char *type, size_t size)
{
    *type = '\0';
    if (length < 4)
        return;
    size_t name = (size_t)blob[0] << 24 | (size_t)blob[1] << 16 | (size_t)blob[2] << 8 | blob[3];
    if (name < size && name + 4 <= length) {
        memcpy(type, blob + 4, name);
        type[name] = '\0';
    }
}

void ssh_fingerprint(const unsigned char *blob, size_t length, struct buffer *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_Digest(blob, length, digest, &size, EVP_sha256(), NULL);
    buffer_append_text(out, "SHA256:");
    ssh_base64(digest, size, out);
    while (out->length && out->bytes[out->length - 1] == '=')
        out->bytes[--out->length] = '\0';
}

/* ---- names ---- */

/* '*' and '?', without regard to case. */
static bool matches(const char *pattern, size_t length, const char *name)
{
    for (; length; pattern++, length--) {
        if (*pattern == '*') {
            for (const char *rest = name;; rest++) {
                if (matches(pattern + 1, length - 1, rest))
                    return true;
                if (!*rest)
                    return false;
            }
        }
        if (!*name || (*pattern != '?' && tolower((unsigned char)*pattern) != tolower((unsigned char)*name)))
            return false;
        name++;
    }
    return !*name;
}

/* |1|SALT|HASH of the name. */
static bool matches_hash(const char *field, size_t length, const char *name)
{
    const char *salt = field + 3, *bar = memchr(salt, '|', length - 3);
    if (!bar)
        return false;
    struct buffer key = {0}, wanted = {0};
    unsigned char got[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    bool same =
        ssh_base64_decode(salt, (size_t)(bar - salt), &key) &&
        ssh_base64_decode(bar + 1, length - (size_t)(bar + 1 - field), &wanted) &&
        HMAC(EVP_sha1(), key.bytes, (int)key.length, (const unsigned char *)name, strlen(name), got, &size) &&
        size == wanted.length && memcmp(got, wanted.bytes, size) == 0;
    buffer_free(&key);
    buffer_free(&wanted);
    return same;
}

/* Does the list of patterns mean the name? One with "!" that matches takes it out again. */
static bool means(const char *field, size_t length, const char *name)
{
    if (length > 3 && strncmp(field, "|1|", 3) == 0)
        return matches_hash(field, length, name);
    bool found = false;
    while (length) {
        const char *comma = memchr(field, ',', length);
        size_t piece = comma ? (size_t)(comma - field) : length;
        bool not = piece && *field == '!';
        if (matches(field + not, piece - not, name)) {
            if (not )
                return false;
            found = true;
        }
        field += piece + (comma != NULL);
        length -= piece + (comma != NULL);
    }
    return found;
}

static void full_name(const char *name, int port, struct buffer *out)
{
    if (port && port != 22)
        buffer_format(out, "[%s]:%d", name, port);
    else
        buffer_append_text(out, name);
    for (size_t i = 0; i < out->length; i++)
        out->bytes[i] = (char)tolower((unsigned char)out->bytes[i]);
}

/* ---- lines ---- */

static size_t take_field(const char **line, const char **field)
{
    *line += strspn(*line, " \t");
    *field = *line;
    size_t length = strcspn(*line, " \t\r\n");
    *line += length;
    return length;
}

static void take_line(const char *line, const char *name, struct ssh_known_keys *keys)
{
    const char *field;
    size_t length = take_field(&line, &field);
    struct ssh_known_key key = {.what = SSH_KEY_HOST};
    if (!length || *field == '#')
        return;
    if (*field == '@') {
        if (length == 8 && strncmp(field, "@revoked", 8) == 0)
            key.what = SSH_KEY_REVOKED;
        else if (length == 15 && strncmp(field, "@cert-authority", 15) == 0)
            key.what = SSH_KEY_AUTHORITY;
        else
            return;
        length = take_field(&line, &field);
    }
    if (!means(field, length, name))
        return;
    length = take_field(&line, &field);
    if (!length || length >= sizeof key.type)
        return;
    memcpy(key.type, field, length);
    length = take_field(&line, &field);
    struct buffer blob = {0};
    char inside[sizeof key.type];
    if (!ssh_base64_decode(field, length, &blob)) {
        buffer_free(&blob);
        return;
    }
    ssh_key_type((unsigned char *)blob.bytes, blob.length, inside, sizeof inside);
    if (strcmp(inside, key.type) != 0) { /* damaged */
        buffer_free(&blob);
        return;
    }
    key.blob = (unsigned char *)blob.bytes;
    key.length = blob.length;
    keys->items = reallocate(keys->items, (keys->count + 1) * sizeof *keys->items);
    keys->items[keys->count++] = key;
}

void ssh_known_keys_parse(const char *text, const char *name, int port, struct ssh_known_keys *keys)
{
    struct buffer full = {0};
    full_name(name, port, &full);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        take_line(line, buffer_text(&full), keys);
    buffer_free(&full);
}

/* Moves them. */
static void append(struct ssh_known_keys *keys, struct ssh_known_keys *others)
{
    keys->items = reallocate(keys->items, (keys->count + others->count + 1) * sizeof *keys->items);
    for (size_t i = 0; i < others->count; i++)
        keys->items[keys->count++] = others->items[i];
    others->count = 0;
}

bool ssh_known_keys_read(struct runtime *runtime, const struct ssh_settings *settings,
                         struct ssh_known_keys *keys, struct failure *failure)
{
    int port = settings->has_alias ? 0 : settings->port;
    struct ssh_known_keys plain = {0};
    for (size_t i = 0; i < settings->known_hosts.count; i++) {
        const char *path = settings->known_hosts.items[i];
        struct buffer text = {0};
        if (!host_read(runtime->local, path, &text, failure)) {
            buffer_free(&text);
            if (strcmp(failure->kind, "not-found") == 0)
                continue;
            ssh_known_keys_free(&plain);
            return false;
        }
        ssh_known_keys_parse(buffer_text(&text), settings->key_name, port, keys);
        if (port && port != 22)
            ssh_known_keys_parse(buffer_text(&text), settings->key_name, 0, &plain);
        buffer_free(&text);
    }
    /* Another port may be another machine: the keys of the plain name count where they match, and where no key of a host is
     * on record for the port; a revoked key or an authority for all ("*") is none. As ssh does it, but for a key that is
     * revoked for the plain name, which ssh then takes for a new one. */
    if (!ssh_known_keys_have(keys, SSH_KEY_HOST, NULL)) {
        append(keys, &plain);
        keys->of_other_port = true;
    }
    ssh_known_keys_free(&plain);
    return true;
}

void ssh_known_keys_free(struct ssh_known_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free(keys->items[i].blob);
    free(keys->items);
    *keys = (struct ssh_known_keys){0};
}

bool ssh_known_keys_have(const struct ssh_known_keys *keys, int what, const char *type)
{
    for (size_t i = 0; i < keys->count; i++)
        if ((int)keys->items[i].what == what && (!type || strcmp(keys->items[i].type, type) == 0))
            return true;
    return false;
}

enum ssh_verdict ssh_known_keys_judge(const struct ssh_known_keys *keys, const unsigned char *blob,
                                      size_t length)
{
    enum ssh_verdict verdict = SSH_KEY_UNKNOWN;
    for (size_t i = 0; i < keys->count; i++) {
        const struct ssh_known_key *key = &keys->items[i];
        bool same = key->length == length && memcmp(key->blob, blob, length) == 0;
        if (same && key->what == SSH_KEY_REVOKED)
            return SSH_KEY_IS_REVOKED;
        if (key->what != SSH_KEY_HOST)
            continue;
        if (same)
            verdict = SSH_KEY_KNOWN;
        else if (verdict != SSH_KEY_KNOWN)
            verdict = SSH_KEY_CHANGED;
    }
    return verdict == SSH_KEY_CHANGED && keys->of_other_port ? SSH_KEY_UNKNOWN : verdict;
}

/* ---- a new one ---- */

static void hashed_name(const char *name, struct buffer *line)
{
    unsigned char salt[HASH_SIZE], hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    RAND_bytes(salt, sizeof salt);
    HMAC(EVP_sha1(), salt, sizeof salt, (const unsigned char *)name, strlen(name), hash, &size);
    buffer_append_text(line, "|1|");
    ssh_base64(salt, sizeof salt, line);
    buffer_append_text(line, "|");
    ssh_base64(hash, size, line);
}

/* Appended in one write, as ssh does: the file may be a link, or not a file at all. */
static bool append_line(const char *path, const struct buffer *line, struct failure *failure)
{
    struct buffer folder = {0};
    const char *slash = strrchr(path, '/');
    buffer_append(&folder, path, slash ? (size_t)(slash - path) : 0);
    if (folder.length)
        mkdir(buffer_text(&folder), 0700); /* ~/.ssh of somebody who never used ssh */
    buffer_free(&folder);
    int file = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (file < 0)
        return failure_errno(failure, errno, "known hosts", "%s", path);
    struct stat found;
    char last = '\n';
    bool whole = fstat(file, &found) != 0 || found.st_size == 0 ||
                 pread(file, &last, 1, found.st_size - 1) != 1 || last == '\n';
    struct buffer text = {0};
    buffer_format(&text, "%s%s", whole ? "" : "\n", buffer_text(line));
    ssize_t written = write(file, buffer_text(&text), text.length);
    int error = errno;
    bool done = written == (ssize_t)text.length;
    close(file);
    buffer_free(&text);
    return done || failure_errno(failure, written < 0 ? error : ENOSPC, "known hosts", "%s", path);
}

bool ssh_known_keys_add(const struct ssh_settings *settings, const unsigned char *blob, size_t length,
                        struct failure *failure)
{
    struct buffer name = {0}, line = {0};
    char type[48];
    if (!settings->own_known_hosts)
        return true; /* the configuration wants none to be kept */
    ssh_key_type(blob, length, type, sizeof type);
    full_name(settings->key_name, settings->has_alias ? 0 : settings->port, &name);
    if (settings->hash_known_hosts)
        hashed_name(buffer_text(&name), &line);
    else
        buffer_append_text(&line, buffer_text(&name));
    buffer_format(&line, " %s ", type);
    ssh_base64(blob, length, &line);
    buffer_append_text(&line, "\n");
    bool done = append_line(settings->known_hosts.items[0], &line, failure);
    buffer_free(&name);
    buffer_free(&line);
    return done;
}
