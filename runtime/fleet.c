/* The schedule of a fleet: a fiber a host, a window of forks, batches, a budget of failures. */
#include "fleet.h"

#include "fiber.h"
#include "group.h"
#include "host.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FILES_OWN 256 /* open ones beside those of hosts */
#define FILES_A_HOST                                                                                         \
    6 /* a connection, or the ends of the ssh program's; forwards and what goes through them */

bool fleet_parse_batch(const char *text, size_t count, size_t *batch)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long number = strtoul(text, &end, 10);
    bool share = strcmp(end, "%") == 0;
    if ((*end && !share) || number == 0 || number > (share ? 100 : 1000000))
        return false;
    *batch = share ? (count * number + 99) / 100 : number;
    return true;
}

/* ---- in the fiber of a host ---- */

/* The target, what is called, its arguments. */
static int work(lua_State *L)
{
    struct target *target = lua_touserdata(L, 1);
    target_enter(runtime_of(L), target);
    lua_remove(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- in the one that began them ---- */

static size_t count_in(const struct fleet *fleet, size_t from, size_t to, enum target_state state)
{
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        count += fleet->targets[i].state == state;
    return count;
}

/* May the next host be begun? `next` is its index. */
static bool may_begin(const struct fleet *fleet, size_t next)
{
    size_t batch = fleet->plan.batch, failed = count_in(fleet, 0, next, TARGET_FAILED);
    if (fleet->plan.most_failures >= 0)
        return failed <= (size_t)fleet->plan.most_failures;
    return !batch || next % batch || !next || count_in(fleet, next - batch, next, TARGET_FAILED) < batch;
}

/* The fiber copies the context as it starts; its host and target are set in it before it does anything. */
static void begin_next(lua_State *L, const struct fleet *fleet, struct group *group)
{
    size_t index = group_started(group);
    luaL_checkstack(L, 8, "fleet");
    lua_pushcfunction(L, work);
    lua_pushlightuserdata(L, &fleet->targets[index]);
    int arguments = fleet->begin(L, fleet->context, index);
    group_start(L, group, arguments + 2);
}

static void end_one(lua_State *L, const struct fleet *fleet, struct group *group, size_t index)
{
    struct target *target = &fleet->targets[index];
    int top = lua_gettop(L), results = 0;
    if (target->state == TARGET_WAITING) /* cancelled before it ran */
        target->started_ms = runtime_now(runtime_of(L));
    bool done = group_join(L, group, index, &results);
    luaL_checkstack(L, 8, "fleet");
    if (done) {
        target_end(runtime_of(L), target, NULL);
    } else {
        struct failure failure;
        failure_from_lua(L, -1, &failure);
        if (!failure.host[0])
            snprintf(failure.host, sizeof failure.host, "%s", target->host->name);
        target_end(runtime_of(L), target, &failure);
        lua_settop(L, top);
        results = 0;
    }
    fleet->end(L, fleet->context, index, results);
    lua_settop(L, top);
}

/* [-0, +0, v] Each is cancelled and awaited, then the cancellation goes on up. */
static void end_all(lua_State *L, const struct fleet *fleet, struct group *group, enum wait_outcome outcome)
{
    struct failure failure;
    group_cancel(group);
    for (size_t index; (index = group_left(group)) != GROUP_NONE;)
        end_one(L, fleet, group, index);
    fiber_wait_failure(&failure, outcome, "fleet", 0);
    failure_raise(L, &failure);
}

/* Connections stay until the run ends. Where the limit that programs begin with is too low for so many, it goes up as far as it
 * may. */
static void allow_files(size_t hosts)
{
    struct rlimit limit;
    rlim_t wanted = FILES_OWN + FILES_A_HOST * (rlim_t)hosts;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

size_t fleet_run(lua_State *L, const struct fleet *fleet)
{
    struct runtime *runtime = runtime_of(L);
    if (!fiber_may_wait(runtime))
        failure_error(L, "usage", "fleet", "a wait inside __gc is refused");
    allow_files(fleet->count);
    struct group *group = group_push(L, fleet->count);
    size_t forks = fleet->plan.forks ? fleet->plan.forks : FLEET_FORKS, batch = fleet->plan.batch;
    for (;;) {
        size_t next;
        while ((next = group_started(group)) < fleet->count && group_running(group) < forks &&
               (!batch || next % batch || !group_running(group)) && may_begin(fleet, next))
            begin_next(L, fleet, group);
        if (!group_running(group))
            break;
        enum wait_outcome outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
        for (size_t index; (index = group_ended(group)) != GROUP_NONE;)
            end_one(L, fleet, group, index);
        if (outcome == WAIT_CANCELLED || outcome == WAIT_REFUSED)
            end_all(L, fleet, group, outcome);
    }
    return count_in(fleet, 0, fleet->count, TARGET_FAILED);
}

void fleet_explain(const struct fleet *fleet, struct buffer *why)
{
    size_t waiting = count_in(fleet, 0, fleet->count, TARGET_WAITING);
    size_t failed = count_in(fleet, 0, fleet->count, TARGET_FAILED);
    if (!waiting)
        return;
    buffer_format(why, "%s%zu of %zu hosts not begun: %zu failed, and ", why->length ? "; " : "", waiting,
                  fleet->count, failed);
    if (fleet->plan.most_failures >= 0)
        buffer_format(why, "max-failures is %ld", fleet->plan.most_failures);
    else
        buffer_append_text(why, "every host of the last batch did");
}
