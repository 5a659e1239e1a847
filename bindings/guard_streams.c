/* Lua's own files, where they are the program's standard ones: what is written there passes the redactor as print does, and
 * Ctrl-C and --timeout end a read that waits for a person. */
#include "guard_streams.h"

#include "buffer.h"
#include "failure.h"
#include "fiber.h"
#include "redact.h"
#include "runtime.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>

/* Names that liolib has for them in the registry. */
#define DEFAULT_INPUT  "_IO_input"
#define DEFAULT_OUTPUT "_IO_output"

/* ---- writing ---- */

static bool is_screen(lua_State *L, int index)
{
    const luaL_Stream *stream = luaL_testudata(L, index, LUA_FILEHANDLE);
    return stream && stream->closef && (stream->f == stdout || stream->f == stderr);
}

/* [-0, +0, e] The texts from `first` on, of all arguments; where a secret is in them, one text without it takes their place. */
static void redact_arguments(lua_State *L, int first)
{
    struct buffer text = {0};
    for (int i = first; i <= lua_gettop(L); i++) {
        size_t length;
        lua_pushvalue(L, i); /* a number stays one */
        const char *bytes = lua_tolstring(L, -1, &length);
        buffer_append(&text, bytes, length);
        lua_pop(L, 1);
    }
    if (text.length && redact(runtime_of(L)->redactor, &text)) {
        lua_settop(L, first - 1);
        lua_pushlstring(L, buffer_text(&text), text.length);
    }
    buffer_wipe(&text);
}

/* [-0, +0, v] Only texts and numbers can be written; said here, where the function has its name. */
static void check_arguments(lua_State *L, int first)
{
    for (int i = first; i <= lua_gettop(L); i++)
        if (!lua_isstring(L, i))
            luaL_checkstring(L, i);
}

/* [-0, +n, e] Calls the original, upvalue 1, with the arguments. */
static int call_original(lua_State *L)
{
    int arguments = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, arguments, LUA_MULTRET);
    return lua_gettop(L);
}

/* io.write(...) */
static int guarded_write(lua_State *L)
{
    check_arguments(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, DEFAULT_OUTPUT);
    bool screen = is_screen(L, lua_gettop(L));
    lua_pop(L, 1);
    if (screen)
        redact_arguments(L, 1);
    return call_original(L);
}

/* file:write(...) */
static int guarded_file_write(lua_State *L)
{
    check_arguments(L, 2);
    if (is_screen(L, 1))
        redact_arguments(L, 2);
    return call_original(L);
}

/* ---- reading ---- */

static void let_signals_end_reads(bool on)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGALRM};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action;
        sigaction(numbers[i], NULL, &action);
        action.sa_flags = on ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
        sigaction(numbers[i], &action, NULL);
    }
}

/* [-0, +n, e] As call_original. A read that waits goes on behind a signal's handler: here it ends, so that the handler's
 * cancellation is seen. */
static int call_interruptibly(lua_State *L)
{
    int arguments = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    let_signals_end_reads(true);
    int status = lua_pcall(L, arguments, LUA_MULTRET, 0);
    let_signals_end_reads(false);
    if (status == LUA_OK)
        return lua_gettop(L);
    if (fiber_cancel_due(runtime_of(L))) /* io.lines raises that it was interrupted */
        failure_error(L, "cancelled", "interrupt", "interrupted");
    return lua_error(L);
}

static bool is_typed(lua_State *L, int index)
{
    const luaL_Stream *stream = luaL_testudata(L, index, LUA_FILEHANDLE);
    return stream && stream->closef && stream->f == stdin;
}

/* Is it what io.read reads? */
static bool is_default_typed(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, DEFAULT_INPUT);
    bool typed = is_typed(L, lua_gettop(L));
    lua_pop(L, 1);
    return typed;
}

/* io.read(...) */
static int guarded_read(lua_State *L)
{
    return is_default_typed(L) ? call_interruptibly(L) : call_original(L);
}

/* file:read(...) */
static int guarded_file_read(lua_State *L)
{
    return is_typed(L, 1) ? call_interruptibly(L) : call_original(L);
}

/* io.lines(...), file:lines(...): what they return first reads in each turn. */
static int guarded_lines(lua_State *L)
{
    bool typed = lua_isnoneornil(L, 1) ? is_default_typed(L) : is_typed(L, 1);
    int results = call_original(L);
    if (typed) {
        lua_pushvalue(L, 1);
        lua_pushcclosure(L, call_interruptibly, 1);
        lua_replace(L, 1);
    }
    return results;
}

/* ---- the module ---- */

/* [-0, +0, m] Of the table on top. */
static void replace(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void guard_open_streams(lua_State *L)
{
    lua_getglobal(L, "io");
    replace(L, "write", guarded_write);
    replace(L, "read", guarded_read);
    replace(L, "lines", guarded_lines);
    luaL_getmetatable(L, LUA_FILEHANDLE);
    lua_getfield(L, -1, "__index");
    replace(L, "write", guarded_file_write);
    replace(L, "read", guarded_file_read);
    replace(L, "lines", guarded_lines);
    lua_pop(L, 3);
}
