/* systemd.running: active, stays active, and no older than the files it reads. */
#include "fiber.h"
#include "file_state.h"
#include "json.h"
#include "overlay.h"
#include "report.h"
#include "systemd_unit.h"

#include <stdio.h>
#include <string.h>

#define OP            "systemd.running"
#define STABLE_MS     5000
#define TIMEOUT_MS    60000
#define LOOK_AGAIN_MS 200
#define WATCH_MS      500

/* What is to be done about a unit. */
enum action { NOTHING, START, RESTART, RELOAD };

static const char *const action_names[] = {"", "start", "restart", "daemon-reload"};

struct running {
    struct systemd call;
    const char **fresh;
    const struct host_stat *fresh_stats; /* of those, once they were looked at */
    const char **validate;               /* asked before anything is started or restarted; may be NULL */
    uint64_t stable_ms, timeout_ms;
    struct unit_state *baseline; /* what the watch compares with */
};

static bool is_active(const struct unit *unit)
{
    const char *active = unit->state.active;
    return strcmp(active, "active") == 0 || strcmp(active, "reloading") == 0 ||
           strcmp(active, "refreshing") == 0;
}

/* On the way up, by a job that somebody started. Waiting for the next automatic restart is no such way. */
static bool is_starting(const struct unit *unit)
{
    return strcmp(unit->state.active, "activating") == 0 && strncmp(unit->state.sub, "auto-restart", 12) != 0;
}

/* ---- files in `fresh` ---- */

struct in_folder {
    struct systemd *call;
    const struct unit *unit;
    const char *folder;
};

static bool visit_unseen(lua_State *L, const char *path, void *context)
{
    (void)L;
    const struct in_folder *search = context;
    char parent[PATH_MAX];
    file_parent(path, parent);
    return strcmp(parent, search->folder) == 0 && systemd_unseen(search->call, search->unit, path);
}

/* [-0, +0, m] Is a file predicted right in that folder? Then the folder itself would have changed. */
static bool folder_predicted(struct running *running, const struct unit *unit, const char *folder)
{
    struct in_folder search = {&running->call, unit, folder};
    return overlay_each(running->call.L, running->call.host, "file", visit_unseen, &search);
}

static int64_t start_of(const struct unit *unit)
{
    return unit->state.started_us ? unit->state.started_us : unit->state.active_since_us;
}

/* [-0, +0, v] Did the path change after the unit's process started? By ctime: mtime misses a file that was written before
 * and renamed after. */
static bool is_newer(struct running *running, const struct unit *unit, const char *path, bool follow,
                     struct file_state *state)
{
    struct systemd *call = &running->call;
    if (!file_state_get(call->L, call->host, path, follow, state, &call->failure))
        systemd_raise(call);
    if (systemd_unseen(call, unit, state->path))
        return true;
    if (state->stat.exists && state->stat.type == 'd' && folder_predicted(running, unit, state->path))
        return true;
    if (state->predicted || unit->started || !state->stat.exists)
        return false;
    return state->stat.ctime_us > start_of(unit);
}

/* [-0, +0, v] All of them are looked at in one go, once: only what is predicted asks for more. */
static const struct host_stat *look_at_fresh(struct running *running)
{
    struct systemd *call = &running->call;
    size_t count = 0;
    if (running->fresh_stats)
        return running->fresh_stats;
    while (running->fresh && running->fresh[count])
        count++;
    const char **paths = scratch_zeroed(call->scratch, count + 1, sizeof *paths);
    struct host_stat *stats = scratch_zeroed(call->scratch, count + 1, sizeof *stats);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        if (!file_path(call->host, running->fresh[i], path, &call->failure))
            systemd_raise(call);
        paths[i] = scratch_format(call->scratch, "%s", path);
    }
    if (count && !host_stat(call->host, paths, count, stats, &call->failure))
        systemd_raise(call);
    return running->fresh_stats = stats;
}

/* [-0, +0, v] Without predictions, links are what needs another look. */
static bool is_really_stale(struct running *running, const struct unit *unit)
{
    const struct host_stat *stats = look_at_fresh(running);
    for (size_t i = 0; running->fresh && running->fresh[i]; i++) {
        struct file_state state;
        char path[PATH_MAX];
        if (!stats[i].exists)
            continue;
        if (stats[i].ctime_us > start_of(unit))
            return true;
        if (stats[i].type == 'l' &&
            file_path(running->call.host, running->fresh[i], path, &running->call.failure) &&
            is_newer(running, unit, path, true, &state))
            return true;
    }
    return false;
}

