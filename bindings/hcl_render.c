/* Writing of new text. */
#include "hcl_render.h"

#include "hcl_value.h"

#include <inttypes.h>
#include <string.h>

static void write(struct hcl_pen *pen, const char *text)
{
    buffer_append_text(pen->out, text);
}

static void begin_line(struct hcl_pen *pen)
{
    buffer_append(pen->out, pen->newline.bytes, pen->newline.length);
    buffer_append(pen->out, buffer_text(&pen->indent), pen->indent.length);
}

static void indent(struct hcl_pen *pen)
{
    buffer_append(&pen->indent, pen->unit.bytes, pen->unit.length);
}

static void outdent(struct hcl_pen *pen)
{
    pen->indent.length -= pen->unit.length;
}

static void write_quoted(struct hcl_pen *pen, const char *bytes, size_t length)
{
    if (!hcl_quote(bytes, length, false, pen->json, pen->out))
        hcl_quote(bytes, length, true, pen->json, pen->out);
}

void hcl_render_name(struct hcl_pen *pen, const char *bytes, size_t length)
{
    if (!pen->json && hcl_is_name(bytes, length))
        buffer_append(pen->out, bytes, length);
    else
        write_quoted(pen, bytes, length);
}

static void write_text(struct hcl_pen *pen, struct hcl_value value)
{
    struct buffer text = {0};
    hcl_text(value.document, value.node, &text);
    write_quoted(pen, buffer_text(&text), text.length);
    buffer_wipe(&text);
}

/* As it is written, but JSON has no hexadecimal numbers. */
static void write_number(struct hcl_pen *pen, struct hcl_value value)
{
    const struct hcl_node *node = hcl_at(value.document, value.node);
    int64_t integer;
    double real;
    struct buffer digits = {0};
    enum hcl_number kind = hcl_number(value.document, value.node, &integer, &real, &digits);
    if (pen->json && kind == HCL_INTEGER)
        buffer_format(pen->out, "%" PRId64, integer);
    else
        buffer_append(pen->out, value.document->text + node->begin, node->end - node->begin);
    buffer_free(&digits);
}

static bool has_objects(const struct hcl_document *document, uint32_t list)
{
    for (uint32_t item = hcl_at(document, list)->first; item != 0; item = hcl_at(document, item)->next)
        if (hcl_at(document, item)->kind == HCL_OBJECT)
            return true;
    return false;
}

static void write_list(struct hcl_pen *pen, struct hcl_value value)
{
    bool lines = !pen->one_line && has_objects(value.document, value.node);
    uint32_t item = hcl_at(value.document, value.node)->first;
    write(pen, "[");
    indent(pen);
    for (bool first = true; item != 0; item = hcl_at(value.document, item)->next, first = false) {
        if (!first)
            write(pen, lines ? "," : ", ");
        if (lines)
            begin_line(pen);
        hcl_render_value(pen, (struct hcl_value){value.document, item});
    }
    outdent(pen);
    if (lines)
        begin_line(pen);
    write(pen, "]");
}

/* Returns how many bytes the name took. */
static size_t write_name(struct hcl_pen *pen, const struct hcl_document *document, uint32_t member)
{
    struct buffer name = {0};
    size_t before = pen->out->length;
    hcl_text(document, hcl_name(document, member), &name);
    hcl_render_name(pen, buffer_text(&name), name.length);
    buffer_free(&name);
    return pen->out->length - before;
}

/* `width`: of the names beside it, for those that are aligned; 0 for the others. */
static void write_member(struct hcl_pen *pen, const struct hcl_document *document, uint32_t member,
                         size_t width)
{
    for (size_t written = write_name(pen, document, member); written < width; written++)
        write(pen, " ");
    write(pen, pen->json ? pen->colon : " = ");
    hcl_render_value(pen, (struct hcl_value){document, hcl_at(document, member)->value});
}

static void write_object(struct hcl_pen *pen, struct hcl_value value)
{
    uint32_t member = hcl_at(value.document, value.node)->first;
    if (member == 0) {
        write(pen, "{}");
        return;
    }
    const char *pad = pen->json ? "" : " ";
    write(pen, "{");
    indent(pen);
    for (bool first = true; member != 0; member = hcl_at(value.document, member)->next, first = false) {
        bool comma = !first && (pen->json || pen->one_line);
        if (comma)
            write(pen, pen->one_line ? ", " : ",");
        if (!pen->one_line)
            begin_line(pen);
        else if (first)
            write(pen, pad);
        write_member(pen, value.document, member, 0);
    }
    outdent(pen);
    if (!pen->one_line)
        begin_line(pen);
    else
        write(pen, pad);
    write(pen, "}");
}

void hcl_render_value(struct hcl_pen *pen, struct hcl_value value)
{
    const struct hcl_node *node = hcl_at(value.document, value.node);
    switch (node->kind) {
    case HCL_STRING:
    case HCL_HEREDOC:
        write_text(pen, value);
        break;
    case HCL_LIST:
        write_list(pen, value);
        break;
    case HCL_OBJECT:
        write_object(pen, value);
        break;
    case HCL_NUMBER:
        write_number(pen, value);
        break;
    default:
        buffer_append(pen->out, value.document->text + node->begin, node->end - node->begin);
        break;
    }
}

