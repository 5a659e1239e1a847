/* Values between Lua and configurations. */
#include "hcl_lua.h"

#include "hcl_scan.h"
#include "hcl_value.h"
#include "json.h"
#include "json_number.h"
#include "redact.h"
#include "runtime.h"
#include "secret.h"
#include "unknown.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORK_METATABLE   "moonbook.hcl.work"
#define SOURCE_METATABLE "moonbook.hcl.source"
#define DEPTH_MOST       (HCL_DEPTH_MOST / 2) /* of a Lua value: it may stand deep in a text */

/* ---- the memory of a call ---- */

static int work_gc(lua_State *L)
{
    struct hcl_work *work = luaL_checkudata(L, 1, WORK_METATABLE);
    hcl_editor_close(&work->editor);
    buffer_wipe(&work->value);
    buffer_free(&work->value_arena);
    hcl_path_free(&work->path);
    return 0;
}

struct hcl_work *hcl_work_open(lua_State *L, const char *op)
{
    struct hcl_work *work = lua_newuserdatauv(L, sizeof *work, 0);
    memset(work, 0, sizeof *work);
    work->op = op;
    if (luaL_newmetatable(L, WORK_METATABLE)) {
        lua_pushcfunction(L, work_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, work_gc);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
    return work;
}

int hcl_work_raise(lua_State *L, struct hcl_work *work)
{
    struct failure failure = work->failure;
    snprintf(failure.op, sizeof failure.op, "%s", work->op);
    return failure_raise(L, &failure);
}

void hcl_work_parse(lua_State *L, struct hcl_work *work, const char *text, size_t length)
{
    struct hcl_fault fault;
    hcl_editor_close(&work->editor);
    bool parsed = hcl_editor_open(&work->editor, text, length, &fault);
    work->editor.op = work->op;
    work->editor.failure = &work->failure;
    if (parsed)
        return;
    bool hidden = work->hidden || work->secret;
    hcl_explain(text, length, &fault, !hidden, work->op, &work->failure);
    if (hidden)
        failure_hint(&work->failure,
                     "look at that line of the file: it is not shown here, as not everybody may read it");
    hcl_work_raise(L, work);
}

void hcl_work_path(lua_State *L, struct hcl_work *work, const char *source, size_t length)
{
    hcl_path_free(&work->path);
    if (!hcl_path_read(source, length, &work->path, &work->failure))
        hcl_work_raise(L, work);
}

/* ---- sources ---- */

struct source {
    bool expression;
    size_t length;
    char bytes[];
};

void hcl_push_source(lua_State *L, const char *bytes, size_t length, bool expression)
{
    struct source *source = lua_newuserdatauv(L, sizeof *source + length + 1, 0);
    source->expression = expression;
    source->length = length;
    memcpy(source->bytes, bytes, length);
    source->bytes[length] = '\0';
    luaL_setmetatable(L, SOURCE_METATABLE);
}

static int source_tostring(lua_State *L)
{
    const struct source *source = luaL_checkudata(L, 1, SOURCE_METATABLE);
    lua_pushlstring(L, source->bytes, source->length);
    return 1;
}

static int source_equal(lua_State *L)
{
    const struct source *a = luaL_testudata(L, 1, SOURCE_METATABLE);
    const struct source *b = luaL_testudata(L, 2, SOURCE_METATABLE);
    lua_pushboolean(L, a != NULL && b != NULL && a->expression == b->expression && a->length == b->length &&
                           memcmp(a->bytes, b->bytes, a->length) == 0);
    return 1;
}

void hcl_lua_open(lua_State *L)
{
    if (luaL_newmetatable(L, SOURCE_METATABLE)) {
        lua_pushcfunction(L, source_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushcfunction(L, source_equal);
        lua_setfield(L, -2, "__eq");
        lua_pushliteral(L, "HCL source");
        lua_setfield(L, -2, "__name");
        lua_pushliteral(L, "HCL source");
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}

/* ---- Lua to HCL ---- */

struct key {
    const char *bytes;
    size_t length;
};

static void write_value(lua_State *L, struct hcl_work *work, int depth);

static void refuse(lua_State *L, struct hcl_work *work, const char *what)
{
    failure_error(L, "usage", work->op, "%s", what);
}

static void write_text(lua_State *L, struct hcl_work *work, const char *bytes, size_t length, bool literal)
{
    if (hcl_quote(bytes, length, literal, false, &work->value))
        return;
    if (!json_is_text(bytes, length))
        refuse(L, work, "a text is not UTF-8, which HCL is");
    failure_advise(L, "usage", work->op, "write hcl.literal(text) where nothing in it is a template",
                   "a text has \"${\" or \"%%{\" without its end");
}

/* The redactor must know it as it will stand in the file, too. */
static void write_secret(lua_State *L, struct hcl_work *work, const char *bytes, size_t length)
{
    size_t begin = work->value.length;
    if (!json_is_text(bytes, length) || memchr(bytes, '\0', length) != NULL)
        failure_advise(L, "usage", work->op, "check that its source holds what you expect",
                       "the secret is no text in UTF-8, which HCL is");
    write_text(L, work, bytes, length, true);
    if (work->value.length - begin != length + 2)
        redactor_add(runtime_of(L)->redactor, work->value.bytes + begin + 1, work->value.length - begin - 2);
    work->secret = true;
}

static void write_number(lua_State *L, struct hcl_work *work)
{
    double number = lua_tonumber(L, -1);
    char digits[40];
    if (lua_isinteger(L, -1)) {
        buffer_format(&work->value, "%" PRId64, (int64_t)lua_tointeger(L, -1));
        return;
    }
    if (!isfinite(number))
        refuse(L, work, "HCL has neither infinity nor NaN");
    if (number >= -0x1p63 && number < 0x1p63 && floor(number) >= number) { /* n / 2 is a float */
        buffer_format(&work->value, "%" PRId64, (int64_t)number);
        return;
    }
    int precision = 15;
    do
        snprintf(digits, sizeof digits, "%.*g", precision, number);
    while ((strtod(digits, NULL) < number || strtod(digits, NULL) > number) && precision++ < 17);
    buffer_append_text(&work->value, digits);
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->bytes, b->bytes, shorter);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

/* Counts the keys of the table on top; raises unless all are text, or all the numbers 1..n. */
static size_t count_keys(lua_State *L, struct hcl_work *work, bool *list)
{
    size_t names = 0, numbers = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            names++;
        else
            numbers++;
    *list = json_is_array(L, -1) || numbers > 0;
    if (*list && (names > 0 || numbers != lua_rawlen(L, -1)))
        refuse(L, work, "a table has names and numbers as keys, or holes: a list has 1..n, an object names");
    return *list ? numbers : names;
}

/* The members of the table on top, by name. */
static void write_members(lua_State *L, struct hcl_work *work, size_t count, int depth)
{
    struct key *keys = lua_newuserdatauv(L, (count + 1) * sizeof *keys, 0);
    lua_insert(L, -2);
    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, -2); i++) {
        lua_pop(L, 1);
        keys[i].bytes = lua_tolstring(L, -1, &keys[i].length);
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    buffer_append_text(&work->value, "{");
    for (i = 0; i < count; i++) {
        buffer_append_text(&work->value, i > 0 ? ", " : " ");
        write_text(L, work, keys[i].bytes, keys[i].length, false);
        buffer_append_text(&work->value, " = ");
        lua_pushlstring(L, keys[i].bytes, keys[i].length);
        lua_rawget(L, -2);
        write_value(L, work, depth + 1);
        lua_pop(L, 1);
    }
    buffer_append_text(&work->value, " }");
    lua_remove(L, -2);
}

static void write_table(lua_State *L, struct hcl_work *work, int depth)
{
    bool list;
    if (depth >= DEPTH_MOST)
        refuse(L, work, "a value is nested deeper than 50 levels, or holds itself");
    luaL_checkstack(L, 8, "no room for a nested value");
    size_t count = count_keys(L, work, &list);
    if (!list) {
        write_members(L, work, count, depth);
        return;
    }
    buffer_append_text(&work->value, "[");
    for (size_t i = 1; i <= count; i++) {
        if (i > 1)
            buffer_append_text(&work->value, ", ");
        lua_rawgeti(L, -1, (lua_Integer)i);
        write_value(L, work, depth + 1);
        lua_pop(L, 1);
    }
    buffer_append_text(&work->value, "]");
}

static void write_userdata(lua_State *L, struct hcl_work *work)
{
    size_t length;
    const struct source *source = luaL_testudata(L, -1, SOURCE_METATABLE);
    const char *bytes = secret_bytes(L, -1, &length), *digits = json_number_digits(L, -1);
    if (bytes != NULL) {
        write_secret(L, work, bytes, length);
    } else if (digits != NULL) {
        buffer_append_text(&work->value, digits);
    } else if (source != NULL && source->expression) {
        buffer_append(&work->value, source->bytes, source->length);
    } else if (source != NULL) {
        write_text(L, work, source->bytes, source->length, true);
    } else if (unknown_is(L, -1)) {
        unknown_used(L);
        work->unknown = true;
        buffer_append_text(&work->value, "null");
    } else {
        refuse(L, work, "an object of the program is no value of HCL");
    }
}

/* [-0, +0, v] The value on top of the stack. */
static void write_value(lua_State *L, struct hcl_work *work, int depth)
{
    size_t length;
    const char *bytes;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        bytes = lua_tolstring(L, -1, &length);
        write_text(L, work, bytes, length, false);
        break;
    case LUA_TNUMBER:
        write_number(L, work);
        break;
    case LUA_TBOOLEAN:
        buffer_append_text(&work->value, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TUSERDATA:
        write_userdata(L, work);
        break;
    case LUA_TTABLE:
        if (unknown_is(L, -1) || secret_is(L, -1))
            write_userdata(L, work);
        else
            write_table(L, work, depth);
        break;
    default:
        if (json_is_null(L, -1))
            buffer_append_text(&work->value, "null");
        else if (lua_isnil(L, -1))
            failure_advise(L, "usage", work->op, "hcl.remove takes something away, json.null is HCL's null",
                           "the value is nil");
        else
            failure_error(L, "usage", work->op, "a %s is no value of HCL", luaL_typename(L, -1));
    }
}

struct hcl_value hcl_work_value(lua_State *L, struct hcl_work *work, int index)
{
    struct hcl_fault fault;
    lua_pushvalue(L, index);
    buffer_clear(&work->value);
    write_value(L, work, 0);
    lua_pop(L, 1);
    if (!hcl_parse_value(buffer_text(&work->value), work->value.length, &work->value_arena,
                         &work->value_document, &fault))
        failure_error(L, "usage", work->op, "the value cannot be written as HCL: %s is wanted", fault.wanted);
    return (struct hcl_value){&work->value_document, work->value_document.root};
}

/* ---- HCL to Lua ---- */

/* [-0, +1, m] A text, whose memory is wiped. */
static void push_text(lua_State *L, const struct hcl_document *document, uint32_t node, bool secret)
{
    struct buffer text = {0};
    hcl_text(document, node, &text);
    if (secret)
        secret_push_joined(L, buffer_text(&text), text.length, "a configuration");
    else
        lua_pushlstring(L, buffer_text(&text), text.length);
    buffer_wipe(&text);
}

static void push_number(lua_State *L, const struct hcl_document *document, uint32_t node)
{
    int64_t integer = 0;
    double real = 0;
    struct buffer digits = {0};
    const struct hcl_node *at = hcl_at(document, node);
    switch (hcl_number(document, node, &integer, &real, &digits)) {
    case HCL_INTEGER:
        lua_pushinteger(L, integer);
        break;
    case HCL_FLOAT:
        lua_pushnumber(L, real);
        break;
    case HCL_LARGE:
        json_number_push(L, digits.bytes, digits.length);
        break;
    default:
        hcl_push_source(L, document->text + at->begin, at->end - at->begin, true);
        break;
    }
    buffer_free(&digits);
}

/* [-1, +0, m] Puts the value on top of the stack under the name below it into the table below that; several of one name
 * become a list, which the table at `several` knows. */
static void place_value(lua_State *L, int several)
{
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -4) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
        return;
    }
    lua_pushvalue(L, -1);
    bool list = lua_rawget(L, several) != LUA_TNIL;
    lua_pop(L, 1);
    if (!list) {
        lua_createtable(L, 2, 0);
        json_mark_array(L, -1);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, several);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, -6);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

