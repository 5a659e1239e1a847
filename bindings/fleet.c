/* fleet(hosts, function, options): the same on many hosts. */
#include "fleet.h"
#include "binding.h"
#include "fiber.h"
#include "host_value.h"
#include "inventory.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

enum { HOSTS = 1, FUNCTION, OPTIONS, RESULTS };

#define ERRORS_TOLD 3 /* in the message; all are in its `results` */

struct targets {
    struct target *items;
    size_t count;
};

static int targets_gc(lua_State *L)
{
    struct targets *targets = lua_touserdata(L, 1);
    for (size_t i = 0; i < targets->count; i++)
        target_clear(&targets->items[i]);
    free(targets->items);
    *targets = (struct targets){0};
    return 0;
}

/* [-0, +1, v] The hosts of the first argument: text as --on takes it, or a list of such texts and of hosts. */
static struct targets *push_targets(lua_State *L)
{
    struct targets *targets = lua_newuserdatauv(L, sizeof *targets, 0);
    *targets = (struct targets){0};
    if (luaL_newmetatable(L, "moonbook.targets")) {
        lua_pushcfunction(L, targets_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    int top = lua_gettop(L);
    bool list = lua_istable(L, HOSTS);
    for (lua_Integer i = 1; list ? lua_geti(L, HOSTS, i) != LUA_TNIL : i == 1; i++, lua_settop(L, top)) {
        struct host *host = list ? host_value(L, -1) : host_value(L, HOSTS);
        if (!host && lua_type(L, list ? -1 : HOSTS) != LUA_TSTRING)
            failure_advise(L, "usage", "fleet",
                           "write fleet({\"c1\", host{\"c2\", user = \"root\"}}, function() ... end)",
                           "hosts are text, a host or a list of them, not %s",
                           luaL_typename(L, list ? -1 : HOSTS));
        if (host)
            lua_pushlightuserdata(L, host);
        else
            inventory_push(L, lua_tostring(L, list ? -1 : HOSTS), NULL);
        size_t more = host ? 1 : lua_rawlen(L, -1);
        targets->items = reallocate(targets->items, (targets->count + more) * sizeof *targets->items);
        for (size_t j = 0; j < more; j++) {
            if (!host)
                lua_rawgeti(L, top + 1 + list, (lua_Integer)j + 1);
            targets->items[targets->count++] = (struct target){.host = lua_touserdata(L, -1)};
            lua_settop(L, top + 1 + list);
        }
    }
    lua_settop(L, top);
    return targets;
}

/* Nobody is worked on twice: the first stays. */
static void drop_doubles(struct targets *targets)
{
    size_t kept = 0;
    for (size_t i = 0; i < targets->count; i++) {
        bool there = false;
        for (size_t j = 0; j < kept && !there; j++)
            there = strcmp(targets->items[j].host->machine, targets->items[i].host->machine) == 0;
        if (!there)
            targets->items[kept++] = targets->items[i];
    }
    targets->count = kept;
}

static int begin(lua_State *L, void *context, size_t index)
{
    const struct targets *targets = context;
    report_fleet_start(runtime_of(L), &targets->items[index]);
    lua_pushvalue(L, FUNCTION);
    host_value_push(L, targets->items[index].host);
    return 1;
}

/* [-0, +1, m] results[index] = {host=, ok=, value=, error=}. */
static void end(lua_State *L, void *context, size_t index, int results)
{
    const struct target *target = &((struct targets *)context)->items[index];
    int value = lua_gettop(L) - results + 1;
    report_fleet_end(runtime_of(L), target);
    lua_rawgeti(L, RESULTS, (lua_Integer)index + 1);
    lua_pushboolean(L, target->state == TARGET_DONE);
    lua_setfield(L, -2, "ok");
    if (results > 0) {
        lua_pushvalue(L, value);
        lua_setfield(L, -2, "value");
    }
    if (target->failure) {
        failure_push(L, target->failure); /* with the host and step of this fiber */
        lua_pushstring(L, target->failure->host);
        lua_setfield(L, -2, "host");
        lua_pushstring(L, target->failure->step[0] ? target->failure->step : NULL);
        lua_setfield(L, -2, "step");
        lua_setfield(L, -2, "error");
    }
}

/* [-0, +1, m] A list with an entry for each host: those that are not begun stay as they are made here. */
static void push_results(lua_State *L, const struct targets *targets)
{
    lua_createtable(L, (int)targets->count, 0);
    for (size_t i = 0; i < targets->count; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, targets->items[i].host->name);
        lua_setfield(L, -2, "host");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "ok");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* [-0, +0, v] */
static int raise_failed(lua_State *L, const struct fleet *fleet, size_t failed)
{
    struct failure failure;
    struct buffer told = {0};
    size_t shown = 0;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->targets[i].failure && shown++ < ERRORS_TOLD)
            buffer_format(&told, "%s%s: %s", told.length ? "; " : "", fleet->targets[i].host->name,
                          fleet->targets[i].failure->message);
    if (shown > ERRORS_TOLD)
        buffer_format(&told, "; and %zu more", shown - ERRORS_TOLD);
    fleet_explain(fleet, &told);
    failure_set(&failure, "failed", "fleet", "%zu of %zu hosts failed: %s", failed, fleet->count,
                buffer_text(&told));
    buffer_free(&told);
    failure_push(L, &failure);
    lua_pushvalue(L, RESULTS);
    lua_setfield(L, -2, "results");
    return lua_error(L);
}

/* [-0, +n, v] */
static struct fleet_plan take_plan(lua_State *L, size_t count)
{
    static const char *const names[] = {"forks", "batch", "max_failures", NULL};
    struct fleet_plan plan = {.most_failures = -1};
    if (lua_isnil(L, OPTIONS))
        return plan;
    argument_table(L, OPTIONS, "fleet", names);
    int64_t forks = argument_integer(L, OPTIONS, "fleet", "forks", FLEET_FORKS);
    int64_t most = argument_integer(L, OPTIONS, "fleet", "max_failures", -1);
    if (forks < 1 || most < -1)
        failure_error(L, "usage", "fleet", "forks= is 1 or more, max_failures= 0 or more");
    plan.forks = (size_t)forks;
    plan.most_failures = (long)most;
    if (lua_getfield(L, OPTIONS, "batch") != LUA_TNIL) {
        const char *text = luaL_tolstring(L, -1, NULL);
        if (!fleet_parse_batch(text, count, &plan.batch))
            failure_error(L, "usage", "fleet", "batch= is a number of hosts such as 5 or \"25%%\", not %s",
                          text);
    }
    return plan;
}

static int fleet(lua_State *L)
{
    lua_settop(L, OPTIONS);
    luaL_checktype(L, FUNCTION, LUA_TFUNCTION);
    luaL_argexpected(L, lua_isnil(L, OPTIONS) || lua_istable(L, OPTIONS), OPTIONS, "table");
    struct targets *targets = push_targets(L);
    drop_doubles(targets);
    push_results(L, targets);
    lua_insert(L, RESULTS);
    struct fleet plan = {.plan = take_plan(L, targets->count),
                         .targets = targets->items,
                         .count = targets->count,
                         .context = targets,
                         .begin = begin,
                         .end = end};
    size_t failed = fleet_run(L, &plan);
    size_t tolerated = plan.plan.most_failures > 0 ? (size_t)plan.plan.most_failures : 0;
    if (failed > tolerated)
        return raise_failed(L, &plan, failed);
    lua_pushvalue(L, RESULTS);
    lua_pushinteger(L, (lua_Integer)failed);
    return 2;
}

static const struct binding_function functions[] = {
    {"fleet", fleet,
     "fleet(hosts, function, {forks=, batch=, max_failures=}) -> list of {host=, ok=, value=, error=}, "
     "failed",
     "Calls function(host) for each of the hosts, in which host, apt, systemd, file, consul and nomad act on "
     "that one. `hosts` is "
     "text as --on takes it (\"c1,builder[01-40]\", \"@group\", \"consul:nomad-client\"), a host, or a list "
     "of them. At most "
     "`forks` (32) at the same time; with batch= (5, \"25%\") the next so many begin when the last so many "
     "have ended. A "
     "host that fails does not stop the others; at the end \"failed\" is raised, with `results` in the "
     "error, where more "
     "than max_failures (0) have. With max_failures= no further host is begun when more have failed: its "
     "entry then has "
     "ok = false and no error.",
     "local results = fleet({\"local\"}, function(h) return h.name end)\nassert(results[1].value == "
     "host.name)"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module fleet_module = {
    .name = "_G",
    .about = "Functions for many hosts.",
    .functions = functions,
};
