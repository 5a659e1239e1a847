/* The headers of an answer as Lua sees them: a table by lower-case name, in which any case finds them. */
#include "exchange.h"

#include <ctype.h>
#include <string.h>

#define METATABLE "moonbook.http_headers"

/* [-0, +1, m] Lower-case copy of a name. */
static void push_lower(lua_State *L, const char *name)
{
    luaL_Buffer lower;
    luaL_buffinit(L, &lower);
    for (; *name; name++)
        luaL_addchar(&lower, (char)tolower((unsigned char)*name));
    luaL_pushresult(&lower);
}

/* headers["Content-Type"]: found by its lower-case name. */
static int find_header(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    push_lower(L, lua_tostring(L, 2));
    lua_rawget(L, 1);
    return 1;
}

/* [-0, +1, m] */
static void push_table(lua_State *L, size_t count)
{
    lua_createtable(L, 0, (int)count);
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, find_header);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
}

/* [-0, +0, m] Adds a header to the table on top. */
static void add_header(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, name);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TSTRING)
        lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), value);
    else
        lua_pushstring(L, value);
    lua_remove(L, -2);
    lua_rawset(L, -3);
}

void exchange_push_headers(lua_State *L, const struct exchange *exchange)
{
    const struct transfer_answer *answer = &exchange->answer;
    push_table(L, answer->header_count);
    for (size_t i = 0; i < answer->header_count; i++)
        add_header(L, answer->headers[i].name, answer->headers[i].value);
}

/* --- only where somebody looks ----------------------------------------------------------------------------------- */

/* [-0, +1, m] Makes the field of the table at 1. Its metatable, which no script can get at, has the names and values at 1,
 * each with its NUL; it has done its work then. */
static void make_field(lua_State *L)
{
    size_t length;
    lua_getmetatable(L, 1);
    lua_rawgeti(L, -1, 1);
    const char *text = lua_tolstring(L, -1, &length), *end = text + length;
    push_table(L, 0);
    while (text < end) {
        const char *value = text + strlen(text) + 1;
        add_header(L, text, value);
        text = value + strlen(value) + 1;
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "headers");
    lua_pushnil(L);
    lua_setmetatable(L, 1);
}

static int find_field(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "headers") != 0)
        return 0;
    lua_settop(L, 2);
    make_field(L);
    return 1;
}

static int next_field(lua_State *L)
{
    lua_settop(L, 2);
    return lua_next(L, 1) ? 2 : 0;
}

static int all_fields(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, 1) == LUA_TNIL)
        make_field(L);
    lua_pushcfunction(L, next_field);
    lua_pushvalue(L, 1);
    return 2;
}

void exchange_attach_headers(lua_State *L, const struct exchange *exchange)
{
    const struct transfer_answer *answer = &exchange->answer;
    luaL_Buffer text;
    lua_createtable(L, 1, 3);
    luaL_buffinit(L, &text);
    for (size_t i = 0; i < answer->header_count; i++) {
        const struct transfer_header *header = &answer->headers[i];
        luaL_addlstring(&text, header->name, strlen(header->name) + 1);
        luaL_addlstring(&text, header->value, strlen(header->value) + 1);
    }
    luaL_pushresult(&text);
    lua_rawseti(L, -2, 1);
    lua_pushcfunction(L, find_field);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, all_fields);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}
