/* Edits of a configuration that a number chooses, and what must hold for each: shared by the fuzzer and the corpus.
 *
 * A finding ends the process with a message, as an assertion does. */
#ifndef MOONBOOK_TESTS_HCL_EDITS_H
#define MOONBOOK_TESTS_HCL_EDITS_H

#include "hcl_edit.h"
#include "hcl_layout.h"
#include "hcl_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was done last, for the message of a finding. */
struct trial {
    const char *name;     /* of the file */
    struct buffer before; /* the text */
    struct buffer path;   /* as it was written */
    const char *value, *what;
    struct failure failure;
    uint64_t random;
    unsigned done, refused; /* edits that were made, and that were refused for a reason */
};

static void finding(const struct trial *trial, const char *what, const struct buffer *after)
{
    fprintf(stderr, "%s: %s of %s = %s: %s\n--- before\n%s\n--- after\n%s\n---\n%s\n", trial->name,
            trial->what, buffer_text(&trial->path), trial->value, what, buffer_text(&trial->before),
            after != NULL ? buffer_text(after) : "", trial->failure.message);
    abort();
}

/* A number below `most`: xorshift, the same everywhere. */
static unsigned choose(struct trial *trial, unsigned most)
{
    trial->random ^= trial->random << 13;
    trial->random ^= trial->random >> 7;
    trial->random ^= trial->random << 17;
    return (unsigned)(trial->random >> 11) % (most > 0 ? most : 1);
}

/* ---- paths of nodes ---- */

static void append_name(const struct hcl_document *document, uint32_t key, bool label, struct buffer *out)
{
    struct buffer name = {0};
    hcl_text(document, key, &name);
    if (!label && hcl_is_name(buffer_text(&name), name.length))
        buffer_format(out, "%s%s", out->length > 0 ? "." : "", buffer_text(&name));
    else
        hcl_path_label(buffer_text(&name), name.length, out);
    buffer_free(&name);
}

/* Which of several alike the member is, from 1; 0 where it is the only one. */
static unsigned member_number(const struct hcl_document *document, uint32_t member,
                              const struct buffer *source)
{
    struct hcl_path path;
    struct failure failure;
    unsigned count = 0, number = 0, labels = hcl_count_labels(document, member);
    if (hcl_path_read(buffer_text(source), source->length, &path, &failure) && path.count > labels) {
        uint32_t each = 0, container = hcl_at(document, member)->parent;
        while ((each = hcl_find_next(document, &path, container, each, path.count - 1 - labels, labels)) != 0)
            if (++count && each == member)
                number = count;
    }
    hcl_path_free(&path);
    return count > 1 ? number : 0;
}

/* Writes the path of a member or an item; an empty one for the root. */
static void node_path(const struct hcl_document *document, uint32_t node, struct buffer *out)
{
    const struct hcl_node *at = hcl_at(document, node);
    if (node == 0 || node == document->root)
        return;
    node_path(document, at->parent, out);
    if (at->kind == HCL_MEMBER) {
        append_name(document, at->first, false, out);
        for (uint32_t label = hcl_label(document, node, 0); label != 0; label = hcl_at(document, label)->next)
            append_name(document, label, true, out);
        unsigned number = member_number(document, node, out);
        if (number > 0)
            buffer_format(out, "[%u]", number);
    } else if (hcl_at(document, at->parent)->kind == HCL_LIST) {
        unsigned number = 1;
        uint32_t each = hcl_at(document, at->parent)->first;
        for (; each != node; each = hcl_at(document, each)->next)
            number++;
        buffer_format(out, "[%u]", number);
    }
}

/* ---- lines ---- */

struct line_list {
    struct text_span *lines;
    size_t count;
};

static struct line_list split(const struct buffer *text)
{
    struct line_list list = {.count = text_count_lines(buffer_text(text), text->length)};
    list.lines = allocate_zeroed(list.count + 1, sizeof *list.lines);
    text_split(buffer_text(text), text->length, list.lines);
    if (list.count > 0 && list.lines[0].length >= 3 && memcmp(list.lines[0].bytes, "\xEF\xBB\xBF", 3) == 0) {
        list.lines[0].bytes += 3; /* a byte order mark is no part of the line */
        list.lines[0].length -= 3;
    }
    /* A last line without an ending keeps its carriage return; with one it is part of the ending. */
    if (list.count > 0 && list.lines[list.count - 1].length > 0) {
        struct text_span *last = &list.lines[list.count - 1];
        last->length -= last->bytes[last->length - 1] == '\r';
    }
    return list;
}

