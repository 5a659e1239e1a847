/* The loop of a session: read, compile, run in a fiber, show. */
#include "repl.h"

#include "failure.h"
#include "fiber.h"
#include "foreground.h"
#include "host.h"
#include "hosts.h"
#include "redact.h"
#include "repl_show.h"
#include "report.h"
#include "terminal.h"
#include "utf8.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- output ---- */

static size_t count_lines(const struct buffer *text)
{
    size_t lines = 0;
    for (const char *at = text->bytes; at && (at = strchr(at, '\n')); at++)
        lines++;
    return lines;
}

void repl_print(struct repl *repl, struct buffer *text)
{
    unsigned columns, rows;
    terminal_size(&columns, &rows);
    redact(repl->runtime->redactor, text);
    utf8_disarm(text->bytes, text->length);
    bool paged =
        line_is_edited(repl->reader) && count_lines(text) >= rows && foreground_page(repl->runtime, text);
    if (!paged) {
        fwrite(buffer_text(text), 1, text->length, stdout);
        fflush(stdout);
    }
    repl->runtime->interrupts = 0; /* what was typed in the pager was for it */
    buffer_clear(text);
}

/* ---- calls ---- */

/* [-1, +1, -] The message handler of an input: keeps where it happened, for :trace. Upvalue 1: the session. */
static int keep_trace(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, lua_upvalueindex(1));
    luaL_traceback(L, L, NULL, 1);
    buffer_clear(&repl->error);
    buffer_append_text(&repl->error, lua_tostring(L, -1));
    lua_pop(L, 1);
    return 1;
}

/* In the fiber of an input: the session, the function, its arguments. */
static int guard_call(lua_State *L)
{
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, keep_trace, 1);
    lua_replace(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1);
    return status == LUA_OK ? lua_gettop(L) - 1 : lua_error(L);
}

/* [-1, +0, -] */
static void say_error(struct repl *repl)
{
    struct failure failure;
    struct runtime *runtime = repl->runtime;
    failure_from_lua(repl->L, -1, &failure);
    lua_pop(repl->L, 1);
    repl->interrupted = strcmp(failure.kind, "cancelled") == 0 && runtime->interrupts;
    if (repl->interrupted)
        report_say(runtime, runtime->interrupts > 1 ? "interrupted; what was under way was cut short\n"
                                                    : "interrupted\n");
    else
        report_error(runtime, &failure);
    repl->failed = true;
}

bool repl_call(struct repl *repl, int arguments, int *results)
{
    lua_State *L = repl->L;
    struct runtime *runtime = repl->runtime;
    struct fiber_context *context = fiber_context(runtime), outer = *context;
    lua_pushcfunction(L, guard_call);
    lua_pushlightuserdata(L, repl);
    lua_rotate(L, -(arguments + 3), 2);
    runtime->interrupts = 0;
    *context = repl->context;
    context->input = ++repl->signals.input;
    struct fiber *call = fiber_start(L, arguments + 2);
    *fiber_context(runtime) = outer;
    repl->signals.call = call;
    bool done = fiber_join(L, call, results);
    repl->signals.call = NULL;
    if (!done)
        say_error(repl);
    runtime->interrupts = 0;
    return done;
}

/* ---- compiling ---- */

/* [-0, +0, -] Does the message on top say that the text only ends too early? */
static bool is_incomplete(lua_State *L)
{
    static const char end[] = "<eof>";
    size_t length;
    const char *message = lua_tolstring(L, -1, &length);
    return length >= sizeof end - 1 && strcmp(message + length - (sizeof end - 1), end) == 0;
}

bool repl_compile(struct repl *repl, const char *text, bool *incomplete)
{
    lua_State *L = repl->L;
    const char *expression = lua_pushfstring(L, "return %s", *text == '=' ? text + 1 : text);
    int status = luaL_loadbufferx(L, expression, strlen(expression), "=input", "t");
    if (status != LUA_OK && *text != '=') {
        lua_pop(L, 1);
        status = luaL_loadbufferx(L, text, strlen(text), "=input", "t");
    }
    lua_remove(L, -2);
    *incomplete = status == LUA_ERRSYNTAX && is_incomplete(L);
    if (status == LUA_OK) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
        lua_setupvalue(L, -2, 1);
        return true;
    }
    if (*incomplete)
        lua_pop(L, 1);
    else
        say_error(repl);
    return false;
}

/* ---- running an input ---- */

static const char own_function; /* registry key: the function of the input that runs */

