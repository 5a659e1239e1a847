/* moonbook api: the reference of every module, function and endpoint, from what the bindings registered. */
#include "buffer.h"
#include "command.h"
#include "failure.h"
#include "json.h"
#include "report.h"

#include <lauxlib.h>
#include <string.h>

/* The text of a field of the entry at `index`, or "". */
static const char *field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text ? text : ""; /* the table keeps it */
}

static bool is_kind(lua_State *L, int index, const char *kind)
{
    return strcmp(field(L, index, "kind"), kind) == 0;
}

/* Is `name` the wanted one, or below it: consul.kv has consul.kv.read_key? */
static bool is_below(const char *name, const char *wanted)
{
    size_t length = strlen(wanted);
    return strncmp(name, wanted, length) == 0 && (!name[length] || name[length] == '.');
}

static bool is_wanted(lua_State *L, int entry, const char *wanted, bool loosely)
{
    if (!wanted)
        return true;
    const char *name = field(L, entry, "name"), *shorter = field(L, entry, "short");
    if (loosely)
        return strcasestr(name, wanted) || strcasestr(field(L, entry, "doc"), wanted) ||
               strcasestr(field(L, entry, "path"), wanted);
    return is_below(name, wanted) || (*shorter && strcmp(shorter, wanted) == 0);
}

/* [-0, +1, m] The entries of the list at `all` that are wanted. */
static lua_Integer push_wanted(lua_State *L, int all, const char *wanted, bool loosely)
{
    lua_Integer count = 0, total = luaL_len(L, all);
    lua_newtable(L);
    json_mark_array(L, -1);
    for (lua_Integer i = 1; i <= total; i++) {
        lua_rawgeti(L, all, i);
        if (is_wanted(L, lua_gettop(L), wanted, loosely))
            lua_rawseti(L, -2, ++count);
        else
            lua_pop(L, 1);
    }
    return count;
}

/* One line, for lists. */
static void print_line(lua_State *L, int entry, struct buffer *out)
{
    if (is_kind(L, entry, "module"))
        buffer_format(out, "\n%s: %s\n", field(L, entry, "name"), field(L, entry, "about"));
    else if (is_kind(L, entry, "endpoint"))
        buffer_format(out, "  %-50s %s\n", field(L, entry, "name"), field(L, entry, "doc"));
    else if (is_kind(L, entry, "thing"))
        buffer_format(out, "  %-50s %s\n", field(L, entry, "usage"), field(L, entry, "about"));
    else
        buffer_format(out, "  %s\n", field(L, entry, "usage"));
}

/* Everything about one. */
static void print_whole(lua_State *L, int entry, struct buffer *out)
{
    static const char *const endpoint[] = {"query",  "body",  "mount",   "returns",
                                           "effect", "since", "answers", "secret"};
    if (is_kind(L, entry, "module")) {
        print_line(L, entry, out);
        return;
    }
    buffer_format(out, "%s\n", field(L, entry, "usage"));
    if (is_kind(L, entry, "endpoint")) {
        buffer_format(out, "    %s\n    %s %s\n", field(L, entry, "doc"), field(L, entry, "method"),
                      field(L, entry, "path"));
        for (size_t i = 0; i < sizeof endpoint / sizeof *endpoint; i++)
            if (*field(L, entry, endpoint[i]))
                buffer_format(out, "    %-8s %s\n", endpoint[i], field(L, entry, endpoint[i]));
    } else
        buffer_format(out, "    %s\n", field(L, entry, "about"));
    if (*field(L, entry, "example"))
        buffer_format(out, "    example: %s\n", field(L, entry, "example"));
}

/* More than these are listed, a line each. */
#define MOST_WHOLE 8

static void add_entries(lua_State *L, int entries, lua_Integer count, struct buffer *out)
{
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, entries, i);
        if (count > MOST_WHOLE)
            print_line(L, lua_gettop(L), out);
        else
            print_whole(L, lua_gettop(L), out);
        lua_pop(L, 1);
    }
}

static void print_entries(lua_State *L, int entries, lua_Integer count)
{
    struct buffer out = {0};
    add_entries(L, entries, count, &out);
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
}

bool command_api_describe(lua_State *L, int all, const char *wanted, struct buffer *out)
{
    int top = lua_gettop(L);
    lua_Integer count = push_wanted(L, all, wanted, false);
    if (!count)
        count = push_wanted(L, all, wanted, true);
    add_entries(L, lua_gettop(L), count, out);
    lua_settop(L, top);
    return count > 0;
}

static int api(lua_State *L)
{
    const struct command_line *line = lua_touserdata(L, 1);
    const char *wanted = line->word_count ? line->words[0] : NULL;
    struct runtime *runtime = runtime_of(L);
    lua_pushcfunction(L, runtime->reference);
    lua_call(L, 0, 1);
    int all = lua_gettop(L);
    lua_Integer count = push_wanted(L, all, wanted, false);
    if (!count && wanted)
        count = push_wanted(L, all, wanted, true);
    if (!count)
        return failure_advise(L, "usage", "moonbook api", "moonbook api lists all there is",
                              "no module, function or endpoint is called \"%s\"", wanted);
    if (!runtime->options.json) {
        print_entries(L, lua_gettop(L), count);
        return 0;
    }
    struct buffer out = {0};
    json_encode(L, lua_gettop(L));
    buffer_format(&out, "%s\n", lua_tostring(L, -1));
    report_output(runtime, buffer_text(&out), out.length);
    buffer_free(&out);
    return 0;
}

static int execute_api(struct runtime *runtime, const struct command_line *line)
{
    return command_drive(runtime, api, line);
}

const struct command command_api = {
    .name = "api",
    .arguments = "[NAME]",
    .about = "reference of the Lua modules, functions and endpoints",
    .takes = TAKES_JSON,
    .most_words = 1,
    .execute = execute_api,
};
