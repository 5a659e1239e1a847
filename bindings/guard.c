/* Lua's own functions, made safe for runs: what writes passes the gate, pcall lets a cancellation through, require
 * loads a module once though it may wait while loading. */
#include "binding.h"
#include "change.h"
#include "fiber.h"
#include "file_state.h"
#include "guard_streams.h"
#include "report.h"
#include "scratch.h"
#include "unknown.h"

#include <errno.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

/* [-0, +(n + 1), m] Pushes the original, kept as upvalue 1, and copies of all n arguments; they stay on the stack, since
 * a change that is under way points into them. Returns n. */
static int push_original(lua_State *L)
{
    int arguments = lua_gettop(L);
    luaL_checkstack(L, arguments + 1, "too many arguments");
    lua_pushvalue(L, lua_upvalueindex(1));
    for (int i = 1; i <= arguments; i++)
        lua_pushvalue(L, i);
    return arguments;
}

/* [-0, +n, e] Calls the original with the same arguments. Returns the number of results. */
static int call_original(lua_State *L)
{
    int arguments = push_original(L);
    lua_call(L, arguments, LUA_MULTRET);
    return lua_gettop(L) - arguments;
}

/* ---- pcall, xpcall ---- */

static bool must_pass(lua_State *L, int status)
{
    return status != LUA_OK && status != LUA_YIELD && failure_is(L, -1, "cancelled") &&
           fiber_is_cancelled(runtime_of(L));
}

/* `context` is the number of shields at the call: an error may have gone past an unshield. */
static int finish_pcall(lua_State *L, int status, lua_KContext context)
{
    if (status != LUA_OK && status != LUA_YIELD)
        fiber_restore_shields(runtime_of(L), (unsigned)context);
    if (must_pass(L, status))
        return lua_error(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushboolean(L, false);
        lua_insert(L, -2);
        return 2;
    }
    return lua_gettop(L);
}

static int guarded_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, true); /* the first result when there is no error */
    lua_insert(L, 1);
    lua_KContext shields = (lua_KContext)fiber_shields(runtime_of(L));
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, shields, finish_pcall);
    return finish_pcall(L, status, shields);
}

static int finish_xpcall(lua_State *L, int status, lua_KContext context)
{
    int results = finish_pcall(L, status, context);
    return status == LUA_OK || status == LUA_YIELD ? results - 2 : results;
}

static int guarded_xpcall(lua_State *L)
{
    int arguments = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, true);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* function, handler, true, function, arguments */
    lua_KContext shields = (lua_KContext)fiber_shields(runtime_of(L));
    int status = lua_pcallk(L, arguments - 2, LUA_MULTRET, 2, shields, finish_xpcall);
    return finish_xpcall(L, status, shields);
}

/* ---- coroutines ---- */

/* Resumes `thread` with the arguments on top of L, and notes it: an interrupt reaches what computes inside.
 * [-n, +(results|1)] The number of results, or -1 and the error. */