/* [-0, +0, v] */
static bool is_stale(struct running *running, const struct unit *unit)
{
    struct systemd *call = &running->call;
    if (!call->host->runtime->options.check)
        return !unit->started && is_really_stale(running, unit);
    for (const char **given = running->fresh; given && *given; given++) {
        char path[PATH_MAX];
        struct file_state state;
        if (!file_path(call->host, *given, path, &call->failure))
            systemd_raise(call);
        if (is_newer(running, unit, path, false, &state))
            return true;
        if (state.stat.exists && state.stat.type == 'l' && is_newer(running, unit, path, true, &state))
            return true;
    }
    return false;
}

/* ---- failing ---- */

static const char *describe_state(struct systemd *call, const struct unit *unit)
{
    const struct unit_state *state = &unit->state;
    const char *why = "";
    if (*state->result && strcmp(state->result, "success") != 0)
        why = scratch_format(call->scratch, ", %s", state->result);
    if (state->exit_status)
        why = scratch_format(call->scratch, "%s, exit status %ld", why, state->exit_status);
    if (state->restarts)
        why = scratch_format(call->scratch, "%s, restarted %ld times", why, state->restarts);
    return scratch_format(call->scratch, "%s (%s%s)", state->active, state->sub, why);
}

static void describe_failure(struct systemd *call, const struct unit *unit, const char *kind,
                             const char *what, int64_t since_us)
{
    const char *journal = systemd_journal(call, unit, since_us);
    failure_set(&call->failure, kind, OP, "%s %s: %s%s%s", unit->name, what, describe_state(call, unit),
                *journal ? "; its journal since then:" : "", journal);
    failure_hint(&call->failure, "journalctl -u %s on %s has the rest", unit->name, call->host->name);
}

/* ---- waiting ---- */

/* Waits until no unit is on its way up any more. */
static bool wait_started(struct running *running, struct unit *unit, uint64_t deadline, int64_t since_us)
{
    struct systemd *call = &running->call;
    while (is_starting(unit)) {
        if (runtime_now(call->runtime) >= deadline) {
            describe_failure(call, unit, "timeout", "does not come up", since_us);
            return false;
        }
        report_progress(call->L, "systemd: waiting for %s", unit->name);
        enum wait_outcome outcome = fiber_sleep(call->runtime, LOOK_AGAIN_MS);
        if (outcome != WAIT_TIMEOUT)
            return fiber_wait_failure(&call->failure, outcome, OP, running->timeout_ms);
        if (!systemd_ask(call))
            return false;
    }
    return true;
}

/* The same process as when the watch began, neither restarted by systemd nor gone? */
static bool is_steady(const struct unit_state *then, const struct unit *unit)
{
    const struct unit_state *now = &unit->state;
    return is_active(unit) && now->pid == then->pid && now->restarts == then->restarts &&
           strcmp(now->invocation, then->invocation) == 0;
}

/* How long the unit still has to be watched: a started one the whole period, one that nothing was done to as far as it has
 * been active for less. */
static int64_t left_to_watch_us(const struct running *running, const struct unit *unit)
{
    int64_t stable_us = (int64_t)running->stable_ms * 1000;
    if (unit->predicted || (unit->needed && !unit->made) || (running->call.check && unit->made))
        return 0;
    int64_t active_us = running->call.now_us - unit->state.active_since_us;
    return !unit->state.active_since_us || active_us < 0 ? stable_us : stable_us - active_us;
}

