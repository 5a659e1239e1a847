/* moonbook history: the runs there were, and what one of them changed. Reads the journals. */
#include "buffer.h"
#include "command.h"
#include "host.h"
#include "journal.h"
#include "json.h"
#include "quantity.h"
#include "report.h"

#include <dirent.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* [-0, +1, v] The events of a run's journal as an array. The last line of a killed run may be cut off: it is left out. */
static bool push_events(lua_State *L, const char *run)
{
    struct failure failure;
    struct buffer path = {0}, text = {0};
    journal_folder(runtime_of(L), &path);
    buffer_format(&path, "/%s/journal.jsonl", run);
    bool read = host_read(runtime_of(L)->local, path.bytes, &text, &failure);
    buffer_free(&path);
    if (read)
        lua_pushlstring(L, buffer_text(&text), text.length);
    buffer_free(&text);
    if (!read)
        return false;
    lua_newtable(L);
    lua_Integer count = 0;
    const char *line = lua_tostring(L, -2);
    for (const char *end; (end = strchr(line, '\n')); line = end + 1) {
        char error[128];
        if (json_decode(L, line, (size_t)(end - line), error, sizeof error))
            lua_rawseti(L, -2, ++count);
    }
    lua_remove(L, -2);
    return true;
}

static bool is_event(lua_State *L, const char *name)
{
    lua_getfield(L, -1, "event");
    bool is = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), name) == 0;
    lua_pop(L, 1);
    return is;
}

static void copy_field(lua_State *L, int to, const char *name)
{
    lua_getfield(L, -1, name);
    lua_setfield(L, to, name);
}

/* [-1, +1, v] Events -> {run=, time=, runbook=, check=, params=, status=, changed=, ...}; "unfinished" without an end. */
static void summarize(lua_State *L, const char *run)
{
    static const char *const start[] = {"time", "runbook", "check", "params", "hosts", NULL};
    static const char *const end[] = {"status",    "changed", "predicted", "failed",
                                      "unchanged", "ms",      "error",     NULL};
    int events = lua_gettop(L);
    lua_createtable(L, 0, 12);
    int entry = lua_gettop(L);
    lua_pushstring(L, run);
    lua_setfield(L, entry, "run");
    lua_pushliteral(L, "unfinished");
    lua_setfield(L, entry, "status");
    for (lua_Integer i = 1; lua_geti(L, events, i) == LUA_TTABLE; i++) {
        const char *const *fields = is_event(L, "run.start") ? start : is_event(L, "run.end") ? end : NULL;
        for (; fields && *fields; fields++)
            copy_field(L, entry, *fields);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_remove(L, events);
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name);
}

static int no_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* [-0, +1, v] All runs, newest first. */
static void push_runs(lua_State *L)
{
    struct buffer folder = {0};
    journal_folder(runtime_of(L), &folder);
    struct dirent **entries;
    int count = scandir(buffer_text(&folder), &entries, no_dots, newest_first);
    buffer_free(&folder);
    lua_createtable(L, count > 0 ? count : 0, 0);
    int names = lua_gettop(L);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, entries[i]->d_name);
        lua_rawseti(L, names, i + 1);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    lua_createtable(L, count > 0 ? count : 0, 0);
    json_mark_array(L, -1);
    lua_Integer kept = 0;
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, names, i);
        if (push_events(L, lua_tostring(L, -1))) {
            summarize(L, lua_tostring(L, -2));
            lua_rawseti(L, names + 1, ++kept);
        }
        lua_settop(L, names + 1);
    }
    lua_remove(L, names);
}

/* [-0, +1, v] A field as text; "" for nil. */
static const char *push_field(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    if (lua_getfield(L, index, name) == LUA_TNIL || json_is_null(L, -1)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    }
    luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
    return lua_tostring(L, -1);
}

static void print_runs(lua_State *L, int runs)
{
    struct buffer out = {0};
    lua_Integer count = luaL_len(L, runs);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, runs, i);
        lua_getfield(L, -1, "check");
        bool check = lua_toboolean(L, -1);
        lua_pop(L, 1);
        const char *run = push_field(L, -1, "run"), *status = push_field(L, -2, "status");
        const char *changes = push_field(L, -3, check ? "predicted" : "changed"),
                   *name = push_field(L, -4, "runbook");
        buffer_format(&out, "%s  %-11s  %s: %-4s  %s%s\n", run, status, check ? "would change" : "changed",
                      changes, name, check ? " (check)" : "");
        lua_settop(L, runs);
    }
    if (!count)
        buffer_append_text(&out, "no runs yet\n");
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
}

/* What one run changed, a line each; a change that was begun and never ended is said. */
static void print_run(lua_State *L, int events)
{
    struct buffer out = {0};
    lua_Integer pending = 0;
    for (lua_Integer i = 1; lua_geti(L, events, i) == LUA_TTABLE; lua_settop(L, events), i++) {
        if (is_event(L, "change.start"))
            pending = i;
        if (!is_event(L, "change") && !is_event(L, "warning"))
            continue;
        if (is_event(L, "warning")) {
            buffer_format(&out, "warning    %s\n", push_field(L, -1, "message"));
            continue;
        }
        pending = 0;
        const char *status = push_field(L, -1, "status"), *kind = push_field(L, -2, "kind");
        const char *target = push_field(L, -3, "target"), *step = push_field(L, -4, "step");
        buffer_format(&out, "%-9s  %s %s%s%s%s\n", status, kind, target, *step ? "  (" : "", step,
                      *step ? ")" : "");
    }
    lua_settop(L, events);
    if (pending) {
        lua_geti(L, events, pending);
        const char *kind = push_field(L, -1, "kind"), *target = push_field(L, -2, "target");
        buffer_format(&out, "unfinished %s %s: begun, its end is not on the record\n", kind, target);
    }
    if (!out.length)
        buffer_append_text(&out, "nothing was changed\n");
    report_output(runtime_of(L), buffer_text(&out), out.length);
    buffer_free(&out);
}

static int history(lua_State *L)
{
    const struct command_line *line = lua_touserdata(L, 1);
    bool one = line->word_count > 0;
    if (one && (strchr(line->words[0], '/') || !push_events(L, line->words[0])))
        failure_advise(L, "usage", "history", "`moonbook history` lists them", "there is no run \"%s\"",
                       line->words[0]);
    if (!one)
        push_runs(L);
    int subject = lua_gettop(L);
    if (runtime_of(L)->options.json) {
        json_mark_array(L, subject);
        json_encode(L, subject);
        struct buffer out = {0};
        buffer_format(&out, "%s\n", lua_tostring(L, -1));
        report_output(runtime_of(L), buffer_text(&out), out.length);
        buffer_free(&out);
    } else if (one) {
        print_run(L, subject);
    } else {
        print_runs(L, subject);
    }
    return 0;
}

static int execute_history(struct runtime *runtime, const struct command_line *line)
{
    return command_drive(runtime, history, line);
}

const struct command command_history = {
    .name = "history",
    .arguments = "[RUN]",
    .about = "the runs there were, newest first; with RUN what that one changed",
    .takes = TAKES_JSON,
    .most_words = 1,
    .execute = execute_history,
};
