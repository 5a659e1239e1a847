/* What Lua functions are given: options tables checked strictly, so that a misspelt option is never
 * ignored. */
#include "binding.h"

#include "buffer.h"
#include "quantity.h"
#include "secret.h"
#include "unknown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ITEMS 100000

/* [-0, +0, v] */
static int unknown_option(lua_State *L, const char *op, const char *name, const char *const *names)
{
    const char *meant = nearest_name(name, names);
    if (meant)
        return failure_error(L, "usage", op, "there is no option \"%s\"; did you mean \"%s\"?", name, meant);
    struct buffer all = {0};
    for (size_t i = 0; names[i]; i++)
        buffer_format(&all, "%s%s", i ? ", " : "", names[i]);
    struct failure failure;
    failure_set(&failure, "usage", op, "there is no option \"%s\"; %s%s", name,
                all.length ? "it takes " : "it takes none", buffer_text(&all));
    buffer_free(&all);
    return failure_raise(L, &failure);
}

static bool is_listed(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* [-0, +1, m] A copy of the table, `depth` levels of tables in it copied too. What has a finalizer exists once. */
static void push_copy(lua_State *L, int index, int depth)
{
    index = lua_absindex(L, index);
    lua_createtable(L, (int)lua_rawlen(L, index), 0);
    for (lua_pushnil(L); lua_next(L, index); lua_rawset(L, -4)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        if (!depth || !lua_istable(L, -1))
            continue;
        if (luaL_getmetafield(L, -1, "__gc") != LUA_TNIL) {
            lua_pop(L, 1);
            continue;
        }
        push_copy(L, -1, depth - 1);
        if (lua_getmetatable(L, -2)) /* json.array's, say */
            lua_setmetatable(L, -2);
        lua_remove(L, -2);
    }
}

void argument_table(lua_State *L, int index, const char *op, const char *const *names)
{
    luaL_checkstack(L, 12, op);
    if (!lua_istable(L, index))
        failure_error(L, "usage", op, "a table {...} is wanted, not %s", luaL_typename(L, index));
    index = lua_absindex(L, index);
    push_copy(L, index, 1);
    lua_replace(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING) {
            const char *name = lua_tostring(L, -1);
            if (!is_listed(name, names))
                unknown_option(L, op, name, names);
        } else if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1) {
            failure_error(L, "usage", op, "an option's name is text, not %s", luaL_typename(L, -1));
        }
    }
}

