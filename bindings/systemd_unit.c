/* Units: looking at them, on the host and in the overlay, and acting on them.
 *
 * The overlay's "unit" entries are {load=, active=, enabled=, by=, acted=, started=, seen={path=prediction}}. `by` alone: a
 * package that is not installed yet would bring the unit; that holds only as long as the host does not have it. `acted`:
 * a change of this module is predicted; `started`: a start of it. `seen`: the predicted files that this start has read,
 * so that they ask for no second restart. */
#include "systemd_unit.h"

#include "change_list.h"
#include "json.h"
#include "overlay.h"
#include "redact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_TIMEOUT_MS 30000
#define JOURNAL_MOST   3000 /* bytes of a unit's journal in a message */

/* ---- beginning ---- */

/* [-0, +0, v] */
static void read_units(struct systemd *call)
{
    lua_State *L = call->L;
    lua_Unsigned most = lua_rawlen(L, 1);
    call->units = scratch_zeroed(call->scratch, most + 1, sizeof *call->units);
    for (lua_Unsigned i = 1; i <= most; i++) {
        struct unit *unit = &call->units[call->count];
        const char *given = lua_rawgeti(L, 1, (lua_Integer)i) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        if (!given)
            failure_error(L, "usage", call->op, "a unit's name is text, not %s", luaL_typename(L, -1));
        if (!systemd_unit_name(given, unit->name))
            failure_error(L, "usage", call->op, "\"%s\" is no name of a unit", given);
        lua_pop(L, 1);
        bool repeated = false;
        for (size_t j = 0; j < call->count; j++)
            repeated = repeated || strcmp(call->units[j].name, unit->name) == 0;
        call->count += !repeated;
    }
    if (!call->count)
        failure_error(L, "usage", call->op, "the names of the units are missing: %s{ \"nomad\" }", call->op);
}

void systemd_open(lua_State *L, const char *op, const char *const *options, struct systemd *call)
{
    luaL_checkstack(L, 40, op);
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, 1);
        lua_replace(L, 1);
    }
    argument_table(L, 1, op, options);
    *call = (struct systemd){
        .L = L,
        .runtime = runtime_of(L),
        .host = host_current(runtime_of(L)),
        .op = op,
        .check = runtime_of(L)->options.check,
    };
    call->scratch = scratch_open(L);
    read_units(call);
}

int systemd_raise(struct systemd *call)
{
    snprintf(call->failure.op, sizeof call->failure.op, "%s", call->op);
    return failure_raise(call->L, &call->failure);
}

/* ---- looking ---- */

/* Microseconds came with systemd 247 ("--timestamp"); older ones print whole seconds, in the zone of TZ. */
static const char ask_script[] =
    "export LC_ALL=C TZ=UTC SYSTEMD_COLORS=0\n"
    "command -v systemctl >/dev/null || { echo 'there is no systemctl' >&2; exit 127; }\n"
    "date +%s%6N\n"
    "for unit do\n"
    "  for file in /etc/systemd/system/\"$unit\".d/*.conf /run/systemd/system/\"$unit\".d/*.conf; do\n"
    "    [ ! -e \"$file\" ] || echo \"$unit $file\"\n"
    "  done\n"
    "done\n"
    "echo\n"
    "systemctl show --timestamp=us+utc -p " SYSTEMD_PROPERTIES " -- \"$@\" 2>/dev/null ||\n"
    "  systemctl show -p " SYSTEMD_PROPERTIES " -- \"$@\"\n";

/* The lines "UNIT PATH" between the time and the states. */
static void note_drop_ins(struct systemd *call, const char *line, const char *end)
{
    while (line < end) {
        size_t length = strcspn(line, "\n"), name = strcspn(line, " ");
        for (size_t i = 0; i < call->count; i++)
            if (name < length && strlen(call->units[i].name) == name &&
                memcmp(call->units[i].name, line, name) == 0 &&
                strcmp(call->units[i].state.load, "loaded") == 0)
                systemd_note_drop_in(&call->units[i].state, line + name + 1, length - name - 1);
        line += length + 1;
    }
}

bool systemd_ask(struct systemd *call)
{
    const char **argv = scratch_zeroed(call->scratch, call->count + 5, sizeof *argv);
    argv[0] = "sh";
    argv[1] = "-c";
    argv[2] = ask_script;
    argv[3] = "sh";
    for (size_t i = 0; i < call->count; i++)
        argv[4 + i] = call->units[i].name;
    struct host_command command = {.argv = argv, .timeout_ms = ASK_TIMEOUT_MS};
    struct buffer output = {0};
    if (!host_check(call->host, &command, &output, &call->failure)) {
        if (strcmp(call->failure.kind, "exit") == 0)
            failure_hint(&call->failure, "see that systemd is running on %s", call->host->name);
        buffer_free(&output);
        return false;
    }
    const char *text = scratch_take(call->scratch, &output), *blocks = strstr(text, "\n\n");
    struct unit_state *states = scratch_zeroed(call->scratch, call->count, sizeof *states);
    call->now_us = strtoll(text, NULL, 10);
    if (!blocks || systemd_show_read(blocks + 2, states, call->count) != call->count)
        return failure_set(&call->failure, "failed", call->op,
                           "systemctl show does not answer for every unit");
    for (size_t i = 0; i < call->count; i++)
        call->units[i].state = states[i];
    note_drop_ins(call, strchr(text, '\n') + 1, blocks);
    return true;
}

