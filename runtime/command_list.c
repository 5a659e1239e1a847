/* moonbook list, moonbook show: what runbooks there are and what they take. */
#include "buffer.h"
#include "command.h"
#include "json.h"
#include "report.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static int describe(lua_State *L)
{
    runbook_describe(L, lua_touserdata(L, 1));
    return 1;
}

/* [-0, +1, v] The header of a runbook, or the reason why it has none. Pushes the table, or a text. */
static bool push_header(lua_State *L, const struct runbook *runbook)
{
    lua_pushcfunction(L, describe);
    lua_pushlightuserdata(L, (void *)(uintptr_t)runbook);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        return true;
    luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
    return false;
}

/* ---- list ---- */

struct list_owner {
    struct runbook *items;
    size_t count;
};

static int list_owner_gc(lua_State *L)
{
    struct list_owner *owner = lua_touserdata(L, 1);
    for (size_t i = 0; i < owner->count; i++)
        runbook_free(&owner->items[i]);
    free(owner->items);
    *owner = (struct list_owner){0};
    return 0;
}

/* [-0, +1, m] */
static struct list_owner *push_list(lua_State *L)
{
    struct list_owner *owner = lua_newuserdatauv(L, sizeof *owner, 0);
    *owner = (struct list_owner){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, list_owner_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    owner->items = runbook_list(runtime_of(L), &owner->count);
    return owner;
}

/* The place that hides this one's runbook of the same name, or NULL. */
static const char *shadowed_by(const struct list_owner *list, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(list->items[i].name, list->items[index].name) == 0)
            return list->items[i].path;
    return NULL;
}

/* [-0, +1, v] {name=, about=, path=, origin=, shadowed_by=, error=} */
static void push_entry(lua_State *L, const struct list_owner *list, size_t index)
{
    const struct runbook *runbook = &list->items[index];
    lua_createtable(L, 0, 6);
    lua_pushstring(L, runbook->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, runbook->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, runbook->origin);
    lua_setfield(L, -2, "origin");
    const char *shadow = shadowed_by(list, index);
    if (shadow) {
        lua_pushstring(L, shadow);
        lua_setfield(L, -2, "shadowed_by");
    }
    if (push_header(L, runbook)) {
        lua_getfield(L, -1, "about");
        lua_setfield(L, -3, "about");
    } else {
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "error");
    }
    lua_pop(L, 1);
}

static const char *field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text; /* the table keeps it */
}

static void print_list(lua_State *L, int entries)
{
    size_t width = 8;
    lua_Integer count = luaL_len(L, entries);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, entries, i);
        size_t length = strlen(field(L, -1, "name"));
        width = length > width ? length : width;
        lua_pop(L, 1);
    }
    struct buffer out = {0};
    for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, entries, i);
        const char *error = field(L, -1, "error"), *shadow = field(L, -1, "shadowed_by");
        const char *origin = field(L, -1, "origin");
        buffer_format(&out, "%-*s  %s", (int)width, field(L, -1, "name"),
                      error ? error : field(L, -1, "about"));
        if (shadow)
            buffer_format(&out, "  (%s; not used: %s wins)", origin, shadow);
        else if (strcmp(origin, "shipped") != 0)
            buffer_format(&out, "  (%s)", origin);
        buffer_append_text(&out, "\n");
        lua_pop(L, 1);
    }
    if (!count)
        buffer_append_text(&out, "no runbooks were found; $MOONBOOK_PATH names folders to look in\n");
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
}

static int list(lua_State *L)
{
    struct list_owner *owner = push_list(L);
    lua_createtable(L, (int)owner->count, 0);
    int entries = lua_gettop(L);
    json_mark_array(L, entries);
    for (size_t i = 0; i < owner->count; i++) {
        push_entry(L, owner, i);
        lua_rawseti(L, entries, (lua_Integer)i + 1);
    }
    if (!runtime_of(L)->options.json) {
        print_list(L, entries);
        return 0;
    }
    json_encode(L, entries);
    struct buffer out = {0};
    buffer_format(&out, "%s\n", lua_tostring(L, -1));
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
    return 0;
}

static int execute_list(struct runtime *runtime, const struct command_line *line)
{
    return command_drive(runtime, list, line);
}

const struct command command_list = {
    .name = "list",
    .arguments = "",
    .about = "runbooks with their one-line description",
    .takes = TAKES_JSON,
    .execute = execute_list,
};

/* ---- show ---- */

/* [-0, +1, v] A default as people read it. */
static void push_default_text(lua_State *L, int parameter)
{
    int type = lua_getfield(L, parameter, "default");
    if (type == LUA_TNIL) {
        lua_getfield(L, parameter, "required");
        lua_pushstring(L, lua_toboolean(L, -1) ? "required" : "");
        lua_remove(L, -2);
    } else if (type == LUA_TFUNCTION) {
        lua_pushliteral(L, "default: asked of the host");
    } else if (type == LUA_TTABLE) {
        lua_pushliteral(L, "default: ");
        json_encode(L, -2);
        lua_concat(L, 2);
    } else {
        lua_pushliteral(L, "default: ");
        luaL_tolstring(L, -2, NULL);
        lua_concat(L, 2);
    }
    lua_remove(L, -2);
}