/* The lines of `before` that are not in `after` any more: from `first`, `count` of them. */
static void changed_lines(const struct buffer *before, const struct buffer *after, size_t *first,
                          size_t *count)
{
    struct line_list old = split(before), new = split(after);
    size_t head = 0, tail = 0;
    while (head < old.count && head < new.count &&text_span_equal(old.lines[head], new.lines[head]))
        head++;
    while (tail + head < old.count &&
           tail + head <
               new.count &&text_span_equal(old.lines[old.count - 1 - tail], new.lines[new.count - 1 - tail]))
        tail++;
    *first = head + 1;
    *count = old.count - head - tail;
    free(old.lines);
    free(new.lines);
}

static size_t line_of_byte(const struct hcl_document *document, size_t at)
{
    size_t line, column;
    hcl_position(document->text, at, &line, &column);
    return line;
}

/* ---- what stays ---- */

static bool is_leaf(const struct hcl_node *node)
{
    return node->kind != HCL_ROOT && node->kind != HCL_MEMBER && node->kind != HCL_OBJECT &&
           node->kind != HCL_LIST;
}

/* All names and values in order, as they are written, but those within `besides`. */
static void write_leaves(const struct hcl_document *document, uint32_t besides, struct buffer *out)
{
    size_t begin = besides != 0 ? hcl_at(document, besides)->begin : 0;
    size_t end = besides != 0 ? hcl_at(document, besides)->end : 0;
    for (uint32_t i = 1; i < document->count; i++) {
        const struct hcl_node *node = hcl_at(document, i);
        if (!is_leaf(node) || (node->begin >= begin && node->end <= end))
            continue;
        buffer_append(out, document->text + node->begin, node->end - node->begin);
        buffer_append(out, "\n", 1);
    }
}

static bool same_bytes(const struct buffer *a, const struct buffer *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->bytes, b->bytes, a->length) == 0);
}

/* ---- one edit ---- */

static bool open_trial(struct trial *trial, struct hcl_editor *editor, const char *text, size_t length)
{
    struct hcl_fault fault;
    trial->failure = (struct failure){0};
    bool read = hcl_editor_open(editor, text, length, &fault);
    editor->op = trial->what;
    editor->failure = &trial->failure;
    if (read && (editor->text.length != length || memcmp(buffer_text(&editor->text), text, length) != 0))
        finding(trial, "the text is not what was read", &editor->text);
    return read;
}

/* A refusal is fine where it has a reason; an edit that would have left an unreadable text is a finding. */
static bool was_refused(struct trial *trial, struct hcl_editor *editor)
{
    if (strcmp(trial->failure.kind, "usage") != 0)
        finding(trial, "the edit failed", &editor->text);
    trial->refused++;
    return true;
}

static void check_set(struct trial *trial, struct hcl_path *path, struct hcl_value value)
{
    struct hcl_editor editor, again;
    size_t first, count;
    open_trial(trial, &editor, buffer_text(&trial->before), trial->before.length);
    struct hcl_place place = hcl_find(&editor.document, path);
    bool found = place.outcome == HCL_FOUND;
    uint32_t begin = found && place.member != 0 ? place.member : place.value;
    size_t from = found ? line_of_byte(&editor.document, hcl_at(&editor.document, begin)->begin) : 0;
    size_t to = found ? line_of_byte(&editor.document, hcl_at(&editor.document, place.value)->end) : 0;
    bool labels = place.member != 0 && place.step == path->count &&
                  hcl_label(&editor.document, place.member, place.labels) != 0;
    if (!hcl_set(&editor, path, value)) {
        was_refused(trial, &editor);
        hcl_editor_close(&editor);
        return;
    }
    trial->done++;
    if (labels) { /* the names of the value are labels: any of these blocks may change */
        hcl_editor_close(&editor);
        return;
    }
    changed_lines(&trial->before, &editor.text, &first, &count);
    if (found ? count > 0 && (first < from || first + count - 1 > to) : count > 1)
        finding(trial, "other lines changed", &editor.text);
    place = hcl_find(&editor.document, path);
    if (place.outcome != HCL_FOUND || !hcl_equal(&editor.document, place.value, value.document, value.node))
        finding(trial, "the value is not what was set", &editor.text);
    open_trial(trial, &again, buffer_text(&editor.text), editor.text.length);
    if (!hcl_set(&again, path, value) || !same_bytes(&again.text, &editor.text))
        finding(trial, "a second time changes something", &again.text);
    hcl_editor_close(&again);
    hcl_editor_close(&editor);
}

