/* Lua functions that wait: wait{} for a condition, sleep, parallel. */
#include "binding.h"
#include "fiber.h"
#include "group.h"
#include "report.h"
#include "target.h"
#include "unknown.h"

#include <stdlib.h>
#include <string.h>

/* ---- wait ---- */

struct waiting {
    const char *what;
    int64_t timeout_ms, every_ms;
    uint64_t started;
};

/* [-0, +1, m] Pushes what the condition last returned or failed with, for the timeout's message. */
static void remember(lua_State *L, int status, int base)
{
    struct failure failure;
    if (status != LUA_OK && failure_is(L, -1, NULL)) { /* host and step stand before the timeout already */
        failure_from_lua(L, -1, &failure);
        lua_pushfstring(L, "%s%s%s%s%s", failure.op, failure.op[0] ? ": " : "", failure.message,
                        failure.hint[0] ? "; " : "", failure.hint);
    } else if (status != LUA_OK || lua_gettop(L) > base + 1)
        luaL_tolstring(L, -1, NULL);
    else
        lua_pushstring(L, lua_isnil(L, -1) ? "nothing" : "not yet");
}

static int timed_out(lua_State *L, const struct waiting *waiting)
{
    struct failure failure;
    failure_set(&failure, "timeout", "wait", "%s: not within %.3g s; last seen: %s", waiting->what,
                (double)waiting->timeout_ms / 1000.0, lua_tostring(L, -1));
    return failure_raise(L, &failure);
}

/* Under --check: what depends on a change that was only predicted holds at once. */
static bool holds_at_once(struct runtime *runtime)
{
    return runtime->options.check && target_predicts(runtime);
}

static int wait_for(lua_State *L)
{
    static const char *const names[] = {"timeout", "every", "what", NULL};
    struct runtime *runtime = runtime_of(L);
    argument_table(L, 1, "wait", names);
    lua_settop(L, 1);
    lua_rawgeti(L, 1, 1);
    luaL_argcheck(L, lua_isfunction(L, 2), 1, "wait{function() ... end, timeout=, every=, what=}");
    struct waiting waiting = {
        .what = argument_string(L, 1, "wait", "what", "the condition"),
        .timeout_ms = argument_duration(L, 1, "wait", "timeout", 60000),
        .every_ms = argument_duration(L, 1, "wait", "every", 1000),
        .started = runtime_now(runtime),
    };
    uint64_t end = waiting.started + (uint64_t)waiting.timeout_ms;
    if (holds_at_once(runtime)) {
        unknown_push(L);
        return 1;
    }
    for (;;) {
        lua_settop(L, 2);
        lua_pushvalue(L, 2);
        int status = lua_pcall(L, 0, LUA_MULTRET, 0);
        if (status == LUA_OK && lua_gettop(L) > 2 && lua_toboolean(L, 3))
            return lua_gettop(L) - 2;
        if (status != LUA_OK && failure_is(L, -1, "cancelled"))
            return lua_error(L);
        if (lua_gettop(L) == 2)
            lua_pushnil(L);
        remember(L, status, 2);
        uint64_t now = runtime_now(runtime);
        if (now >= end)
            return timed_out(L, &waiting);
        report_progress(L, "waiting for %s (%d s): %s", waiting.what, (int)((now - waiting.started) / 1000),
                        lua_tostring(L, -1));
        uint64_t pause = end - now < (uint64_t)waiting.every_ms ? end - now : (uint64_t)waiting.every_ms;
        enum wait_outcome outcome = fiber_sleep(runtime, pause ? pause : 1);
        struct failure failure;
        if (outcome != WAIT_TIMEOUT && !fiber_wait_failure(&failure, outcome, "wait", 0))
            return failure_raise(L, &failure);
    }
}

static int wait_sleep(lua_State *L)
{
    struct failure failure;
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "seconds from 0 to a thousand million");
    enum wait_outcome outcome = fiber_sleep(runtime_of(L), (uint64_t)(seconds * 1000.0 + 0.5));
    if (outcome != WAIT_TIMEOUT) {
        fiber_wait_failure(&failure, outcome, "sleep", 0);
        return failure_raise(L, &failure);
    }
    return 0;
}

