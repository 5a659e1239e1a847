/* Lua functions of a run itself: step, and the talk functions print, log, warn, confirm, ask, columns. */
#include "binding.h"
#include "fiber.h"
#include "repl_step.h"
#include "report.h"
#include "secret.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

/* ---- step ---- */

static const char *status_of(lua_State *L, int status)
{
    if (status == LUA_OK)
        return "ok";
    return failure_is(L, -1, "cancelled") ? "interrupted" : "failed";
}

/* [-0, +n|1, -] Calls the step's function, which is at 2. Under --repl-on-error an operator may have it done again, or left out. */
static int call_step(lua_State *L, int *results, bool *skipped)
{
    struct runtime *runtime = runtime_of(L);
    int base = lua_gettop(L);
    unsigned shields = fiber_shields(runtime);
    enum repl_verdict *verdict = runtime->options.repl_on_error ? repl_push_handler(L) : NULL;
    int handler = verdict ? lua_gettop(L) : 0, status;
    do {
        if (verdict)
            *verdict = REPL_NONE;
        lua_settop(L, base + (verdict ? 2 : 0));
        lua_pushvalue(L, 2);
        status = lua_pcall(L, 0, LUA_MULTRET, handler);
        fiber_restore_shields(runtime, shields);
    } while (verdict && *verdict == REPL_RETRY);
    *skipped = status != LUA_OK && verdict && *verdict == REPL_SKIP;
    if (*skipped) {
        struct failure failure;
        failure_from_lua(L, -1, &failure);
        report_warning(L, "step \"%s\" failed and was skipped: %s", fiber_context(runtime)->step,
                       failure.message);
        lua_settop(L, base);
    }
    *results = lua_gettop(L) - base - (verdict && !*skipped ? 2 : 0);
    return *skipped ? LUA_OK : status;
}

/* The name is kept on the Lua stack while the step runs: events point to it. */
static int step(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    const char *name = luaL_checkstring(L, 1);
    int results;
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    struct fiber_context *context = fiber_context(runtime);
    const char *outer = context->step;
    if (outer)
        name = lua_pushfstring(L, "%s: %s", outer, name);
    else
        lua_pushvalue(L, 1);
    const char *host = host_current(runtime)->name;
    uint64_t started = runtime_now(runtime);
    report_step_start(runtime, host, name);
    context->step = name;
    bool skipped;
    int status = call_step(L, &results, &skipped);
    if (status != LUA_OK)
        failure_adopt(L); /* while the context still says which step it was */
    fiber_context(runtime)->step = outer;
    report_step_end(runtime, host, name, skipped ? "skipped" : status_of(L, status),
                    runtime_now(runtime) - started);
    if (status != LUA_OK)
        return lua_error(L);
    return results;
}

/* ---- talk ---- */