static int resume(lua_State *L, lua_State *thread, int arguments)
{
    struct runtime *runtime = runtime_of(L);
    int results = 0;
    if (!lua_checkstack(thread, arguments)) {
        lua_pop(L, arguments);
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, thread, arguments);
    lua_State *before = fiber_enter_thread(runtime, thread);
    int status = lua_resume(thread, L, arguments, &results);
    fiber_enter_thread(runtime, before);
    if (status == LUA_OK || status == LUA_YIELD) {
        if (lua_checkstack(L, results + 1)) {
            lua_xmove(thread, L, results);
            return results;
        }
        lua_pop(thread, results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(thread, L, 1);
    return -1;
}

static int guarded_resume(lua_State *L)
{
    lua_State *thread = lua_tothread(L, 1);
    luaL_argexpected(L, thread, 1, "coroutine");
    int results = resume(L, thread, lua_gettop(L) - 1);
    if (results < 0 && must_pass(L, LUA_ERRRUN))
        return lua_error(L);
    lua_pushboolean(L, results >= 0);
    lua_insert(L, -(results < 0 ? 1 : results) - 1);
    return (results < 0 ? 1 : results) + 1;
}

/* What coroutine.wrap returned: as Lua's own, an error closes the coroutine and says where it was called. */
static int call_wrapped(lua_State *L)
{
    lua_State *thread = lua_tothread(L, lua_upvalueindex(1));
    int results = resume(L, thread, lua_gettop(L));
    if (results >= 0)
        return results;
    int status = lua_status(thread);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pop(L, 1);
        lua_resetthread(thread);
        lua_xmove(thread, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int guarded_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *thread = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, thread, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* ---- os and io ---- */

/* Passes the gate with a change of the operator's machine that nothing can undo but the kept copy. True: make it. */
static bool begin(lua_State *L, struct change *change)
{
    struct runtime *runtime = runtime_of(L);
    struct fiber_context *context = fiber_context(runtime);
    struct host *before = context->host;
    context->host = runtime->local;
    enum change_decision decision = change_begin(L, change);
    fiber_context(runtime)->host = before;
    return decision == CHANGE_APPLY;
}

/* Ends a change that is not made: `predict` notes under --check what it would do, or gives the errno it would fail with.
 * The results, as Lua gives them: true, or nil, message, errno. */
static int end_unmade(lua_State *L, struct change *change, const char *path, int (*predict)(lua_State *L))
{
    int error = predict(L);
    if (error) {
        change->status = CHANGE_FAILED;
        change->error = strerror(error);
    }
    change_end(L, change);
    errno = error;
    return luaL_fileresult(L, error == 0, path);
}

/* Runs the original between begin and end. Its failure (nil, message, errno) is recorded and returned as Lua does. */
static int change_by_original(lua_State *L, struct change *change, const char *path,
                              int (*predict)(lua_State *L))
{
    if (!begin(L, change))
        return end_unmade(L, change, path, predict);
    int arguments = push_original(L);
    if (lua_pcall(L, arguments, LUA_MULTRET, 0) !=
        LUA_OK) { /* a wrong mode, say: the change ends all the same */
        change->status = CHANGE_FAILED;
        change->error = luaL_tolstring(L, -1, NULL);
        change_end(L, change);
        lua_pop(L, 1);
        return lua_error(L);
    }
    int results = lua_gettop(L) - arguments;
    if (!lua_toboolean(L, -results)) {
        const char *message = results > 1 ? lua_tostring(L, -results + 1) : NULL;
        change->status = CHANGE_FAILED;
        change->error = message ? message : "failed";
    }
    change_end(L, change);
    return results;
}

static int predict_remove(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    return runtime->options.check ? file_predict_removed(L, runtime->local, lua_tostring(L, 1)) : 0;
}

static int guarded_remove(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct change change = {
        .kind = "os.remove", .target = path, .keep = path, .undo = "{\"op\":\"restore\"}"};
    return change_by_original(L, &change, path, predict_remove);
}

static int predict_rename(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    const char *from = lua_tostring(L, 1), *to = lua_tostring(L, 2);
    return runtime->options.check ? file_predict_renamed(L, runtime->local, from, to) : 0;
}

static int guarded_rename(lua_State *L)
{
    const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
    lua_settop(L, 2);
    struct buffer target = {0};
    buffer_format(&target, "%s -> %s", from, to);
    lua_pushlstring(L, target.bytes, target.length);
    buffer_free(&target);
    struct change change = {.kind = "os.rename", .target = lua_tostring(L, 3), .keep = to};
    return change_by_original(L, &change, from, predict_rename);
}

static int close_stream(lua_State *L)
{
    luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

/* A file in memory with this content, at its beginning. */
static FILE *memory_file(const struct buffer *content)
{
    int descriptor = memfd_create("output", MFD_CLOEXEC);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w+");
    if (!file && descriptor >= 0)
        close(descriptor);
    if (file) {
        fwrite(buffer_text(content), 1, content->length, file);
        rewind(file);
    }
    return file;
}

/* [-0, +1, m] Predicted or declined: the script gets what it would read, and writes on, to nowhere. Pushes the file. */
static int predict_open(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
    stream->closef = NULL; /* born closed */
    struct buffer *content = scratch_buffer(scratch_open(L));
    int error = runtime->options.check
                    ? file_predict_opened(L, runtime->local, lua_tostring(L, 1), lua_tostring(L, 2), content)
                    : 0;
    stream->f = error ? NULL : memory_file(content);
    if (!error && !stream->f)
        error = errno;
    lua_closeslot(L, -1);
    lua_pop(L, 1);
    if (!error) {
        stream->closef = close_stream;
        luaL_setmetatable(L, LUA_FILEHANDLE);
    }
    return error;
}

static int guarded_open(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (!strpbrk(luaL_optstring(L, 2, "r"), "wa+"))
        return call_original(L);
    lua_settop(L, 2);
    struct change change = {.kind = "io.open", .target = path, .keep = path, .undo = "{\"op\":\"restore\"}"};
    int results = change_by_original(L, &change, path, predict_open);
    if (!luaL_testudata(L, 3, LUA_FILEHANDLE))
        return results;
    lua_settop(L, 3); /* the file, opened or made up */
    return 1;
}

/* io.output(path) opens for writing: that goes through io.open. */
static int guarded_output(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_getglobal(L, "io");
        lua_getfield(L, -1, "open");
        lua_pushvalue(L, 1);
        lua_pushliteral(L, "w");
        lua_call(L, 2, 2);
        if (lua_isnil(L, -2))
            return luaL_error(L, "cannot open file: %s", lua_tostring(L, -1));
        lua_pop(L, 1);
        lua_replace(L, 1);
        lua_settop(L, 1);
    }
    return call_original(L);
}

/* `sh -c` on the operator's machine through the gate. False: predicted or declined, not run. */
static bool run_shell(lua_State *L, const char *kind, const char *line, struct process_result *result)
{
    struct runtime *runtime = runtime_of(L);
    struct change change = {.kind = kind, .target = line};
    struct failure failure;
    if (!begin(L, &change)) {
        change_end(L, &change);
        return false;
    }
    struct host_command command = {.argv = (const char *const[]){"sh", "-c", line, NULL}};
    if (!host_run(runtime->local, &command, result, &failure)) {
        process_result_free(result);
        change_fail(L, &change, &failure);
    }
    change_end(L, &change);
    return true;
}

static void say_output(struct runtime *runtime, struct buffer *text, bool is_print)
{
    if (text->length && text->bytes[text->length - 1] == '\n')
        text->length--;
    if (text->length)
        report_log(runtime, text->bytes, text->length, is_print);
}

static int guarded_execute(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushboolean(L, true); /* a shell is there */
        return 1;
    }
    struct process_result result = {0};
    if (!run_shell(L, "os.execute", luaL_checkstring(L, 1), &result)) {
        unknown_push(L);
        return 1;
    }
    say_output(runtime_of(L), &result.output, true);
    say_output(runtime_of(L), &result.error, false);
    int status = result.status, signal_number = result.signal;
    process_result_free(&result);
    if (status == 0)
        lua_pushboolean(L, true);
    else
        lua_pushnil(L);
    lua_pushstring(L, signal_number ? "signal" : "exit");
    lua_pushinteger(L, signal_number ? signal_number : status);
    return 3;
}

/* The command runs to its end, its output is read from memory: the process never blocks on a pipe. */
static int guarded_popen(lua_State *L)
{
    const char *line = luaL_checkstring(L, 1);
    if (*luaL_optstring(L, 2, "r") != 'r')
        return failure_advise(L, "usage", "io.popen", "use host.run{..., stdin=text}",
                              "only reading from a command is supported");
    luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
    stream->closef = NULL; /* born closed */
    luaL_setmetatable(L, LUA_FILEHANDLE);
    struct process_result result = {0};
    if (!run_shell(L, "io.popen", line, &result))
        unknown_used(L); /* what it would have said */
    stream->f = memory_file(&result.output);
    int error = errno;
    process_result_free(&result);
    errno = error;
    if (!stream->f)
        return luaL_fileresult(L, 0, line);
    stream->closef = close_stream;
    return 1;
}

/* Where nothing is made that nobody asked for: --check, and a session, which asks before each change. */
static bool only_looks(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    return runtime->options.check || fiber_context(runtime)->session;
}

/* Lua's own makes the file at once; else the name alone is given: opening it for writing passes the gate. */
static int guarded_tmpname(lua_State *L)
{
    if (!only_looks(L))
        return call_original(L);
    unsigned long long random = 0;
    char name[48];
    if (getrandom(&random, sizeof random, 0) < 0)
        return luaL_error(L, "unable to generate a unique filename");
    snprintf(name, sizeof name, "/tmp/lua_%016llx", random);
    lua_pushstring(L, name);
    return 1;
}

/* A file without a name: in memory where the disk is not to be touched. */
static int guarded_tmpfile(lua_State *L)
{
    if (!only_looks(L))
        return call_original(L);
    luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
    stream->closef = NULL; /* born closed */
    stream->f = memory_file(&(struct buffer){0});
    if (!stream->f)
        return luaL_fileresult(L, 0, NULL);
    stream->closef = close_stream;
    luaL_setmetatable(L, LUA_FILEHANDLE);
    return 1;
}

/* What a library of C does is not seen by the gate: loading it is the change. */
static int guarded_loadlib(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    lua_settop(L, 2);
    struct change change = {.kind = "package.loadlib", .target = lua_pushfstring(L, "%s %s", path, name)};
    if (!begin(L, &change)) {
        change_end(L, &change);
        lua_pushnil(L);
        lua_pushliteral(L, "not loaded: predicted or declined");
        lua_pushliteral(L, "open");
        return 3;
    }
    int results = call_original(L); /* its failure is a result */
    if (lua_isnil(L, -results)) {
        change.status = CHANGE_FAILED;
        change.error = lua_tostring(L, -results + 1);
    }
    change_end(L, &change);
    return results;
}

/* ---- debug ---- */

/* What a function of C keeps is its own: of those above it is the original, which knows no gate. */
static int guarded_upvalue(lua_State *L)
{
    return lua_iscfunction(L, 1) ? 0 : call_original(L);
}

/* os.exit: every fiber is cancelled, so that <close> runs everywhere, then the program ends with the status. */
static int guarded_exit(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    int status = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
    runtime->exit_asked = true;
    runtime->exit_status = status;
    fiber_cancel_all(runtime);
    fiber_cancel_due(runtime); /* this fiber's own is raised here, so that the waits of its <close> work */
    return failure_error(L, "cancelled", "os.exit", "the script ended the program");
}

/* ---- require ---- */

/* Who loads a module now: a fiber that asks for it meanwhile waits instead of loading it again. */
static int guarded_require(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    struct runtime *runtime = runtime_of(L);
    for (;;) {
        lua_pushvalue(L, 1);
        if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TNIL || lua_touserdata(L, -1) == runtime->current)
            break;
        lua_settop(L, 1);
        struct failure failure;
        enum wait_outcome outcome = fiber_sleep(runtime, 1);
        if (outcome != WAIT_TIMEOUT) {
            fiber_wait_failure(&failure, outcome, "require", 0);
            failure_raise(L, &failure);
        }
    }
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, runtime->current);
    lua_rawset(L, lua_upvalueindex(2));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    lua_rawset(L, lua_upvalueindex(2));
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L) - 1;
}