/* ---- parallel ---- */

/* Starts the next: parallel{f, g} calls each, parallel(list, f) calls f(item, index). */
static void start_next(lua_State *L, struct group *group)
{
    lua_Integer index = (lua_Integer)group_started(group) + 1;
    bool each = lua_isfunction(L, 2);
    if (each)
        lua_pushvalue(L, 2);
    lua_geti(L, 1, index);
    if (each)
        lua_pushinteger(L, index);
    group_start(L, group, each ? 2 : 0);
}

/* [-0, +(0|1), -] Joins those that ended and keeps their first results. False, and its error on top, at one that failed. */
static bool collect_ended(lua_State *L, struct group *group, int results)
{
    for (size_t i; (i = group_ended(group)) != GROUP_NONE;) {
        int values = 0;
        if (!group_join(L, group, i, &values))
            return false;
        lua_settop(L, results + (values > 0));
        if (values)
            lua_rawseti(L, results, (lua_Integer)i + 1);
    }
    return true;
}

/* The first error ends the others and is raised when all of them are gone. */
static int parallel(lua_State *L)
{
    static const char *const names[] = {"limit", NULL};
    struct runtime *runtime = runtime_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    bool each = lua_isfunction(L, 2);
    lua_settop(L, 3);
    lua_Integer limit = 0;
    if (lua_istable(L, 3)) {
        argument_table(L, 3, "parallel", names);
        limit = argument_integer(L, 3, "parallel", "limit", 0);
    }
    if (!fiber_may_wait(runtime))
        failure_error(L, "usage", "parallel", "a wait inside __gc is refused");
    size_t count = (size_t)luaL_len(L, 1);
    for (size_t i = 1; !each && i <= count; i++) {
        luaL_argcheck(L, lua_geti(L, 1, (lua_Integer)i) == LUA_TFUNCTION, 1, "a list of functions is needed");
        lua_pop(L, 1);
    }
    struct group *group = group_push(L, count);
    lua_createtable(L, (int)count, 0);
    int results = lua_gettop(L);
    size_t window = limit > 0 ? (size_t)limit : count;
    while (group_started(group) < count || group_running(group) > 0) {
        while (group_started(group) < count && group_running(group) < window)
            start_next(L, group);
        enum wait_outcome outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
        if (!collect_ended(L, group, results))
            return lua_error(L);
        struct failure failure;
        if (outcome == WAIT_CANCELLED || outcome == WAIT_REFUSED) {
            fiber_wait_failure(&failure, outcome, "parallel", 0);
            failure_raise(L, &failure);
        }
    }
    return 1;
}

static const struct binding_function functions[] = {
    {"wait", wait_for, "wait{function, timeout=\"60s\", every=\"1s\", what=} -> what the function returned",
     "Calls the function until it returns something true; an error inside counts as not yet. When it is "
     "false its "
     "second result is shown as what was last seen. Raises \"timeout\" with `what` and that. Under --check, "
     "after a predicted change, it holds at once and gives an unknown value.",
     "local n = 0\nassert(wait{function() n = n + 1; return n == 2 and n end, every=0.01} == 2)"},
    {"sleep", wait_sleep, "sleep(seconds)", "Lets the fiber sleep; others go on.", "sleep(0.01)"},
    {"parallel", parallel, "parallel{function, ...} or parallel(list, function, {limit=}) -> list of results",
     "Runs the functions, or the function on each item of the list as function(item, index), at the same "
     "time, at "
     "most `limit` of them. Gives the first result of each. The first error cancels the others and "
     "is raised when all have ended.",
     "local r = parallel({1, 2, 3}, function(n) sleep(0.01) return n * n end)\nassert(r[3] == 9)"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module wait_module = {
    .name = "_G",
    .about = "Functions that wait.",
    .functions = functions,
};
