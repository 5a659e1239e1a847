/* Lua modules `duration` and `size`: "1d" is 86400 seconds, "512M" is 536870912 bytes. */
#include "quantity.h"
#include "binding.h"

/* [-0, +1, m] Milliseconds as seconds: an integer when they are whole. */
static void push_seconds(lua_State *L, int64_t ms)
{
    if (ms % 1000)
        lua_pushnumber(L, (lua_Number)ms / 1000);
    else
        lua_pushinteger(L, ms / 1000);
}

/* [-0, +0, v] */
static int64_t check_seconds(lua_State *L, const char *op)
{
    lua_Number seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : -1;
    if (!(seconds >= 0 && seconds <= 9007199254740.0))
        failure_error(L, "usage", op, "a number of seconds from 0 is wanted, not %s",
                      luaL_tolstring(L, 1, NULL));
    return (int64_t)(seconds * 1000 + 0.5);
}

/* Called as the module itself, which is then the first argument. */
static int duration_read(lua_State *L)
{
    int64_t ms;
    lua_settop(L, 2);
    lua_remove(L, 1);
    if (lua_type(L, 1) == LUA_TNUMBER)
        ms = check_seconds(L, "duration");
    else if (lua_type(L, 1) != LUA_TSTRING || !duration_parse(lua_tostring(L, 1), &ms))
        return failure_error(
            L, "usage", "duration",
            "\"%s\" is no duration; write a number with ms, s, m, h, d or w, such as \"90s\" or "
            "\"1h30m\"",
            luaL_tolstring(L, 1, NULL));
    push_seconds(L, ms);
    return 1;
}

static int duration_write(lua_State *L)
{
    char text[64];
    duration_format(check_seconds(L, "duration.format"), text, sizeof text);
    lua_pushstring(L, text);
    return 1;
}

/* Called as the module itself, which is then the first argument. */
static int size_read(lua_State *L)
{
    int64_t bytes = -1;
    int whole = 0;
    lua_settop(L, 2);
    lua_remove(L, 1);
    if (lua_type(L, 1) == LUA_TNUMBER)
        bytes = lua_tointegerx(L, 1, &whole);
    else if (lua_type(L, 1) == LUA_TSTRING)
        whole = size_parse(lua_tostring(L, 1), &bytes);
    if (!whole || bytes < 0)
        return failure_error(
            L, "usage", "size",
            "\"%s\" is no size; write a number with K, M, G, T or P, such as \"512M\" or \"1.5G\"",
            luaL_tolstring(L, 1, NULL));
    lua_pushinteger(L, bytes);
    return 1;
}

static int size_write(lua_State *L)
{
    char text[64];
    int whole = 0;
    lua_Integer bytes = lua_type(L, 1) == LUA_TNUMBER ? lua_tointegerx(L, 1, &whole) : 0;
    if (!whole || bytes < 0)
        return failure_error(L, "usage", "size.format", "a whole number of bytes is wanted, not %s",
                             luaL_tolstring(L, 1, NULL));
    size_format(bytes, text, sizeof text);
    lua_pushstring(L, text);
    return 1;
}

static const struct binding_function duration_functions[] = {
    {"", duration_read, "duration(TEXT) -> seconds",
     "Reads \"1d\", \"90s\", \"1h30m\", \"1.5h\", \"250ms\" (ms, s, m, h, d, w; a bare number is seconds) "
     "into "
     "seconds: an integer when they are whole. A number is taken as seconds. Raises \"usage\".",
     "assert(duration(\"1d\") == 86400 and duration(\"1h30m\") == 5400 and duration(\"250ms\") == 0.25)"},
    {"format", duration_write, "duration.format(SECONDS) -> text", "Writes seconds as people read them.",
     "assert(duration.format(12000) == \"3 h 20 min\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module duration_module = {
    "duration", "Times as operators write them, in seconds.", duration_functions, NULL, NULL,
};

static const struct binding_function size_functions[] = {
    {"", size_read, "size(TEXT) -> bytes",
     "Reads \"512M\", \"10GiB\", \"1.5G\", \"4096\" into bytes. K, KB and KiB are all 1024. A number is "
     "taken as "
     "bytes. Raises \"usage\".",
     "assert(size(\"512M\") == 536870912 and size(\"1.5K\") == 1536)"},
    {"format", size_write, "size.format(BYTES) -> text", "Writes bytes as people read them.",
     "assert(size.format(1572864) == \"1.5 MiB\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module size_module = {
    "size", "Amounts of memory and storage as operators write them, in bytes.", size_functions, NULL, NULL,
};
