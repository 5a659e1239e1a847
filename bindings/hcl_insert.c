/* Where new members and items go, and what has to stand around them. */
#include "hcl_edit.h"
#include "hcl_layout.h"
#include "hcl_scan.h"
#include "hcl_value.h"

#include <string.h>

/* What is put in: a member that steps of a path describe, or an item of a list. */
struct novelty {
    const struct hcl_path *path; /* NULL: an item */
    unsigned step;
    struct hcl_value value;
    bool in_object;
    const char *equals;
};

static void render(struct hcl_pen *pen, const struct novelty *novelty)
{
    if (novelty->path == NULL)
        hcl_render_value(pen, novelty->value);
    else
        hcl_render_steps(pen, novelty->path, novelty->step, novelty->value, novelty->in_object,
                         novelty->equals);
}

static void append_span(struct buffer *out, struct text_span span)
{
    buffer_append(out, span.bytes, span.length);
}

/* What stands between the names and values of JSON: the first member tells. */
static const char *choose_colon(const struct hcl_document *document)
{
    uint32_t first = document->json ? hcl_at(document, document->root)->first : 0;
    if (first == 0)
        return ": ";
    const struct hcl_node *member = hcl_at(document, first);
    return hcl_at(document, member->value)->begin == member->sign + 1 ? ":" : ": ";
}

struct hcl_pen hcl_pen(const struct hcl_editor *editor, size_t at, struct buffer *out)
{
    const struct hcl_document *document = &editor->document;
    struct hcl_pen pen = {.out = out, .json = document->json, .colon = choose_colon(document)};
    pen.newline = hcl_newline(document, at);
    pen.unit = hcl_unit(document);
    pen.aligned = hcl_aligned(document);
    append_span(&pen.indent, hcl_indentation(document, at));
    return pen;
}

/* Must its elements be parted by commas? */
static bool needs_commas(const struct hcl_document *document, uint32_t container)
{
    return document->json || hcl_at(document, container)->kind == HCL_LIST;
}

/* Is a new block kept apart by an empty line? As the last block before is; in the file itself where nothing tells. */
static bool wants_blank(const struct hcl_document *document, uint32_t container)
{
    bool wanted = container == document->root && !document->json;
    for (uint32_t each = hcl_at(document, container)->first; each != 0; each = hcl_at(document, each)->next) {
        size_t ignored;
        if (each != hcl_at(document, container)->first && hcl_has_lines(document, each) &&
            hcl_lines(document, each).starts_line)
            wanted = hcl_blank_before(document, hcl_lines(document, each).begin, &ignored);
    }
    return wanted;
}

/* ---- on lines of its own ---- */

