/* Paths: reading them, and where they lead. */
#include "hcl_path.h"

#include "hcl_scan.h"
#include "hcl_value.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

void hcl_path_free(struct hcl_path *path)
{
    buffer_free(&path->names);
}

static bool refuse_path(const struct hcl_scan *scan, const char *wanted, struct failure *failure)
{
    failure_set(failure, "usage", "", "the path \"%.*s\" is none: %s is wanted after \"%.*s\"",
                (int)(scan->length < 200 ? scan->length : 200), scan->text, wanted,
                (int)(scan->at < 200 ? scan->at : 200), scan->text);
    failure_hint(failure, "write it as client.reserved.cpu, client.host_volume[\"name\"].path or service[2]");
    return false;
}

/* 'label', which needs no backslashes within a Lua text in double quotes; nothing in it is special. */
static bool read_plain_label(struct hcl_scan *scan, struct hcl_path *path, struct hcl_step *step,
                             struct failure *failure)
{
    size_t begin = scan->at + 1;
    const char *end = memchr(scan->text + begin, '\'', scan->length - begin);
    if (end == NULL)
        return refuse_path(scan, "a label in quotes", failure);
    step->kind = HCL_STEP_LABEL;
    scan->at = (size_t)(end - scan->text) + 1;
    buffer_append(&path->names, scan->text + begin, scan->at - 1 - begin);
    return true;
}

static bool read_label(struct hcl_scan *scan, struct hcl_path *path, struct hcl_step *step,
                       struct failure *failure)
{
    struct hcl_scan quoted = *scan;
    if (hcl_peek(scan, 0) == '\'')
        return read_plain_label(scan, path, step, failure);
    if (!hcl_scan_string(&quoted) || quoted.at - scan->at < 2)
        return refuse_path(scan, "a label in quotes", failure);
    struct buffer arena = {0};
    struct hcl_document document;
    struct hcl_fault fault;
    step->kind = HCL_STEP_LABEL;
    bool read = hcl_parse_value(scan->text + scan->at, quoted.at - scan->at, &arena, &document, &fault);
    if (read)
        hcl_text(&document, document.root, &path->names);
    buffer_free(&arena);
    if (!read)
        return refuse_path(scan, "a label in quotes", failure);
    scan->at = quoted.at;
    return true;
}

/* ["label"] or [2]: behind the bracket. */
static bool read_bracket(struct hcl_scan *scan, struct hcl_path *path, struct hcl_step *step,
                         struct failure *failure)
{
    char c = hcl_peek(scan, 0);
    if (c == '"' || c == '\'') {
        if (!read_label(scan, path, step, failure))
            return false;
    } else {
        step->kind = HCL_STEP_NUMBER;
        for (; hcl_peek(scan, 0) >= '0' && hcl_peek(scan, 0) <= '9' && step->number < 100000000; scan->at++)
            step->number = step->number * 10 + (unsigned)(hcl_peek(scan, 0) - '0');
        if (step->number == 0)
            return refuse_path(scan, "a label in quotes or a number from 1", failure);
    }
    if (hcl_peek(scan, 0) != ']')
        return refuse_path(scan, "\"]\"", failure);
    scan->at++;
    return true;
}

static bool read_step(struct hcl_scan *scan, struct hcl_path *path, struct failure *failure)
{
    if (path->count == HCL_STEPS_MOST)
        return refuse_path(scan, "an end of the path after at most 32 steps", failure);
    struct hcl_step *step = &path->steps[path->count];
    *step = (struct hcl_step){.kind = HCL_STEP_NAME, .begin = path->names.length};
    if (path->count > 0 && hcl_peek(scan, 0) == '[') {
        scan->at++;
        if (!read_bracket(scan, path, step, failure))
            return false;
    } else {
        if (path->count > 0 && hcl_peek(scan, 0) != '.')
            return refuse_path(scan, "\".\" or \"[\"", failure);
        scan->at += path->count > 0;
        size_t begin = scan->at;
        bool quoted = hcl_peek(scan, 0) == '['; /* ["a name with dots"] at the beginning */
        if (quoted && path->count == 0) {
            scan->at++;
            if (!read_bracket(scan, path, step, failure) || step->kind == HCL_STEP_NUMBER)
                return refuse_path(scan, "a name", failure);
            step->kind = HCL_STEP_NAME;
        } else if (!hcl_scan_name(scan, false)) {
            return refuse_path(scan, "a name", failure);
        } else {
            buffer_append(&path->names, scan->text + begin, scan->at - begin);
        }
    }
    step->length = path->names.length - step->begin;
    step->end = scan->at;
    path->count++;
    return true;
}

bool hcl_path_read(const char *source, size_t length, struct hcl_path *path, struct failure *failure)
{
    *path = (struct hcl_path){.source = source};
    struct hcl_scan scan = {.text = source, .length = length};
    for (size_t at = 0, step; at < length; at += step) {
        step = source[at] == '\0' ? 0 : utf8_length(source + at, length - at);
        if (step == 0) {
            failure_set(failure, "usage", "", "the path is no text: its byte %zu is not UTF-8", at + 1);
            return false;
        }
    }
    do {
        if (!read_step(&scan, path, failure))
            return false;
    } while (scan.at < length);
    return true;
}