/* [-0, +0, v] A unit that crashes in a loop looks active now and then: all must stay as they are for a while. */
static void watch(struct running *running)
{
    struct systemd *call = &running->call;
    int64_t left_us = 0;
    bool *watched = scratch_zeroed(call->scratch, call->count, sizeof *watched);
    for (size_t i = 0; i < call->count; i++) {
        int64_t unit_left_us = left_to_watch_us(running, &call->units[i]);
        watched[i] = unit_left_us > 0;
        left_us = unit_left_us > left_us ? unit_left_us : left_us;
        running->baseline[i] = call->units[i].state;
    }
    uint64_t deadline = runtime_now(call->runtime) + (uint64_t)(left_us / 1000);
    while (left_us > 0 && runtime_now(call->runtime) < deadline) {
        uint64_t left_ms = deadline - runtime_now(call->runtime);
        report_progress(call->L, "systemd: watching whether %s stays active", call->units[0].name);
        enum wait_outcome outcome = fiber_sleep(call->runtime, left_ms < WATCH_MS ? left_ms : WATCH_MS);
        if (outcome != WAIT_TIMEOUT) {
            fiber_wait_failure(&call->failure, outcome, OP, running->stable_ms);
            systemd_raise(call);
        }
        if (!systemd_ask(call))
            systemd_raise(call);
        for (size_t i = 0; i < call->count; i++) {
            if (!watched[i] || is_steady(&running->baseline[i], &call->units[i]))
                continue;
            int64_t since_us = call->units[i].since_us;
            if (!since_us) /* what it wrote while it came up counts too */
                since_us = running->baseline[i].active_since_us - 1000000;
            describe_failure(call, &call->units[i], "failed", "does not stay active", since_us);
            systemd_raise(call);
        }
    }
}

/* ---- deciding ---- */

/* [-0, +0, v] */
static enum action decide(struct running *running, struct unit *unit)
{
    struct systemd *call = &running->call;
    systemd_require(call, unit, false);
    if (is_starting(unit) && !unit->predicted && !is_stale(running, unit)) {
        uint64_t deadline = runtime_now(call->runtime) + running->timeout_ms;
        int64_t since_us = unit->state.started_us ? unit->state.started_us : call->now_us;
        struct unit *units = scratch_zeroed(call->scratch, call->count, sizeof *units);
        memcpy(units, call->units, call->count * sizeof *units);
        if (!wait_started(running, unit, deadline, since_us))
            systemd_raise(call);
        /* The others' states were asked for too; what was predicted of them must stay. */
        for (size_t i = 0; i < call->count; i++)
            if (units[i].predicted)
                call->units[i].state = units[i].state;
    }
    if (strncmp(unit->state.sub, "auto-restart", 12) == 0 && !unit->predicted)
        return RESTART;
    if (!is_active(unit) && !is_starting(unit))
        return START;
    if (is_stale(running, unit))
        return RESTART;
    return unit->state.reload_needed ? RELOAD : NOTHING;
}

static void describe(struct running *running, struct unit *unit)
{
    struct systemd *call = &running->call;
    static const char *const undo[] = {NULL, "stop", "restart", NULL};
    const char *const before[][2] = {{"active", unit->state.active}, {NULL, NULL}};
    const char *const after[][2] = {
        {"active", "active"}, {"action", action_names[unit->action]}, {NULL, NULL}};
    unit->needed = unit->action != NOTHING;
    unit->change = (struct change){.kind = OP, .target = unit->name, .before = systemd_json(call, before)};
    unit->change.after = unit->needed ? systemd_json(call, after) : unit->change.before;
    if (undo[unit->action]) {
        const char *const pairs[][2] = {{"op", undo[unit->action]}, {"unit", unit->name}, {NULL, NULL}};
        unit->change.undo = systemd_json(call, pairs);
    }
}

/* ---- asking the checker ---- */

/* Under --check: the first of the files in `fresh` that is only predicted, or NULL. */
static const char *predicted_file(struct running *running)
{
    lua_State *L = running->call.L;
    for (const char **path = running->fresh; path && *path; path++)
        if (overlay_get(L, running->call.host, "file", *path)) {
            lua_pop(L, 1);
            return *path;
        }
    return NULL;
}

