/* The difference of two objects of an API, for people and for the journal. */
#include "fields.h"

#include "diff.h"
#include "json.h"
#include "quantity.h"
#include "runtime.h"
#include "secret.h"
#include "unknown.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STACK_A_STEP 16

struct description {
    const struct fields *fields;
    struct fields_difference *out;
    bool veiled; /* a secret is wanted there: what it replaces is one, too */
};

/* --- lines ------------------------------------------------------------------------------------------------------------ */

/* Appends the value: JSON on one line; durations in words too. */
static void append_value(lua_State *L, const struct description *d, enum field_type type, int index)
{
    struct buffer *lines = &d->out->lines;
    int64_t amount = lua_isinteger(L, index) ? lua_tointeger(L, index) : 0;
    bool secret = secret_is(L, index) || (d->fields->secret && !lua_istable(L, index));
    if (secret || unknown_is(L, index))
        buffer_append_text(lines, secret ? "<secret>" : UNKNOWN_TEXT);
    else {
        fields_push_shown(L, d->fields, index);
        buffer_append_text(lines, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    char words[64];
    if (type == FIELD_SECONDS && amount >= 60 && amount < INT64_MAX / 1000)
        duration_format(amount * 1000, words, sizeof words);
    else if (type == FIELD_NANOSECONDS && amount > 0)
        duration_format(amount / 1000000, words, sizeof words);
    else
        return;
    buffer_format(lines, " (%s)", words);
}

/* "-path: value" or "+path: value". Nothing for nothing. */
static void append_line(lua_State *L, struct description *d, char sign, enum field_type type, int index)
{
    if (fields_is_nothing(L, index))
        return;
    buffer_format(&d->out->lines, "%c%s: ", sign, buffer_text(&d->out->path));
    if (sign == '-' && d->veiled)
        buffer_append_text(&d->out->lines, "<secret>");
    else
        append_value(L, d, type, index);
    buffer_append_text(&d->out->lines, "\n");
}

static bool is_long_text(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING && strchr(lua_tostring(L, index), '\n');
}

/* Texts of several lines, line by line. False where that cannot be. */
static bool append_texts(lua_State *L, struct description *d, int wanted, int found)
{
    if (d->fields->secret || (!is_long_text(L, wanted) && !is_long_text(L, found)))
        return false;
    if (lua_type(L, wanted) != LUA_TSTRING || (!lua_isnil(L, found) && lua_type(L, found) != LUA_TSTRING))
        return false;
    struct buffer before = {0}, after = {0};
    size_t length;
    const char *text = lua_isnil(L, found) ? NULL : lua_tolstring(L, found, &length);
    if (text)
        buffer_append(&before, text, length);
    text = lua_tolstring(L, wanted, &length);
    buffer_append(&after, text, length);
    bool made = diff_worthwhile(&before) && diff_worthwhile(&after) &&
                diff_unified(runtime_of(L), buffer_text(&d->out->path), &before, &after, &d->out->lines);
    buffer_free(&before);
    buffer_free(&after);
    return made;
}

static void describe(lua_State *L, struct description *d, enum field_type type, int wanted, int found);

/* Is there an element in the list that equals the one at `element`? */
static bool has_element(lua_State *L, const struct fields *fields, enum field_type type, int list,
                        int element, bool element_is_wanted)
{
    bool has = false;
    int top = lua_gettop(L);
    lua_Integer count = lua_istable(L, list) ? (lua_Integer)lua_rawlen(L, list) : 0;
    for (lua_Integer i = 1; !has && i <= count; i++) {
        lua_rawgeti(L, list, i);
        has = element_is_wanted ? fields_equal_element(L, fields, type, element, top + 1)
                                : fields_equal_element(L, fields, type, top + 1, element);
        lua_settop(L, top);
    }
    return has;
}

/* Sets: what goes and what comes. */
static void describe_set(lua_State *L, struct description *d, enum field_type type, int wanted, int found)
{
    int lists[] = {found, wanted};
    for (int i = 0; i < 2; i++) {
        int list = lists[i], other = lists[1 - i];
        lua_Integer count = lua_istable(L, list) ? (lua_Integer)lua_rawlen(L, list) : 0;
        bool plain = fields_push_members(L, d->fields, type, other);
        int members = lua_gettop(L);
        for (lua_Integer k = 1; k <= count; k++) {
            lua_rawgeti(L, list, k);
            lua_pushvalue(L, -1);
            bool has = plain && lua_rawget(L, members) != LUA_TNIL;
            if (!has && (!plain || d->fields->weak))
                has = has_element(L, d->fields, type, other, members + 1, i == 1);
            if (!has)
                append_line(L, d, i == 0 ? '-' : '+', FIELD_PLAIN, members + 1);
            lua_settop(L, members);
        }
        lua_pop(L, 1);
    }
}

/* [-0, +1, m] The element of `list` with the Name of the object at `element`, or nil. */
static void push_partner(lua_State *L, int list, int element)
{
    lua_getfield(L, element, "Name");
    int name = lua_gettop(L);
    lua_Integer count = lua_istable(L, list) ? (lua_Integer)lua_rawlen(L, list) : 0;
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        if (lua_istable(L, -1)) {
            lua_getfield(L, -1, "Name");
            bool same = lua_rawequal(L, -1, name);
            lua_pop(L, 1);
            if (same) {
                lua_replace(L, name);
                return;
            }
        }
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    lua_replace(L, name);
}

/* Objects told apart by Name: "TaskGroups[web].Count". */
static void describe_named(lua_State *L, struct description *d, int wanted, int found)
{
    size_t length = d->out->path.length;
    int lists[] = {found, wanted};
    for (int i = 0; i < 2; i++) {
        lua_Integer count = lua_istable(L, lists[i]) ? (lua_Integer)lua_rawlen(L, lists[i]) : 0;
        for (lua_Integer k = 1; k <= count; k++) {
            int top = lua_gettop(L);
            if (lua_rawgeti(L, lists[i], k) == LUA_TTABLE) {
                lua_getfield(L, -1, "Name");
                buffer_format(&d->out->path, "[%s]", lua_isstring(L, -1) ? lua_tostring(L, -1) : "?");
                push_partner(L, lists[1 - i], top + 1);
                if (i == 1)
                    describe(L, d, FIELD_PLAIN, top + 1, lua_gettop(L));
                else if (lua_isnil(L, -1))
                    append_line(L, d, '-', FIELD_PLAIN, top + 1);
            }
            lua_settop(L, top);
            d->out->path.bytes[d->out->path.length = length] = '\0';
        }
    }
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* [-0, +1, m] The names of the object's fields in order; they live as long as the table. */
static const char **push_names(lua_State *L, int table, size_t *count)
{
    *count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        *count += lua_type(L, -2) == LUA_TSTRING;
    const char **names = lua_newuserdatauv(L, (*count + 1) * sizeof *names, 0);
    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            names[i++] = lua_tostring(L, -2);
    qsort(names, *count, sizeof *names, by_name);
    return names;
}

/* [-0, +1, m] The field of a value that may be no table. */
static void push_field(lua_State *L, int table, const char *name)
{
    if (!lua_istable(L, table)) {
        lua_pushnil(L);
        return;
    }
    lua_pushstring(L, name);
    lua_rawget(L, table);
}

static void describe_object(lua_State *L, struct description *d, enum field_type type, int wanted, int found)
{
    size_t count, length = d->out->path.length;
    const char **names = push_names(L, wanted, &count);
    for (size_t i = 0; i < count; i++) {
        push_field(L, wanted, names[i]);
        push_field(L, found, names[i]);
        int top = lua_gettop(L);
        buffer_format(&d->out->path, "%s%s", length ? "." : "", names[i]);
        describe(L, d, type == FIELD_VERBATIM ? type : fields_type(d->fields, names[i]), top - 1, top);
        d->out->path.bytes[d->out->path.length = length] = '\0';
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

static void describe(lua_State *L, struct description *d, enum field_type type, int wanted, int found)
{
    luaL_checkstack(L, STACK_A_STEP, "fields");
    bool top = d->out->path.length == 0;
    if (!top && fields_equal(L, d->fields, type, wanted, found))
        return;
    if (d->fields->weak && lua_type(L, wanted) == LUA_TSTRING && json_is_array(L, found)) {
        fields_push_sent(L, d->fields, type, wanted, found); /* "a, b" */
        describe(L, d, type, lua_gettop(L), found);
        lua_pop(L, 1);
        return;
    }
    bool list = json_is_array(L, found) || json_is_array(L, wanted) ||
                (lua_istable(L, wanted) && lua_rawlen(L, wanted) > 0);
    bool veiled = d->veiled;
    d->veiled = (!lua_istable(L, wanted) || (list && type != FIELD_NAMED)) && fields_has_secret(L, wanted);
    if (list && type == FIELD_NAMED)
        describe_named(L, d, wanted, found);
    else if (list && (type == FIELD_SET || type == FIELD_LINKS) && lua_istable(L, wanted))
        describe_set(L, d, type, wanted, found);
    else if (!list && lua_istable(L, wanted) && (top || !fields_is_empty(L, wanted)))
        describe_object(L, d, type, wanted, found);
    else if (!append_texts(L, d, wanted, found)) {
        if (fields_is_nothing(L, found))
            lua_pushnil(L);
        else
            lua_pushvalue(L, found);
        fields_push_sent(L, d->fields, type, wanted, found);
        int shown = lua_gettop(L);
        bool plain = type == FIELD_PLAIN || type == FIELD_SET;
        enum field_type kept =
            plain && lua_isinteger(L, shown) && lua_type(L, wanted) == LUA_TSTRING ? FIELD_SECONDS : type;
        append_line(L, d, '-', kept, shown - 1);
        if (!fields_is_nothing(L, wanted))
            append_line(L, d, '+', kept, shown);
        lua_pop(L, 2);
    }
    d->veiled = veiled;
}

/* --- before and after ---------------------------------------------------------------------------------------------------- */

/* [-0, +0, v] The fields at the top that differ, as two JSON objects. */
static void write_states(lua_State *L, const struct fields *fields, int wanted, int found,
                         struct fields_difference *out)
{
    size_t count;
    int top = lua_gettop(L);
    const char **names = push_names(L, wanted, &count);
    fields_push_sent(L, fields, FIELD_PLAIN, wanted, found);
    int sent = lua_gettop(L);
    bool veiled = false;
    lua_createtable(L, 0, (int)count);
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        push_field(L, wanted, names[i]);
        push_field(L, found, names[i]);
        if (!fields_equal(L, fields, fields_type(fields, names[i]), sent + 3, sent + 4)) {
            if (lua_isnil(L, -1)) {
                lua_pop(L, 1);
                json_push_null(L);
            } else if (!fields_is_empty(L, -1) && fields_has_secret(L, sent + 3)) {
                lua_pop(L, 1);
                lua_pushliteral(L, "<secret>");
                veiled = true;
            }
            lua_setfield(L, sent + 1, names[i]);
            lua_pop(L, 1);
            push_field(L, sent, names[i]);
            lua_setfield(L, sent + 2, names[i]);
        }
        lua_settop(L, sent + 2);
    }
    out->hidden = veiled || fields->secret || fields_has_unwritable(L, sent + 1);
    if (!fields_is_nothing(L, found)) {
        fields_push_shown(L, fields, sent + 1);
        buffer_append_text(&out->before, lua_tostring(L, -1));
    }
    fields_push_shown(L, fields, sent + 2);
    buffer_append_text(&out->after, lua_tostring(L, -1));
    lua_settop(L, top);
}

void fields_describe(lua_State *L, const struct fields *fields, int wanted, int found,
                     struct fields_difference *difference)
{
    struct description description = {.fields = fields, .out = difference};
    wanted = lua_absindex(L, wanted);
    found = lua_absindex(L, found);
    describe(L, &description, FIELD_PLAIN, wanted, found);
    write_states(L, fields, wanted, found, difference);
}

void fields_difference_free(struct fields_difference *difference)
{
    buffer_wipe(&difference->lines);
    buffer_wipe(&difference->before);
    buffer_wipe(&difference->after);
    buffer_free(&difference->path);
}
