/* HCL1 and HCL2: text to tree. */
#include "hcl_parse.h"

#include "hcl_scan.h"
#include "utf8.h"

#include <string.h>

#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

/* What surrounds a value: it says what ends it. */
enum surrounding { IN_BODY, IN_OBJECT, IN_LIST };

struct hcl_node *hcl_node(struct hcl_document *document, uint32_t index)
{
    return (struct hcl_node *)(void *)document->arena->bytes + index;
}

/* Appends a node behind its parent's last child. */
uint32_t hcl_add(struct hcl_parser *parser, enum hcl_kind kind, uint32_t parent)
{
    struct hcl_document *document = parser->document;
    uint32_t index = document->count++;
    struct hcl_node node = {.kind = kind, .parent = parent, .begin = (uint32_t)parser->scan->at};
    buffer_append(document->arena, &node, sizeof node);
    if (index == 0)
        return 0;
    struct hcl_node *above = hcl_node(document, parent);
    if (above->kind == HCL_MEMBER && kind != HCL_KEY)
        above->value = index;
    else if (above->first == 0)
        above->first = above->last = index;
    else
        above->last = hcl_node(document, above->last)->next = index;
    return index;
}

static bool parse_value(struct hcl_parser *parser, uint32_t parent, enum surrounding around);
static bool parse_members(struct hcl_parser *parser, uint32_t container, enum surrounding around);

static bool finish(struct hcl_parser *parser, uint32_t index)
{
    hcl_node(parser->document, index)->end = (uint32_t)parser->scan->at;
    return true;
}

/* Is it a name or a number? */
static bool at_word(const struct hcl_scan *scan)
{
    char c = hcl_peek(scan, 0);
    return (c >= '0' && c <= '9') || hcl_at_letter(scan);
}

/* "[for x in list : x]", "{for k, v in map : k => v}": at the bracket. */
static bool at_loop(const struct hcl_scan *outer)
{
    struct hcl_scan scan = *outer;
    scan.at++;
    if (!hcl_skip(&scan, true) || scan.length - scan.at < 5 || memcmp(scan.text + scan.at, "for", 3) != 0)
        return false;
    scan.at += 3;
    char c = hcl_peek(&scan, 0);
    return (c == ' ' || c == '\t' || c == '\n' || c == '\r') && hcl_skip(&scan, true) && at_word(&scan);
}

static bool parse_list(struct hcl_parser *parser, uint32_t list)
{
    struct hcl_scan *scan = parser->scan;
    if (!hcl_deeper(scan))
        return false;
    scan->at++;
    for (bool more = true;;) {
        if (!hcl_skip(scan, true))
            return false;
        if (hcl_peek(scan, 0) == ']')
            break;
        if (hcl_peek(scan, 0) == '\0')
            return hcl_wrong(scan, hcl_at(parser->document, list)->begin, "\"]\" at the end of this list");
        if (!more)
            return hcl_wrong(scan, scan->at, "\",\" or \"]\"");
        if (!parse_value(parser, list, IN_LIST) || !hcl_skip(scan, true))
            return false;
        more = hcl_peek(scan, 0) == ',';
        scan->at += more;
    }
    scan->at++;
    scan->depth--;
    return finish(parser, list);
}

/* { members }: a block's body or an object. */
static bool parse_object(struct hcl_parser *parser, uint32_t object, enum surrounding around)
{
    struct hcl_scan *scan = parser->scan;
    if (!hcl_deeper(scan))
        return false;
    scan->at++;
    if (!parse_members(parser, object, around))
        return false;
    if (hcl_peek(scan, 0) != '}')
        return hcl_wrong(scan, hcl_at(parser->document, object)->begin, "\"}\" for this brace");
    scan->at++;
    scan->depth--;
    return finish(parser, object);
}

/* The words that are values of their own; anything else that begins with a letter is an expression. */
static enum hcl_kind word_kind(const char *word, size_t length)
{
    if ((length == 4 && memcmp(word, "true", 4) == 0) || (length == 5 && memcmp(word, "false", 5) == 0))
        return HCL_BOOLEAN;
    return length == 4 && memcmp(word, "null", 4) == 0 ? HCL_NULL : HCL_EXPRESSION;
}

