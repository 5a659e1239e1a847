/* apt's source files: reading enough of them to find and take out entries, and writing one's own. */
#include "apt_source.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool apt_suite_is_flat(const char *suite)
{
    size_t length = strlen(suite);
    return length && suite[length - 1] == '/';
}

/* Length of "scheme://host" at the start of a URI: what is compared without case. */
static size_t authority_length(const char *uri, size_t length)
{
    const char *marker = memmem(uri, length, "://", 3);
    if (!marker)
        return 0;
    size_t at = (size_t)(marker - uri) + 3;
    while (at < length && uri[at] != '/')
        at++;
    return at;
}

static size_t length_without_slashes(const char *uri, size_t length)
{
    while (length && uri[length - 1] == '/')
        length--;
    return length;
}

static bool uri_equal(const char *a, size_t a_length, const char *b, size_t b_length)
{
    a_length = length_without_slashes(a, a_length);
    b_length = length_without_slashes(b, b_length);
    if (a_length != b_length)
        return false;
    size_t authority = authority_length(a, a_length);
    return authority == authority_length(b, b_length) && strncasecmp(a, b, authority) == 0 &&
           memcmp(a + authority, b + authority, a_length - authority) == 0;
}

static void write_list(struct buffer *out, const char *field, const char *const *words)
{
    if (!words || !words[0])
        return;
    buffer_format(out, "%s:", field);
    for (; *words; words++)
        buffer_format(out, " %s", *words);
    buffer_append_text(out, "\n");
}

void apt_source_write(const struct apt_source *source, const char *comment, struct buffer *out)
{
    buffer_append_text(out, comment);
    if (*comment && comment[strlen(comment) - 1] != '\n')
        buffer_append_text(out, "\n");
    buffer_format(out, "Types: deb\nURIs: %s\nSuites: %s\n", source->uri, source->suite);
    if (!apt_suite_is_flat(source->suite))
        write_list(out, "Components", source->components);
    write_list(out, "Architectures", source->architectures);
    if (source->keyring)
        buffer_format(out, "Signed-By: %s\n", source->keyring);
}

static size_t line_length(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? (size_t)(end - line) + 1 : strlen(line);
}

void apt_source_comment(const char *text, struct buffer *out)
{
    while (*text == '#') {
        size_t length = line_length(text);
        buffer_append(out, text, length);
        text += length;
    }
}

/* ---- words ---- */

struct word {
    const char *at;
    size_t length;
};

/* Next word of [*at, end), separated by blanks of any kind. */
static bool next_word(const char **at, const char *end, struct word *word)
{
    while (*at < end && isspace((unsigned char)**at))
        (*at)++;
    word->at = *at;
    while (*at < end && !isspace((unsigned char)**at))
        (*at)++;
    word->length = (size_t)(*at - word->at);
    return word->length > 0;
}

static bool word_is(struct word word, const char *text)
{
    return word.length == strlen(text) && strncasecmp(word.at, text, word.length) == 0;
}

/* ---- .list: "deb [options] uri suite components" ---- */

/* The URI of an entry line; false for blanks, comments and what is no entry. */
static bool line_uri(const char *line, size_t length, struct word *uri)
{
    const char *at = line, *end = line + length;
    struct word type;
    if (!next_word(&at, end, &type) || (!word_is(type, "deb") && !word_is(type, "deb-src")))
        return false;
    while (at < end && isblank((unsigned char)*at))
        at++;
    if (at < end && *at == '[') {
        const char *close = memchr(at, ']', (size_t)(end - at));
        if (!close)
            return false;
        at = close + 1;
    }
    return next_word(&at, end, uri);
}

static bool take_out_lines(const char *text, const char *uri, struct buffer *rest, bool *empty)
{
    bool found = false;
    *empty = true;
    while (*text) {
        size_t length = line_length(text);
        struct word word;
        bool entry = line_uri(text, length, &word);
        if (entry && uri_equal(word.at, word.length, uri, strlen(uri))) {
            found = true;
        } else {
            buffer_append(rest, text, length);
            *empty = *empty && !entry;
        }
        text += length;
    }
    return found;
}

/* ---- .sources: stanzas of fields, separated by blank lines ---- */

static bool is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isspace((unsigned char)line[i]))
            return false;
    return true;
}

/* Length of the stanza at `text` with the blank lines after it. A line of comment does not end it. */
static size_t stanza_length(const char *text)
{
    size_t total = 0;
    bool ended = false;
    while (text[total]) {
        size_t length = line_length(text + total);
        bool blank = is_blank(text + total, length);
        if (ended && !blank)
            break;
        ended = ended || (blank && total > 0);
        total += length;
    }
    return total;
}

/* Length of the field at `at`: its line, and continuation and comment lines within it. */
static size_t field_length(const char *at, const char *end)
{
    size_t length = line_length(at), more = length;
    while (at + more < end) {
        size_t next = line_length(at + more);
        bool continues = at[more] == ' ' || at[more] == '\t';
        if (is_blank(at + more, next) || (!continues && at[more] != '#'))
            break;
        more += next;
        if (continues)
            length = more; /* a comment belongs to the field only when the field goes on after it */
    }
    return length;
}

