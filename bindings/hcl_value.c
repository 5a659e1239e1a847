/* Values: what is written, and what it means. */
#include "hcl_value.h"

#include "hcl_scan.h"
#include "utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ---- */

static void append_character(struct buffer *out, unsigned code)
{
    char bytes[4];
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(lead[length] | code);
    buffer_append(out, bytes, length);
}

/* "\ud83d\ude00" of JSON is one character. */
static size_t read_escape(const char *text, size_t left, bool json, unsigned *code, bool *is_byte)
{
    size_t length = hcl_escape(text, left, code, is_byte);
    if (length == 6 && *code >= 0xD800 && *code < 0xE000) {
        unsigned low = 0;
        bool ignored;
        size_t more = json ? hcl_escape(text + 6, left - 6, &low, &ignored) : 0;
        if (more == 6 && *code < 0xDC00 && low >= 0xDC00 && low < 0xE000) {
            *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
            return 12;
        }
        *code = 0xFFFD; /* half of a pair */
    }
    return length;
}

/* The inside of the quotes. */
static void unquote(const char *text, size_t length, bool json, struct buffer *out)
{
    struct hcl_scan scan = {.text = text, .length = length};
    size_t start = out->length;
    while (scan.at < length) {
        char c = text[scan.at], next = hcl_peek(&scan, 1);
        if (c == '\\') {
            unsigned code = 0xFFFD;
            bool is_byte = false;
            size_t step = read_escape(text + scan.at, length - scan.at, json, &code, &is_byte);
            scan.at += step > 0 ? step : 1;
            char byte = (char)code;
            /* A "${" that no template begins with. */
            char last = out->length > start ? out->bytes[out->length - 1] : '\0';
            if ((code == '$' || code == '%') && hcl_peek(&scan, 0) == '{')
                buffer_append(out, &byte, 1);
            else if (code == '{' && (last == '$' || last == '%'))
                buffer_append(out, &last, 1);
            if (is_byte)
                buffer_append(out, &byte, 1);
            else
                append_character(out, code);
            continue;
        }
        size_t begin = scan.at;
        if ((c == '$' || c == '%') && next == c && hcl_peek(&scan, 2) == '{')
            scan.at += 3;
        else if (json || (c != '$' && c != '%') || next != '{' || !hcl_scan_template(&scan))
            scan.at = begin + 1;
        buffer_append(out, text + begin, scan.at - begin);
    }
}

/* The lines of an indented heredoc lose the blanks that all of them begin with, as HCL2 does it. */
static size_t common_indentation(const char *text, size_t length)
{
    size_t least = SIZE_MAX;
    for (size_t at = 0; at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t end = newline != NULL ? (size_t)(newline - text) : length, blanks = 0;
        while (at + blanks < end && (text[at + blanks] == ' ' || text[at + blanks] == '\t'))
            blanks++;
        bool empty = at + blanks == end || text[at + blanks] == '\r';
        if (!empty && blanks < least)
            least = blanks;
        at = end + 1;
    }
    return least == SIZE_MAX ? 0 : least;
}

static void unindent(const char *text, size_t length, size_t indentation, struct buffer *out)
{
    for (size_t at = 0; at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t end = newline != NULL ? (size_t)(newline - text) + 1 : length, cut = 0;
        while (cut < indentation && at + cut < end && (text[at + cut] == ' ' || text[at + cut] == '\t'))
            cut++;
        buffer_append(out, text + at + cut, end - at - cut);
        at = end;
    }
}

static void heredoc_text(const char *text, size_t length, struct buffer *out)
{
    const char *first = memchr(text, '\n', length), *last = memrchr(text, '\n', length);
    if (first == NULL || last == first)
        return;
    size_t size = (size_t)(last - first); /* with the newline before the closing word */
    unindent(first + 1, size, text[2] == '-' ? common_indentation(first + 1, size) : 0, out);
}

void hcl_text(const struct hcl_document *document, uint32_t node, struct buffer *out)
{
    const struct hcl_node *at = hcl_at(document, node);
    const char *text = document->text + at->begin;
    size_t length = at->end - at->begin;
    if (at->kind == HCL_HEREDOC)
        heredoc_text(text, length, out);
    else if (length >= 2 && text[0] == '"' && at->kind != HCL_EXPRESSION)
        unquote(text + 1, length - 2, document->json, out);
    else
        buffer_append(out, text, length);
}

bool hcl_text_is(const struct hcl_document *document, uint32_t node, const char *bytes, size_t length)
{
    const struct hcl_node *at = hcl_at(document, node);
    const char *text = document->text + at->begin;
    size_t size = at->end - at->begin;
    if (at->kind == HCL_KEY && text[0] != '"')
        return size == length && memcmp(text, bytes, length) == 0;
    /* Where nothing stands for anything else, the bytes between the quotes are the text. */
    if (at->kind == HCL_KEY && memchr(text, '\\', size) == NULL && memchr(text, '$', size) == NULL &&
        memchr(text, '%', size) == NULL)
        return size == length + 2 && memcmp(text + 1, bytes, length) == 0;
    struct buffer mine = {0};
    hcl_text(document, node, &mine);
    bool same = mine.length == length && (length == 0 || memcmp(mine.bytes, bytes, length) == 0);
    buffer_wipe(&mine);
    return same;
}