void hcl_path_label(const char *label, size_t length, struct buffer *out)
{
    buffer_append_text(out, "[");
    if (!hcl_quote(label, length, false, false, out))
        hcl_quote(label, length, true, false, out);
    buffer_append_text(out, "]");
}

/* ---- finding ---- */

static bool step_is(const struct hcl_document *document, const struct hcl_path *path, unsigned step,
                    uint32_t key)
{
    return key != 0 && hcl_text_is(document, key, hcl_step_text(path, step), path->steps[step].length);
}

/* How many of the label steps from `first` on name labels of the member; -1 where one names another label. */
static int match_labels(const struct hcl_document *document, const struct hcl_path *path, uint32_t member,
                        unsigned first)
{
    int matched = 0;
    uint32_t label = hcl_label(document, member, 0);
    for (unsigned i = first; i < path->count && path->steps[i].kind == HCL_STEP_LABEL && label != 0;
         i++, label = hcl_at(document, label)->next, matched++)
        if (!step_is(document, path, i, label))
            return -1;
    return matched;
}

uint32_t hcl_find_next(const struct hcl_document *document, const struct hcl_path *path, uint32_t container,
                       uint32_t after, unsigned name, unsigned labels)
{
    uint32_t member = after != 0 ? hcl_at(document, after)->next : hcl_at(document, container)->first;
    for (; member != 0; member = hcl_at(document, member)->next)
        if (step_is(document, path, name, hcl_name(document, member)) &&
            match_labels(document, path, member, name + 1) == (int)labels)
            return member;
    return 0;
}

/* The most labels that a member of this name shares with the path; -1 where none has the name. */
static int most_labels(const struct hcl_document *document, const struct hcl_path *path, uint32_t container,
                       unsigned name)
{
    int most = -1;
    for (uint32_t member = hcl_at(document, container)->first; member != 0;
         member = hcl_at(document, member)->next) {
        if (!step_is(document, path, name, hcl_name(document, member)))
            continue;
        int labels = match_labels(document, path, member, name + 1);
        most = labels > most ? labels : most;
    }
    return most;
}

/* Item `number` of a list, from 1; the count of its items where there is none. */
static uint32_t list_item(const struct hcl_document *document, uint32_t list, unsigned number,
                          unsigned *count)
{
    *count = 0;
    uint32_t item = hcl_at(document, list)->first;
    for (; item != 0 && ++*count < number; item = hcl_at(document, item)->next)
        ;
    return item;
}

/* Picks among the members of one name. True when there is one, and then it is in `place`. */
static bool pick(const struct hcl_document *document, const struct hcl_path *path, struct hcl_place *place)
{
    unsigned name = place->step;
    int labels = most_labels(document, path, place->container, name);
    place->outcome = HCL_MISSING;
    if (labels < 0)
        return false;
    uint32_t first = hcl_find_next(document, path, place->container, 0, name, (unsigned)labels),
             member = first;
    unsigned step = name + 1 + (unsigned)labels, number = 0;
    place->count = 0;
    for (; member != 0; place->count++)
        member = hcl_find_next(document, path, place->container, member, name, (unsigned)labels);
    bool list = hcl_at(document, hcl_at(document, first)->value)->kind == HCL_LIST;
    if (step < path->count && path->steps[step].kind == HCL_STEP_NUMBER && (place->count > 1 || !list))
        number = path->steps[step++].number;
    place->labels = (unsigned)labels;
    place->member = first;
    place->step = step;
    if (place->count > 1 && number == 0)
        place->outcome = HCL_SEVERAL;
    else if (number > place->count)
        place->outcome = HCL_NO_NUMBER;
    else
        place->outcome = HCL_FOUND;
    if (place->outcome != HCL_FOUND)
        return false;
    while (number-- > 1)
        place->member =
            hcl_find_next(document, path, place->container, place->member, name, (unsigned)labels);
    place->value = hcl_at(document, place->member)->value;
    return true;
}

/* A step into a list: its number, or a name where it holds one object, as "client": [{ ... }] of JSON does. */
static bool enter_list(const struct hcl_document *document, const struct hcl_path *path,
                       struct hcl_place *place)
{
    uint32_t list = place->value;
    bool number = path->steps[place->step].kind == HCL_STEP_NUMBER;
    uint32_t item =
        list_item(document, list, number ? path->steps[place->step].number : UINT32_MAX, &place->count);
    place->step += number;
    if (!number) {
        item = hcl_at(document, list)->first;
        place->outcome = place->count > 1 ? HCL_SEVERAL : HCL_NO_BLOCK;
        if (place->count != 1 || hcl_at(document, item)->kind != HCL_OBJECT)
            return false;
    } else if (item == 0) {
        place->container = list;
        place->outcome = HCL_NO_NUMBER;
        return false;
    }
    place->container = list;
    place->member = number ? 0 : place->member;
    place->value = item;
    place->outcome = HCL_FOUND;
    return true;
}

