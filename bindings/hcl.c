/* Lua module `hcl`: configurations of agents and jobs, read and edited by path as they are written. */
#include "binding.h"
#include "hcl_lua.h"
#include "hcl_value.h"
#include "json.h"
#include "scratch.h"
#include "secret.h"
#include "unknown.h"

#include <string.h>

/* [-0, +0, v] The text at 1 and, where there is one, the path at 2. False where --check does not know one of them. */
static bool open_text(lua_State *L, struct hcl_work *work, bool whole)
{
    size_t length, path_length;
    if (unknown_is(L, 1) || unknown_is(L, 2)) {
        unknown_used(L);
        return false;
    }
    const char *text = secret_or_text(L, 1, work->op, &length, &work->secret);
    whole = whole && lua_isnil(L, 2);
    if (!whole && lua_type(L, 2) != LUA_TSTRING)
        failure_error(L, "usage", work->op, "the path is text, not %s", luaL_typename(L, 2));
    hcl_work_parse(L, work, text, length);
    if (whole)
        return true;
    const char *path = lua_tolstring(L, 2, &path_length);
    hcl_work_path(L, work, path, path_length);
    return true;
}

static int push_unknown(lua_State *L)
{
    unknown_push(L);
    return 1;
}

/* [-0, +1, v] The edited text. */
static int push_edited(lua_State *L, struct hcl_work *work, bool done)
{
    if (!done)
        hcl_work_raise(L, work);
    const struct buffer *text = &work->editor.text;
    if (work->secret)
        secret_push_joined(L, buffer_text(text), text->length, "a configuration");
    else
        lua_pushlstring(L, buffer_text(text), text->length);
    return 1;
}

/* Have all blocks of the place labels that the path does not name? */
static bool all_labelled(const struct hcl_document *document, const struct hcl_path *path,
                         const struct hcl_place *place)
{
    if (place->step != path->count || place->member == 0 ||
        path->steps[path->count - 1].kind == HCL_STEP_NUMBER ||
        hcl_at(document, place->value)->kind == HCL_LIST)
        return false;
    unsigned name = place->step - 1 - place->labels;
    uint32_t member = 0;
    while ((member = hcl_find_next(document, path, place->container, member, name, place->labels)) != 0)
        if (hcl_label(document, member, place->labels) == 0)
            return false;
    return true;
}

static int get(lua_State *L)
{
    lua_settop(L, 2);
    struct hcl_work *work = hcl_work_open(L, "hcl.get");
    if (!open_text(L, work, true))
        return push_unknown(L);
    const struct hcl_document *document = &work->editor.document;
    if (lua_isnil(L, 2)) {
        hcl_push(L, document, document->root, work->secret);
        return 1;
    }
    struct hcl_place place = hcl_find(document, &work->path);
    if ((place.outcome == HCL_FOUND || place.outcome == HCL_SEVERAL) &&
        all_labelled(document, &work->path, &place)) {
        hcl_push_blocks(L, document, &work->path, &place, work->secret);
        return 1;
    }
    if (place.outcome == HCL_SEVERAL) {
        hcl_refuse(document, &work->path, &place, work->op, &work->failure);
        return hcl_work_raise(L, work);
    }
    if (place.outcome == HCL_FOUND)
        hcl_push(L, document, place.value, work->secret);
    else
        lua_pushnil(L);
    return 1;
}

static int set(lua_State *L)
{
    lua_settop(L, 3);
    struct hcl_work *work = hcl_work_open(L, "hcl.set");
    if (!open_text(L, work, false))
        return push_unknown(L);
    struct hcl_value value = hcl_work_value(L, work, 3);
    if (work->unknown)
        return push_unknown(L);
    return push_edited(L, work, hcl_set(&work->editor, &work->path, value));
}

static int remove_path(lua_State *L)
{
    lua_settop(L, 2);
    struct hcl_work *work = hcl_work_open(L, "hcl.remove");
    if (!open_text(L, work, false))
        return push_unknown(L);
    return push_edited(L, work, hcl_remove(&work->editor, &work->path));
}

