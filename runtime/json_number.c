/* Integers beyond Lua's: objects that keep the digits, print as them and compare and calculate as numbers. */
#include "json_number.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_METATABLE "moonbook.json.number"

void json_number_push(lua_State *L, const char *digits, size_t length)
{
    char *copy = lua_newuserdatauv(L, length + 1, 0);
    memcpy(copy, digits, length);
    copy[length] = '\0';
    luaL_setmetatable(L, NUMBER_METATABLE);
}

const char *json_number_digits(lua_State *L, int index)
{
    return luaL_testudata(L, index, NUMBER_METATABLE);
}

static int exact_tostring(lua_State *L)
{
    lua_pushstring(L, luaL_checkudata(L, 1, NUMBER_METATABLE));
    return 1;
}

static int exact_concat(lua_State *L)
{
    for (int i = 1; i <= 2; i++)
        if (json_number_digits(L, i)) {
            lua_pushstring(L, json_number_digits(L, i));
            lua_replace(L, i);
        }
    lua_settop(L, 2);
    lua_concat(L, 2);
    return 1;
}

/* [-0, +0, v] Puts floats in the place of exact numbers at 1 and 2. */
static void make_floats(lua_State *L)
{
    for (int i = 1; i <= 2; i++) {
        const char *digits = json_number_digits(L, i);
        if (digits) {
            lua_pushnumber(L, strtod(digits, NULL));
            lua_replace(L, i);
        } else if (!lua_isnumber(L, i)) {
            luaL_error(L, "attempt to calculate with a number and a %s value", luaL_typename(L, i));
        }
    }
    lua_settop(L, 2);
}

/* The operation is the closure's upvalue. */
static int exact_arithmetic(lua_State *L)
{
    make_floats(L);
    int operation = (int)lua_tointeger(L, lua_upvalueindex(1));
    if (operation == LUA_OPUNM)
        lua_pop(L, 1);
    lua_arith(L, operation);
    return 1;
}

/* Negative, 0 or positive as a is less than, equal to or more than b; neither has leading zeros. */
static int compare_digits(const char *a, const char *b)
{
    bool negative = a[0] == '-';
    if (negative != (b[0] == '-'))
        return negative ? -1 : 1;
    size_t length_a = strlen(a), length_b = strlen(b);
    int order = length_a != length_b ? (length_a < length_b ? -1 : 1) : strcmp(a, b);
    return negative ? -order : order;
}

static int exact_equal(lua_State *L)
{
    const char *a = json_number_digits(L, 1), *b = json_number_digits(L, 2);
    lua_pushboolean(L, a && b && strcmp(a, b) == 0);
    return 1;
}

static int exact_order(lua_State *L)
{
    int operation = (int)lua_tointeger(L, lua_upvalueindex(1));
    const char *a = json_number_digits(L, 1), *b = json_number_digits(L, 2);
    if (a && b) {
        int order = compare_digits(a, b);
        lua_pushboolean(L, operation == LUA_OPLT ? order < 0 : order <= 0);
        return 1;
    }
    make_floats(L);
    lua_pushboolean(L, lua_compare(L, 1, 2, operation));
    return 1;
}

void json_number_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__tostring", exact_tostring},
        {"__concat", exact_concat},
        {"__eq", exact_equal},
        {NULL, NULL},
    };
    static const struct {
        const char *event;
        int operation;
    } operators[] = {
        {"__add", LUA_OPADD}, {"__sub", LUA_OPSUB}, {"__mul", LUA_OPMUL},   {"__div", LUA_OPDIV},
        {"__mod", LUA_OPMOD}, {"__pow", LUA_OPPOW}, {"__idiv", LUA_OPIDIV}, {"__unm", LUA_OPUNM},
    };
    if (luaL_newmetatable(L, NUMBER_METATABLE)) {
        luaL_setfuncs(L, methods, 0);
        for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
            lua_pushinteger(L, operators[i].operation);
            lua_pushcclosure(L, exact_arithmetic, 1);
            lua_setfield(L, -2, operators[i].event);
        }
        lua_pushinteger(L, LUA_OPLT);
        lua_pushcclosure(L, exact_order, 1);
        lua_setfield(L, -2, "__lt");
        lua_pushinteger(L, LUA_OPLE);
        lua_pushcclosure(L, exact_order, 1);
        lua_setfield(L, -2, "__le");
        lua_pushliteral(L, "number");
        lua_setfield(L, -2, "__name");
    }
    lua_pop(L, 1);
}
