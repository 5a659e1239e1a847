/* The history of sessions: a file in the state folder, 0600, an input a line with its newlines escaped. Appended to as it comes,
 * so that sessions at the same time and a session that is killed lose nothing. */
#include "host.h"
#include "redact.h"
#include "repl.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MOST 2000
#define SIZE_MOST (4 << 20)

/* "\n" and "\\" for the file, and back. */
static void escape(const char *text, struct buffer *out)
{
    for (; *text; text++)
        if (*text == '\n')
            buffer_append_text(out, "\\n");
        else if (*text == '\\')
            buffer_append_text(out, "\\\\");
        else
            buffer_append(out, text, 1);
}

static void unescape(const char *text, size_t length, struct buffer *out)
{
    for (size_t i = 0; i < length; i++) {
        bool escaped = text[i] == '\\' && i + 1 < length;
        i += escaped;
        buffer_append(out, escaped && text[i] == 'n' ? "\n" : text + i, 1);
    }
}

/* ---- what is not kept ---- */

/* "--password", "...": the name is a text of its own before the literal's comma. */
static bool is_next_of_list(const char *text, size_t at, size_t end)
{
    while (at < end && (isalnum((unsigned char)text[at]) || strchr("_-", text[at])))
        at++;
    if (at == end || !strchr("'\"", text[at++]))
        return false;
    while (at < end && isspace((unsigned char)text[at]))
        at++;
    if (at == end || text[at++] != ',')
        return false;
    while (at < end && isspace((unsigned char)text[at]))
        at++;
    return at == end;
}

/* Length of the word that stands there, if it is one for secrets. */
static size_t secret_word(const char *text, size_t left)
{
    static const char *const words[] = {"token",   "password",   "passwd", "secret",       "apikey",
                                        "api_key", "passphrase", "bearer", "authorization"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if (length <= left && strncasecmp(text, words[i], length) == 0)
            return length;
    }
    return 0;
}

/* Does what stands before the literal name something secret? X-Vault-Token = "...", token="...", VAULT_TOKEN. */
static bool names_secret(const char *text, size_t end)
{
    for (size_t at = end > 40 ? end - 40 : 0; at < end; at++) {
        size_t length = secret_word(text + at, end - at);
        if (length == 0)
            continue;
        size_t after = at + length;
        while (after < end && (isalnum((unsigned char)text[after]) || strchr("_ \t\"']=[(,", text[after])))
            after++;
        if (after == end && memchr(text + at + length, '=', end - at - length))
            return true;
        if (is_next_of_list(text, at + length, end))
            return true;
    }
    return false;
}

/* Is the value told behind such a name, and not only where it comes from: $TOKEN, %s, @TOKEN@, {{ ... }}, a path? */
static bool tells_value(const char *text, size_t at, size_t end, bool option)
{
    while (at < end && (isalnum((unsigned char)text[at]) || strchr("_-\\\"'", text[at])))
        at++;
    size_t named = at;
    while (at < end && isspace((unsigned char)text[at]))
        at++;
    bool assigned = at < end && strchr("=:", text[at]);
    if (!assigned && (!option || at == named))
        return false;
    at += assigned;
    while (at < end && strchr(" \t\\\"'", text[at]))
        at++;
    size_t begin = at;
    while (at < end && !strchr(" \t\n\\\"'", text[at]))
        at++;
    return at - begin >= SECRET_MINIMUM && !strchr("$%@{</-", text[begin]);
}

/* Is one inside of the literal, by its name: "Authorization: Bearer ...", "tool --token=...", "mysql --password ..."? */
static bool holds_secret(const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        size_t word = secret_word(text + at, length - at), begin = at;
        if (word == 0)
            continue;
        while (begin && (isalnum((unsigned char)text[begin - 1]) || strchr("_-", text[begin - 1])))
            begin--;
        if (tells_value(text, at + word, length, text[begin] == '-'))
            return true;
        at += word - 1;
    }
    return false;
}

/* Looks the literal like one? Tokens of Vault ("hvs.", "s.", "b."), private keys, JSON web tokens, and what is secret by its
 * name. An id of Consul is 36 characters of hexadecimal digits, and so is its secret: with a name only. */
static bool looks_secret(const char *text, size_t begin, size_t length)
{
    static const char *const prefixes[] = {"hvs.", "hvb.", "hvr.",       "s.",   "b.",
                                           "r.",   "eyJ",  "-----BEGIN", "ghp_", "AKIA"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t prefix = strlen(prefixes[i]);
        if (length >= 20 && strncmp(text + begin, prefixes[i], prefix) == 0 &&
            !memchr(text + begin, ' ', prefix < 6 ? length : 0))
            return true;
    }
    return length >= SECRET_MINIMUM &&
           ((begin && names_secret(text, begin - 1)) || holds_secret(text + begin, length));
}