/* A value that is complete in itself; an expression may begin with it. */
static bool parse_simple(struct hcl_parser *parser, uint32_t node)
{
    struct hcl_scan *scan = parser->scan;
    struct hcl_node *at = hcl_node(parser->document, node);
    char c = hcl_peek(scan, 0), next = hcl_peek(scan, 1);
    bool digit = c >= '0' && c <= '9', minus = c == '-' && next >= '0' && next <= '9';
    if (c == '"') {
        at->kind = HCL_STRING;
        return hcl_scan_string(scan);
    }
    if (c == '<' && next == '<') {
        at->kind = HCL_HEREDOC;
        return hcl_scan_heredoc(scan);
    }
    if (digit || minus) {
        at->kind = HCL_NUMBER;
        return hcl_scan_number(scan);
    }
    if (at_word(scan)) {
        size_t begin = scan->at;
        if (!hcl_scan_name(scan, false))
            return false;
        at->kind = word_kind(scan->text + begin, scan->at - begin);
        return true;
    }
    if ((c == '[' || c == '{') && !at_loop(scan)) {
        at->kind = c == '[' ? HCL_LIST : HCL_OBJECT;
        return c == '[' ? parse_list(parser, node) : parse_object(parser, node, IN_OBJECT);
    }

    at->kind = HCL_EXPRESSION;
    if (c != '(' && c != '!' && c != '-' && c != '[' && c != '{')
        return hcl_wrong(scan, scan->at, "a value");
    return true;
}

static bool parse_value(struct hcl_parser *parser, uint32_t parent, enum surrounding around)
{
    struct hcl_scan *scan = parser->scan;
    struct hcl_document *document = parser->document;
    uint32_t count = document->count, node = hcl_add(parser, HCL_EXPRESSION, parent);
    size_t begin = scan->at;
    if (!parse_simple(parser, node))
        return false;
    struct hcl_scan ahead = *scan;
    bool expression = hcl_at(document, node)->kind == HCL_EXPRESSION;
    if (!expression && hcl_skip(&ahead, around == IN_LIST))
        expression = hcl_goes_on(&ahead);
    if (!expression)
        return finish(parser, node);
    /* What was taken for a whole value is the beginning of an expression: its parts are of no interest. */
    document->count = count + 1;
    document->arena->length = document->count * sizeof(struct hcl_node);
    struct hcl_node *at = hcl_node(document, node);
    at->kind = HCL_EXPRESSION;
    at->first = at->last = 0;
    scan->at = begin;
    return hcl_scan_expression(scan, around == IN_LIST) && finish(parser, node);
}

/* A name or label. */
static bool parse_key(struct hcl_parser *parser, uint32_t member, enum surrounding around)
{
    struct hcl_scan *scan = parser->scan;
    uint32_t key = hcl_add(parser, HCL_KEY, member);
    char c = hcl_peek(scan, 0);
    bool read;
    if (c == '"') {
        read = hcl_scan_string(scan);
    } else if (c >= '0' && c <= '9') {
        read = hcl_scan_number(scan);
    } else if (c == '(' && around == IN_OBJECT) { /* (var.name) = value */
        unsigned depth = 0;
        do {
            c = hcl_peek(scan, 0);
            if (c == '\0')
                return hcl_wrong(scan, hcl_at(parser->document, key)->begin, "\")\" for this bracket");
            depth += c == '(';
            depth -= c == ')';
            if (c != '"')
                scan->at++;
            else if (!hcl_scan_string(scan))
                return false;
        } while (depth > 0);
        read = true;
    } else {
        read = hcl_scan_name(scan, true);
    }
    return read && finish(parser, key);
}

/* Behind a member's first name: further labels up to "=", ":" or "{", where the scan ends up. */
static bool parse_labels(struct hcl_parser *parser, uint32_t member, enum surrounding around)
{
    struct hcl_scan *scan = parser->scan;
    for (unsigned labels = 0;; labels++) {
        size_t end = scan->at;
        if (!hcl_skip(scan, false))
            return false;
        if (hcl_peek(scan, 0) == '\n' ||
            hcl_peek(scan, 0) == '\r') { /* HCL1 lets these wait for the next line */
            if (!hcl_skip(scan, true))
                return false;
            if (hcl_peek(scan, 0) != '{' && hcl_peek(scan, 0) != '=')
                return hcl_wrong(scan, end, "\"=\" or \"{\" after the name");
        }
        char c = hcl_peek(scan, 0);
        if (c == '{' || (c == '=' && labels == 0) || (c == ':' && labels == 0 && around == IN_OBJECT))
            return true;
        if (c != '"' && !at_word(scan))
            return hcl_wrong(scan, scan->at,
                             labels == 0 ? "\"=\" or \"{\" after the name" : "\"{\" after the labels");
        if (!parse_key(parser, member, around))
            return false;
    }
}

