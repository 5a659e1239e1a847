/* The overlay: one Lua table in the registry, overlay[host][kind][name]. */
#include "overlay.h"

#include "runtime.h"

#include <assert.h>
#include <lauxlib.h>

static const char registry_key;

/* [-0, +1, m] Pushes table[name] where the table is on top and takes its place; makes it when asked to. */
static bool descend(lua_State *L, const char *name, bool make)
{
    if (lua_getfield(L, -1, name) == LUA_TTABLE) {
        lua_remove(L, -2);
        return true;
    }
    lua_pop(L, 1);
    if (!make) {
        lua_pop(L, 1);
        return false;
    }
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
    lua_remove(L, -2);
    return true;
}

static bool push_kind(lua_State *L, struct host *host, const char *kind, bool make)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        if (!make)
            return false;
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
    }
    return descend(L, host->machine, make) && descend(L, kind, make);
}

void overlay_put(lua_State *L, struct host *host, const char *kind, const char *name)
{
    assert(runtime_of(L)->options.check);
    push_kind(L, host, kind, true);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 2);
}

bool overlay_get(lua_State *L, struct host *host, const char *kind, const char *name)
{
    if (!runtime_of(L)->options.check || !push_kind(L, host, kind, false))
        return false;
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 2);
        return false;
    }
    lua_remove(L, -2);
    return true;
}

void overlay_all(lua_State *L, struct host *host, const char *kind)
{
    if (!runtime_of(L)->options.check || !push_kind(L, host, kind, false))
        lua_pushnil(L);
}

bool overlay_each(lua_State *L, struct host *host, const char *kind, overlay_visit *visit, void *context)
{
    int top = lua_gettop(L);
    bool ended = false;
    luaL_checkstack(L, 6, kind);
    overlay_all(L, host, kind);
    if (lua_istable(L, -1))
        for (lua_pushnil(L); !ended && lua_next(L, top + 1); lua_settop(L, top + 2))
            ended =
                visit(L, lua_tostring(L, -2), context); /* names are strings: overlay_put takes no other */
    lua_settop(L, top);
    return ended;
}
