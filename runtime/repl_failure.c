/* --repl-on-error: a session where a step failed, before its stack unwinds: its variables and its host are at hand. */
#include "failure.h"
#include "fiber.h"
#include "host.h"
#include "repl.h"
#include "repl_step.h"
#include "report.h"

#include <lauxlib.h>
#include <string.h>

#define DEEPEST 40 /* functions whose variables are looked at */

static const char aborted; /* registry key: the error that a session has passed on */

/* ---- the variables ---- */

/* What is done with each variable from the innermost function out; the value is on top of `at`, to be popped. True: enough. */
typedef bool visitor(lua_State *at, void *context, const char *name, lua_Debug *activation, int index);

/* Locals of a function (activation set) or what it took from around it (function on top, activation NULL). */
static bool visit_function(lua_State *at, lua_Debug *activation, visitor *visit, void *context)
{
    const char *name;
    int most = 0;
    while (lua_getlocal(at, activation, most + 1)) {
        lua_pop(at, 1);
        most++;
    }
    for (int i = most; i > 0; i--) { /* the later one hides an earlier one of its name */
        name = lua_getlocal(at, activation, i);
        if (*name == '(')
            lua_pop(at, 1);
        else if (visit(at, context, name, activation, i))
            return true;
    }
    lua_getinfo(at, "f", activation);
    for (int i = 1; !lua_iscfunction(at, -1) && (name = lua_getupvalue(at, -1, i)); i++) {
        if (!*name || strcmp(name, "_ENV") == 0)
            lua_pop(at, 1);
        else if (visit(at, context, name, NULL, i)) {
            lua_pop(at, 1);
            return true;
        }
    }
    lua_pop(at, 1);
    return false;
}

static bool visit_all(const struct repl *repl, visitor *visit, void *context)
{
    lua_State *at = repl->failed_at;
    lua_Debug activation;
    if (!at || !lua_checkstack(at, 8))
        return false;
    for (int level = repl->failed_level; level < DEEPEST && lua_getstack(at, level, &activation); level++)
        if (visit_function(at, &activation, visit, context))
            return true;
    return false;
}

/* A variable that is looked for: read, or set to what is on top of L. */
struct wanted {
    lua_State *L;
    const char *name;
    bool set;
};

static bool visit_wanted(lua_State *at, void *context, const char *name, lua_Debug *activation, int index)
{
    const struct wanted *wanted = context;
    if (strcmp(name, wanted->name) != 0) {
        lua_pop(at, 1);
        return false;
    }
    if (!wanted->set) {
        lua_pushvalue(at, -1);
        lua_xmove(at, wanted->L, 1);
        lua_pop(at, 1);
        return true;
    }
    lua_pop(at, 1);
    lua_pushvalue(wanted->L, -1);
    lua_xmove(wanted->L, at, 1);
    if (activation)
        lua_setlocal(at, activation, index);
    else
        lua_setupvalue(at, -2, index);
    return true;
}

/* The environment of inputs: name -> the variable, else the global. Upvalue 1: the session. */
static int read_variable(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, lua_upvalueindex(1));
    struct wanted wanted = {.L = L, .name = lua_tostring(L, 2)};
    if (wanted.name && lua_type(L, 2) == LUA_TSTRING && visit_all(repl, visit_wanted, &wanted))
        return 1;
    lua_pushglobaltable(L);
    lua_pushvalue(L, 2);
    lua_gettable(L, -2);
    return 1;
}

static int write_variable(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, lua_upvalueindex(1));
    struct wanted wanted = {.L = L, .name = lua_tostring(L, 2), .set = true};
    lua_settop(L, 3);
    if (lua_type(L, 2) != LUA_TSTRING || !visit_all(repl, visit_wanted, &wanted))
        lua_rawset(L, 1);
    return 0;
}