/* One character that must not stand for itself between quotes; false where it may. */
static bool quote_character(char c, struct buffer *out)
{
    static const char plain[] = "\"\\\n\r\t", letter[] = "\"\\nrt";
    const char *found = c != '\0' ? strchr(plain, c) : NULL;
    if (found != NULL)
        buffer_format(out, "\\%c", letter[found - plain]);
    else if ((unsigned char)c < 0x20 || c == 0x7F)
        buffer_format(out, "\\u%04x", (unsigned)c);
    else
        return false;
    return true;
}

/* A template is copied as it is written; in JSON its quotes need escapes like any. */
static bool quote_template(struct hcl_scan *scan, bool json, struct buffer *out)
{
    size_t begin = scan->at;
    if (!hcl_scan_template(scan)) {
        scan->at = begin;
        return false;
    }
    for (size_t i = begin; i < scan->at; i++)
        if (!json || !quote_character(scan->text[i], out))
            buffer_append(out, scan->text + i, 1);
    return true;
}

bool hcl_quote(const char *bytes, size_t length, bool literal, bool json, struct buffer *out)
{
    struct hcl_scan scan = {.text = bytes, .length = length};
    size_t start = out->length, step;
    buffer_append(out, "\"", 1);
    while (scan.at < length && (step = utf8_length(bytes + scan.at, length - scan.at)) > 0) {
        char c = bytes[scan.at];
        bool sign = c == '$' || c == '%';
        /* \u0024{ is no template, in HCL1, HCL2 and JSON alike; "$${" would be two dollars in HCL1. */
        if (sign && !literal && hcl_peek(&scan, 1) == c && hcl_peek(&scan, 2) == '{') {
            buffer_format(out, "\\u%04x{", (unsigned)c);
            scan.at += 3;
        } else if (sign && hcl_peek(&scan, 1) == '{') {
            if (literal) {
                buffer_format(out, "\\u%04x{", (unsigned)c);
                scan.at += 2;
            } else if (!quote_template(&scan, json, out)) {
                break;
            }
        } else {
            if (step == 3 && memcmp(bytes + scan.at, "\xEF\xBB\xBF", 3) == 0)
                buffer_append_text(out, "\\ufeff");
            else if (step > 1 || !quote_character(c, out))
                buffer_append(out, bytes + scan.at, step);
            scan.at += step;
        }
    }
    if (scan.at < length) {
        out->length = start;
        out->bytes[start] = '\0';
        return false;
    }
    buffer_append(out, "\"", 1);
    return true;
}

/* ---- numbers ---- */

enum hcl_number hcl_number(const struct hcl_document *document, uint32_t node, int64_t *integer, double *real,
                           struct buffer *digits)
{
    const struct hcl_node *at = hcl_at(document, node);
    char *text = allocate(at->end - at->begin + 1);
    memcpy(text, document->text + at->begin, at->end - at->begin);
    text[at->end - at->begin] = '\0';
    const char *first = text + (text[0] == '-');
    bool hex = first[0] == '0' && (first[1] | 32) == 'x';
    enum hcl_number kind = HCL_INTEGER;
    errno = 0;
    if (!hex && first[strspn(first, "0123456789")] != '\0') {
        *real = strtod(text, NULL);
        kind = HCL_FLOAT;
    } else if (!hex && first[0] == '0' && first[1] != '\0' && !document->json) {
        kind = HCL_AMBIGUOUS;
    } else {
        *integer = strtoll(text, NULL, hex ? 16 : 10);
        if (errno == ERANGE)
            kind = hex ? HCL_AMBIGUOUS : HCL_LARGE;
        if (kind == HCL_LARGE)
            buffer_append_text(digits, text);
    }
    free(text);
    return kind;
}

