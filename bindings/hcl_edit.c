/* Setting, removing and adding by path. */
#include "hcl_edit.h"

#include "hcl_layout.h"
#include "hcl_value.h"

#include <stdio.h>
#include <string.h>

#define ITEMS_MERGED 64 /* a list with more differences than this is written anew */

bool hcl_editor_open(struct hcl_editor *editor, const char *text, size_t length, struct hcl_fault *fault)
{
    *editor = (struct hcl_editor){0};
    buffer_append(&editor->text, text, length);
    return hcl_parse(buffer_text(&editor->text), length, &editor->arena, &editor->document, fault);
}

void hcl_editor_close(struct hcl_editor *editor)
{
    buffer_wipe(&editor->text);
    buffer_free(&editor->arena);
}

bool hcl_splice(struct hcl_editor *editor, size_t begin, size_t end, const struct buffer *bytes)
{
    struct buffer whole = {0};
    struct hcl_fault fault;
    buffer_append(&whole, editor->text.bytes, begin);
    buffer_append(&whole, buffer_text(bytes), bytes->length);
    buffer_append(&whole, buffer_text(&editor->text) + end, editor->text.length - end);
    if (hcl_parse(buffer_text(&whole), whole.length, &editor->arena, &editor->document, &fault)) {
        buffer_wipe(&editor->text);
        editor->text = whole;
        return true;
    }
    size_t line, column;
    hcl_position(buffer_text(&whole), fault.at, &line, &column);
    failure_set(editor->failure, "failed", editor->op,
                "the edit would leave a text that cannot be read: line %zu, column %zu: %s is wanted", line,
                column, fault.wanted);
    buffer_wipe(&whole);
    hcl_parse(buffer_text(&editor->text), editor->text.length, &editor->arena, &editor->document, &fault);
    return false;
}

/* ---- setting ---- */

/* One step more at the end of the path; `name` is a key of the value's document. */
static bool push_step(struct hcl_editor *editor, struct hcl_path *path, enum hcl_step_kind kind,
                      struct hcl_value name, unsigned number)
{
    if (path->count == HCL_STEPS_MOST)
        return failure_set(editor->failure, "usage", editor->op, "the value is nested deeper than %d levels",
                           HCL_STEPS_MOST);
    struct hcl_step *step = &path->steps[path->count];
    *step = (struct hcl_step){.kind = kind, .begin = path->names.length, .number = number};
    if (kind != HCL_STEP_NUMBER)
        hcl_text(name.document, name.node, &path->names);
    step->length = path->names.length - step->begin;
    step->end = path->count > 0 ? path->steps[path->count - 1].end : 0;
    path->count++;
    return true;
}

static void pop_step(struct hcl_path *path)
{
    path->count--;
    path->names.length = path->steps[path->count].begin;
}

/* The member of the value with this name; 0 where there is none. */
static uint32_t named(struct hcl_value value, const struct hcl_document *document, uint32_t key)
{
    struct buffer name = {0};
    hcl_text(document, key, &name);
    uint32_t each = hcl_at(value.document, value.node)->first;
    for (; each != 0; each = hcl_at(value.document, each)->next)
        if (hcl_text_is(value.document, hcl_name(value.document, each), buffer_text(&name), name.length))
            break;
    buffer_free(&name);
    return each;
}

static enum hcl_kind kind_of(struct hcl_value value)
{
    return hcl_at(value.document, value.node)->kind;
}

/* Sets each member of an object below the path, as a name or as the label of a block. */
static bool set_members(struct hcl_editor *editor, struct hcl_path *path, struct hcl_value value,
                        enum hcl_step_kind kind)
{
    uint32_t each = hcl_at(value.document, value.node)->first;
    for (; each != 0; each = hcl_at(value.document, each)->next) {
        struct hcl_value inner = {value.document, hcl_at(value.document, each)->value};
        if (!push_step(editor, path, kind, (struct hcl_value){value.document, hcl_name(value.document, each)},
                       0))
            return false;
        bool done = hcl_set(editor, path, inner);
        pop_step(path);
        if (!done)
            return false;
    }
    return true;
}

/* An object in the place of an object: members one by one, so that comments and order stay. */
static bool merge_object(struct hcl_editor *editor, struct hcl_path *path, struct hcl_value value)
{
    if (!set_members(editor, path, value, HCL_STEP_LABEL))
        return false;
    for (;;) {
        struct hcl_place place = hcl_find(&editor->document, path);
        uint32_t each = place.outcome == HCL_FOUND ? hcl_at(&editor->document, place.value)->first : 0;
        while (each != 0 && named(value, &editor->document, hcl_name(&editor->document, each)) != 0)
            each = hcl_at(&editor->document, each)->next;
        if (each == 0)
            return true;
        if (!hcl_take(editor, each))
            return false;
    }
}