/* [-0, +0, v] The path with the labels at 3, a text or a list of them, as further steps: [-0, +1, v] its text. */
static void push_labels(lua_State *L, struct hcl_work *work)
{
    struct buffer *path = scratch_buffer(scratch_open(L));
    buffer_append_text(path, luaL_checkstring(L, 2));
    size_t count = lua_istable(L, 3) ? lua_rawlen(L, 3) : !lua_isnil(L, 3);
    for (size_t i = 1; i <= count; i++) {
        if (lua_istable(L, 3))
            lua_rawgeti(L, 3, (lua_Integer)i);
        else
            lua_pushvalue(L, 3);
        size_t length;
        if (lua_type(L, -1) != LUA_TSTRING)
            failure_error(L, "usage", work->op, "a label is text, not %s", luaL_typename(L, -1));
        const char *label = lua_tolstring(L, -1, &length);
        if (!json_is_text(label, length))
            failure_error(L, "usage", work->op, "a label is not UTF-8");
        hcl_path_label(label, length, path);
        lua_pop(L, 1);
    }
    lua_pushlstring(L, path->bytes, path->length);
    lua_closeslot(L, -2);
    lua_remove(L, -2);
}

static int add_block(lua_State *L)
{
    size_t length;
    lua_settop(L, 4);
    struct hcl_work *work = hcl_work_open(L, "hcl.add_block");
    if (lua_isnil(L, 4)) {
        lua_newtable(L);
        lua_replace(L, 4);
    }
    if (!lua_istable(L, 4) || json_is_array(L, 4))
        failure_error(L, "usage", work->op, "what is in the block is a table with names, not %s",
                      luaL_typename(L, 4));
    if (unknown_is(L, 3) || !open_text(L, work, false))
        return push_unknown(L);
    push_labels(L, work);
    const char *path = lua_tolstring(L, -1, &length);
    hcl_work_path(L, work, path, length);
    struct hcl_value body = hcl_work_value(L, work, 4);
    if (hcl_at(body.document, body.node)->kind != HCL_OBJECT)
        failure_error(L, "usage", work->op, "what is in the block is a table with names, no list");
    if (work->unknown)
        return push_unknown(L);
    return push_edited(L, work, hcl_add_block(&work->editor, &work->path, body));
}

/* ---- blocks ---- */

/* What hcl.blocks tells, while it looks. */
struct listing {
    lua_State *L;
    const struct hcl_document *document;
    struct buffer *path; /* of the block, without number */
    lua_Integer count;
    size_t seen, lines; /* bytes of the text, and the ends of lines in them */
};

/* The line of a place: they come in order, so that the text is gone through once. */
static size_t line_at(struct listing *listing, size_t at)
{
    if (at < listing->seen)
        listing->seen = listing->lines = 0;
    for (; listing->seen < at; listing->seen++)
        listing->lines += listing->document->text[listing->seen] == '\n';
    return listing->lines + 1;
}

/* [-0, +0, m] Adds {labels=, line=, last_line=, path=} to the list at `list`; the labels are on top of the stack. */
static void add_entry(struct listing *listing, int list, uint32_t node, unsigned number)
{
    lua_State *L = listing->L;
    const struct hcl_node *at = hcl_at(listing->document, node);
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "labels");
    lua_pushinteger(L, (lua_Integer)line_at(listing, at->begin));
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, (lua_Integer)line_at(listing, at->end));
    lua_setfield(L, -2, "last_line");
    lua_pushlstring(L, buffer_text(listing->path), listing->path->length);
    if (number > 0) {
        lua_pushfstring(L, "[%d]", (int)number);
        lua_concat(L, 2);
    }
    lua_setfield(L, -2, "path");
    lua_rawseti(L, list, ++listing->count);
}

/* The name and labels of a member: their bytes one after the other, and where each ends. */
struct names {
    struct buffer bytes, ends;
};

static void read_names(const struct hcl_document *document, uint32_t member, struct names *names)
{
    for (uint32_t key = hcl_name(document, member); key != 0; key = hcl_at(document, key)->next) {
        hcl_text(document, key, &names->bytes);
        buffer_append(&names->ends, &names->bytes.length, sizeof names->bytes.length);
    }
}