/* ---- the module ---- */

/* [-0, +0, m] Replaces table[name] by a function that has the original as its upvalue. */
static void replace(lua_State *L, const char *table, const char *name, lua_CFunction function)
{
    lua_getglobal(L, table);
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* The current folder is no place for modules: whoever owns it would decide what runs. */
static void restrict_paths(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "cpath");
    luaL_gsub(L, lua_tostring(L, -1), "./?.so", "");
    lua_setfield(L, -3, "cpath");
    lua_pushliteral(L, "");
    lua_setfield(L, -3, "path");
    lua_pop(L, 2);
}

static void guard_open(lua_State *L)
{
    replace(L, "os", "remove", guarded_remove);
    replace(L, "os", "rename", guarded_rename);
    replace(L, "os", "tmpname", guarded_tmpname);
    replace(L, "io", "tmpfile", guarded_tmpfile);
    replace(L, "package", "loadlib", guarded_loadlib);
    replace(L, "debug", "getupvalue", guarded_upvalue);
    replace(L, "debug", "setupvalue", guarded_upvalue);
    replace(L, "os", "execute", guarded_execute);
    replace(L, "os", "exit", guarded_exit);
    replace(L, "io", "open", guarded_open);
    replace(L, "io", "popen", guarded_popen);
    replace(L, "io", "output", guarded_output);
    replace(L, "coroutine", "resume", guarded_resume);
    replace(L, "coroutine", "wrap", guarded_wrap);
    lua_getglobal(L, "require");
    lua_newtable(L);
    lua_pushcclosure(L, guarded_require, 2);
    lua_setglobal(L, "require");
    restrict_paths(L);
    guard_open_streams(L);
}

static const struct binding_function functions[] = {
    {"pcall", guarded_pcall, "pcall(function, ...) -> true, results or false, error",
     "Lua's own, but for one thing: when the run is interrupted or the fiber cancelled, that error passes "
     "through.",
     "local ok, err = pcall(error, \"no\")\nassert(not ok and err == \"no\")"},
    {"xpcall", guarded_xpcall, "xpcall(function, handler, ...)",
     "Lua's own; a cancellation passes through as in pcall.",
     "assert(select(2, xpcall(error, function(e) return e .. \"!\" end, \"no\")) == \"no!\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module guard_module = {
    .name = "_G",
    .about = "Lua's own functions as runs need them: os.execute, os.remove, os.rename, io.popen, io.open for "
             "writing "
             "and package.loadlib pass the gate; io.write to the screen shows no secret; os.exit runs "
             "<close> first; "
             "require loads a module once.",
    .functions = functions,
    .open = guard_open,
};