/* At the end of the input's own function its locals become the session's. */
static void keep_locals(lua_State *L, lua_Debug *activation)
{
    const char *name;
    lua_getinfo(L, "f", activation);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &own_function);
    bool own = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    if (!own || !lua_getupvalue(L, -1, 1)) {
        lua_pop(L, 1);
        return;
    }
    for (int i = 1; (name = lua_getlocal(L, activation, i)); i++) {
        if (*name == '(')
            lua_pop(L, 1);
        else
            lua_setfield(L, -2, name);
    }
    lua_pop(L, 2);
}

/* Something that a generic `for` would go through: an iterator with what the loop has to close. */
static bool is_stream(lua_State *L, int first)
{
    return lua_gettop(L) - first == 3 && lua_isfunction(L, first) &&
           luaL_getmetafield(L, first + 3, "__close") != LUA_TNIL;
}

/* [-0, +0, v] As `for ... in` over what is from `first` on: each is shown as it comes. */
static void show_stream(lua_State *L, struct repl *repl, int first)
{
    unsigned columns, rows;
    lua_settop(L, first + 3);
    lua_toclose(L, first + 3);
    for (;;) {
        struct buffer text = {0};
        lua_pushvalue(L, first);
        lua_pushvalue(L, first + 1);
        lua_pushvalue(L, first + 2);
        lua_call(L, 2, 1);
        if (lua_isnil(L, -1))
            break;
        terminal_size(&columns, &rows);
        show_value(L, -1, columns, &text);
        if (text.length)
            text.length--;
        report_log(repl->runtime, buffer_text(&text), text.length, true);
        buffer_free(&text);
        lua_replace(L, first + 2);
    }
    lua_closeslot(L, first + 3);
    lua_settop(L, first - 1);
}

/* In the fiber of the input: the session, the compiled text. Leaves what it gave. */
static int run_input(lua_State *L)
{
    enum { SESSION = 1, RESULTS };
    struct repl *repl = lua_touserdata(L, SESSION);
    unsigned columns, rows;
    terminal_size(&columns, &rows);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &own_function);
    if (strstr(repl->last, "local"))
        lua_sethook(L, keep_locals, LUA_MASKRET, 0);
    lua_call(L, 0, LUA_MULTRET);
    lua_sethook(L, NULL, 0, 0);
    if (is_stream(L, RESULTS)) {
        show_stream(L, repl, RESULTS);
        return 0;
    }
    for (int i = RESULTS; i <= lua_gettop(L); i++) {
        /* What comes beside an answer (index, status, headers) would bury it. */
        if (i > RESULTS && lua_istable(L, RESULTS) && lua_istable(L, i))
            continue;
        if (repl->whole)
            show_whole(L, i, &repl->shown);
        else
            show_value(L, i, columns, &repl->shown);
    }
    return lua_gettop(L) - 1;
}

static void keep_input(struct repl *repl, const char *text, bool table)
{
    const struct host *host = repl->context.host;
    repl->inputs = reallocate(repl->inputs, (repl->input_count + 1) * sizeof *repl->inputs);
    repl->inputs[repl->input_count++] = (struct repl_input){
        copy_text(text), host && host != repl->runtime->local ? copy_text(host->name) : NULL, table};
}

bool repl_evaluate(struct repl *repl, const char *text)
{
    lua_State *L = repl->L;
    int top = lua_gettop(L), results = 0;
    bool incomplete = false;
    if (repl->last != text) {
        free(repl->last);
        repl->last = copy_text(text);
    }
    lua_pushcfunction(L, run_input);
    lua_pushlightuserdata(L, repl);
    unsigned declined = repl->runtime->counts.declined;
    bool done = repl_compile(repl, text, &incomplete) && repl_call(repl, 2, &results);
    bool wanted = repl->runtime->counts.declined == declined;
    if (done && results) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
        lua_pushvalue(L, top + 1);
        lua_setfield(L, -2, "_");
    }
    if (done && wanted)
        keep_input(repl, text, results && lua_istable(L, top + 1));
    repl->declined += done && !wanted; /* a runbook of it would make the change */
    if (!done)
        buffer_clear(&repl->shown);
    if (incomplete)
        report_say(repl->runtime, "the input ends before it is complete\n");
    lua_settop(L, top);
    repl_print(repl, &repl->shown);
    return done;
}

/* ---- the loop ---- */

/* "c1 (check)> ". */
static void make_prompt(const struct repl *repl, bool more, char *out, size_t size)
{
    const struct host *host = repl->context.host;
    bool check = repl->runtime->options.check;
    snprintf(out, size, "%s%s%s ", host && host != repl->runtime->local ? host->name : "moonbook",
             check ? " (check)" : "",
             more              ? "..."
             : repl->failed_at ? " (failed)>"
                               : ">");
}