/* [-0, +0, m] Copies a text field of the table on top, where it has one. */
static void take_field(lua_State *L, const char *name, char *out, size_t size)
{
    if (lua_getfield(L, -1, name) == LUA_TSTRING)
        snprintf(out, size, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

static bool has_flag(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

/* [-0, +0, m] */
static void see_overlay(struct systemd *call, struct unit *unit)
{
    lua_State *L = call->L;
    bool exists = strcmp(unit->state.load, "not-found") != 0;
    if (overlay_get(L, call->host, "unit", unit->name)) {
        unit->started = has_flag(L, "started");
        if (has_flag(L, "acted") || !exists) {
            unit->predicted = true;
            take_field(L, "load", unit->state.load, sizeof unit->state.load);
            take_field(L, "active", unit->state.active, sizeof unit->state.active);
            take_field(L, "enabled", unit->state.enabled, sizeof unit->state.enabled);
        }
        lua_pop(L, 1);
    }
    bool file_predicted = systemd_unit_file_predicted(call, unit);
    unit->state.reload_needed = file_predicted || (unit->state.reload_needed && !unit->started);
    if (strcmp(unit->state.load, "not-found") == 0 && file_predicted) {
        unit->predicted = true;
        snprintf(unit->state.load, sizeof unit->state.load, "loaded");
        snprintf(unit->state.enabled, sizeof unit->state.enabled, "disabled");
    }
}

void systemd_look(struct systemd *call)
{
    if (!systemd_ask(call))
        systemd_raise(call);
    if (call->check)
        for (size_t i = 0; i < call->count; i++)
            see_overlay(call, &call->units[i]);
}

void systemd_require(struct systemd *call, const struct unit *unit, bool masked)
{
    const char *load = unit->state.load;
    if (strcmp(load, "loaded") == 0 || (masked && strcmp(load, "masked") == 0))
        return;
    if (strcmp(load, "not-found") == 0) {
        failure_set(&call->failure, "not-found", call->op, "there is no unit %s on %s", unit->name,
                    call->host->name);
        failure_hint(&call->failure,
                     "install the package that brings it; under --check, brings={units={\"%s\"}} of "
                     "apt.installed says so",
                     unit->name);
    } else if (strcmp(load, "masked") == 0) {
        failure_set(&call->failure, "invalid", call->op, "%s is masked: somebody forbade to start it",
                    unit->name);
        failure_hint(&call->failure, "find out why, then systemctl unmask %s", unit->name);
    } else {
        failure_set(&call->failure, "invalid", call->op, "%s cannot be loaded (%s)", unit->name, load);
        failure_hint(&call->failure, "systemd-analyze verify %s says what is wrong with its file",
                     unit->name);
    }
    systemd_raise(call);
}

/* ---- acting ---- */

bool systemd_act(struct systemd *call, const struct unit *unit, const char *prepare, const char *verb,
                 uint64_t timeout_ms)
{
    static const char act[] = "exec systemctl --no-ask-password \"$1\" -- \"$2\"";
    const char *script = scratch_format(call->scratch, "export LC_ALL=C SYSTEMD_COLORS=0\n%s\n%s\n",
                                        prepare ? prepare : "", verb ? act : "");
    const char *argv[] = {"sh", "-c", script, "sh", verb ? verb : "", unit->name, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = timeout_ms};
    if (host_check(call->host, &command, NULL, &call->failure))
        return true;
    if (strstr(call->failure.message, "authentication required") ||
        strstr(call->failure.message, "Access denied")) {
        snprintf(call->failure.kind, sizeof call->failure.kind, "permission");
        failure_hint(&call->failure, "run with --sudo or connect as root");
    }
    return false;
}

const char *systemd_journal(struct systemd *call, const struct unit *unit, int64_t since_us)
{
    static const char script[] = "journalctl --sync 2>/dev/null\n"
                                 "journalctl -q --no-pager -o cat -n 20 --since=\"$1\" -u \"$2\"\n";
    const char *since =
        scratch_format(call->scratch, "@%" PRId64 ".%06d", since_us / 1000000, (int)(since_us % 1000000));
    const char *argv[] = {"sh", "-c", script, "sh", since, unit->name, NULL};
    struct host_command command = {.argv = argv, .timeout_ms = 10000};
    struct buffer output = {0}, said = {0}, text = {0};
    struct failure ignored;
    if (host_check(call->host, &command, &output, &ignored))
        redacted_tail(call->runtime->redactor, &output, JOURNAL_MOST, &said);
    for (const char *line = buffer_text(&said); *line;) {
        size_t length = strcspn(line, "\n");
        buffer_format(&text, "\n    %.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
    buffer_free(&output);
    buffer_free(&said);
    return scratch_take(call->scratch, &text);
}

/* ---- predicting ---- */

static bool visit_seen(lua_State *L, const char *path, void *seen)
{
    lua_pushvalue(L, -1);
    lua_setfield(L, *(int *)seen, path);
    return false;
}

/* [-0, +0, m] Notes every file prediction of now: the unit's predicted start has read them all. Table on top. */
static void note_seen(struct systemd *call)
{
    lua_newtable(call->L);
    int seen = lua_gettop(call->L);
    overlay_each(call->L, call->host, "file", visit_seen, &seen);
    lua_setfield(call->L, -2, "seen");
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* [-0, +0, m] Copies a field of the unit's present prediction into the table on top. */
static void keep_field(struct systemd *call, const struct unit *unit, const char *name)
{
    lua_State *L = call->L;
    if (!overlay_get(L, call->host, "unit", unit->name))
        return;
    lua_getfield(L, -1, name);
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
}

void systemd_predict(struct systemd *call, const struct unit *unit, const char *load, const char *active,
                     const char *enabled, bool starts)
{
    lua_State *L = call->L;
    lua_createtable(L, 0, 6);
    set_text(L, "load", load ? load : unit->state.load);
    set_text(L, "active", active ? active : unit->state.active);
    set_text(L, "enabled", enabled ? enabled : unit->state.enabled);
    if (starts)
        note_seen(call);
    else
        keep_field(call, unit, "seen");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "acted");
    lua_pushboolean(L, starts || unit->started);
    lua_setfield(L, -2, "started");
    overlay_put(L, call->host, "unit", unit->name);
}

bool systemd_unseen(struct systemd *call, const struct unit *unit, const char *path)
{
    lua_State *L = call->L;
    int top = lua_gettop(L);
    bool unseen = overlay_get(L, call->host, "file", path);
    if (unseen && overlay_get(L, call->host, "unit", unit->name) &&
        lua_getfield(L, -1, "seen") == LUA_TTABLE) {
        lua_getfield(L, -1, path);
        unseen = !lua_rawequal(L, -1, top + 1);
    }
    lua_settop(L, top);
    return unseen;
}

/* Is the path the unit's file or one of its drop-ins? */
static bool belongs_to(const struct unit *unit, const char *path)
{
    static const char *const folders[] = {"/etc/systemd/system/", "/run/systemd/system/",
                                          "/lib/systemd/system/", "/usr/lib/systemd/system/",
                                          "/usr/local/lib/systemd/system/"};
    if (strcmp(path, unit->state.fragment) == 0)
        return true;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        size_t folder = strlen(folders[i]), name = strlen(unit->name);
        if (strncmp(path, folders[i], folder) != 0 || strncmp(path + folder, unit->name, name) != 0)
            continue;
        const char *rest = path + folder + name;
        if (!*rest || strncmp(rest, ".d/", 3) == 0)
            return true;
    }
    return false;
}

struct of_unit {
    struct systemd *call;
    const struct unit *unit;
};

static bool visit_unit_file(lua_State *L, const char *path, void *context)
{
    (void)L;
    const struct of_unit *search = context;
    return belongs_to(search->unit, path) && systemd_unseen(search->call, search->unit, path);
}

bool systemd_unit_file_predicted(struct systemd *call, const struct unit *unit)
{
    struct of_unit search = {call, unit};
    return overlay_each(call->L, call->host, "file", visit_unit_file, &search);
}

/* ---- results ---- */

const char *systemd_json(struct systemd *call, const char *const (*pairs)[2])
{
    struct json_text json = {0};
    json_open_object(&json);
    for (; (*pairs)[0]; pairs++) {
        if (!(*pairs)[1])
            continue;
        json_key(&json, (*pairs)[0]);
        json_string(&json, (*pairs)[1]);
    }
    json_close_object(&json);
    return scratch_take(call->scratch, &json.out);
}

int systemd_result(struct systemd *call)
{
    bool changed = false;
    const struct change **changes = scratch_zeroed(call->scratch, call->count, sizeof *changes);
    for (size_t i = 0; i < call->count; i++) {
        changes[i] = &call->units[i].change;
        changed = changed || call->units[i].made;
        if (!call->units[i].needed)
            change_unneeded(call->L, call->op, call->units[i].name);
    }
    return change_list_push_result(call->L, call->scratch, changes, call->count, changed);
}