static bool has_names(const struct hcl_document *document, uint32_t member, const struct names *names)
{
    size_t begin = 0, i = 0, count = names->ends.length / sizeof begin;
    uint32_t key = hcl_name(document, member);
    for (; key != 0 && i < count; i++, key = hcl_at(document, key)->next) {
        size_t end;
        memcpy(&end, names->ends.bytes + i * sizeof end, sizeof end);
        if (!hcl_text_is(document, key, buffer_text(&names->bytes) + begin, end - begin))
            return false;
        begin = end;
    }
    return key == 0 && i == count;
}

/* How many members of the same container have the member's name and labels; `number` is its own among them. */
static unsigned count_alike(const struct hcl_document *document, uint32_t member, unsigned *number)
{
    unsigned count = 0;
    struct names names = {0};
    read_names(document, member, &names);
    uint32_t each = hcl_at(document, hcl_at(document, member)->parent)->first;
    for (; each != 0; each = hcl_at(document, each)->next) {
        if (!has_names(document, each, &names))
            continue;
        count++;
        if (each == member)
            *number = count;
    }
    buffer_free(&names.bytes);
    buffer_free(&names.ends);
    return count;
}

/* [-0, +0, m] Appends a label to the list of labels on top of the stack and to the path. */
static void add_label(struct listing *listing, uint32_t key)
{
    lua_State *L = listing->L;
    struct buffer *text = scratch_buffer(scratch_open(L));
    hcl_text(listing->document, key, text);
    hcl_path_label(buffer_text(text), text->length, listing->path);
    lua_pushlstring(L, buffer_text(text), text->length);
    lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
    lua_closeslot(L, -1);
    lua_pop(L, 1);
}

/* Are all members of an object objects again, so that their names may be labels? */
static bool holds_objects(const struct hcl_document *document, uint32_t object)
{
    uint32_t member = hcl_at(document, object)->first;
    for (; member != 0; member = hcl_at(document, member)->next)
        if (hcl_at(document, hcl_at(document, member)->value)->kind != HCL_OBJECT)
            return false;
    return hcl_at(document, object)->first != 0;
}

/* [-0, +0, m] One object of a list, or an object that a name was assigned, whose names may be labels. */
static void list_value(struct listing *listing, int list, uint32_t value, int labels)
{
    lua_State *L = listing->L;
    const struct hcl_document *document = listing->document;
    if (hcl_at(document, value)->kind == HCL_LIST) {
        unsigned number = 0;
        for (uint32_t item = hcl_at(document, value)->first; item != 0; item = hcl_at(document, item)->next) {
            number++;
            if (hcl_at(document, item)->kind == HCL_OBJECT)
                add_entry(listing, list, item, number);
        }
        return;
    }
    if (hcl_at(document, value)->kind != HCL_OBJECT)
        return;
    if (labels == 0 || (labels < 0 && !holds_objects(document, value))) {
        add_entry(listing, list, value, 0);
        return;
    }
    size_t length = listing->path->length;
    for (uint32_t member = hcl_at(document, value)->first; member != 0;
         member = hcl_at(document, member)->next) {
        lua_newtable(L);
        for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -2); i++) {
            lua_rawgeti(L, -2, i);
            lua_rawseti(L, -2, i);
        }
        add_label(listing, hcl_name(document, member));
        list_value(listing, list, hcl_at(document, member)->value, labels < 0 ? 0 : labels - 1);
        lua_pop(L, 1);
        listing->path->length = length;
    }
}

/* [-0, +0, m] A member that the path leads to. */
static void list_member(struct listing *listing, int list, uint32_t member, unsigned named, int labels)
{
    lua_State *L = listing->L;
    const struct hcl_document *document = listing->document;
    size_t length = listing->path->length;
    unsigned number = 0, alike = count_alike(document, member, &number);
    lua_newtable(L);
    for (unsigned i = 0; i < hcl_count_labels(document, member); i++) {
        size_t before = listing->path->length;
        add_label(listing, hcl_label(document, member, i));
        if (i < named)
            listing->path->length = before;
    }
    if (hcl_at(document, member)->assigned && alike == 1)
        list_value(listing, list, hcl_at(document, member)->value, labels);
    else
        add_entry(listing, list, member, alike > 1 ? number : 0);
    lua_pop(L, 1);
    listing->path->length = length;
}

