/* :run - a runbook inside of a session, its parameters asked for. And what else a session calls by name. */
#include "command.h"
#include "failure.h"
#include "fiber.h"
#include "repl.h"
#include "repl_commands.h"
#include "report.h"
#include "runbook.h"
#include "terminal.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* ---- values and reference ---- */

int repl_value(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    const char *text = lua_tostring(L, 2);
    const char *expression = lua_pushfstring(L, "return %s", *text == '=' ? text + 1 : text);
    if (luaL_loadbufferx(L, expression, strlen(expression), "=input", "t") != LUA_OK)
        return failure_error(L, "usage", "input", "%s", lua_tostring(L, -1));
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    lua_insert(L, -2);
    lua_setfield(L, -2, "_");
    lua_settop(L, 0);
    lua_pushlightuserdata(L, repl);
    return 0;
}

void repl_push_reference(struct repl *repl, lua_State *L)
{
    if (repl->reference == LUA_NOREF) {
        lua_pushcfunction(L, repl->runtime->reference);
        lua_call(L, 0, 1);
        repl->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->reference);
}

int repl_describe(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    const char *name = lua_tostring(L, 2);
    repl_push_reference(repl, L);
    if (!command_api_describe(L, lua_gettop(L), name, &repl->shown))
        return failure_advise(L, "usage", ":help", "moonbook api lists all there is",
                              "no module, function or endpoint is called \"%s\"", name);
    return 0;
}

/* ---- :run ---- */

struct runs {
    struct repl *repl;
    struct runbook runbook;
    struct runbook_setting *settings;
    size_t count;
};

static int free_runs(lua_State *L)
{
    struct runs *runs = lua_touserdata(L, 1);
    for (size_t i = 0; i < runs->count; i++) {
        free(runs->settings[i].name);
        free(runs->settings[i].value);
    }
    free(runs->settings);
    runbook_free(&runs->runbook);
    *runs = (struct runs){0};
    return 0;
}

static void set(struct runs *runs, const char *name, size_t length, const char *value, size_t value_length)
{
    struct buffer left = {0}, right = {0};
    buffer_append(&left, name, length);
    buffer_append(&right, value, value_length);
    runs->settings = reallocate(runs->settings, (runs->count + 1) * sizeof *runs->settings);
    runs->settings[runs->count++] =
        (struct runbook_setting){copy_text(buffer_text(&left)), copy_text(buffer_text(&right))};
    buffer_free(&left);
    buffer_wipe(&right);
}

/* "NAME=VALUE NAME="VALUE WITH BLANKS"": a value may stand in quotes. */
static void take_settings(lua_State *L, struct runs *runs, const char *text)
{
    while (*(text += strspn(text, " \t"))) {
        size_t name = strcspn(text, "= \t");
        if (text[name] != '=' || !name)
            failure_error(L, "usage", ":run", "parameters are NAME=VALUE, not \"%.*s\"", (int)name, text);
        const char *value = text + name + 1;
        char quote = *value == '"' || *value == '\'' ? *value : '\0';
        size_t length = quote ? strcspn(value + 1, (char[]){quote, '\0'}) : strcspn(value, " \t");
        set(runs, text, name, value + (quote != '\0'), length);
        text = value + (quote != '\0') + length;
        text += quote && *text == quote;
    }
}

static bool is_set(const struct runs *runs, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < runs->count; i++)
        if (strncmp(runs->settings[i].name, name, length) == 0 &&
            (!runs->settings[i].name[length] || runs->settings[i].name[length] == '.'))
            return true;
    return false;
}

/* [-0, +0, v] Asks for the parameter on top, a declaration of the header. An empty answer leaves it as it is. */
static void ask_for(lua_State *L, struct runs *runs)
{
    struct buffer question = {0}, answer = {0};
    struct failure failure;
    int top = lua_gettop(L);
    lua_geti(L, top, 1);
    lua_geti(L, top, 2);
    lua_getfield(L, top, "about");
    lua_getfield(L, top, "default");
    const char *name = lua_tostring(L, top + 1);
    if (name && !is_set(runs, name)) {
        buffer_format(&question, "%s (%s)", name, lua_tostring(L, top + 2));
        if (lua_isstring(L, top + 3))
            buffer_format(&question, ", %s", lua_tostring(L, top + 3));
        if (!lua_isnil(L, top + 4) && !lua_istable(L, top + 4) && !lua_isfunction(L, top + 4))
            buffer_format(&question, " [%s]", luaL_tolstring(L, top + 4, NULL));
        buffer_append_text(&question, ": ");
        bool asked = terminal_ask(runs->repl->runtime, buffer_text(&question), true, &answer, &failure);
        if (asked && answer.length)
            set(runs, name, strlen(name), answer.bytes, answer.length);
        buffer_free(&question);
        buffer_wipe(&answer);
        if (!asked)
            failure_raise(L, &failure);
    }
    lua_settop(L, top);
}

/* In a fiber: the session, "RUNBOOK NAME=VALUE ...". */
static int run_runbook(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    const char *text = lua_tostring(L, 2);
    size_t length = strcspn(text, " \t");
    struct failure failure;
    struct runs *runs = lua_newuserdatauv(L, sizeof *runs, 0);
    *runs = (struct runs){.repl = repl};
    if (luaL_newmetatable(L, "moonbook.runs")) {
        lua_pushcfunction(L, free_runs);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    const char *name = lua_pushlstring(L, text, length);
    take_settings(L, runs, text + length);
    if (!runbook_find(repl->runtime, name, &runs->runbook, &failure))
        return failure_raise(L, &failure);
    runbook_compile(L, &runs->runbook);
    runbook_load(L, &runs->runbook);
    int header = lua_gettop(L);
    lua_getfield(L, header, "params");
    for (lua_Integer i = 1; lua_istable(L, -1) && line_is_typed(repl->reader); i++, lua_pop(L, 1)) {
        if (lua_geti(L, header + 1, i) != LUA_TTABLE) {
            lua_pop(L, 1);
            break;
        }
        ask_for(L, runs);
    }
    lua_settop(L, header);
    runbook_given_parameters(L, header, runs->settings, runs->count, 0);
    runbook_parameters(L, header, header + 1);
    runbook_validate(L, header, header + 2);
    runbook_meet_needs(L, header, runs->runbook.name);
    lua_getfield(L, header, "run");
    lua_pushvalue(L, header + 2);
    lua_call(L, 1, 0);
    return 0;
}

void repl_run_runbook(struct repl *repl, const char *arguments)
{
    lua_pushcfunction(repl->L, run_runbook);
    lua_pushlightuserdata(repl->L, repl);
    lua_pushstring(repl->L, arguments);
    repl_call(repl, 2, NULL);
}