/* [-0, +1, -] The field as it is: a string found through a metamethod could be collected while C holds it. */
static int push_field(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

/* [-0, +0, v] The value on top of the stack as a C string; `what` names it in messages. The value stays. */
static const char *check_text(lua_State *L, const char *op, const char *what)
{
    if (unknown_is(L, -1)) {
        unknown_used(L);
        return UNKNOWN_TEXT;
    }
    if (secret_is(L, -1))
        failure_error(L, "usage", op, "%s cannot be a secret: it would show", what);
    if (lua_type(L, -1) != LUA_TSTRING)
        failure_error(L, "usage", op, "%s is text, not %s", what, luaL_typename(L, -1));
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    if (strlen(text) != length)
        failure_error(L, "usage", op, "%s has a NUL byte in it", what);
    return text;
}

const char *argument_subject(lua_State *L, int index, const char *op, const char *what)
{
    if (lua_rawgeti(L, index, 1) == LUA_TNIL)
        failure_error(L, "usage", op, "the %s is missing: it comes first, without a name", what);
    const char *text = check_text(L, op, what);
    if (!*text)
        failure_error(L, "usage", op, "the %s is empty", what);
    lua_pop(L, 1);
    return text;
}

const char *argument_string(lua_State *L, int index, const char *op, const char *name, const char *fallback)
{
    const char *text = push_field(L, index, name) == LUA_TNIL ? fallback : check_text(L, op, name);
    lua_pop(L, 1);
    return text;
}

/* [-0, +0, m] An unknown value where a plain one is wanted: the fallback stands in, and the step is
 * inexact. */
static bool is_absent(lua_State *L)
{
    if (unknown_is(L, -1)) {
        unknown_used(L);
        return true;
    }
    return lua_isnil(L, -1);
}

bool argument_boolean(lua_State *L, int index, const char *op, const char *name, bool fallback)
{
    push_field(L, index, name);
    bool value = fallback;
    if (lua_isboolean(L, -1))
        value = lua_toboolean(L, -1);
    else if (!is_absent(L))
        failure_error(L, "usage", op, "%s is true or false, not %s", name, luaL_typename(L, -1));
    lua_pop(L, 1);
    return value;
}

int64_t argument_integer(lua_State *L, int index, const char *op, const char *name, int64_t fallback)
{
    push_field(L, index, name);
    int64_t value = fallback;
    int whole = 0;
    if (!is_absent(L)) {
        if (lua_type(L, -1) == LUA_TNUMBER)
            value = lua_tointegerx(L, -1, &whole);
        if (!whole)
            failure_error(L, "usage", op, "%s is a whole number, not %s", name,
                          lua_type(L, -1) == LUA_TNUMBER ? lua_tostring(L, -1) : luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return value;
}

int64_t argument_duration(lua_State *L, int index, const char *op, const char *name, int64_t fallback_ms)
{
    push_field(L, index, name);
    int64_t ms = fallback_ms;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_Number seconds = lua_tonumber(L, -1);
        if (!(seconds >= 0 && seconds <= 9007199254740.0))
            failure_error(L, "usage", op, "%s is a number of seconds from 0, not %s", name,
                          lua_tostring(L, -1));
        ms = (int64_t)(seconds * 1000 + 0.5);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        if (!duration_parse(lua_tostring(L, -1), &ms))
            failure_error(L, "usage", op,
                          "%s = \"%s\" is no duration; write \"90s\", \"5m\", \"1h30m\" or \"1d\"", name,
                          lua_tostring(L, -1));
    } else if (!is_absent(L)) {
        failure_error(L, "usage", op, "%s is a duration such as \"90s\", not %s", name, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return ms;
}

/* A Lua number such as 644 is most likely meant as octal digits, and would be 01204. No mode that anybody
 * wants is refused by this: those above 0777 can be written as text. */
static bool is_octal_slip(lua_Integer mode)
{
    if (mode < 512)
        return false;
    for (; mode; mode /= 10)
        if (mode % 10 > 7)
            return false;
    return true;
}

int argument_mode(lua_State *L, int index, const char *op, const char *name)
{
    long mode = -1;
    push_field(L, index, name);
    if (lua_isinteger(L, -1)) {
        lua_Integer number = lua_tointeger(L, -1);
        if (number < 0 || number > 07777 || is_octal_slip(number))
            failure_error(L, "usage", op,
                          "%s = %d is no mode as Lua reads it; write it as text: %s = \"0%d\"", name,
                          (int)number, name, (int)number);
        mode = (long)number;
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tostring(L, -1);
        size_t digits = strspn(text, "01234567");
        mode = strtol(text, NULL, 8);
        if (text[digits] || digits < 3 || digits > 5 || mode > 07777)
            failure_error(L, "usage", op, "%s = \"%s\" is no mode; write octal digits such as \"0640\"", name,
                          text);
    } else if (!is_absent(L)) {
        failure_error(L, "usage", op, "%s is a mode such as \"0640\", not %s", name, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return (int)mode;
}

/* [-0, +0, v] One of the strings; it lives as long as the list, a part of argument_table's copy. */
static const char *list_item(lua_State *L, int list, lua_Integer number, const char *op, const char *name)
{
    char what[128];
    lua_rawgeti(L, list, number);
    snprintf(what, sizeof what, "%s[%d]", name, (int)number);
    const char *text = check_text(L, op, what);
    lua_pop(L, 1);
    return text;
}

const char **argument_list(lua_State *L, int index, const char *op, const char *name)
{
    int type = push_field(L, index, name);
    if (type == LUA_TNIL)
        return NULL;
    int field = lua_gettop(L);
    const char **items;
    if (type == LUA_TTABLE) {
        lua_Unsigned count = lua_rawlen(L, field);
        if (count > MOST_ITEMS)
            failure_error(L, "usage", op, "%s has more than %d items", name, MOST_ITEMS);
        items = lua_newuserdatauv(L, (count + 1) * sizeof *items, 0);
        for (lua_Unsigned i = 0; i < count; i++)
            items[i] = list_item(L, field, (lua_Integer)i + 1, op, name);
        items[count] = NULL;
    } else {
        items = lua_newuserdatauv(L, 2 * sizeof *items, 0);
        lua_pushvalue(L, field);
        items[0] = check_text(L, op, name);
        items[1] = NULL;
        lua_pop(L, 1);
    }
    lua_remove(L, field);
    return items;
}