/* Of a command, "NAME=VALUE" without quotes. */
static bool has_secret_word(const char *text)
{
    for (size_t i = 1; *text == ':' && text[i]; i++)
        if (text[i - 1] == '=' && !isspace((unsigned char)text[i]) && names_secret(text, i))
            return true;
    return false;
}

/* Where the content of the literal that begins there ends; `begin`: where it begins. 0: there is none. */
static size_t find_literal(const char *text, size_t at, size_t *begin)
{
    if (text[at] == '[') {
        size_t level = strspn(text + at + 1, "=");
        *begin = at + level + 2;
        if (text[at + 1 + level] != '[')
            return 0;
        for (size_t end = *begin;; end++)
            if (!text[end] ||
                (text[end] == ']' && strspn(text + end + 1, "=") == level && text[end + 1 + level] == ']'))
                return end;
    }
    if (text[at] != '"' && text[at] != '\'')
        return 0;
    *begin = at + 1;
    size_t end = at + 1;
    while (text[end] && text[end] != text[at])
        end += text[end] == '\\' && text[end + 1] ? 2 : 1;
    return end;
}

/* Is a secret in it: one that is known, or a literal that looks like one? */
bool repl_is_secret(const struct repl *repl, const char *text)
{
    struct buffer copy = {0};
    buffer_append_text(&copy, text);
    bool secret = redact(repl->runtime->redactor, &copy) || has_secret_word(text + strspn(text, " \t"));
    buffer_wipe(&copy);
    for (size_t i = 0, begin; text[i] && !secret; i++) {
        size_t end = find_literal(text, i, &begin);
        if (!end)
            continue;
        secret = looks_secret(text, begin, end - begin);
        i = end - (text[end] == '\0');
    }
    return secret;
}

/* ---- the file ---- */

static bool append(const char *path, const char *text, size_t length, int flags)
{
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (file < 0)
        return false;
    bool done = fchmod(file, 0600) == 0 && write(file, text, length) == (ssize_t)length;
    return close(file) == 0 && done;
}

void repl_history_add(struct repl *repl, const char *text)
{
    struct buffer line = {0};
    if (!repl->history || repl_is_secret(repl, text))
        return;
    line_remember(repl->reader, text);
    escape(text, &line);
    buffer_append_text(&line, "\n");
    append(repl->history, line.bytes, line.length, O_APPEND);
    buffer_wipe(&line);
}

/* What is too much goes: the newest stay. */
static void shorten(const char *path, const char *from, size_t length)
{
    struct buffer beside = {0};
    buffer_format(&beside, "%s.%ld", path, (long)getpid());
    if (append(beside.bytes, from, length, O_EXCL))
        rename(beside.bytes, path);
    else
        unlink(beside.bytes);
    buffer_free(&beside);
}

static void read_all(const char *path, struct buffer *text)
{
    char piece[65536];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length;
    while (file >= 0 && text->length < SIZE_MOST && (length = read(file, piece, sizeof piece)) > 0)
        buffer_append(text, piece, (size_t)length);
    if (file >= 0)
        close(file);
}

static void make_folder(const char *state)
{
    struct buffer path = {0};
    buffer_append_text(&path, state);
    for (char *slash = strchr(path.bytes + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path.bytes, 0700);
        *slash = '/';
    }
    mkdir(path.bytes, 0700);
    buffer_append_text(&path, "/moonbook");
    mkdir(path.bytes, 0700);
    buffer_free(&path);
}

void repl_history_open(struct repl *repl, bool read)
{
    struct buffer path = {0}, text = {0}, entry = {0};
    make_folder(repl->runtime->local->state);
    buffer_format(&path, "%s/moonbook/history", repl->runtime->local->state);
    repl->history = path.bytes;
    if (!read)
        return;
    read_all(path.bytes, &text);
    size_t entries = 0;
    for (const char *at = text.bytes; at && (at = strchr(at, '\n')); at++)
        entries++;
    const char *from = buffer_text(&text);
    for (size_t drop = entries > KEPT_MOST ? entries - KEPT_MOST : 0; drop; drop--)
        from = strchr(from, '\n') + 1;
    if (entries > KEPT_MOST + KEPT_MOST / 2)
        shorten(path.bytes, from, text.length - (size_t)(from - text.bytes));
    for (const char *end; (end = strchr(from, '\n')); from = end + 1) {
        buffer_clear(&entry);
        unescape(from, (size_t)(end - from), &entry);
        line_remember(repl->reader, buffer_text(&entry));
    }
    buffer_wipe(&text);
    buffer_wipe(&entry);
}