struct hcl_place hcl_find(const struct hcl_document *document, const struct hcl_path *path)
{
    struct hcl_place place = {.outcome = HCL_FOUND, .container = document->root, .value = document->root};
    while (place.step < path->count) {
        enum hcl_kind kind = hcl_at(document, place.value)->kind;
        if (kind == HCL_LIST) {
            if (!enter_list(document, path, &place))
                return place;
            continue;
        }
        place.outcome = HCL_NO_BLOCK;
        if ((kind != HCL_OBJECT && kind != HCL_ROOT) || path->steps[place.step].kind == HCL_STEP_NUMBER)
            return place;
        place.container = place.value;
        if (!pick(document, path, &place))
            return place;
    }
    return place;
}

/* ---- refusing ---- */

static size_t line_of(const struct hcl_document *document, uint32_t node)
{
    size_t line, column;
    hcl_position(document->text, hcl_at(document, node)->begin, &line, &column);
    return line;
}

#define LINES_SHOWN 8

/* `on lines 3, 10 and 17` */
static void list_lines(const struct hcl_document *document, const struct hcl_path *path,
                       const struct hcl_place *place, struct buffer *out)
{
    bool list = hcl_at(document, place->value)->kind == HCL_LIST;
    unsigned name = list ? 0 : place->step - 1 - place->labels, shown = 0;
    uint32_t each = list ? hcl_at(document, place->value)->first : place->member;
    buffer_append_text(out, "on lines");
    for (; each != 0 && shown < LINES_SHOWN; shown++) {
        const char *join = shown == 0 ? "" : shown + 1 == place->count ? " and" : ",";
        buffer_format(out, "%s %zu", join, line_of(document, each));
        each = list ? hcl_at(document, each)->next
                    : hcl_find_next(document, path, place->container, each, name, place->labels);
    }
    if (each != 0)
        buffer_append_text(out, " and further");
}

/* How to pick one: by the label of the first, or by number. */
static void advise(const struct hcl_document *document, const struct hcl_path *path,
                   const struct hcl_place *place, struct failure *failure)
{
    int length = (int)path->steps[place->step - 1].end;
    bool list = hcl_at(document, place->value)->kind == HCL_LIST;
    uint32_t label = place->member != 0 && !list ? hcl_label(document, place->member, place->labels) : 0;
    struct buffer text = {0};
    if (label != 0) {
        hcl_text(document, label, &text);
        struct buffer quoted = {0};
        hcl_path_label(buffer_text(&text), text.length, &quoted);
        failure_hint(failure, "pick one by its label, as %.*s%s, or by its number, as %.*s[1]", length,
                     path->source, buffer_text(&quoted), length, path->source);
        buffer_free(&quoted);
    } else {
        failure_hint(failure, "pick one by its number: %.*s[1] to %.*s[%u]", length, path->source, length,
                     path->source, place->count);
    }
    buffer_free(&text);
}

static const char *kind_name(enum hcl_kind kind)
{
    static const char *const names[] = {
        [HCL_ROOT] = "file",
        [HCL_MEMBER] = "block",
        [HCL_KEY] = "name",
        [HCL_OBJECT] = "block",
        [HCL_LIST] = "list",
        [HCL_STRING] = "text",
        [HCL_HEREDOC] = "text",
        [HCL_NUMBER] = "number",
        [HCL_BOOLEAN] = "boolean",
        [HCL_NULL] = "null",
        [HCL_EXPRESSION] = "expression",
    };
    return names[kind];
}

bool hcl_refuse(const struct hcl_document *document, const struct hcl_path *path,
                const struct hcl_place *place, const char *op, struct failure *failure)
{
    int length = place->step > 0 ? (int)path->steps[place->step - 1].end : 0;
    bool number = place->step < path->count && path->steps[place->step].kind == HCL_STEP_NUMBER;
    struct buffer lines = {0};
    switch (place->outcome) {
    case HCL_SEVERAL:
        list_lines(document, path, place, &lines);
        failure_set(failure, "usage", op, "%.*s is there %u times, %s: which one is not said", length,
                    path->source, place->count, buffer_text(&lines));
        advise(document, path, place, failure);
        buffer_free(&lines);
        break;
    case HCL_NO_NUMBER:
        failure_set(failure, "usage", op, "there is no %.*s: there %s only %u", length, path->source,
                    place->count == 1 ? "is" : "are", place->count);
        break;
    default:
        failure_set(failure, "usage", op, "%.*s on line %zu is a %s, no %s", length, path->source,
                    line_of(document, place->value), kind_name(hcl_at(document, place->value)->kind),
                    number ? "list" : "block");
        break;
    }
    return false;
}
