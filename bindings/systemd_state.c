/* systemd.stopped, enabled, disabled, masked: one unit after the other, look, act, look again. */
#include "report.h"
#include "systemd_unit.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 120000

/* A state word: when it is true, and what makes it true. */
struct state_word {
    const char *op;
    bool (*holds)(const struct unit_state *state);
    const char *verb;
    const char *field;  /* of before and after */
    const char *wanted; /* the field's value afterwards */
    const char *undo;
    bool any;    /* also for a unit that does not exist or is masked */
    bool masked; /* also for a masked one */
};

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static bool is_stopped(const struct unit_state *state)
{
    static const char *const words[] = {"inactive", "failed", "", NULL};
    return is_one_of(state->active, words);
}

/* A unit without [Install] (static, ...) is started by others and cannot be enabled more than it is. */
static bool is_enabled(const struct unit_state *state)
{
    static const char *const words[] = {"enabled", "static",    "indirect", "generated",
                                        "alias",   "transient", NULL};
    return is_one_of(state->enabled, words);
}

static bool is_disabled(const struct unit_state *state)
{
    static const char *const words[] = {"disabled", "static",         "indirect", "generated", "transient",
                                        "masked",   "masked-runtime", "",         NULL};
    return is_one_of(state->enabled, words);
}

static bool is_masked(const struct unit_state *state)
{
    return strcmp(state->enabled, "masked") == 0;
}

static const struct state_word stopped = {"systemd.stopped", is_stopped, "stop", "active",
                                          "inactive",        "start",    false,  true};
static const struct state_word enabled = {"systemd.enabled", is_enabled, "enable", "enabled",
                                          "enabled",         "disable",  false,    false};
static const struct state_word disabled = {"systemd.disabled", is_disabled, "disable", "enabled",
                                           "disabled",         "enable",    false,     true};
static const struct state_word masked = {"systemd.masked", is_masked, "mask", "enabled",
                                         "masked",         "unmask",  true,   true};

static const char *field_of(const struct state_word *word, const struct unit *unit)
{
    return strcmp(word->field, "active") == 0 ? unit->state.active : unit->state.enabled;
}

static void describe(struct systemd *call, const struct state_word *word, struct unit *unit)
{
    const char *const before[][2] = {{word->field, field_of(word, unit)}, {NULL, NULL}};
    const char *const after[][2] = {{word->field, word->wanted}, {NULL, NULL}};
    const char *const undo[][2] = {{"op", word->undo}, {"unit", unit->name}, {NULL, NULL}};
    unit->needed = !word->holds(&unit->state);
    unit->change =
        (struct change){.kind = word->op, .target = unit->name, .before = systemd_json(call, before)};
    unit->change.after = unit->needed ? systemd_json(call, after) : unit->change.before;
    unit->change.undo = unit->needed ? systemd_json(call, undo) : NULL;
}

static bool apply(struct systemd *call, const struct state_word *word, struct unit *unit, uint64_t timeout_ms)
{
    int64_t since_us = call->now_us;
    report_progress(call->L, "systemd: %s %s", word->verb, unit->name);
    if (!systemd_act(call, unit, unit->state.reload_needed ? "systemctl daemon-reload" : NULL, word->verb,
                     timeout_ms))
        return false;
    if (!systemd_ask(call))
        return false;
    if (word->holds(&unit->state))
        return true;
    return failure_set(&call->failure, "failed", word->op, "%s is still %s%s", unit->name,
                       field_of(word, unit), systemd_journal(call, unit, since_us));
}

/* [-0, +0, v] */
static void make(struct systemd *call, const struct state_word *word, struct unit *unit, uint64_t timeout_ms)
{
    enum change_decision decision = change_begin(call->L, &unit->change);
    unit->made = decision != CHANGE_DECLINE;
    if (decision == CHANGE_APPLY && !apply(call, word, unit, timeout_ms)) {
        snprintf(call->failure.op, sizeof call->failure.op, "%.20s %.100s", word->op, unit->name);
        change_fail(call->L, &unit->change, &call->failure);
    }
    bool of_active = strcmp(word->field, "active") == 0;
    const char *load = word == &masked ? "masked" : NULL;
    if (decision == CHANGE_PREDICT)
        systemd_predict(call, unit, load, of_active ? word->wanted : NULL, of_active ? NULL : word->wanted,
                        false);
    change_end(call->L, &unit->change);
}

/* [-0, +1, v] */
static int converge(lua_State *L, const struct state_word *word)
{
    static const char *const options[] = {"timeout", NULL};
    struct systemd call;
    systemd_open(L, word->op, options, &call);
    uint64_t timeout_ms = (uint64_t)argument_duration(L, 1, word->op, "timeout", TIMEOUT_MS);
    systemd_look(&call);
    for (size_t i = 0; i < call.count; i++) {
        if (!word->any)
            systemd_require(&call, &call.units[i], word->masked);
        describe(&call, word, &call.units[i]);
    }
    for (size_t i = 0; i < call.count; i++)
        if (call.units[i].needed)
            make(&call, word, &call.units[i], timeout_ms);
    return systemd_result(&call);
}

int systemd_stopped(lua_State *L)
{
    return converge(L, &stopped);
}

int systemd_enabled(lua_State *L)
{
    return converge(L, &enabled);
}

int systemd_disabled(lua_State *L)
{
    return converge(L, &disabled);
}

int systemd_masked(lua_State *L)
{
    return converge(L, &masked);
}
