/* Lua module `json`: the codec of the cluster's APIs, for scripts. */
#include "json.h"
#include "binding.h"

static int json_decode_text(lua_State *L)
{
    char error[512];
    size_t length;
    if (lua_type(L, 1) != LUA_TSTRING)
        return failure_error(L, "usage", "json.decode", "JSON text is wanted, not %s", luaL_typename(L, 1));
    const char *text = lua_tolstring(L, 1, &length);
    if (!json_decode(L, text, length, error, sizeof error))
        return failure_error(L, "invalid", "json.decode", "%s", error);
    return 1;
}

static int json_encode_value(lua_State *L)
{
    luaL_checkany(L, 1);
    json_encode(L, 1);
    return 1;
}

static int json_array(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    if (!lua_istable(L, 1))
        return failure_error(L, "usage", "json.array", "a table {...} is wanted, not %s",
                             luaL_typename(L, 1));
    json_mark_array(L, 1);
    return 1;
}

/* [-0, +0, m] */
static void set_null(lua_State *L)
{
    json_push_null(L);
    lua_setfield(L, -2, "null");
}

static const struct binding_function functions[] = {
    {"decode", json_decode_text, "json.decode(TEXT) -> value",
     "Reads one JSON text. Integers stay exact: beyond 64 bits signed they are objects whose tostring gives "
     "the "
     "digits. null is json.null, [] stays an array. Of a name given twice the last counts. Raises "
     "\"invalid\" "
     "with line and column; nesting beyond 120 levels and text that is not UTF-8 are refused.",
     "local flags = json.decode('{\"Flags\": 18446744073709551615, \"Tags\": []}')\n"
     "assert(json.encode(flags) == '{\"Flags\":18446744073709551615,\"Tags\":[]}')"},
    {"encode", json_encode_value, "json.encode(VALUE) -> text",
     "Writes a value as JSON in one line, names sorted. A table with the keys 1..n is an array; {} is an "
     "object, "
     "json.array{} an empty array. Raises \"usage\" for functions, cycles, mixed keys, NaN, infinity, text "
     "that "
     "is not UTF-8, secrets.",
     "assert(json.encode{ b = { 1, 2.5 }, a = json.null } == '{\"a\":null,\"b\":[1,2.5]}')"},
    {"array", json_array, "json.array{ITEM, ...} -> the same table",
     "Marks a table as an array, so that it is written as [] when it is empty.",
     "assert(json.encode(json.array{}) == \"[]\" and json.encode({}) == \"{}\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module json_module = {
    "json",    "JSON that comes back as it was: 64-bit integers, empty arrays and null (json.null) are kept.",
    functions, set_null,
    NULL,
};