/* [-0, +0, v] A service that runs is not stopped for a configuration that its own program refuses. */
static void validate(struct running *running)
{
    struct systemd *call = &running->call;
    bool needed = false;
    for (size_t i = 0; i < call->count; i++)
        needed = needed || call->units[i].action == START || call->units[i].action == RESTART;
    if (!running->validate || !needed)
        return;
    const char *program = running->validate[0], *predicted = predicted_file(running);
    if (predicted) {
        report_warning(call->L, OP ": %s was not run: %s is only predicted", program, predicted);
        return;
    }
    struct host_command command = {.argv = running->validate, .timeout_ms = running->timeout_ms};
    if (host_check(call->host, &command, NULL, &call->failure))
        return;
    if (call->check && strcmp(call->failure.kind, "not-found") == 0) {
        report_warning(call->L, OP ": %s was not run: it is not installed yet", program);
        return;
    }
    if (strcmp(call->failure.kind, "exit") == 0) {
        failure_set(&call->failure, "invalid", OP, "%s refuses the configuration: %s", program,
                    call->failure.message);
        failure_hint(&call->failure, "mend the file that it names; no unit was touched");
    }
    failure_raise(call->L, &call->failure);
}

/* ---- making it so ---- */

/* Starts or restarts and waits until it is up. */
static bool start(struct running *running, struct unit *unit)
{
    struct systemd *call = &running->call;
    int64_t since_us = unit->since_us = call->now_us;
    uint64_t deadline = runtime_now(call->runtime) + running->timeout_ms;
    /* A unit that was started too often in a row refuses to be: that is forgotten, as somebody asks for it now. */
    const char *prepare = unit->state.reload_needed
                              ? "systemctl daemon-reload\nsystemctl reset-failed -- \"$2\" 2>/dev/null"
                              : "systemctl reset-failed -- \"$2\" 2>/dev/null";
    report_progress(call->L, "systemd: %sing %s", action_names[unit->action], unit->name);
    if (unit->action == RELOAD)
        return systemd_act(call, unit, "systemctl daemon-reload", NULL, running->timeout_ms);
    bool done = systemd_act(call, unit, prepare, action_names[unit->action], running->timeout_ms);
    if (!done && strcmp(call->failure.kind, "exit") != 0 && strcmp(call->failure.kind, "timeout") != 0)
        return false;
    struct failure first = call->failure;
    if (!systemd_ask(call))
        return false;
    if (!done) {
        bool late = strcmp(first.kind, "timeout") == 0;
        describe_failure(call, unit, late ? "timeout" : "failed",
                         scratch_format(call->scratch, late ? "was not up in time after %s" : "failed to %s",
                                        action_names[unit->action]),
                         since_us);
        return false;
    }
    if (!wait_started(running, unit, deadline, since_us))
        return false;
    if (!is_active(unit))
        describe_failure(call, unit, "failed", "did not come up", since_us);
    return is_active(unit);
}

/* [-0, +0, v] */
static void make(struct running *running, struct unit *unit)
{
    struct systemd *call = &running->call;
    enum change_decision decision = change_begin(call->L, &unit->change);
    unit->made = decision != CHANGE_DECLINE;
    if (decision == CHANGE_APPLY && !start(running, unit)) {
        snprintf(call->failure.op, sizeof call->failure.op, "%.20s %.100s", OP, unit->name);
        change_fail(call->L, &unit->change, &call->failure);
    }
    if (decision == CHANGE_PREDICT)
        systemd_predict(call, unit, NULL, "active", NULL, unit->action != RELOAD);
    change_end(call->L, &unit->change);
}

int systemd_running(lua_State *L)
{
    static const char *const options[] = {"fresh", "stable", "timeout", "validate", NULL};
    struct running running = {0};
    struct systemd *call = &running.call;
    systemd_open(L, OP, options, call);
    running.fresh = argument_list(L, 1, OP, "fresh");
    running.validate = argument_list(L, 1, OP, "validate");
    running.stable_ms = (uint64_t)argument_duration(L, 1, OP, "stable", STABLE_MS);
    running.timeout_ms = (uint64_t)argument_duration(L, 1, OP, "timeout", TIMEOUT_MS);
    running.baseline = scratch_zeroed(call->scratch, call->count, sizeof *running.baseline);
    systemd_look(call);
    for (size_t i = 0; i < call->count; i++)
        call->units[i].action = decide(&running, &call->units[i]);
    validate(&running);
    for (size_t i = 0; i < call->count; i++)
        describe(&running, &call->units[i]);
    for (size_t i = 0; i < call->count; i++)
        if (call->units[i].needed)
            make(&running, &call->units[i]);
    if (running.stable_ms)
        watch(&running);
    return systemd_result(call);
}
