/* Layout: lines, indentation, line endings. */
#include "hcl_layout.h"

#include "hcl_scan.h"

#include <string.h>

static size_t line_begin(const struct hcl_document *document, size_t at)
{
    while (at > 0 && document->text[at - 1] != '\n')
        at--;
    if (at == 0 && document->length >= 3 && memcmp(document->text, "\xEF\xBB\xBF", 3) == 0)
        at = 3;
    return at;
}

static bool line_begins(const struct hcl_document *document, size_t at)
{
    bool mark = at == 3 && memcmp(document->text, "\xEF\xBB\xBF", 3) == 0;
    return at == 0 || mark || document->text[at - 1] == '\n';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool hcl_ends_in_heredoc(const struct hcl_document *document, uint32_t node)
{
    const struct hcl_node *at = hcl_at(document, node);
    if (at->kind == HCL_MEMBER)
        at = hcl_at(document, at->value);
    if (at->kind == HCL_HEREDOC)
        return true;
    /* Of an expression on several lines the last one tells: a closing word stands alone on it. */
    const char *text = document->text + at->begin;
    size_t length = at->end - at->begin;
    return at->kind == HCL_EXPRESSION && memchr(text, '\n', length) != NULL &&
           memmem(text, length, "<<", 2) != NULL;
}

struct hcl_lines hcl_lines(const struct hcl_document *document, uint32_t node)
{
    const struct hcl_node *at = hcl_at(document, node);
    struct hcl_lines lines = {.begin = at->begin};
    /* No further than the blanks: the line may be all of the text. */
    while (lines.begin > 0 && is_blank(document->text[lines.begin - 1]))
        lines.begin--;
    lines.starts_line = line_begins(document, lines.begin);
    struct hcl_scan scan = {.text = document->text, .length = document->length, .at = at->end};
    struct hcl_scan ahead = scan;
    bool listed = document->json || hcl_at(document, at->parent)->kind == HCL_LIST;
    if ((listed || hcl_ends_in_heredoc(document, node)) && hcl_skip(&ahead, true) &&
        hcl_peek(&ahead, 0) == ',')
        scan.at = ahead.at; /* its comma may wait on another line */
    hcl_skip(&scan, false);
    if (hcl_peek(&scan, 0) == ',') {
        lines.comma = scan.at++;
        hcl_skip(&scan, false);
    }
    lines.rest = scan.at;
    char c = hcl_peek(&scan, 0);
    lines.ends_line = c == '\0' || c == '\n' || c == '\r';
    lines.next = scan.at + (c == '\r') + (c != '\0');
    return lines;
}

struct text_span hcl_indentation(const struct hcl_document *document, size_t at)
{
    size_t begin = line_begin(document, at), length = 0;
    while (begin + length < document->length && is_blank(document->text[begin + length]))
        length++;
    return (struct text_span){document->text + begin, length};
}

struct text_span hcl_unit(const struct hcl_document *document)
{
    for (uint32_t i = 1; i < document->count; i++) {
        const struct hcl_node *node = hcl_at(document, i);
        if (node->kind != HCL_MEMBER || hcl_at(document, node->parent)->kind != HCL_OBJECT ||
            !hcl_lines(document, i).starts_line)
            continue;
        struct text_span inner = hcl_indentation(document, node->begin);
        struct text_span outer = hcl_indentation(document, hcl_at(document, node->parent)->begin);
        if (inner.bytes != outer.bytes && inner.length > outer.length &&
            memcmp(inner.bytes, outer.bytes, outer.length) == 0)
            return (struct text_span){inner.bytes + outer.length, inner.length - outer.length};
    }
    return (struct text_span){"  ", 2};
}

struct text_span hcl_newline(const struct hcl_document *document, size_t at)
{
    const char *newline = memchr(document->text + at, '\n', document->length - at);
    if (newline == NULL)
        newline = document->length > 0 ? memchr(document->text, '\n', document->length) : NULL;
    if (newline == NULL)
        return (struct text_span){"\n", 1};
    bool carriage = newline > document->text && newline[-1] == '\r';
    return (struct text_span){newline - carriage, 1 + (size_t)carriage};
}

bool hcl_one_line(const struct hcl_document *document, uint32_t node)
{
    const struct hcl_node *at = hcl_at(document, node);
    return memchr(document->text + at->begin, '\n', at->end - at->begin) == NULL;
}

bool hcl_has_lines(const struct hcl_document *document, uint32_t node)
{
    const struct hcl_node *at = hcl_at(document, node);
    return at->kind == HCL_MEMBER && hcl_at(document, at->value)->kind == HCL_OBJECT &&
           !hcl_one_line(document, node);
}

uint32_t hcl_before(const struct hcl_document *document, uint32_t node)
{
    uint32_t previous = 0, each = hcl_at(document, hcl_at(document, node)->parent)->first;
    for (; each != 0 && each != node; each = hcl_at(document, each)->next)
        previous = each;
    return previous;
}

bool hcl_blank_before(const struct hcl_document *document, size_t at, size_t *begin)
{
    if (at == 0 || document->text[at - 1] != '\n')
        return false;
    size_t end = at - 1;
    *begin = line_begin(document, end);
    for (size_t i = *begin; i < end; i++)
        if (!is_blank(document->text[i]) && document->text[i] != '\r')
            return false;
    return true;
}

bool hcl_is_setting(const struct hcl_document *document, uint32_t member)
{
    const struct hcl_node *at = hcl_at(document, member);
    if (at->kind != HCL_MEMBER || !at->assigned || hcl_at(document, at->value)->kind == HCL_OBJECT)
        return false;
    struct hcl_lines lines = hcl_lines(document, member);
    return lines.starts_line && lines.ends_line;
}

size_t hcl_name_width(const struct hcl_document *document, uint32_t member)
{
    const struct hcl_node *key = hcl_at(document, hcl_at(document, member)->first);
    size_t characters = 0;
    for (size_t i = key->begin; i < key->end; i++)
        characters += ((unsigned char)document->text[i] & 0xC0) != 0x80;
    return characters;
}

size_t hcl_sign_column(const struct hcl_document *document, uint32_t member)
{
    const struct hcl_node *at = hcl_at(document, member), *key = hcl_at(document, at->first);
    for (size_t i = key->end; i < at->sign; i++)
        if (document->text[i] != ' ')
            return 0;
    return hcl_name_width(document, member) + (at->sign - key->end);
}

int hcl_aligned_pair(const struct hcl_document *document, uint32_t above, uint32_t below)
{
    if (!hcl_is_setting(document, above) || !hcl_is_setting(document, below) ||
        hcl_lines(document, above).next != hcl_lines(document, below).begin ||
        hcl_name_width(document, above) == hcl_name_width(document, below))
        return 0;
    return hcl_sign_column(document, above) == hcl_sign_column(document, below) ? 1 : -1;
}

bool hcl_aligned(const struct hcl_document *document)
{
    long balance = 0;
    for (uint32_t i = 1; i < document->count && !document->json; i++) {
        uint32_t next = hcl_at(document, i)->next;
        if (hcl_at(document, i)->kind == HCL_MEMBER && next != 0)
            balance += hcl_aligned_pair(document, i, next);
    }
    return balance > 0;
}