/* An object in the place of blocks with labels: its names are the labels. */
static bool merge_labels(struct hcl_editor *editor, struct hcl_path *path, struct hcl_place place,
                         struct hcl_value value)
{
    unsigned name = place.step - 1 - place.labels, labels = place.labels;
    uint32_t each = hcl_at(value.document, value.node)->first;
    for (; each != 0; each = hcl_at(value.document, each)->next)
        if (hcl_at(value.document, hcl_at(value.document, each)->value)->kind != HCL_OBJECT)
            return failure_set(editor->failure, "usage", editor->op,
                               "%.*s are blocks with labels: the value of each is a table",
                               (int)path->steps[place.step - 1].end, path->source);
    if (!set_members(editor, path, value, HCL_STEP_LABEL))
        return false;
    for (;;) {
        const struct hcl_document *document = &editor->document;
        uint32_t member = 0;
        while ((member = hcl_find_next(document, path, place.container, member, name, labels)) != 0)
            if (hcl_label(document, member, labels) == 0 ||
                named(value, document, hcl_label(document, member, labels)) == 0)
                break;
        if (member == 0)
            return true;
        if (!hcl_take(editor, member))
            return false;
    }
}

static uint32_t item_at(const struct hcl_document *document, uint32_t list, unsigned number)
{
    uint32_t item = number > 0 ? hcl_at(document, list)->first : 0;
    while (item != 0 && --number > 0)
        item = hcl_at(document, item)->next;
    return item;
}

static unsigned count_items(struct hcl_value list)
{
    unsigned count = 0;
    for (uint32_t item = hcl_at(list.document, list.node)->first; item != 0;
         item = hcl_at(list.document, item)->next)
        count++;
    return count;
}

/* Replaces a value where it stands. */
static bool replace(struct hcl_editor *editor, uint32_t node, struct hcl_value value)
{
    const struct hcl_document *document = &editor->document;
    const struct hcl_node *at = hcl_at(document, node);
    struct buffer out = {0};
    struct hcl_pen pen = hcl_pen(editor, at->begin, &out);
    uint32_t container = at->parent;
    if (hcl_at(document, container)->kind == HCL_MEMBER)
        container = hcl_at(document, container)->parent;
    pen.one_line = hcl_at(document, container)->kind != HCL_ROOT && hcl_one_line(document, container);
    size_t begin = at->begin, gap = begin;
    const struct hcl_node *above = hcl_at(document, at->parent);
    if (above->kind == HCL_MEMBER &&
        memchr(document->text + above->sign, '\n', begin - above->sign) != NULL) {
        begin = above->sign + 1; /* the value waits on another line, which only HCL1 takes */
        buffer_append_text(&out, " ");
    }
    hcl_render_value(&pen, value);
    if (memchr(document->text + begin, '#', gap - begin) != NULL ||
        memchr(document->text + begin, '/', gap - begin) != NULL)
        buffer_append(&out, document->text + begin, gap - begin); /* a comment there stays */
    char next = at->end < document->length ? document->text[at->end] : '\n';
    if (strchr(" \t\r\n,}]/#", next) == NULL)
        buffer_append_text(&out, " "); /* HCL1 takes `a {}b = 1` */
    bool done = hcl_splice(editor, begin, at->end, &out);
    buffer_free(&pen.indent);
    buffer_wipe(&out);
    return done;
}

/* A list in the place of a list: what both begin and end with stays, so that comments stay with their items. */
static bool merge_list(struct hcl_editor *editor, struct hcl_path *path, struct hcl_place place,
                       struct hcl_value value)
{
    struct hcl_value old = {&editor->document, place.value};
    unsigned was = count_items(old), is = count_items(value), same = 0, tail = 0;
    while (same < was && same < is &&
           hcl_equal(old.document, item_at(old.document, old.node, same + 1), value.document,
                     item_at(value.document, value.node, same + 1)))
        same++;
    while (tail + same < was && tail + same < is && tail < ITEMS_MERGED &&
           hcl_equal(old.document, item_at(old.document, old.node, was - tail), value.document,
                     item_at(value.document, value.node, is - tail)))
        tail++;
    unsigned gone = was - same - tail, fresh = is - same - tail;
    if (gone > ITEMS_MERGED || fresh > ITEMS_MERGED)
        return replace(editor, place.value, value);
    for (unsigned i = 0; i < gone || i < fresh; i++) {
        uint32_t list = hcl_find(&editor->document, path).value;
        struct hcl_value item = {value.document, item_at(value.document, value.node, same + i + 1)};
        bool done;
        if (i >= fresh)
            done = hcl_take(editor, item_at(&editor->document, list, same + fresh + 1));
        else if (i >= gone)
            done = hcl_insert_item(editor, list, item_at(&editor->document, list, same + i), item);
        else
            done = replace(editor, item_at(&editor->document, list, same + i + 1), item);
        if (!done)
            return false;
    }
    return true;
}