/* [-0, +0, m] Puts a member into the table on top of the stack, below the names of its labels from `labels` on. */
static void push_member(lua_State *L, const struct hcl_document *document, uint32_t member, uint32_t key,
                        int several, bool secret)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 16, "no room for a configuration");
    for (; hcl_at(document, key)->next != 0; key = hcl_at(document, key)->next) {
        push_text(L, document, key, false);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        lua_remove(L, -2);
    }
    push_text(L, document, key, false);
    hcl_push(L, document, hcl_at(document, member)->value, secret);
    place_value(L, several);
    lua_settop(L, top);
}

static void push_object(lua_State *L, const struct hcl_document *document, uint32_t object, bool secret)
{
    luaL_checkstack(L, 16, "no room for a configuration");
    lua_newtable(L);
    int several = lua_gettop(L);
    lua_newtable(L);
    for (uint32_t member = hcl_at(document, object)->first; member != 0;
         member = hcl_at(document, member)->next)
        push_member(L, document, member, hcl_name(document, member), several, secret);
    lua_remove(L, several);
}

static void push_list(lua_State *L, const struct hcl_document *document, uint32_t list, bool secret)
{
    luaL_checkstack(L, 16, "no room for a configuration");
    lua_newtable(L);
    json_mark_array(L, -1);
    lua_Integer count = 0;
    for (uint32_t item = hcl_at(document, list)->first; item != 0; item = hcl_at(document, item)->next) {
        hcl_push(L, document, item, secret);
        lua_rawseti(L, -2, ++count);
    }
}