/* The versions that the servers must be, in the order of the names. */
static void print_needs(lua_State *L, int header, struct buffer *out)
{
    bool any = false;
    if (lua_getfield(L, header, "needs") == LUA_TTABLE)
        for (const struct product *each = runtime_of(L)->products; each && each->name; each++) {
            if (lua_getfield(L, -1, each->name) == LUA_TSTRING) {
                buffer_format(out, "%s  %s %s\n", any ? "" : "needs:\n", each->title, lua_tostring(L, -1));
                any = true;
            }
            lua_pop(L, 1);
        }
    if (any)
        buffer_append_text(out, "\n");
    lua_pop(L, 1);
}

static void print_show(lua_State *L, const struct runbook *runbook, int header)
{
    struct buffer out = {0};
    buffer_format(&out, "%s - %s\n%s (%s)\n\n", runbook->name, field(L, header, "about"), runbook->path,
                  runbook->origin);
    print_needs(L, header, &out);
    buffer_append_text(&out, "parameters (--set NAME=VALUE):\n");
    lua_getfield(L, header, "params");
    lua_Integer count = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, -1, i);
        int parameter = lua_gettop(L);
        lua_geti(L, parameter, 1);
        lua_geti(L, parameter, 2);
        push_default_text(L, parameter);
        const char *about = field(L, parameter, "about"), *given = lua_tostring(L, -1);
        buffer_format(&out, "  %s  %s%s%s\n", luaL_checkstring(L, parameter + 1),
                      luaL_checkstring(L, parameter + 2), *given ? ", " : "", given);
        if (about)
            buffer_format(&out, "      %s\n", about);
        lua_settop(L, parameter - 1);
    }
    if (!count)
        buffer_append_text(&out, "  none\n");
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
}

/* [-0, +1, v] {name=, about=, path=, needs={PRODUCT=}, params=[{name=, type=, default=, about=, required=}]} */
static void push_show(lua_State *L, const struct runbook *runbook, int header)
{
    lua_createtable(L, 0, 6);
    lua_pushstring(L, runbook->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, runbook->path);
    lua_setfield(L, -2, "path");
    lua_getfield(L, header, "about");
    lua_setfield(L, -2, "about");
    lua_getfield(L, header, "needs");
    lua_setfield(L, -2, "needs");
    lua_newtable(L);
    json_mark_array(L, -1);
    lua_getfield(L, header, "params");
    lua_Integer count = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    for (lua_Integer i = 1; i <= count; i++) {
        static const char *const fields[] = {"about", "default", "required"};
        lua_geti(L, -1, i);
        lua_createtable(L, 0, 5);
        lua_geti(L, -2, 1);
        lua_setfield(L, -2, "name");
        lua_geti(L, -2, 2);
        lua_setfield(L, -2, "type");
        for (size_t j = 0; j < sizeof fields / sizeof *fields; j++) {
            if (lua_getfield(L, -2, fields[j]) == LUA_TFUNCTION) {
                lua_pop(L, 1);
                lua_pushliteral(L, "asked of the host");
            }
            lua_setfield(L, -2, fields[j]);
        }
        lua_rawseti(L, -4, i);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_setfield(L, -2, "params");
}

static int runbook_gc(lua_State *L)
{
    runbook_free(lua_touserdata(L, 1));
    return 0;
}

static int show(lua_State *L)
{
    const struct command_line *line = lua_touserdata(L, 1);
    struct failure failure;
    struct runbook *runbook = lua_newuserdatauv(L, sizeof *runbook, 0);
    *runbook = (struct runbook){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, runbook_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    if (!runbook_find(runtime_of(L), line->words[0], runbook, &failure))
        return failure_raise(L, &failure);
    runbook_describe(L, runbook);
    int header = lua_gettop(L);
    if (!runtime_of(L)->options.json) {
        print_show(L, runbook, header);
        return 0;
    }
    push_show(L, runbook, header);
    json_encode(L, -1);
    struct buffer out = {0};
    buffer_format(&out, "%s\n", lua_tostring(L, -1));
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
    return 0;
}

static int execute_show(struct runtime *runtime, const struct command_line *line)
{
    return command_drive(runtime, show, line);
}

const struct command command_show = {
    .name = "show",
    .arguments = "RUNBOOK",
    .about = "what a runbook does, its parameters, types and defaults",
    .takes = TAKES_JSON,
    .least_words = 1,
    .most_words = 1,
    .execute = execute_show,
};