static bool refuse(struct hcl_editor *editor, const struct hcl_path *path, const struct hcl_place *place)
{
    return hcl_refuse(&editor->document, path, place, editor->op, editor->failure);
}

/* Does the value hold a block, which no value can? Or an expression, for JSON? */
static bool check_value(struct hcl_editor *editor, struct hcl_value value)
{
    for (uint32_t i = 1; i < value.document->count; i++) {
        const struct hcl_node *node = hcl_at(value.document, i);
        if (node->kind == HCL_MEMBER && !node->assigned)
            return failure_set(editor->failure, "usage", editor->op, "a value has no blocks in it");
        if (node->kind == HCL_EXPRESSION && editor->document.json)
            return failure_set(editor->failure, "usage", editor->op,
                               "JSON has no expressions; as text it is \"${...}\"");
    }
    return true;
}

static bool set_found(struct hcl_editor *editor, struct hcl_path *path, struct hcl_place place,
                      struct hcl_value value)
{
    const struct hcl_document *document = &editor->document;
    enum hcl_kind old = hcl_at(document, place.value)->kind;
    bool block = place.member != 0 && !hcl_at(document, place.member)->assigned;
    if (block && kind_of(value) != HCL_OBJECT) {
        failure_set(editor->failure, "usage", editor->op, "%.*s is a block: its value is a table",
                    (int)path->steps[path->count - 1].end, path->source);
        failure_hint(editor->failure, "name what is in it, or remove it first");
        return false;
    }
    if (block && hcl_label(document, place.member, place.labels) != 0)
        return merge_labels(editor, path, place, value);
    if (hcl_equal(document, place.value, value.document, value.node))
        return true;
    if (old == HCL_OBJECT && kind_of(value) == HCL_OBJECT)
        return merge_object(editor, path, value);
    if (old == HCL_LIST && kind_of(value) == HCL_LIST)
        return merge_list(editor, path, place, value);
    return replace(editor, place.value, value);
}

/* A plain value for a label: what is in such a block was meant, but not named. */
static bool names_label_only(const struct hcl_document *document, const struct hcl_path *path,
                             const struct hcl_place *place, struct hcl_value value)
{
    if (kind_of(value) == HCL_OBJECT || place->step + 2 != path->count ||
        path->steps[path->count - 1].kind != HCL_STEP_LABEL)
        return false;
    uint32_t member = hcl_at(document, place->container)->first;
    for (; member != 0; member = hcl_at(document, member)->next)
        if (hcl_count_labels(document, member) > 0 &&
            hcl_text_is(document, hcl_name(document, member), hcl_step_text(path, place->step),
                        path->steps[place->step].length))
            return true;
    return false;
}

static bool has_numbers(const struct hcl_path *path, unsigned step)
{
    for (; step < path->count; step++)
        if (path->steps[step].kind == HCL_STEP_NUMBER)
            return true;
    return false;
}

bool hcl_set(struct hcl_editor *editor, struct hcl_path *path, struct hcl_value value)
{
    if (!check_value(editor, value))
        return false;
    const struct hcl_document *document = &editor->document;
    struct hcl_place place = hcl_find(document, path);
    unsigned number = place.step > 0 ? path->steps[place.step - 1].number : 0;
    switch (place.outcome) {
    case HCL_FOUND:
        return set_found(editor, path, place, value);
    case HCL_MISSING:
        if (names_label_only(document, path, &place, value))
            return failure_set(editor->failure, "usage", editor->op,
                               "%.*s is a block: its value is a table, or name what is in it",
                               (int)path->steps[path->count - 1].end, path->source);
        if (!has_numbers(path, place.step))
            return hcl_insert(editor, place.container, path, place.step, value);
        return failure_set(editor->failure, "usage", editor->op, "there is no %.*s",
                           (int)path->steps[path->count - 1].end, path->source);
    case HCL_SEVERAL:
        if (place.step == path->count && place.member != 0 && kind_of(value) == HCL_OBJECT &&
            hcl_at(document, place.value)->kind != HCL_LIST &&
            hcl_label(document, place.member, place.labels) != 0)
            return merge_labels(editor, path, place, value);
        return refuse(editor, path, &place);
    case HCL_NO_NUMBER:
        if (place.step == path->count && number == place.count + 1 &&
            hcl_at(document, place.container)->kind == HCL_LIST)
            return hcl_insert_item(editor, place.container, hcl_at(document, place.container)->last, value);
        return refuse(editor, path, &place);
    default:
        return refuse(editor, path, &place);
    }
}