/* Where the thing before it ends: there a comma may go. */
static size_t line_before(const struct hcl_document *document, uint32_t node)
{
    uint32_t previous = 0, each = hcl_at(document, hcl_at(document, node)->parent)->first;
    for (; each != node; each = hcl_at(document, each)->next)
        previous = each;
    size_t line = line_of_byte(document, hcl_at(document, node)->begin);
    size_t above = previous != 0 ? line_of_byte(document, hcl_at(document, previous)->end) : line - 1;
    return above < line - 1 ? above : line > 1 ? line - 1 : 1;
}

static void check_remove(struct trial *trial, struct hcl_path *path)
{
    struct hcl_editor editor;
    struct buffer left = {0}, wanted = {0};
    size_t first, count;
    open_trial(trial, &editor, buffer_text(&trial->before), trial->before.length);
    struct hcl_place place = hcl_find(&editor.document, path);
    if (place.outcome != HCL_FOUND) {
        hcl_editor_close(&editor);
        return;
    }
    bool item = hcl_at(&editor.document, hcl_at(&editor.document, place.value)->parent)->kind == HCL_LIST;
    uint32_t node = item ? place.value : place.member;
    size_t from = line_before(&editor.document, node);
    struct hcl_lines lines = hcl_lines(&editor.document, node);
    size_t to = line_of_byte(&editor.document, lines.rest);
    write_leaves(&editor.document, node, &wanted);
    if (!hcl_remove(&editor, path))
        finding(trial, "the removal failed", &editor.text);
    trial->done++;
    changed_lines(&trial->before, &editor.text, &first, &count);
    write_leaves(&editor.document, 0, &left);
    if (!same_bytes(&left, &wanted))
        finding(trial, "something else is gone", &editor.text);
    to += trial->before.bytes[trial->before.length - 1] != '\n'; /* an empty line may be the last one then */
    if (count > 0 && (first < from || first + count - 1 > to) && trial->before.length > editor.text.length) {
        /* Equal lines beside it may make the difference seem to be elsewhere: it has the same length then. */
        if (count > to - from + 1)
            finding(trial, "other lines changed", &editor.text);
    }
    buffer_free(&left);
    buffer_free(&wanted);
    hcl_editor_close(&editor);
}

/* What is added and taken away again leaves the names and values as they were. */
static void check_round(struct trial *trial, struct hcl_path *path, struct hcl_value value)
{
    struct hcl_editor editor;
    struct buffer before = {0}, after = {0};
    open_trial(trial, &editor, buffer_text(&trial->before), trial->before.length);
    struct hcl_place place = hcl_find(&editor.document, path);
    if (place.outcome == HCL_MISSING && place.step + 1 == path->count) {
        write_leaves(&editor.document, 0, &before);
        if (hcl_set(&editor, path, value) && !hcl_remove(&editor, path))
            finding(trial, "what was set cannot be removed", &editor.text);
        write_leaves(&editor.document, 0, &after);
        if (!same_bytes(&before, &after))
            finding(trial, "setting and removing left something else", &editor.text);
    }
    buffer_free(&before);
    buffer_free(&after);
    hcl_editor_close(&editor);
}

static void check_add(struct trial *trial, struct hcl_path *path, struct hcl_value value)
{
    struct hcl_editor editor;
    size_t first, count;
    open_trial(trial, &editor, buffer_text(&trial->before), trial->before.length);
    uint32_t nodes = editor.document.count;
    if (!hcl_add_block(&editor, path, value)) {
        was_refused(trial, &editor);
    } else {
        trial->done++;
        changed_lines(&trial->before, &editor.text, &first, &count);
        if (count > 1 && !editor.document.json)
            finding(trial, "other lines changed", &editor.text);
        if (editor.document.count <= nodes)
            finding(trial, "nothing was added", &editor.text);
    }
    hcl_editor_close(&editor);
}

