/* lock: one fiber at a time past a point, for what the fibers of parallel and fleet may only do one after the other. That two
 * runs keep off one host is the change's matter (host_lock.h). */
#include "binding.h"
#include "fiber.h"

#include <string.h>

#define METATABLE "moonbook.lock"
#define HELD                                                                                                 \
    "moonbook.lock.held" /* registry: name -> what was last handed out under it, as long as somebody has it */
#define TIMEOUT_MS ((int64_t)10 * 60 * 1000)

/* The lock itself lives in what the first of a name was given, and is shared by all who wait. */
struct lock {
    struct fiber_lock fibers;
};

/* What the caller closes: user value 1 is the userdata of its lock. */
struct hold {
    bool held;
};

static int release(lua_State *L)
{
    struct hold *hold = luaL_checkudata(L, 1, METATABLE);
    if (hold->held && lua_getiuservalue(L, 1, 1) == LUA_TUSERDATA)
        fiber_unlock(lua_touserdata(L, -1));
    hold->held = false;
    return 0;
}

/* [-0, +1, m] Pushes the lock of that name, which lasts as long as anybody holds it or waits. */
static struct lock *push_lock(lua_State *L, int name)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, HELD) == 0) {
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
    }
    lua_pushvalue(L, name);
    if (lua_rawget(L, -2) != LUA_TUSERDATA) {
        lua_pop(L, 1);
        memset(lua_newuserdatauv(L, sizeof(struct lock), 0), 0, sizeof(struct lock));
        lua_pushvalue(L, name);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}

/* [-0, +1, m] Pushes what gives the lock on top back, not held yet. */
static struct hold *push_hold(lua_State *L)
{
    struct hold *hold = lua_newuserdatauv(L, sizeof *hold, 1);
    hold->held = false;
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, 1);
    if (luaL_newmetatable(L, METATABLE)) {
        static const luaL_Reg methods[] = {{"__gc", release}, {"__close", release}, {NULL, NULL}};
        luaL_setfuncs(L, methods, 0);
    }
    lua_setmetatable(L, -2);
    return hold;
}

static int lock(lua_State *L)
{
    static const char *const names[] = {"timeout", NULL};
    struct runtime *runtime = runtime_of(L);
    struct failure failure;
    const char *name = luaL_checkstring(L, 1);
    int64_t timeout_ms = TIMEOUT_MS;
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        argument_table(L, 2, "lock", names);
        timeout_ms = argument_duration(L, 2, "lock", "timeout", timeout_ms);
    }
    struct lock *lock = push_lock(L, 1);
    if (lock->fibers.holder == runtime->current)
        failure_error(L, "usage", "lock", "%s is locked by this very fiber: it would wait for itself", name);
    struct hold *hold = push_hold(L);
    enum wait_outcome outcome = fiber_lock_within(runtime, &lock->fibers, (uint64_t)timeout_ms);
    if (outcome == WAIT_WOKEN) {
        hold->held = true;
        return 1;
    }
    if (outcome == WAIT_TIMEOUT) {
        failure_set(&failure, "timeout", "lock", "%s was not given back within %.3g s", name,
                    (double)timeout_ms / 1000);
        failure_hint(&failure, "see what holds it; or give it more time: timeout=");
    } else {
        fiber_wait_failure(&failure, outcome, "lock", 0);
    }
    return failure_raise(L, &failure);
}

static const struct binding_function functions[] = {
    {"lock", lock, "local held <close> = lock(name, {timeout=\"10m\"})",
     "Waits until no other fiber of this program holds the lock of that name, then holds it until the end of "
     "the block: of "
     "the hosts of a fleet, say, one restarts at a time. They come in the order in which they asked. Raises "
     "\"timeout\", and "
     "\"usage\" where the fiber holds it itself. Other runs are kept off a host that is changed without it.",
     "local seen = {}\nparallel({1, 2, 3}, function(n)\n  local held <close> = lock \"example\"\n  "
     "seen[#seen + 1] = n\n"
     "  sleep(0.01)\n  assert(seen[#seen] == n)\nend)"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module lock_module = {
    .name = "_G",
    .about = "Fibers that wait for each other.",
    .functions = functions,
};