static bool all_names(struct hcl_value value)
{
    for (uint32_t member = hcl_at(value.document, value.node)->first; member != 0;
         member = hcl_at(value.document, member)->next) {
        struct buffer name = {0};
        hcl_text(value.document, hcl_name(value.document, member), &name);
        bool plain = hcl_is_name(buffer_text(&name), name.length);
        buffer_free(&name);
        if (!plain)
            return false;
    }
    return true;
}

static bool is_object(struct hcl_value value)
{
    return hcl_at(value.document, value.node)->kind == HCL_OBJECT;
}

static bool is_body(const struct hcl_document *document, uint32_t member)
{
    struct hcl_value value = {document, hcl_at(document, member)->value};
    return is_object(value) && all_names(value);
}

/* Of the attributes of a new block, the longest name. */
static size_t widest_name(struct hcl_value value)
{
    size_t widest = 0;
    struct buffer name = {0};
    struct hcl_pen pen = {.out = &name};
    uint32_t member = hcl_at(value.document, value.node)->first;
    for (; member != 0; member = hcl_at(value.document, member)->next) {
        size_t width = is_body(value.document, member) ? 0 : write_name(&pen, value.document, member);
        widest = width > widest ? width : widest;
    }
    buffer_free(&name);
    return widest;
}

/* The members of a new block's body, each on a line: attributes first, then what is a block again. */
static void write_body(struct hcl_pen *pen, struct hcl_value value)
{
    size_t width = pen->aligned ? widest_name(value) : 0;
    for (int blocks = 0; blocks < 2; blocks++) {
        uint32_t member = hcl_at(value.document, value.node)->first;
        for (; member != 0; member = hcl_at(value.document, member)->next) {
            struct hcl_value inner = {value.document, hcl_at(value.document, member)->value};
            if (is_body(value.document, member) != (blocks == 1))
                continue;
            begin_line(pen);
            if (blocks == 0) {
                write_member(pen, value.document, member, width);
                continue;
            }
            write_name(pen, value.document, member);
            write(pen, " {");
            indent(pen);
            write_body(pen, inner);
            outdent(pen);
            if (hcl_at(inner.document, inner.node)->first != 0)
                begin_line(pen);
            write(pen, "}");
        }
    }
}

/* How many of the steps behind `step` are labels of a block that is to be made: the last one of the path is the name of
 * an attribute in it, unless the value is the body. */
static unsigned count_labels(const struct hcl_path *path, unsigned step, struct hcl_value value)
{
    unsigned labels = 0;
    while (step + 1 + labels < path->count && path->steps[step + 1 + labels].kind == HCL_STEP_LABEL)
        labels++;
    bool all = step + 1 + labels == path->count;
    return labels - (all && labels > 0 && !is_object(value));
}

bool hcl_renders_lines(const struct hcl_path *path, unsigned step, struct hcl_value value)
{
    return step + 1 < path->count || is_object(value);
}

/* `name = { ... }` with what the further steps say between the braces. */
static void write_nested(struct hcl_pen *pen, const struct hcl_path *path, unsigned step,
                         struct hcl_value value)
{
    const char *pad = pen->json ? "" : " ";
    write(pen, "{");
    indent(pen);
    if (pen->one_line)
        write(pen, pad);
    else
        begin_line(pen);
    hcl_render_steps(pen, path, step, value, true, NULL);
    outdent(pen);
    if (pen->one_line)
        write(pen, pad);
    else
        begin_line(pen);
    write(pen, "}");
}

static void write_block(struct hcl_pen *pen, const struct hcl_path *path, unsigned step, unsigned labels,
                        struct hcl_value value)
{
    for (unsigned i = 1; i <= labels; i++) {
        write(pen, " ");
        write_quoted(pen, hcl_step_text(path, step + i), path->steps[step + i].length);
    }
    unsigned inner = step + 1 + labels;
    write(pen, " {");
    indent(pen);
    bool empty = false;
    if (inner < path->count) {
        begin_line(pen);
        hcl_render_steps(pen, path, inner, value, false, NULL);
    } else {
        write_body(pen, value);
        empty = hcl_at(value.document, value.node)->first == 0;
    }
    outdent(pen);
    if (!empty)
        begin_line(pen);
    write(pen, "}");
}

void hcl_render_steps(struct hcl_pen *pen, const struct hcl_path *path, unsigned step, struct hcl_value value,
                      bool in_object, const char *equals)
{
    unsigned labels = count_labels(path, step, value), inner = step + 1 + labels;
    hcl_render_name(pen, hcl_step_text(path, step), path->steps[step].length);
    bool block = !pen->json && !in_object && !pen->one_line;
    if (block && inner == path->count)
        block = is_object(value) && (labels > 0 || all_names(value));
    else if (block && inner + 1 == path->count && labels == 0) /* HCL2 has no quoted names in blocks */
        block = hcl_is_name(hcl_step_text(path, inner), path->steps[inner].length);
    if (block) {
        write_block(pen, path, step, labels, value);
        return;
    }
    write(pen, pen->json ? pen->colon : equals != NULL ? equals : " = ");
    if (step + 1 < path->count)
        write_nested(pen, path, step + 1, value);
    else
        hcl_render_value(pen, value);
}