/* Is the text, so far, a chunk that only lacks its end? Says nothing. */
static bool wants_more(struct repl *repl, const char *text)
{
    lua_State *L = repl->L;
    bool incomplete = false;
    if (repl_is_command(text))
        return false;
    const char *expression = lua_pushfstring(L, "return %s", *text == '=' ? text + 1 : text);
    int status = luaL_loadbufferx(L, expression, strlen(expression), "=input", "t");
    if (status != LUA_OK) {
        bool expected = *text == '=' && is_incomplete(L);
        lua_pop(L, 1);
        status = luaL_loadbufferx(L, text, strlen(text), "=input", "t");
        incomplete = expected || (status != LUA_OK && *text != '=' && is_incomplete(L));
    }
    lua_pop(L, 2);
    return incomplete;
}

/* A zero byte ends a text for what reads it: the line would be another one. A person types it again; what else a pipe has would
 * run without what it belongs to. */
static enum line_outcome refuse_zero(struct repl *repl)
{
    bool typed = line_is_typed(repl->reader);
    report_say(repl->runtime, typed ? "there is a zero byte in that line: it is not run\n"
                                    : "there is a zero byte in the input: nothing from there on is run\n");
    repl->failed = true;
    return typed ? LINE_INTERRUPTED : LINE_END;
}

/* One input, of one or more lines. */
static enum line_outcome read_input(struct repl *repl, struct buffer *text)
{
    char prompt[160];
    struct buffer line = {0};
    enum line_outcome outcome;
    buffer_clear(text);
    do {
        make_prompt(repl, text->length != 0, prompt, sizeof prompt);
        outcome = line_read(repl->reader, prompt, &line);
        if (outcome != LINE_READ)
            break;
        if (line.length && memchr(line.bytes, '\0', line.length)) {
            buffer_clear(text);
            outcome = refuse_zero(repl);
            break;
        }
        if (text->length)
            buffer_append_text(text, "\n");
        buffer_append(text, buffer_text(&line), line.length);
    } while (wants_more(repl, buffer_text(text)));
    buffer_wipe(&line);
    if (outcome == LINE_END && text->length)
        outcome = LINE_READ; /* a pipe that ends inside: said by the compiler */
    return outcome;
}

static bool is_blank(const char *text)
{
    return !text[strspn(text, " \t\n")];
}

void repl_run(lua_State *L, struct repl *repl)
{
    struct runtime *runtime = repl->runtime;
    struct buffer text = {0};
    int top = lua_gettop(L);
    interrupt_begin_session(runtime, &repl->signals);
    while (!repl->ended && !repl->signals.ended && !runtime->exit_asked) {
        runtime->interrupts = 0;
        enum line_outcome outcome = read_input(repl, &text);
        repl_forget_look(repl);
        if (outcome == LINE_END)
            break;
        if (outcome == LINE_INTERRUPTED || is_blank(buffer_text(&text)))
            continue;
        repl_history_add(repl, buffer_text(&text));
        if (repl_is_command(buffer_text(&text)))
            repl_command(repl, buffer_text(&text));
        else
            repl_evaluate(repl, buffer_text(&text));
        lua_settop(L, top);
        repl_tasks_reap(repl);
        if (!repl->tasks && !repl->failed_at)
            hosts_unlock(runtime);
    }
    buffer_wipe(&text);
    interrupt_end_session(runtime);
}

/* [-0, +1, m] What inputs see: what the session made itself, else the globals. */
static void push_environment(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushglobaltable(L);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

void repl_init(struct repl *repl, lua_State *L)
{
    *repl = (struct repl){.runtime = runtime_of(L), .L = L, .reference = LUA_NOREF};
    repl->context = *fiber_context(repl->runtime);
    repl->context.session = true;
    repl->outer_trusted = repl->runtime->options.trusted;
    repl->signals.reader = repl->runtime->current;
    push_environment(L);
    repl_tasks_open(repl, lua_gettop(L));
    repl->environment = luaL_ref(L, LUA_REGISTRYINDEX);
    bool is_new;
    repl->reader = line_reader_of(repl->runtime, repl_complete, repl, &is_new);
    if (line_is_typed(repl->reader))
        repl_history_open(repl, is_new);
}

void repl_clear(struct repl *repl)
{
    repl_forget_look(repl);
    repl_tasks_end(repl);
    repl->runtime->options.trusted = repl->outer_trusted; /* "all this session" ends with it */
    line_reader_of(repl->runtime, NULL, NULL, &(bool){false});
    luaL_unref(repl->L, LUA_REGISTRYINDEX, repl->environment);
    luaL_unref(repl->L, LUA_REGISTRYINDEX, repl->reference);
    for (size_t i = 0; i < repl->input_count; i++) {
        free(repl->inputs[i].text);
        free(repl->inputs[i].host);
    }
    free(repl->inputs);
    free(repl->history);
    free(repl->last);
    buffer_free(&repl->error);
    buffer_free(&repl->shown);
}
