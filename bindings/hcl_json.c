/* The JSON that stands for HCL: the same tree, of a stricter text. */
#include "hcl_parse.h"
#include "hcl_scan.h"

#include <string.h>

static void skip_blanks(struct hcl_scan *scan)
{
    while (hcl_peek(scan, 0) != '\0' && strchr(" \t\r\n", hcl_peek(scan, 0)) != NULL)
        scan->at++;
}

static bool scan_string(struct hcl_scan *scan)
{
    size_t begin = scan->at++;
    for (;; scan->at++) {
        char c = hcl_peek(scan, 0), next = hcl_peek(scan, 1);
        if (c == '"')
            break;
        if (c == '\0' || c == '\n')
            return hcl_wrong(scan, begin, "a quote at the end of this text");
        if ((unsigned char)c < 0x20)
            return hcl_wrong(scan, scan->at, "an escape (\\t, \\u0001) for this control character");
        if (c != '\\')
            continue;
        unsigned code;
        bool is_byte;
        size_t length = hcl_escape(scan->text + scan->at, scan->length - scan->at, &code, &is_byte);
        if (length == 0 || next == '\0' || strchr("\"\\/bfnrtu", next) == NULL)
            return hcl_wrong(scan, scan->at, "an escape of JSON such as \\n, \\\" or \\u00e9");
        scan->at += length - 1;
    }
    scan->at++;
    return true;
}

static bool scan_word(struct hcl_scan *scan, const char *word)
{
    size_t length = strlen(word);
    if (scan->length - scan->at < length || memcmp(scan->text + scan->at, word, length) != 0)
        return hcl_wrong(scan, scan->at, "a value");
    scan->at += length;
    return true;
}

/* Behind an element: true at a comma, with it read; `done` at the closing bracket. */
static bool next_element(struct hcl_scan *scan, char close, bool *done)
{
    skip_blanks(scan);
    char c = hcl_peek(scan, 0);
    *done = c == close;
    if (!*done && c != ',')
        return hcl_wrong(scan, scan->at, close == ']' ? "\",\" or \"]\"" : "\",\" or \"}\"");
    scan->at++;
    skip_blanks(scan);
    if (c == ',' && hcl_peek(scan, 0) == close)
        return hcl_wrong(scan, scan->at, "another element after the comma");
    return true;
}

static bool parse_pair(struct hcl_parser *parser, uint32_t object)
{
    struct hcl_scan *scan = parser->scan;
    uint32_t member = hcl_add(parser, HCL_MEMBER, object), key = hcl_add(parser, HCL_KEY, member);
    if (hcl_peek(scan, 0) != '"')
        return hcl_wrong(scan, scan->at, "a name in quotes (JSON has no comments)");
    if (!scan_string(scan))
        return false;
    hcl_node(parser->document, key)->end = (uint32_t)scan->at;
    skip_blanks(scan);
    if (hcl_peek(scan, 0) != ':')
        return hcl_wrong(scan, scan->at, "\":\" after the name");
    struct hcl_node *at = hcl_node(parser->document, member);
    at->assigned = true;
    at->sign = (uint32_t)scan->at++;
    skip_blanks(scan);
    if (hcl_parse_json(parser, member) == 0)
        return false;
    hcl_node(parser->document, member)->end = (uint32_t)scan->at;
    return true;
}

/* [ ... ] or { ... }. */
static bool parse_elements(struct hcl_parser *parser, uint32_t node, char close)
{
    struct hcl_scan *scan = parser->scan;
    if (!hcl_deeper(scan))
        return false;
    scan->at++;
    skip_blanks(scan);
    bool done = hcl_peek(scan, 0) == close;
    scan->at += done;
    while (!done) {
        bool read = close == ']' ? hcl_parse_json(parser, node) != 0 : parse_pair(parser, node);
        if (!read || !next_element(scan, close, &done))
            return false;
        if (done) /* next_element went past blanks behind the bracket */
            while (scan->text[scan->at - 1] != close)
                scan->at--;
    }
    scan->depth--;
    return true;
}

static bool parse_any(struct hcl_parser *parser, uint32_t node, enum hcl_kind *kind)
{
    struct hcl_scan *scan = parser->scan;
    char c = hcl_peek(scan, 0);
    *kind = HCL_STRING;
    if (c == '"')
        return scan_string(scan);
    if (c == '{' || c == '[') {
        *kind = hcl_node(parser->document, node)->kind = c == '{' ? HCL_OBJECT : HCL_LIST;
        return parse_elements(parser, node, c == '{' ? '}' : ']');
    }
    *kind = c == 'n' ? HCL_NULL : HCL_BOOLEAN;
    if (c == 't' || c == 'f' || c == 'n')
        return scan_word(scan, c == 't' ? "true" : c == 'f' ? "false" : "null");
    *kind = HCL_NUMBER;
    char digit = c == '-' ? hcl_peek(scan, 1) : c;
    if (digit < '0' || digit > '9')
        return hcl_wrong(scan, scan->at, "a value");
    char next = hcl_peek(scan, c == '-' ? 2 : 1);
    if (digit == '0' && (next == 'x' || next == 'X' || (next >= '0' && next <= '9')))
        return hcl_wrong(scan, scan->at, "a number as JSON has it");
    return hcl_scan_number(scan);
}

uint32_t hcl_parse_json(struct hcl_parser *parser, uint32_t parent)
{
    enum hcl_kind kind;
    uint32_t node = hcl_add(parser, HCL_NULL, parent);
    if (!parse_any(parser, node, &kind))
        return 0;
    struct hcl_node *at = hcl_node(parser->document, node);
    at->kind = kind;
    at->end = (uint32_t)parser->scan->at;
    return node;
}
