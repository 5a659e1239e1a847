/* The unknown value: stands in for results that --check cannot know, and ends every loop over it after one
 * turn. */
#include "unknown.h"

#include "failure.h"
#include "fiber.h"
#include "runtime.h"

#include <lauxlib.h>

#define METATABLE "moonbook.unknown"

/* A loop that asks the same unknown value again and again (`until f:read() == nil`) would never end. */
#define MOST_USES 100000

struct unknown {
    unsigned uses;
};

void unknown_push(lua_State *L)
{
    struct unknown *unknown = lua_newuserdatauv(L, sizeof *unknown, 0);
    unknown->uses = 0;
    luaL_setmetatable(L, METATABLE);
}

bool unknown_is(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA && luaL_testudata(L, index, METATABLE);
}

void unknown_used(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    if (runtime && runtime->current)
        fiber_context(runtime)->inexact = true;
}

/* [-0, +0, v] Notes a use of the unknown values among the arguments. */
static void use(lua_State *L)
{
    unknown_used(L);
    for (int i = 1; i <= 2; i++) {
        struct unknown *unknown = lua_isuserdata(L, i) ? luaL_testudata(L, i, METATABLE) : NULL;
        if (unknown && ++unknown->uses > MOST_USES)
            failure_advise(L, "failed", "check", "guard the loop, so that it ends without the result",
                           "a loop waits for a result that only a real run can know");
    }
}

/* Arithmetic, concatenation, indexing with a name: another unknown. */
static int give_unknown(lua_State *L)
{
    use(L);
    unknown_push(L);
    return 1;
}

/* Of an unknown list there is one item, so that ipairs ends. */
static int unknown_index(lua_State *L)
{
    use(L);
    if (lua_isinteger(L, 2) && lua_tointeger(L, 2) != 1)
        lua_pushnil(L);
    else
        unknown_push(L);
    return 1;
}

/* A call gives another one. `for line in text:gmatch(...)` calls it as an iterator, with nil and what it
 * returned last: there is one turn. */
static int unknown_call(lua_State *L)
{
    use(L);
    if (lua_gettop(L) == 3 && lua_isnil(L, 2) && !lua_isnil(L, 3))
        lua_pushnil(L);
    else
        unknown_push(L);
    return 1;
}

static int unknown_tostring(lua_State *L)
{
    use(L);
    lua_pushliteral(L, UNKNOWN_TEXT);
    return 1;
}

static int unknown_compare(lua_State *L)
{
    use(L);
    lua_pushboolean(L, 0);
    return 1;
}

static int unknown_length(lua_State *L)
{
    use(L);
    lua_pushinteger(L, 1);
    return 1;
}

static int unknown_newindex(lua_State *L)
{
    use(L);
    return 0;
}

static int unknown_next(lua_State *L)
{
    if (!lua_isnoneornil(L, 2))
        return lua_pushnil(L), 1;
    unknown_push(L);
    unknown_push(L);
    return 2;
}

static int unknown_pairs(lua_State *L)
{
    use(L);
    lua_pushcfunction(L, unknown_next);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int unknown_close(lua_State *L)
{
    (void)L;
    return 0;
}

void unknown_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__index", unknown_index}, {"__newindex", unknown_newindex},
        {"__call", unknown_call},   {"__tostring", unknown_tostring},
        {"__len", unknown_length},  {"__pairs", unknown_pairs},
        {"__close", unknown_close}, {"__eq", unknown_compare},
        {"__lt", unknown_compare},  {"__le", unknown_compare},
        {"__concat", give_unknown}, {"__add", give_unknown},
        {"__sub", give_unknown},    {"__mul", give_unknown},
        {"__div", give_unknown},    {"__mod", give_unknown},
        {"__pow", give_unknown},    {"__idiv", give_unknown},
        {"__unm", give_unknown},    {"__band", give_unknown},
        {"__bor", give_unknown},    {"__bxor", give_unknown},
        {"__bnot", give_unknown},   {"__shl", give_unknown},
        {"__shr", give_unknown},    {NULL, NULL},
    };
    if (luaL_newmetatable(L, METATABLE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushliteral(L, "unknown");
        lua_setfield(L, -2, "__name");
        lua_pushliteral(L, "unknown"); /* what getmetatable shows: scripts cannot reach the functions */
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}