static int blocks(lua_State *L)
{
    lua_settop(L, 3);
    int labels = lua_isnil(L, 3) ? -1 : (int)luaL_checkinteger(L, 3);
    struct hcl_work *work = hcl_work_open(L, "hcl.blocks");
    if (!open_text(L, work, false))
        return push_unknown(L);
    const struct hcl_document *document = &work->editor.document;
    struct hcl_place place = hcl_find(document, &work->path);
    struct listing listing = {.L = L, .document = document, .path = scratch_buffer(scratch_open(L))};
    size_t length;
    const char *path = lua_tolstring(L, 2, &length);
    buffer_append(listing.path, path, length);
    lua_newtable(L);
    json_mark_array(L, -1);
    int list = lua_gettop(L);
    if (place.outcome == HCL_SEVERAL && place.step < work->path.count) {
        hcl_refuse(document, &work->path, &place, work->op, &work->failure);
        return hcl_work_raise(L, work);
    }
    bool number = work->path.steps[work->path.count - 1].kind == HCL_STEP_NUMBER;
    if (place.outcome == HCL_FOUND && (number || place.member == 0)) {
        lua_newtable(L);
        list_value(&listing, list, place.value, 0);
        lua_pop(L, 1);
    } else if (place.outcome == HCL_FOUND || place.outcome == HCL_SEVERAL) {
        unsigned name = place.step - 1 - place.labels;
        uint32_t member = 0;
        while ((member = hcl_find_next(document, &work->path, place.container, member, name, place.labels)) !=
               0)
            list_member(&listing, list, member, place.labels, labels);
    }
    lua_pushvalue(L, list);
    return 1;
}

/* ---- sources ---- */

static const char *source_text(lua_State *L, const char *op, size_t *length)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        failure_error(L, "usage", op, "text is wanted, not %s", luaL_typename(L, 1));
    const char *text = lua_tolstring(L, 1, length);
    if (!json_is_text(text, *length))
        failure_error(L, "usage", op, "the text is not UTF-8, which HCL is");
    return text;
}

static int literal(lua_State *L)
{
    size_t length;
    const char *text = source_text(L, "hcl.literal", &length);
    hcl_push_source(L, text, length, false);
    return 1;
}

static int expression(lua_State *L)
{
    size_t length;
    struct hcl_fault fault;
    lua_settop(L, 1);
    const char *text = source_text(L, "hcl.expression", &length);
    struct hcl_work *work = hcl_work_open(L, "hcl.expression");
    if (!hcl_parse_value(text, length, &work->value_arena, &work->value_document, &fault)) {
        hcl_explain(text, length, &fault, true, work->op, &work->failure);
        snprintf(work->failure.kind, sizeof work->failure.kind, "usage");
        return hcl_work_raise(L, work);
    }
    const struct hcl_node *node = hcl_at(&work->value_document, work->value_document.root);
    hcl_push_source(L, text + node->begin, node->end - node->begin, true);
    return 1;
}

#define PATH                                                                                                 \
    "A path is client.reserved.cpu; of blocks with labels client.host_volume[\"name\"].path (the label may " \
    "be left out where there is one such block), of several of one name service[2].port, of a list "         \
    "retry_join[1]; a name with dots is meta[\"a.b\"]. "
#define RAISES                                                                                               \
    "Raises \"invalid\" with line, column and the line itself for a text that cannot be read, \"usage\" "    \
    "where the path fits several things: it says how many, on which lines, and how to pick one."