/* [-0, +1, e] The arguments from `first` on, joined by tabs as print does. */
static void push_joined(lua_State *L, int first)
{
    int last = lua_gettop(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = first; i <= last; i++) {
        if (i > first)
            luaL_addchar(&text, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
}

static int talk(lua_State *L, bool is_print)
{
    size_t length;
    push_joined(L, 1);
    const char *text = lua_tolstring(L, -1, &length);
    report_log(runtime_of(L), text, length, is_print);
    return 0;
}

static int talk_print(lua_State *L)
{
    return talk(L, true);
}

static int talk_log(lua_State *L)
{
    return talk(L, false);
}

static int talk_warn(lua_State *L)
{
    push_joined(L, 1);
    report_warning(L, "%s", lua_tostring(L, -1));
    return 0;
}

/* [-0, +1, v] Asks; pushes the answer. `elsewhere`: what to do where there is no terminal. */
static void push_answer(lua_State *L, const char *question, const char *elsewhere)
{
    struct failure failure;
    struct buffer answer = {0};
    bool done = terminal_ask(runtime_of(L), question, true, &answer, &failure);
    if (done)
        lua_pushlstring(L, buffer_text(&answer), answer.length);
    buffer_free(&answer);
    if (!done && strcmp(failure.kind, "usage") == 0)
        failure_hint(&failure, "%s", elsewhere);
    if (!done)
        failure_raise(L, &failure);
}

static int talk_confirm(lua_State *L)
{
    luaL_checkstring(L, 1);
    if (runtime_of(L)->options.yes || runtime_of(L)->options.check) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushfstring(L, "%s [y/N] ", lua_tostring(L, 1));
    push_answer(L, lua_tostring(L, -1), "run it from a terminal, or answer every question with yes by --yes");
    const char *answer = lua_tostring(L, -1);
    lua_pushboolean(L, strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0);
    return 1;
}

static int talk_ask(lua_State *L)
{
    luaL_checkstring(L, 1);
    bool has_default = lua_type(L, 2) == LUA_TSTRING;
    if (has_default)
        lua_pushfstring(L, "%s [%s] ", lua_tostring(L, 1), lua_tostring(L, 2));
    else
        lua_pushfstring(L, "%s ", lua_tostring(L, 1));
    push_answer(L, lua_tostring(L, -1), "run it from a terminal");
    if (has_default && lua_rawlen(L, -1) == 0)
        lua_pushvalue(L, 2);
    return 1;
}

static int checking(lua_State *L)
{
    lua_pushboolean(L, runtime_of(L)->options.check);
    return 1;
}

/* ---- columns ---- */

/* Width in columns of UTF-8 text: continuation bytes take none. */
static size_t shown_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* [-0, +1, e] rows[row][column] as text; "" for nil. */
static const char *push_cell(lua_State *L, int rows, lua_Integer row, lua_Integer column)
{
    lua_geti(L, rows, row);
    lua_geti(L, -1, column);
    if (lua_isnil(L, -1))
        lua_pushliteral(L, "");
    else
        luaL_tolstring(L, -1, NULL);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return lua_tostring(L, -1);
}

static int talk_columns(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    enum { MOST_COLUMNS = 64 };
    size_t widths[MOST_COLUMNS] = {0};
    lua_Integer rows = luaL_len(L, 1), columns = 0;
    for (lua_Integer row = 1; row <= rows; row++) {
        lua_geti(L, 1, row);
        luaL_argcheck(L, lua_istable(L, -1), 1, "each row is a table");
        lua_Integer cells = luaL_len(L, -1);
        lua_pop(L, 1);
        luaL_argcheck(L, cells <= MOST_COLUMNS, 1, "more than 64 columns");
        columns = cells > columns ? cells : columns;
        for (lua_Integer i = 1; i <= cells; i++) {
            size_t width = shown_width(push_cell(L, 1, row, i));
            widths[i - 1] = width > widths[i - 1] ? width : widths[i - 1];
            lua_pop(L, 1);
        }
    }
    for (lua_Integer row = 1; row <= rows; row++) {
        struct buffer line = {0};
        for (lua_Integer i = 1; i <= columns; i++) {
            const char *cell = push_cell(L, 1, row, i);
            buffer_append_text(&line, cell);
            for (size_t gap = shown_width(cell); i < columns && gap < widths[i - 1] + 2; gap++)
                buffer_append_text(&line, " ");
            lua_pop(L, 1);
        }
        while (line.length && line.bytes[line.length - 1] == ' ')
            line.length--;
        report_log(runtime_of(L), buffer_text(&line), line.length, true);
        buffer_free(&line);
    }
    return 0;
}

static const struct binding_function functions[] = {
    {"step", step, "step(name, function) -> what the function returns",
     "Names a part of the run: its line on the screen, the `step` of events and errors. Steps may be nested. "
     "An "
     "error inside ends the step as failed and goes on up.",
     "assert(step(\"add\", function() return 1 + 1 end) == 2)"},
    {"print", talk_print, "print(...)",
     "Writes data to standard output; a log event under --json. Secrets show as <secret>, and on a terminal "
     "what "
     "would steer it as ?: io.write writes it as it is.",
     "print(1, \"a\")"},
    {"log", talk_log, "log(...)", "Says something to the person (standard error); a log event under --json.",
     "log(\"three nodes are left\")"},
    {"warn", talk_warn, "warn(...)", "A warning: shown, and an event.", "warn(\"two leaders\")"},
    {"confirm", talk_confirm, "confirm(question) -> boolean",
     "Asks yes or no on the terminal; --yes and --check answer yes. Raises \"usage\" where there is no "
     "terminal.",
     NULL},
    {"ask", talk_ask, "ask(question, default) -> text",
     "Asks for a line of text on the terminal. Raises \"usage\" where there is none.", NULL},
    {"checking", checking, "checking() -> boolean",
     "Is this a run under --check? For what is shown at the end; changes and reads need not ask.",
     "if not checking() then print(\"done\") end"},
    {"columns", talk_columns, "columns{{\"name\", \"status\"}, {\"c1\", \"ready\"}}",
     "Prints rows as a table with aligned columns.", "columns{{\"name\", \"status\"}, {\"c1\", \"ready\"}}"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module step_module = {
    .name = "_G",
    .about = "Functions of a run itself.",
    .functions = functions,
};