/* Behind the line that `after` ends on. */
static bool insert_below(struct hcl_editor *editor, uint32_t container, uint32_t after,
                         const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    struct hcl_lines lines = hcl_lines(document, after);
    size_t end = hcl_at(document, after)->end;
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, hcl_at(document, after)->begin, &out);
    bool comma = needs_commas(document, container) && lines.comma == 0;
    if (comma && hcl_ends_in_heredoc(document, after)) {
        append_span(&out, pen.newline);
        buffer_append(&out, pen.indent.bytes, pen.indent.length);
    }
    if (comma)
        buffer_append_text(&out, ",");
    buffer_append(&out, document->text + end, lines.rest - end);
    append_span(&out, pen.newline);
    if (novelty->path != NULL && !document->json &&
        hcl_renders_lines(novelty->path, novelty->step, novelty->value) && wants_blank(document, container))
        append_span(&out, pen.newline);
    buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    render(&pen, novelty);
    if (lines.comma != 0)
        buffer_append_text(&out, ",");
    bool done = hcl_splice(editor, end, lines.rest, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* Ahead of the closing bracket of a container on several lines that has nothing in it but comments. */
static bool insert_only(struct hcl_editor *editor, uint32_t container, const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    size_t close = hcl_at(document, container)->end - 1, begin = close;
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, hcl_at(document, container)->begin, &out);
    while (begin > 0 && (document->text[begin - 1] == ' ' || document->text[begin - 1] == '\t'))
        begin--;
    bool own_line = begin > 0 && document->text[begin - 1] == '\n';
    if (!own_line)
        append_span(&out, pen.newline);
    buffer_append(&pen.indent, pen.unit.bytes, pen.unit.length);
    buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    render(&pen, novelty);
    append_span(&out, pen.newline);
    if (!own_line) {
        pen.indent.length -= pen.unit.length;
        buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    }
    bool done = hcl_splice(editor, own_line ? begin : close, own_line ? begin : close, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* At the end of a file without members. */
static bool insert_at_end(struct hcl_editor *editor, const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, document->length, &out);
    bool mark = document->length == 3 && document->text[0] == '\xEF';
    bool empty = document->length == 0 || mark,
         ended = !empty && document->text[document->length - 1] == '\n';
    if (!empty && !ended)
        append_span(&out, pen.newline);
    pen.indent.length = 0;
    render(&pen, novelty);
    if (empty || ended)
        append_span(&out, pen.newline);
    bool done = hcl_splice(editor, document->length, document->length, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* ---- within a line ---- */

/* Behind `after` on its line: `, b = 2`. */
static bool insert_beside(struct hcl_editor *editor, uint32_t after, const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    struct hcl_lines lines = hcl_lines(document, after);
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, hcl_at(document, after)->begin, &out);
    size_t at = lines.comma != 0 ? lines.comma + 1 : hcl_at(document, after)->end;
    bool heredoc = hcl_ends_in_heredoc(document, after);
    pen.one_line = true;
    if (heredoc && lines.comma == 0)
        append_span(&out, pen.newline);
    buffer_append_text(&out, lines.comma != 0 ? " " : ", ");
    render(&pen, novelty);
    if (lines.comma != 0)
        buffer_append_text(&out, ",");
    bool done = hcl_splice(editor, at, at, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* Behind `after` where its line holds more: on a new line, and what follows on another. */
static bool insert_between(struct hcl_editor *editor, uint32_t container, uint32_t after,
                           const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    struct hcl_lines lines = hcl_lines(document, after);
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, hcl_at(document, container)->begin, &out);
    size_t begin = lines.comma != 0 ? lines.comma + 1 : hcl_at(document, after)->end, at = begin;
    bool root = hcl_at(document, container)->kind == HCL_ROOT;
    if (needs_commas(document, container) && lines.comma == 0) {
        if (hcl_ends_in_heredoc(document, after))
            append_span(&out, pen.newline);
        buffer_append_text(&out, ",");
    }
    if (root)
        pen.indent.length = 0;
    else
        buffer_append(&pen.indent, pen.unit.bytes, pen.unit.length);
    append_span(&out, pen.newline);
    buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    render(&pen, novelty);
    if (lines.comma != 0)
        buffer_append_text(&out, ",");
    if (!lines.ends_line) {
        bool last = document->text[lines.rest] == '}' || document->text[lines.rest] == ']';
        append_span(&out, pen.newline);
        buffer_append(&out, buffer_text(&pen.indent),
                      pen.indent.length - (last && !root ? pen.unit.length : 0));
        if (at < lines.rest && memchr(document->text + at, '/', lines.rest - at) == NULL)
            at = lines.rest; /* the blanks before what follows are its new indentation */
    }
    if (lines.ends_line && (lines.comma != 0 || !needs_commas(document, container)))
        begin = at = lines.rest; /* a comment there stays with its line */
    bool done = hcl_splice(editor, begin, at, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* `{}` and `[]`. */
static bool insert_into_empty(struct hcl_editor *editor, uint32_t container, const struct novelty *novelty,
                              bool one_line)
{
    const struct hcl_document *document = &editor->document;
    const struct hcl_node *at = hcl_at(document, container);
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, at->begin, &out);
    const char *pad = document->json || at->kind == HCL_LIST ? "" : " ";
    buffer_append(&out, document->text + at->begin, 1);
    pen.one_line = one_line;
    if (one_line) {
        buffer_append_text(&out, pad);
    } else {
        append_span(&out, pen.newline);
        buffer_append(&pen.indent, pen.unit.bytes, pen.unit.length);
        buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    }
    render(&pen, novelty);
    /* A comment between the brackets stays. */
    size_t begin = at->begin + 1, end = at->end - 1;
    while (begin < end && (document->text[begin] == ' ' || document->text[begin] == '\t'))
        begin++;
    if (begin < end)
        buffer_append_text(&out, " ");
    if (one_line && begin == end)
        buffer_append_text(&out, pad);
    buffer_append(&out, document->text + begin, end - begin);
    if (!one_line) {
        pen.indent.length -= pen.unit.length;
        append_span(&out, pen.newline);
        buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    }
    buffer_append(&out, document->text + end, 1);
    bool done = hcl_splice(editor, at->begin, at->end, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* Gives each member of a one-line block a line: HCL2 takes one attribute in such a block, no more. */
static bool unfold(struct hcl_editor *editor, uint32_t container)
{
    const struct hcl_document *document = &editor->document;
    const struct hcl_node *at = hcl_at(document, container);
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, at->begin, &out);
    size_t from = at->begin + 1;
    buffer_append_text(&out, "{");
    buffer_append(&pen.indent, pen.unit.bytes, pen.unit.length);
    for (uint32_t member = at->first; member != 0; member = hcl_at(document, member)->next) {
        size_t begin = hcl_at(document, member)->begin;
        const char *gap = document->text + from;
        size_t length = begin - from;
        /* Only a comment keeps what stands between two members. */
        if (memchr(gap, '/', length) != NULL)
            buffer_append(&out, gap, length);
        append_span(&out, pen.newline);
        buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
        buffer_append(&out, document->text + begin, hcl_at(document, member)->end - begin);
        from = hcl_at(document, member)->end;
    }
    if (memchr(document->text + from, '/', at->end - 1 - from) != NULL)
        buffer_append(&out, document->text + from, at->end - 1 - from);
    pen.indent.length -= pen.unit.length;
    append_span(&out, pen.newline);
    buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    buffer_append_text(&out, "}");
    bool done = hcl_splice(editor, at->begin, at->end, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* ---- choosing ---- */

/* The member that the new one goes behind: the last of its name, for an attribute the last attribute, else the last. */
static uint32_t choose(const struct hcl_document *document, uint32_t container, const struct novelty *novelty)
{
    uint32_t last = hcl_at(document, container)->last;
    if (novelty->path == NULL || document->json)
        return last;
    bool block = hcl_renders_lines(novelty->path, novelty->step, novelty->value);
    uint32_t found = 0;
    for (uint32_t each = hcl_at(document, container)->first; each != 0; each = hcl_at(document, each)->next)
        if (block
                ? hcl_text_is(document, hcl_name(document, each), hcl_step_text(novelty->path, novelty->step),
                              novelty->path->steps[novelty->step].length)
                : hcl_is_setting(document, each))
            found = each;
    return found != 0 ? found : last;
}

/* What stands between name and value: as in the line before, with the signs below each other if they are there. */
static void choose_equals(const struct hcl_document *document, uint32_t after, const struct novelty *novelty,
                          struct buffer *equals)
{
    const struct hcl_node *at = hcl_at(document, after), *key = hcl_at(document, at->first);
    if (!hcl_is_setting(document, after)) {
        buffer_append_text(equals, " = ");
        return;
    }
    struct buffer name = {0};
    struct hcl_pen pen = {.out = &name};
    hcl_render_name(&pen, hcl_step_text(novelty->path, novelty->step),
                    novelty->path->steps[novelty->step].length);
    size_t length = 0, column = hcl_sign_column(document, after), gap = at->sign - key->end;
    for (size_t i = 0; i < name.length; i++)
        length += ((unsigned char)name.bytes[i] & 0xC0) != 0x80;
    buffer_free(&name);
    uint32_t other = hcl_before(document, after);
    int pair = other != 0 ? hcl_aligned_pair(document, other, after) : 0;
    bool aligned = gap > 1 || pair > 0 || (pair == 0 && hcl_aligned(document));
    bool comment = memchr(document->text + key->end, '/', gap) != NULL ||
                   memchr(document->text + key->end, '\n', gap) != NULL; /* which is that line's alone */
    if (!comment && (column == 0 || gap == 0))
        buffer_append(equals, document->text + key->end, gap);
    else
        buffer_append_text(equals, " ");
    for (size_t i = length + 1; aligned && column > 0 && i < column; i++)
        buffer_append_text(equals, " ");
    size_t value = hcl_at(document, at->value)->begin, sign = at->sign;
    bool plain = memchr(document->text + sign, '\n', value - sign) == NULL &&
                 memchr(document->text + sign, '/', value - sign) == NULL;
    if (plain)
        buffer_append(equals, document->text + sign, value - sign);
    else
        buffer_append_text(equals, "= ");
}

static bool insert_on_one_line(struct hcl_editor *editor, uint32_t container, const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    const struct hcl_node *at = hcl_at(document, container), *member = hcl_at(document, at->parent);
    bool block = at->kind == HCL_OBJECT && !document->json && member->kind == HCL_MEMBER && !member->assigned;
    if (at->first == 0) {
        bool text_has_lines = memchr(document->text, '\n', document->length) != NULL;
        bool json_lines = document->json && at->kind == HCL_OBJECT && text_has_lines;
        bool root = document->json && container == document->root && document->length - at->end <= 1;
        return insert_into_empty(editor, container, novelty, !block && !json_lines && !root);
    }
    bool listed = hcl_lines(document, at->last).comma != 0 || hcl_lines(document, at->first).comma != 0;
    bool lines = novelty->path != NULL && hcl_renders_lines(novelty->path, novelty->step, novelty->value);
    if (!block || (listed && !lines))
        return insert_beside(editor, at->last, novelty);
    size_t begin = at->begin;
    if (!unfold(editor, container))
        return false;
    /* The nodes are numbered in the order of the text, which is what it was. */
    return hcl_at(&editor->document, container)->begin == begin &&
           hcl_insert(editor, container, novelty->path, novelty->step, novelty->value);
}

static bool place(struct hcl_editor *editor, uint32_t container, uint32_t after,
                  const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    struct hcl_lines lines = hcl_lines(document, after);
    if (lines.starts_line && lines.ends_line)
        return insert_below(editor, container, after, novelty);
    return insert_between(editor, container, after, novelty);
}

bool hcl_insert(struct hcl_editor *editor, uint32_t container, const struct hcl_path *path, unsigned step,
                struct hcl_value value)
{
    const struct hcl_document *document = &editor->document;
    const struct hcl_node *at = hcl_at(document, container);
    struct novelty novelty = {.path = path, .step = step, .value = value};
    const struct hcl_node *above = hcl_at(document, at->parent);
    novelty.in_object = at->kind == HCL_OBJECT && (above->kind != HCL_MEMBER || above->assigned);
    if (at->kind == HCL_ROOT && at->first == 0)
        return insert_at_end(editor, &novelty);
    if (at->kind != HCL_ROOT && hcl_one_line(document, container))
        return insert_on_one_line(editor, container, &novelty);
    if (at->first == 0)
        return insert_only(editor, container, &novelty);
    uint32_t after = choose(document, container, &novelty);
    struct buffer equals = {0};
    if (!document->json && !hcl_renders_lines(path, step, value))
        choose_equals(document, after, &novelty, &equals);
    novelty.equals = equals.length > 0 ? equals.bytes : NULL;
    bool done = place(editor, container, after, &novelty);
    buffer_free(&equals);
    return done;
}

/* Ahead of the first item. */
static bool insert_first_item(struct hcl_editor *editor, uint32_t list, const struct novelty *novelty)
{
    const struct hcl_document *document = &editor->document;
    uint32_t first = hcl_at(document, list)->first;
    struct hcl_lines lines = hcl_lines(document, first);
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, hcl_at(document, first)->begin, &out);
    bool own_line = lines.starts_line;
    pen.one_line = !own_line;
    render(&pen, novelty);
    buffer_append_text(&out, own_line ? "," : ", ");
    if (own_line) {
        append_span(&out, pen.newline);
        buffer_append(&out, buffer_text(&pen.indent), pen.indent.length);
    }
    bool done = hcl_splice(editor, hcl_at(document, first)->begin, hcl_at(document, first)->begin, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

bool hcl_insert_item(struct hcl_editor *editor, uint32_t list, uint32_t after, struct hcl_value value)
{
    const struct hcl_document *document = &editor->document;
    struct novelty novelty = {.value = value};
    if (hcl_at(document, list)->first == 0)
        return hcl_one_line(document, list) ? insert_into_empty(editor, list, &novelty, true)
                                            : insert_only(editor, list, &novelty);
    if (after == 0)
        return insert_first_item(editor, list, &novelty);
    if (hcl_lines(document, after).starts_line && hcl_lines(document, after).ends_line)
        return insert_below(editor, list, after, &novelty);
    return insert_beside(editor, after, &novelty);
}