static const struct binding_function functions[] = {
    {"get", get, "hcl.get(TEXT[, PATH]) -> value",
     "What a configuration (HCL1, HCL2, or the JSON that stands for them) says at a path; nil where it says "
     "nothing, all of it as a table where no path is given. " PATH
     "A block is a table, blocks with labels one by label, a list a table, null json.null; of texts "
     "the escapes are resolved, templates such as ${attr.cpu.arch} and {{ GetPrivateIP }} stay as they are "
     "written. Expressions of HCL2 are objects whose tostring is their source, and so is 0755, which is 493 "
     "to HCL1 and 755 to HCL2. Of a secret text the texts in "
     "it are secrets. " RAISES,
     "local text = 'client {\\n  reserved { cpu = 500 }\\n  host_volume \"ca\" { path = \"/etc/ca\" "
     "}\\n}\\n'\n"
     "assert(hcl.get(text, \"client.reserved.cpu\") == 500)\n"
     "assert(hcl.get(text, 'client.host_volume[\"ca\"].path') == \"/etc/ca\")\n"
     "assert(hcl.get(text, \"client.host_volume\").ca.path == \"/etc/ca\")\n"
     "assert(hcl.get(text, \"server.enabled\") == nil)"},
    {"set", set, "hcl.set(TEXT, PATH, VALUE) -> text",
     "The configuration with this value at the path; the same text where it has an equal one, however it is "
     "written "
     "(0x10 is 16). Blocks that are missing are made; no line changes that need not. " PATH
     "A table replaces all that is in a block or list, keeping what is equal. In text a template ${ } stays "
     "one, $${ "
     "is a plain ${; nothing in a secret or in hcl.literal(text) is a template. With a secret the result is "
     "a "
     "secret. " RAISES,
     "local text = \"client {\\n  enabled = true # yes\\n}\\n\"\n"
     "assert(hcl.set(text, \"client.reserved.cpu\", 4) ==\n"
     "  \"client {\\n  enabled = true # yes\\n  reserved {\\n    cpu = 4\\n  }\\n}\\n\")\n"
     "assert(hcl.set(text, \"client.enabled\", true) == text)"},
    {"remove", remove_path, "hcl.remove(TEXT, PATH) -> text",
     "The configuration without what is at the path: an attribute with its line, a block with its body; the "
     "same text "
     "where nothing is there. " PATH RAISES,
     "assert(hcl.remove(\"a = 1\\nb = 2 # two\\n\", \"b\") == \"a = 1\\n\")"},
    {"add_block", add_block, "hcl.add_block(TEXT, PATH[, LABELS[, BODY]]) -> text",
     "The configuration with one more block of that name, behind those that it has: LABELS is a text or a "
     "list "
     "of texts, BODY a table. Blocks around it that are missing are made. Raises \"usage\" where a block "
     "with the same "
     "labels is there already, \"invalid\" for a text that cannot be read.",
     "local text = hcl.add_block(\"client {}\\n\", \"client.host_volume\", \"ca\", { path = \"/etc/ca\" })\n"
     "assert(text == 'client {\\n  host_volume \"ca\" {\\n    path = \"/etc/ca\"\\n  }\\n}\\n')"},
    {"blocks", blocks, "hcl.blocks(TEXT, PATH[, LABELS]) -> {{labels=, path=, line=, last_line=}, ...}",
     "The blocks of one name in the order of the text; `path` leads to each. An object that was assigned "
     "(and "
     "all of JSON) does not tell its labels from its content: its names are LABELS labels deep, or one where "
     "LABELS is "
     "left out and all that it holds are objects. " RAISES,
     "local text = 'client {\\n  host_volume \"a\" {}\\n  host_volume \"b\" {}\\n}\\n'\n"
     "local found = hcl.blocks(text, \"client.host_volume\")\n"
     "assert(#found == 2 and found[2].labels[1] == \"b\" and found[2].line == 3)\n"
     "assert(found[2].path == 'client.host_volume[\"b\"]')"},
    {"literal", literal, "hcl.literal(TEXT) -> value",
     "A text for hcl.set and file.hcl in which nothing is a template: \"${\" and \"%{\" are written so that "
     "HCL1, "
     "HCL2 and the JSON of agents are read as they are. (A job in JSON is another matter: Nomad takes \"${\" "
     "there for a "
     "template however it is escaped.)",
     "assert(hcl.set(\"\", \"a\", hcl.literal(\"${x\")) == 'a = \"\\\\u0024{x\"\\n')"},
    {"expression", expression, "hcl.expression(SOURCE) -> value",
     "An expression of HCL2, written as it is: a reference, a call, a condition. Raises \"usage\" where it "
     "is none.",
     "assert(hcl.set(\"\", \"a\", hcl.expression \"var.region\") == \"a = var.region\\n\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module hcl_module = {
    "hcl",
    "Configurations of Consul, Nomad and Vault and jobs of Nomad, in HCL1, HCL2 or JSON, edited by path: "
    "every comment, "
    "blank and order is kept.",
    functions,
    hcl_lua_open,
    NULL,
};