/* Finds a field of the stanza; the span begins at its name. */
static bool find_field(const char *stanza, size_t length, const char *name, struct word *field)
{
    const char *at = stanza, *end = stanza + length;
    size_t name_length = strlen(name);
    while (at < end) {
        size_t span = *at == '#' ? line_length(at) : field_length(at, end);
        if (span > name_length && strncasecmp(at, name, name_length) == 0 && at[name_length] == ':') {
            *field = (struct word){at, span};
            return true;
        }
        at += span;
    }
    return false;
}

static bool stanza_is_entry(const char *stanza, size_t length)
{
    struct word field, value;
    if (!find_field(stanza, length, "Types", &field))
        return false;
    if (!find_field(stanza, length, "Enabled", &field))
        return true;
    const char *at = field.at + strlen("Enabled:");
    return !next_word(&at, field.at + field.length, &value) ||
           !(word_is(value, "no") || word_is(value, "false") || word_is(value, "without") ||
             word_is(value, "off") || word_is(value, "disable"));
}

/* The URIs of a stanza other than `uri`, each with a blank before it. `found`: was it among them? */
static void other_uris(struct word field, const char *uri, struct buffer *others, bool *found)
{
    const char *at = field.at, *end = field.at + field.length;
    struct word word;
    at += strlen("URIs:");
    *found = false;
    while (at < end) {
        while (at < end && isspace((unsigned char)*at))
            at++;
        if (at < end && *at == '#' && at[-1] == '\n') {
            at += line_length(at);
            continue;
        }
        if (!next_word(&at, end, &word))
            break;
        if (uri_equal(word.at, word.length, uri, strlen(uri))) {
            *found = true;
        } else {
            buffer_append_text(others, " ");
            buffer_append(others, word.at, word.length);
        }
    }
}

/* Appends what shall stay of one stanza. True when the repository was in it. */
static bool take_out_of_stanza(const char *stanza, size_t length, const char *uri, struct buffer *rest,
                               bool *entry_left)
{
    struct buffer others = {0};
    struct word field;
    bool found = false;
    *entry_left = stanza_is_entry(stanza, length);
    if (*entry_left && find_field(stanza, length, "URIs", &field))
        other_uris(field, uri, &others, &found);
    if (!found) {
        buffer_append(rest, stanza, length);
    } else if (others.length) {
        buffer_append(rest, stanza, (size_t)(field.at - stanza));
        buffer_format(rest, "URIs:%s\n", buffer_text(&others));
        buffer_append(rest, field.at + field.length, length - (size_t)(field.at - stanza) - field.length);
    } else {
        *entry_left = false;
    }
    buffer_free(&others);
    return found;
}

static bool take_out_stanzas(const char *text, const char *uri, struct buffer *rest, bool *empty)
{
    bool found = false;
    *empty = true;
    while (*text) {
        size_t length = stanza_length(text);
        bool entry_left;
        found = take_out_of_stanza(text, length, uri, rest, &entry_left) || found;
        *empty = *empty && !entry_left;
        text += length;
    }
    return found;
}

bool apt_source_take_out(const char *text, bool deb822, const char *uri, struct buffer *rest, bool *empty)
{
    return deb822 ? take_out_stanzas(text, uri, rest, empty) : take_out_lines(text, uri, rest, empty);
}

/* ---- names ---- */

/* As URItoFileName and QuoteString of apt do it. */
void apt_list_name(const char *url, struct buffer *out)
{
    const char *marker = strstr(url, "://"), *at = marker ? marker + 3 : url;
    size_t host = strcspn(at, "/");
    const char *user = memchr(at, '@', host);
    if (marker && user)
        at = user + 1;
    for (; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '/')
            buffer_append_text(out, "_");
        else if (strchr("\\|{}[]<>\"^~_=!@#$%&*", byte) || byte <= 0x20 || byte >= 0x7f)
            buffer_format(out, "%%%02x", byte);
        else
            buffer_append(out, at, 1);
    }
}

void apt_release_url(const char *uri, const char *suite, const char *file, struct buffer *out)
{
    buffer_append(out, uri, length_without_slashes(uri, strlen(uri)));
    if (!apt_suite_is_flat(suite)) {
        buffer_format(out, "/dists/%s/%s", suite, file);
        return;
    }
    while (strncmp(suite, "./", 2) == 0)
        suite += 2;
    buffer_format(out, "/%s%s", suite[0] == '/' ? suite + 1 : suite, file);
}

void apt_suites_of_index(const char *page, struct buffer *out)
{
    for (const char *at = page; (at = strstr(at, "href=\"")) != NULL;) {
        at += strlen("href=\"");
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_.~");
        if (length && at[0] != '.' && at[length] == '/' && at[length + 1] == '"') {
            buffer_append_text(out, " ");
            buffer_append(out, at, length);
        }
    }
}