/* ---- choosing one ---- */

static const char *const trial_values[] = {
    "4",
    "-1",
    "9223372036854775807",
    "1.5e-3",
    "true",
    "null",
    "\"x\"",
    "\"a \\\"quote\\\" and a \\\\ backslash\"",
    "\"\"",
    "[]",
    "[\"a\", 1]",
    "\"${attr.cpu.arch}\"",
    "{}",
    "{ a = 1 }",
    "\"\\u0024{none\"",
    "\"{{ GetInterfaceIP \\\"eth0\\\" }}\"",
    "[[1], []]",
    "\"\\u00fc \\u0001 \\n\\t\"",
    "{ \"b.c\" = \"x\", d = [1] }",
    "{ deep = { er = { x = \"y\" } } }",
    "[{ a = 1 }, { a = 2 }]",
    "[1, 2, 3, 4]",
    "[\"b\", \"a\"]",
    "\"$${not}\"",
};

/* A container or a member, whatever `random` says, whose path leads to it; 0 where none was found. */
static uint32_t choose_node(struct trial *trial, const struct hcl_document *document, bool container)
{
    for (unsigned tries = 0; tries < 16; tries++) {
        uint32_t index = choose(trial, document->count);
        const struct hcl_node *node = hcl_at(document, index);
        bool item = index > 0 && hcl_at(document, node->parent)->kind == HCL_LIST;
        if (container ? node->kind == HCL_OBJECT || index == 0 : node->kind == HCL_MEMBER || item)
            return container && index == 0 ? document->root : index;
    }
    return 0;
}

/* New names below a container. */
static void add_fresh(struct trial *trial, struct buffer *path)
{
    static const char *const names[] = {"fresh",
                                        "zz_new",
                                        "a",
                                        "fresh.inner.cpu",
                                        "kind[\"one\"].size",
                                        "meta[\"a.b\"]",
                                        "caf\xC3\xA9",
                                        "very_long_name_of_a_setting"};
    const char *name = names[choose(trial, sizeof names / sizeof *names)];
    buffer_format(path, "%s%s", path->length > 0 ? "." : "", name);
}

static void run_operation(struct trial *trial, struct hcl_path *path, bool fresh, struct hcl_value value)
{
    unsigned operation = choose(trial, 8);
    if (fresh && operation < 2) {
        trial->what = "round";
        check_round(trial, path, value);
    } else if (fresh && operation == 2 && hcl_at(value.document, value.node)->kind == HCL_OBJECT) {
        trial->what = "add_block";
        check_add(trial, path, value);
    } else if (!fresh && operation < 4) {
        trial->what = "remove";
        check_remove(trial, path);
    } else {
        trial->what = "set";
        check_set(trial, path, value);
    }
}

/* Makes one edit of the text in `before`, which can be read, and looks at what it did. */
static void run_trial(struct trial *trial, const struct hcl_document *document)
{
    struct buffer value_arena = {0};
    struct hcl_document value_document;
    struct hcl_fault fault;
    struct hcl_path path;
    bool fresh = choose(trial, 2) == 0;
    uint32_t node = choose_node(trial, document, fresh);
    trial->value = trial_values[choose(trial, sizeof trial_values / sizeof *trial_values)];
    trial->what = "parse";
    buffer_clear(&trial->path);
    node_path(document, node, &trial->path);
    if (fresh)
        add_fresh(trial, &trial->path);
    if (!hcl_parse_value(trial->value, strlen(trial->value), &value_arena, &value_document, &fault))
        finding(trial, "the value cannot be read", NULL);
    if (trial->path.length > 0 &&
        hcl_path_read(buffer_text(&trial->path), trial->path.length, &path, &trial->failure)) {
        run_operation(trial, &path, fresh, (struct hcl_value){&value_document, value_document.root});
        hcl_path_free(&path);
    } else if (trial->path.length > 0) {
        hcl_path_free(&path);
    }
    buffer_free(&value_arena);
}

#endif