void hcl_push(lua_State *L, const struct hcl_document *document, uint32_t node, bool secret)
{
    const struct hcl_node *at = hcl_at(document, node);
    switch (at->kind) {
    case HCL_STRING:
    case HCL_HEREDOC:
        push_text(L, document, node, secret);
        break;
    case HCL_NUMBER:
        push_number(L, document, node);
        break;
    case HCL_BOOLEAN:
        lua_pushboolean(L, document->text[at->begin] == 't');
        break;
    case HCL_NULL:
        json_push_null(L);
        break;
    case HCL_LIST:
        push_list(L, document, node, secret);
        break;
    case HCL_EXPRESSION:
        if (secret)
            push_text(L, document, node, true);
        else
            hcl_push_source(L, document->text + at->begin, at->end - at->begin, true);
        break;
    default:
        push_object(L, document, node, secret);
        break;
    }
}

void hcl_push_blocks(lua_State *L, const struct hcl_document *document, const struct hcl_path *path,
                     const struct hcl_place *place, bool secret)
{
    unsigned name = place->step - 1 - place->labels;
    uint32_t member = 0;
    lua_newtable(L);
    int several = lua_gettop(L);
    lua_newtable(L);
    while ((member = hcl_find_next(document, path, place->container, member, name, place->labels)) != 0)
        push_member(L, document, member, hcl_label(document, member, place->labels), several, secret);
    lua_remove(L, several);
}
