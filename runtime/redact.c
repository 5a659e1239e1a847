/* The redactor: finds every known secret, in every form in which it can leave, and takes it out. */
#include "redact.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One form of one secret. Forms that begin with the same byte are chained, the longest first. */
struct form {
    struct form *next;
    size_t length;
    char bytes[];
};

struct redactor {
    struct form *chains[256];
    size_t longest;
};

struct redactor *redactor_new(void)
{
    return allocate_zeroed(1, sizeof(struct redactor));
}

void redactor_free(struct redactor *redactor)
{
    if (!redactor)
        return;
    for (size_t i = 0; i < 256; i++) {
        struct form *next;
        for (struct form *form = redactor->chains[i]; form; form = next) {
            next = form->next;
            explicit_bzero(form->bytes, form->length);
            free(form);
        }
    }
    free(redactor);
}

static void add_form(struct redactor *redactor, const char *bytes, size_t length)
{
    if (length < SECRET_MINIMUM)
        return;
    struct form **link = &redactor->chains[(unsigned char)bytes[0]];
    for (; *link && (*link)->length >= length; link = &(*link)->next)
        if ((*link)->length == length && memcmp((*link)->bytes, bytes, length) == 0)
            return;
    struct form *form = allocate(sizeof *form + length);
    form->length = length;
    memcpy(form->bytes, bytes, length);
    form->next = *link;
    *link = form;
    if (length > redactor->longest)
        redactor->longest = length;
}

static void add_buffer_form(struct redactor *redactor, struct buffer *form)
{
    add_form(redactor, form->bytes, form->length);
    buffer_wipe(form);
}

/* How a JSON writer may put it. Go's also escapes <, > and &, lua-cjson the slash. */
enum json_style { JSON_PLAIN, JSON_GO, JSON_SLASH };

static void add_json(struct redactor *redactor, const char *bytes, size_t length, enum json_style style)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    struct buffer form = {0};
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        const char *found = c ? strchr(escaped, c) : NULL;
        /* Go writes \u0008 and \u000c, as do others, where some have \b and \f. */
        bool by_number = style == JSON_GO && (c == '<' || c == '>' || c == '&' || c == '\b' || c == '\f');
        if (found && !by_number)
            buffer_format(&form, "\\%c", letter[found - escaped]);
        else if (c < 0x20 || by_number)
            buffer_format(&form, "\\u%04x", c);
        else if (c == '/' && style == JSON_SLASH)
            buffer_append(&form, "\\/", 2);
        else
            buffer_append(&form, &bytes[i], 1);
    }
    add_buffer_form(redactor, &form);
}

/* In a URL: everything but the unreserved characters as %XX; in a path some more stay as they are; in a query
 * a blank may be a plus. */
static void add_url(struct redactor *redactor, const char *bytes, size_t length, const char *kept, bool plus,
                    const char *format)
{
    struct buffer form = {0};
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < 0x80 && c && (isalnum(c) || strchr("-._~", c) || strchr(kept, c)))
            buffer_append(&form, &bytes[i], 1);
        else if (plus && c == ' ')
            buffer_append(&form, "+", 1);
        else if (format[0] == 'X')
            buffer_format(&form, "%%%02X", c);
        else
            buffer_format(&form, "%%%02x", c);
    }
    add_buffer_form(redactor, &form);
}

/* Base64 of the secret standing `offset` bytes after a multiple of three, as in base64("user:" .. secret):
 * the characters that its bytes alone decide. */
static void add_base64(struct redactor *redactor, const char *bytes, size_t length, size_t offset,
                       const char *last_two)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    struct buffer form = {0};
    size_t first_bit = offset * 8, end_bit = (offset + length) * 8;
    for (size_t bit = (first_bit + 5) / 6 * 6; bit + 6 <= end_bit; bit += 6) {
        size_t at = bit / 8 - offset;
        unsigned pair = (unsigned)(unsigned char)bytes[at] << 8;
        if (at + 1 < length)
            pair |= (unsigned char)bytes[at + 1];
        unsigned value = pair >> (10 - bit % 8) & 63;
        buffer_append(&form, value < 62 ? &letters[value] : &last_two[value - 62], 1);
    }
    add_buffer_form(redactor, &form);
}

static void add_forms(struct redactor *redactor, const char *bytes, size_t length)
{
    add_form(redactor, bytes, length);
    add_json(redactor, bytes, length, JSON_PLAIN);
    add_json(redactor, bytes, length, JSON_GO);
    add_json(redactor, bytes, length, JSON_SLASH);
    add_url(redactor, bytes, length, "", false, "X");
    add_url(redactor, bytes, length, "", false, "x");
    add_url(redactor, bytes, length, "", true, "X");
    add_url(redactor, bytes, length, "/", false, "X");
    add_url(redactor, bytes, length, "!$&'()*+,;=:@/", false, "X");
    for (size_t offset = 0; offset < 3; offset++) {
        add_base64(redactor, bytes, length, offset, "+/");
        add_base64(redactor, bytes, length, offset, "-_");
    }
}

