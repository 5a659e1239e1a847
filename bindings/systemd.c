/* The systemd module: its table, and what only reads: status and follow. */
#include "fiber.h"
#include "systemd_unit.h"

#include <string.h>

/* ---- systemd.status ---- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* [-1, +1, m] A time in seconds since 1970 as a field of the table on top, where there is one. */
static void set_time(lua_State *L, const char *name, int64_t time_us)
{
    if (!time_us)
        return;
    lua_pushnumber(L, (lua_Number)time_us / 1e6);
    lua_setfield(L, -2, name);
}

/* [-0, +1, m] */
static void push_status(lua_State *L, const struct unit *unit)
{
    const struct unit_state *state = &unit->state;
    lua_createtable(L, 0, 12);
    set_text(L, "name", unit->predicted || !*state->id ? unit->name : state->id);
    set_text(L, "load", state->load);
    set_text(L, "active", state->active);
    set_text(L, "enabled", state->enabled);
    if (unit->predicted)
        return; /* nobody can say more of a process that is not there yet */
    set_text(L, "sub", state->sub);
    set_text(L, "result", state->result);
    set_text(L, "description", state->description);
    set_time(L, "started", state->started_us);
    set_time(L, "active_since", state->active_since_us);
    lua_pushinteger(L, state->restarts);
    lua_setfield(L, -2, "restarts");
    if (state->pid) {
        lua_pushinteger(L, state->pid);
        lua_setfield(L, -2, "pid");
    }
}

static int status(lua_State *L)
{
    static const char *const options[] = {NULL};
    struct systemd call;
    systemd_open(L, "systemd.status", options, &call);
    if (call.count != 1)
        failure_error(L, "usage", call.op, "one unit at a time");
    systemd_look(&call);
    if (strcmp(call.units[0].state.load, "not-found") == 0)
        lua_pushnil(L);
    else
        push_status(L, &call.units[0]);
    return 1;
}

/* ---- systemd.follow ---- */

#define FOLLOW "moonbook.systemd.follow"

struct follow {
    struct process_stream *stream; /* NULL before it is open and after it is closed */
    struct buffer line;
};

static int close_follow(lua_State *L)
{
    struct follow *follow = luaL_checkudata(L, 1, FOLLOW);
    if (follow->stream)
        process_close(follow->stream);
    follow->stream = NULL;
    buffer_free(&follow->line);
    return 0;
}

/* [-0, +1, m] A handle that is born closed, so that an error on the way leaks nothing. */
static struct follow *push_follow(lua_State *L)
{
    struct follow *follow = lua_newuserdatauv(L, sizeof *follow, 0);
    *follow = (struct follow){0};
    if (luaL_newmetatable(L, FOLLOW)) {
        lua_pushcfunction(L, close_follow);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, close_follow);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    return follow;
}

static int next_line(lua_State *L)
{
    struct follow *follow = luaL_checkudata(L, lua_upvalueindex(1), FOLLOW);
    struct failure failure;
    int got =
        follow->stream ? process_read_line(follow->stream, &follow->line, FIBER_NO_TIMEOUT, &failure) : 0;
    if (got < 0)
        failure_raise(L, &failure);
    if (got == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, buffer_text(&follow->line), follow->line.length);
    return 1;
}

int systemd_follow(lua_State *L)
{
    static const char *const names[] = {"lines", NULL};
    struct systemd call;
    char lines[24];
    if (lua_istable(L, 2)) { /* follow("nomad", {lines=}) is follow{"nomad", lines=} */
        argument_table(L, 2, "systemd.follow", names);
        lua_pushvalue(L, 1);
        lua_rawseti(L, 2, 1);
        lua_replace(L, 1);
    }
    lua_settop(L, 1);
    systemd_open(L, "systemd.follow", names, &call);
    int64_t count = argument_integer(L, 1, call.op, "lines", 10);
    if (call.count != 1 || count < 0 || count > 1000000)
        failure_error(L, "usage", call.op, "one unit, and lines= from 0 to 1000000");
    systemd_look(&call);
    systemd_require(&call, &call.units[0], true);
    snprintf(lines, sizeof lines, "%d", (int)count);
    /* Under --check nothing is waited for: the lines that are there, and the end. */
    const char *mode = call.check ? "-q" : "-f";
    const char *argv[] = {"journalctl", "-q", "--no-pager",       "-o", "cat", mode, "-n",
                          lines,        "-u", call.units[0].name, NULL};
    struct host_command command = {.argv = argv};
    struct follow *follow = push_follow(L);
    follow->stream = call.host->operations->open(call.host, &command, &call.failure);
    if (!follow->stream)
        systemd_raise(&call);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, next_line, 1);
    lua_insert(L, -2);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_rotate(L, -3, -1); /* function, nil, nil, handle */
    return 4;
}

static const struct binding_function functions[] = {
    {"running", systemd_running,
     "systemd.running{unit..., fresh={}, validate={}, stable=\"5s\", timeout=\"60s\"} -> {changed=, before=, "
     "after=}",
     "Units are active and stay so. \"nomad\" means nomad.service. A unit is restarted when a path in fresh "
     "changed (by "
     "ctime) after its process started, and started when it is not active; one that is on its way up is "
     "waited for. "
     "validate: a command, such as {\"dnsmasq\", \"--test\"}, that must end with 0 before anything is "
     "started or "
     "restarted. stable: for so long it must keep its process, 0 turns that off; one that was active for "
     "longer "
     "already is not watched. timeout: for coming up. A changed unit file is read anew (daemon-reload). "
     "Raises "
     "\"failed\" or \"timeout\" with the unit's journal since then, \"not-found\" for a unit that does not "
     "exist, "
     "\"invalid\" for a masked one and for what validate refuses. See systemctl(1).",
     NULL},
    {"stopped", systemd_stopped, "systemd.stopped{unit..., timeout=\"2m\"} -> {changed=, before=, after=}",
     "Units are not active. Raises \"not-found\" for a unit that does not exist.", NULL},
    {"enabled", systemd_enabled, "systemd.enabled{unit..., timeout=\"2m\"} -> {changed=, before=, after=}",
     "Units start with the machine. One without [Install] section cannot be enabled more than it is.", NULL},
    {"disabled", systemd_disabled, "systemd.disabled{unit..., timeout=\"2m\"} -> {changed=, before=, after=}",
     "Units do not start with the machine.", NULL},
    {"masked", systemd_masked, "systemd.masked{unit..., timeout=\"2m\"} -> {changed=, before=, after=}",
     "Units cannot be started at all, by nobody; a unit that runs goes on (see systemd.stopped).", NULL},
    {"status", status, "systemd.status(unit) -> table or nil",
     "What systemd says of a unit: {name=, load=, active=, sub=, enabled=, result=, description=, pid=, "
     "restarts=, "
     "started=, active_since=} (times in seconds since 1970), nil where there is no such unit.",
     NULL},
    {"follow", systemd_follow, "for line in systemd.follow(unit, {lines=10}) do ... end",
     "Lines of the unit's journal as they come, after the last `lines` ones; ends when the loop is left. "
     "Under --check "
     "only the lines that are there.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module systemd_module = {
    .name = "systemd",
    .about = "Units of systemd: running, stopped, enabled, disabled, masked; status and journal",
    .functions = functions,
};