bool hcl_remove(struct hcl_editor *editor, struct hcl_path *path)
{
    struct hcl_place place = hcl_find(&editor->document, path);
    if (place.outcome == HCL_MISSING || place.outcome == HCL_NO_NUMBER || place.outcome == HCL_NO_BLOCK)
        return true;
    if (place.outcome == HCL_SEVERAL)
        return refuse(editor, path, &place);
    bool item = path->steps[path->count - 1].kind == HCL_STEP_NUMBER &&
                hcl_at(&editor->document, hcl_at(&editor->document, place.value)->parent)->kind == HCL_LIST;
    return hcl_take(editor, item ? place.value : place.member);
}

/* ---- blocks ---- */

/* In JSON: { a } becomes [{ a }, new]. */
static bool add_to_list(struct hcl_editor *editor, uint32_t value, struct hcl_value body)
{
    struct buffer out = {0};
    const struct hcl_node *at = hcl_at(&editor->document, value);
    size_t begin = at->begin;
    if (at->kind == HCL_OBJECT) {
        buffer_append_text(&out, "[");
        buffer_append(&out, editor->text.bytes + begin, at->end - begin);
        buffer_append_text(&out, "]");
        bool done = hcl_splice(editor, begin, at->end, &out);
        buffer_wipe(&out);
        if (!done)
            return false;
    }
    uint32_t list = value; /* nodes are numbered in the order of the text */
    return hcl_insert_item(editor, list, hcl_at(&editor->document, list)->last, body);
}

static bool refuse_twice(struct hcl_editor *editor, const struct hcl_path *path, uint32_t member)
{
    size_t line, column;
    hcl_position(editor->text.bytes, hcl_at(&editor->document, member)->begin, &line, &column);
    failure_set(editor->failure, "usage", editor->op, "there is such a block already, on line %zu", line);
    failure_hint(editor->failure, "hcl.set changes it");
    (void)path;
    return false;
}

/* A further one beside the member `there`, in JSON or in an object. */
static bool add_in_object(struct hcl_editor *editor, struct hcl_path *path, struct hcl_place place,
                          struct hcl_value body)
{
    uint32_t value = hcl_at(&editor->document, place.member)->value;
    if (place.step == path->count && place.outcome == HCL_FOUND && place.labels == 0) {
        bool labelled = path->steps[path->count - 1].kind == HCL_STEP_LABEL;
        if (labelled || !editor->document.json)
            return refuse_twice(editor, path, place.member);
        if (hcl_at(&editor->document, value)->kind == HCL_OBJECT ||
            hcl_at(&editor->document, value)->kind == HCL_LIST)
            return add_to_list(editor, value, body);
    }
    return refuse(editor, path, &place);
}

bool hcl_add_block(struct hcl_editor *editor, struct hcl_path *path, struct hcl_value body)
{
    if (!check_value(editor, body))
        return false;
    struct hcl_place place = hcl_find(&editor->document, path);
    unsigned labels = 0, count = path->count;
    while (labels < count && path->steps[count - 1 - labels].kind == HCL_STEP_LABEL)
        labels++;
    if (place.outcome == HCL_MISSING && !has_numbers(path, place.step))
        return hcl_insert(editor, place.container, path, place.step, body);
    if ((place.outcome == HCL_FOUND || place.outcome == HCL_SEVERAL) && place.step == count &&
        place.member != 0) {
        bool assigned = hcl_at(&editor->document, place.member)->assigned;
        if (assigned)
            return add_in_object(editor, path, place, body);
        if (labels > 0)
            return refuse_twice(editor, path, place.member);
        return hcl_insert(editor, place.container, path, count - 1, body);
    }
    return refuse(editor, path, &place);
}