/* The frame of a PEM file is no secret; hiding it would hide every certificate's frame too. */
static bool is_frame(const char *line, size_t length)
{
    return length >= 10 && (memcmp(line, "-----BEGIN", 10) == 0 || memcmp(line, "-----END", 8) == 0);
}

bool redactor_add(struct redactor *redactor, const char *bytes, size_t length)
{
    if (length < SECRET_MINIMUM)
        return false;
    add_forms(redactor, bytes, length);
    if (!memchr(bytes, '\n', length))
        return true;
    const char *end = bytes + length;
    for (const char *line = bytes; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t line_length = (size_t)((newline ? newline : end) - line);
        size_t kept = line_length && line[line_length - 1] == '\r' ? line_length - 1 : line_length;
        if (kept >= SECRET_MINIMUM && !is_frame(line, kept))
            add_forms(redactor, line, kept);
        line += line_length + 1;
    }
    return true;
}

/* Length of the longest form that stands at `text`, 0 where none does. */
static size_t match(const struct redactor *redactor, const char *text, size_t left)
{
    for (const struct form *form = redactor->chains[(unsigned char)*text]; form; form = form->next)
        if (form->length <= left && memcmp(form->bytes, text, form->length) == 0)
            return form->length;
    return 0;
}

/* Forms may overlap: every byte that belongs to any occurrence goes, a run of overlapping ones becomes one
 * REDACTED. Replacing one form after the other would leave the rest of an overlapped one. */
bool redact(const struct redactor *redactor, struct buffer *text)
{
    struct buffer clean = {0};
    size_t hidden_until = 0;
    bool found = false;
    for (size_t i = 0; i < text->length; i++) {
        size_t length = match(redactor, text->bytes + i, text->length - i);
        if (!length)
            continue;
        if (i >= hidden_until) {
            buffer_append(&clean, text->bytes + hidden_until, i - hidden_until);
            buffer_append_text(&clean, REDACTED);
        }
        found = true;
        if (i + length > hidden_until)
            hidden_until = i + length;
    }
    if (!found)
        return false;
    buffer_append(&clean, text->bytes + hidden_until, text->length - hidden_until);
    buffer_wipe(text);
    *text = clean;
    return true;
}

static size_t without_blanks(const char *text, size_t length)
{
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    return length;
}

/* Is there, at `at`, a byte that goes on with a UTF-8 character? */
static bool is_inside_character(const char *text, size_t at)
{
    return ((unsigned char)text[at] & 0xC0) == 0x80;
}

void redacted_tail(const struct redactor *redactor, const struct buffer *text, size_t most,
                   struct buffer *out)
{
    struct buffer clean = {0};
    buffer_append(&clean, buffer_text(text), text->length);
    redact(redactor, &clean);
    const char *said = buffer_text(&clean);
    size_t length = without_blanks(said, clean.length), from = length > most ? length - most : 0;
    const char *newline = from ? memchr(said + from - 1, '\n', length - from + 1) : NULL;
    if (newline)
        from = (size_t)(newline + 1 - said);
    while (from && from < length && is_inside_character(said, from))
        from++;
    buffer_append(out, said + from, length - from);
    buffer_wipe(&clean);
}

void redacted_head(const struct redactor *redactor, const struct buffer *text, size_t most,
                   struct buffer *out)
{
    struct buffer clean = {0};
    buffer_append(&clean, buffer_text(text), text->length);
    redact(redactor, &clean);
    const char *said = buffer_text(&clean);
    size_t length = without_blanks(said, clean.length), from = 0;
    while (from < length && isspace((unsigned char)said[from]))
        from++;
    if (length - from > most)
        for (length = from + most; length > from && is_inside_character(said, length);)
            length--;
    buffer_append(out, said + from, without_blanks(said + from, length - from));
    buffer_wipe(&clean);
}

/* Could the bytes from `text` to the end be the beginning of a form? */
static bool begins(const struct redactor *redactor, const char *text, size_t left)
{
    for (const struct form *form = redactor->chains[(unsigned char)*text]; form; form = form->next)
        if (form->length > left && memcmp(form->bytes, text, left) == 0)
            return true;
    return false;
}

size_t redact_tail(const struct redactor *redactor, const char *text, size_t length)
{
    size_t cut = redactor->longest <= length ? length - redactor->longest : 0;
    while (cut < length && !begins(redactor, text + cut, length - cut))
        cut++;
    /* A whole secret that reaches over the cut stays whole: half of it would pass unseen. */
    size_t reach = redactor->longest;
    for (size_t i = cut; i-- > 0 && cut - i < reach;)
        if (i + match(redactor, text + i, length - i) > cut)
            cut = i;
    return length - cut;
}
