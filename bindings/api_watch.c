/* Blocking queries as an iterator: hands out the answer now and then after each change, from the index on that came with
 * the last one. */
#include "api.h"

#include "fiber.h"

#include <stdint.h>

#define FIRST_INDEX 1    /* the servers answer at once: their own begin there */
#define PAUSE_MS    1000 /* before a server that did not wait is asked again */

/* [-0, +0, v] No more than one question a second is for nothing. */
static void pause_since(lua_State *L, uint64_t asked)
{
    struct failure failure;
    uint64_t took = runtime_now(runtime_of(L)) - asked;
    if (took >= PAUSE_MS)
        return;
    enum wait_outcome outcome = fiber_sleep(runtime_of(L), PAUSE_MS - took);
    if (outcome != WAIT_TIMEOUT && !fiber_wait_failure(&failure, outcome, "watch", 0))
        failure_raise(L, &failure);
}

/* The step of the loop. Upvalues: the function, its arguments as a list (the last is the table of options), the index.
 * An index that went back (a server was restored) begins anew: waiting for the old one could last for ever. */
static int watch_next(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    for (;;) {
        lua_settop(L, 0);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_Integer count = luaL_len(L, lua_upvalueindex(2));
        luaL_checkstack(L, (int)count + 4, "watch");
        for (lua_Integer i = 1; i <= count; i++)
            lua_rawgeti(L, lua_upvalueindex(2), i);
        lua_pushvalue(L, lua_upvalueindex(3));
        lua_setfield(L, -2, "index");
        uint64_t asked = runtime_now(runtime);
        lua_call(L, (int)count, 2);
        if (!lua_istable(L, 2)) /* under --check: predicted */
            return 1;
        lua_Integer before = lua_tointeger(L, lua_upvalueindex(3));
        bool told = lua_getfield(L, 2, "index") == LUA_TNUMBER;
        lua_Integer now = told ? lua_tointeger(L, -1) : 0;
        if (!told)
            failure_advise(L, "usage", "watch", "give the function of an endpoint that takes index and wait",
                           "the function's answer has no index: it is no blocking query");
        lua_pushinteger(L, now < before || now < FIRST_INDEX ? 0 : now);
        lua_replace(L, lua_upvalueindex(3));
        if (now == before) { /* the time was over, nothing changed; or the server does not wait */
            pause_since(L, asked);
            continue;
        }
        lua_settop(L, 2);
        if (lua_isnil(L, 1)) { /* not there: a loop would end at nil */
            lua_pushboolean(L, false);
            lua_replace(L, 1);
        }
        return 2;
    }
}

int api_watch(lua_State *L)
{
    if (!lua_isfunction(L, 1))
        return failure_error(L, "usage", "watch",
                             "the first argument is the function of a blocking query, not %s",
                             luaL_typename(L, 1));
    int count = lua_gettop(L) - 1;
    bool options = count > 0 && lua_istable(L, -1);
    lua_createtable(L, count + 1, 0);
    for (int i = 1; i <= count - options; i++) {
        lua_pushvalue(L, i + 1);
        lua_rawseti(L, -2, i);
    }
    lua_newtable(L); /* a copy: the caller's table stays as it is */
    if (options)
        for (lua_pushnil(L); lua_next(L, count + 1);) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        }
    lua_rawseti(L, -2, count - options + 1);
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, watch_next, 3);
    return 1;
}