static bool equal_numbers(const struct hcl_document *a, uint32_t left, const struct hcl_document *b,
                          uint32_t right)
{
    int64_t integers[2] = {0};
    double reals[2] = {0};
    struct buffer digits[2] = {{0}};
    enum hcl_number kinds[2] = {hcl_number(a, left, &integers[0], &reals[0], &digits[0]),
                                hcl_number(b, right, &integers[1], &reals[1], &digits[1])};
    bool same = false;
    if (kinds[0] == kinds[1] && kinds[0] == HCL_INTEGER)
        same = integers[0] == integers[1];
    else if (kinds[0] == kinds[1] && kinds[0] == HCL_LARGE)
        same = strcmp(buffer_text(&digits[0]), buffer_text(&digits[1])) == 0;
    else if (kinds[0] == kinds[1] && kinds[0] == HCL_FLOAT)
        same = !(reals[0] < reals[1]) && !(reals[0] > reals[1]);
    else if (kinds[0] != HCL_AMBIGUOUS && kinds[1] != HCL_AMBIGUOUS && kinds[0] != HCL_LARGE &&
             kinds[1] != HCL_LARGE) {
        double real = kinds[0] == HCL_FLOAT ? reals[0] : reals[1];
        int64_t integer = kinds[0] == HCL_FLOAT ? integers[1] : integers[0];
        same = real >= -0x1p63 && real < 0x1p63 && (int64_t)real == integer &&
               !((double)(int64_t)real < real) && !((double)(int64_t)real > real);
    }
    buffer_free(&digits[0]);
    buffer_free(&digits[1]);
    return same;
}

/* ---- equality ---- */

static bool is_text(enum hcl_kind kind)
{
    return kind == HCL_STRING || kind == HCL_HEREDOC;
}

static bool same_source(const struct hcl_document *a, uint32_t left, const struct hcl_document *b,
                        uint32_t right)
{
    struct buffer mine = {0}, other = {0};
    hcl_text(a, left, &mine);
    hcl_text(b, right, &other);
    bool same = mine.length == other.length &&
                (mine.length == 0 || memcmp(mine.bytes, other.bytes, mine.length) == 0);
    buffer_wipe(&mine);
    buffer_wipe(&other);
    return same;
}

/* The only member of that name; 0 where there is none, or another, or it is a block with labels. */
static uint32_t find_same(const struct hcl_document *a, uint32_t key, const struct hcl_document *b,
                          uint32_t object)
{
    uint32_t found = 0;
    struct buffer name = {0};
    hcl_text(a, key, &name);
    for (uint32_t member = hcl_at(b, object)->first; member != 0; member = hcl_at(b, member)->next)
        if (hcl_text_is(b, hcl_name(b, member), buffer_text(&name), name.length)) {
            bool unusable = found != 0 || hcl_count_labels(b, member) > 0;
            found = unusable ? 0 : member;
            if (unusable)
                break;
        }
    buffer_wipe(&name);
    return found;
}

static unsigned count_children(const struct hcl_document *document, uint32_t node)
{
    unsigned count = 0;
    for (uint32_t child = hcl_at(document, node)->first; child != 0; child = hcl_at(document, child)->next)
        count++;
    return count;
}

static bool equal_objects(const struct hcl_document *a, uint32_t left, const struct hcl_document *b,
                          uint32_t right)
{
    if (count_children(a, left) != count_children(b, right))
        return false;
    for (uint32_t member = hcl_at(a, left)->first; member != 0; member = hcl_at(a, member)->next) {
        uint32_t other = find_same(a, hcl_name(a, member), b, right);
        if (other == 0 || hcl_count_labels(a, member) > 0 ||
            find_same(a, hcl_name(a, member), a, left) != member ||
            !hcl_equal(a, hcl_at(a, member)->value, b, hcl_at(b, other)->value))
            return false;
    }
    return true;
}

bool hcl_equal(const struct hcl_document *a, uint32_t left, const struct hcl_document *b, uint32_t right)
{
    const struct hcl_node *one = hcl_at(a, left), *two = hcl_at(b, right);
    if (is_text(one->kind) && is_text(two->kind))
        return same_source(a, left, b, right);
    if (one->kind != two->kind)
        return false;
    uint32_t mine = one->first, other = two->first;
    switch (one->kind) {
    case HCL_NULL:
        return true;
    case HCL_NUMBER:
        return equal_numbers(a, left, b, right);
    case HCL_OBJECT:
        return equal_objects(a, left, b, right);
    case HCL_LIST:
        for (; mine != 0 && other != 0; mine = hcl_at(a, mine)->next, other = hcl_at(b, other)->next)
            if (!hcl_equal(a, mine, b, other))
                return false;
        return mine == other;
    default:
        return same_source(a, left, b, right);
    }
}

/* ---- names ---- */

bool hcl_is_name(const char *bytes, size_t length)
{
    struct hcl_scan scan = {.text = bytes, .length = length};
    return length > 0 && hcl_scan_name(&scan, false) && scan.at == length;
}

uint32_t hcl_name(const struct hcl_document *document, uint32_t member)
{
    return hcl_at(document, member)->first;
}

uint32_t hcl_label(const struct hcl_document *document, uint32_t member, unsigned number)
{
    uint32_t key = hcl_at(document, hcl_name(document, member))->next;
    while (number-- > 0 && key != 0)
        key = hcl_at(document, key)->next;
    return key;
}

unsigned hcl_count_labels(const struct hcl_document *document, uint32_t member)
{
    return count_children(document, member) - 1;
}