static bool parse_member(struct hcl_parser *parser, uint32_t container, enum surrounding around)
{
    struct hcl_scan *scan = parser->scan;
    uint32_t member = hcl_add(parser, HCL_MEMBER, container);
    if (!parse_key(parser, member, around) || !parse_labels(parser, member, around))
        return false;
    if (hcl_peek(scan, 0) == '{') {
        uint32_t body = hcl_add(parser, HCL_OBJECT, member);
        return parse_object(parser, body, IN_BODY) && finish(parser, member);
    }
    struct hcl_node *at = hcl_node(parser->document, member);
    at->assigned = true;
    at->sign = (uint32_t)scan->at++;
    if (!hcl_skip(scan, false))
        return false;
    char c = hcl_peek(scan, 0);
    if (c == '\n' || c == '\r') { /* HCL1 again */
        struct hcl_scan ahead = *scan;
        char next = hcl_skip(&ahead, true) ? hcl_peek(&ahead, 0) : '\0';
        if (next != '"' && next != '[' && next != '{' && next != '<' && !(next >= '0' && next <= '9'))
            return hcl_wrong(scan, scan->at, "a value");
        *scan = ahead;
    }
    return parse_value(parser, member, around) && finish(parser, member);
}

/* All members up to the closing brace or the end of the text, where the scan ends up. */
static bool parse_members(struct hcl_parser *parser, uint32_t container, enum surrounding around)
{
    struct hcl_scan *scan = parser->scan;
    for (;;) {
        if (!hcl_skip(scan, true))
            return false;
        char c = hcl_peek(scan, 0);
        if (c == '\0' || c == '}')
            return true;
        if (!parse_member(parser, container, around) || !hcl_skip(scan, false))
            return false;
        c = hcl_peek(scan, 0);
        if (c == ',') {
            scan->at++;
        } else if (c != '\0' && c != '}' && c != '\n' && c != '\r') {
            /* HCL1 takes `a = 1 b = 2`. */
            char before = scan->text[scan->at - 1];
            if ((before != ' ' && before != '\t' && before != '\r' && before != '}' && before != '/') ||
                (c != '"' && !at_word(scan)))
                return hcl_wrong(scan, scan->at, "the end of the line");
        }
    }
}

/* Is it text: UTF-8 without NUL? */
static bool check_text(const char *text, size_t length, struct hcl_fault *fault)
{
    if (length > HCL_LARGEST) {
        *fault = (struct hcl_fault){0, "a text of at most 8 MiB"};
        return false;
    }
    for (size_t at = 0, step; at < length; at += step) {
        step = text[at] == '\0' ? 0 : utf8_length(text + at, length - at);
        if (step == 0) {
            *fault = (struct hcl_fault){at, "text in UTF-8"};
            return false;
        }
    }
    return true;
}

static bool parse_root(struct hcl_parser *parser)
{
    struct hcl_scan *scan = parser->scan;
    struct hcl_document *document = parser->document;
    hcl_add(parser, HCL_ROOT, 0);
    size_t begin = scan->at + strspn(scan->text + scan->at, " \t\r\n");
    if (begin < scan->length && scan->text[begin] == '{') {
        document->json = true;
        scan->at = begin;
        document->root = hcl_parse_json(parser, 0);
        if (document->root == 0)
            return false;
        scan->at += strspn(scan->text + scan->at, " \t\r\n");
    } else if (!parse_members(parser, 0, IN_BODY)) {
        return false;
    }
    if (scan->at < scan->length)
        return hcl_wrong(scan, scan->at, document->json ? "the end of the text" : "a name");
    hcl_node(document, 0)->end = (uint32_t)scan->length;
    return true;
}

/* One value, with nothing around it. */
static bool parse_alone(struct hcl_parser *parser)
{
    struct hcl_scan *scan = parser->scan;
    hcl_add(parser, HCL_ROOT, 0);
    parser->document->root = parser->document->count;
    if (!hcl_skip(scan, true) || !parse_value(parser, 0, IN_LIST) || !hcl_skip(scan, true))
        return false;
    return scan->at == scan->length || hcl_wrong(scan, scan->at, "the end of the value");
}

static bool run(const char *text, size_t length, struct buffer *arena, struct hcl_document *document,
                struct hcl_fault *fault, bool (*parse)(struct hcl_parser *parser))
{
    buffer_clear(arena);
    *document = (struct hcl_document){.text = text, .length = length, .arena = arena};
    if (!check_text(text, length, fault))
        return false;
    struct hcl_scan scan = {.text = text, .length = length};
    if (length >= 3 && memcmp(text, BYTE_ORDER_MARK, 3) == 0)
        scan.at = 3;
    struct hcl_parser parser = {&scan, document};
    if (parse(&parser))
        return true;
    *fault = (struct hcl_fault){scan.wrong_at, scan.wanted};
    return false;
}

bool hcl_parse(const char *text, size_t length, struct buffer *arena, struct hcl_document *document,
               struct hcl_fault *fault)
{
    return run(text, length, arena, document, fault, parse_root);
}

bool hcl_parse_value(const char *text, size_t length, struct buffer *arena, struct hcl_document *document,
                     struct hcl_fault *fault)
{
    return run(text, length, arena, document, fault, parse_alone);
}