/* Copies each that has no inner one of its name into a table: a reference in the registry. */
static bool visit_copy(lua_State *at, void *context, const char *name, lua_Debug *activation, int index)
{
    const int *table = context;
    (void)activation;
    (void)index;
    lua_rawgeti(at, LUA_REGISTRYINDEX, *table);
    if (lua_getfield(at, -1, name) == LUA_TNIL) {
        lua_pushvalue(at, -3);
        lua_setfield(at, -3, name);
    }
    lua_pop(at, 3);
    return false;
}

void repl_push_locals(lua_State *L, const struct repl *repl)
{
    if (!repl->failed_at) {
        lua_pushnil(L);
        return;
    }
    lua_newtable(L);
    lua_pushvalue(L, -1);
    int table = luaL_ref(L, LUA_REGISTRYINDEX);
    visit_all(repl, visit_copy, &table);
    luaL_unref(L, LUA_REGISTRYINDEX, table);
}

/* ---- the session ---- */

static void open_environment(lua_State *L, struct repl *repl)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    lua_createtable(L, 0, 2);
    lua_pushlightuserdata(L, repl);
    lua_pushcclosure(L, read_variable, 1);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, repl);
    lua_pushcclosure(L, write_variable, 1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* [-0, +0, -] Says what failed, and what can be done about it. */
static void greet(lua_State *L, const struct repl *repl, int error)
{
    struct failure failure;
    const struct host *host = host_current(repl->runtime);
    failure_from_lua(L, error, &failure);
    report_error(repl->runtime, &failure);
    report_say(repl->runtime,
               "step \"%s\" failed on %s; its variables are at hand (:locals).\n:retry runs it again, :skip "
               "goes on with "
               "the next, :abort or Ctrl-D ends the run\n",
               fiber_context(repl->runtime)->step, host->name);
}

/* [-0, +0, v] In the fiber of the step. */
static enum repl_verdict hold(lua_State *L, int error)
{
    struct runtime *runtime = runtime_of(L);
    struct repl repl;
    struct fiber_context *context = fiber_context(runtime), before = *context;
    context->target = NULL; /* what is said here is said at once, also where several hosts run */
    repl_init(&repl, L);
    repl.context.step = NULL;
    repl.failed_at = L;
    repl.failed_level = 1;
    open_environment(L, &repl);
    context->step = before.step;
    luaL_traceback(L, L, NULL, 1);
    buffer_append_text(&repl.error, lua_tostring(L, -1));
    lua_pop(L, 1);
    greet(L, &repl, error);
    repl_run(L, &repl);
    repl_clear(&repl);
    fiber_context(runtime)->target = before.target;
    runtime->interrupts = 0;
    return repl.verdict == REPL_NONE ? REPL_ABORT : repl.verdict;
}

/* Is it an error that no session is for: an interrupt, or one that a session has passed on? */
static bool passes(lua_State *L, int error)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &aborted);
    bool passes = lua_rawequal(L, -1, error) || failure_is(L, error, "cancelled");
    lua_pop(L, 1);
    return passes || !fiber_may_wait(runtime_of(L));
}

/* The message handler of a step's call. Upvalue 1: its verdict. */
static int on_error(lua_State *L)
{
    enum { ERROR = 1 };
    struct runtime *runtime = runtime_of(L);
    enum repl_verdict *verdict = lua_touserdata(L, lua_upvalueindex(1));
    lua_settop(L, ERROR);
    if (passes(L, ERROR))
        return 1;
    failure_adopt(L); /* while the context still says which step it was */
    if (fiber_lock(runtime, &runtime->session) != WAIT_WOKEN) /* one at a time */
        return 1;
    *verdict = hold(L, ERROR);
    fiber_unlock(&runtime->session);
    lua_settop(L, ERROR);
    lua_pushvalue(L, ERROR);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &aborted);
    return 1;
}

enum repl_verdict *repl_push_handler(lua_State *L)
{
    enum repl_verdict *verdict = lua_newuserdatauv(L, sizeof *verdict, 0);
    *verdict = REPL_NONE;
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, on_error, 1);
    return verdict;
}
