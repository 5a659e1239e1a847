/* Fibers: waits at any depth, wakes, timeouts, cancellation and its grace, shields, the thread pool. */
#include "fiber.h"
#include "runtime.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = runtime_new("test");
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    runtime_free(*state);
    return 0;
}

/* [-0, +n] Runs a C function in a fiber to its end. */
static bool run(struct runtime *runtime, lua_CFunction function, int *results)
{
    lua_settop(runtime->L, 0);
    lua_pushcfunction(runtime->L, function);
    return fiber_drive(runtime->L, fiber_start(runtime->L, 0), results);
}

static int sleep_20(lua_State *L)
{
    lua_pushinteger(L, fiber_sleep(runtime_of(L), 20));
    return 1;
}

static void a_sleep_ends_after_its_time(void **state)
{
    struct runtime *runtime = *state;
    uint64_t before = runtime_now(runtime);
    int results;
    assert_true(run(runtime, sleep_20, &results));
    assert_int_equal(results, 1);
    assert_int_equal(lua_tointeger(runtime->L, -1), WAIT_TIMEOUT);
    assert_true(runtime_now(runtime) - before >= 20);
}

static int sleep_and_wake(lua_State *L)
{
    fiber_sleep(runtime_of(L), 5);
    fiber_wake(lua_touserdata(L, 1));
    return 0;
}

/* The other's time is over while this one computes: the loop finds its timer due before it waits. */
static int compute_then_wait(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    lua_pushcfunction(L, sleep_and_wake);
    lua_pushlightuserdata(L, runtime->current);
    struct fiber *other = fiber_start(L, 1);
    fiber_sleep(runtime, 0);
    for (uint64_t end = runtime_now(runtime) + 20; runtime_now(runtime) < end;)
        ;
    enum wait_outcome outcome = fiber_suspend(runtime, 2000);
    int results;
    fiber_join(L, other, &results);
    lua_pushinteger(L, outcome);
    return 1;
}

static void a_timer_due_before_the_loop_waits_is_not_late(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_true(run(runtime, compute_then_wait, &results));
    assert_int_equal(lua_tointeger(runtime->L, -1), WAIT_WOKEN);
}

/* ---- waits below Lua ---- */

static int wait_then_compare(lua_State *L)
{
    fiber_sleep(runtime_of(L), 0);
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

static void waits_inside_a_sort_comparator(void **state)
{
    struct runtime *runtime = *state;
    lua_State *L = runtime->L;
    lua_settop(L, 0);
    lua_pushcfunction(L, wait_then_compare);
    lua_setglobal(L, "less");
    assert_int_equal(
        luaL_loadstring(L, "local t = {3, 1, 2} table.sort(t, less) return table.concat(t, ',')"), LUA_OK);
    int results;
    assert_true(fiber_drive(L, fiber_start(L, 0), &results));
    assert_string_equal(lua_tostring(L, -1), "1,2,3");
}

static void a_thousand_at_once(void **state)
{
    struct runtime *runtime = *state;
    struct fiber *fibers[1000];
    uint64_t before = runtime_now(runtime);
    for (size_t i = 0; i < 1000; i++) {
        lua_pushcfunction(runtime->L, sleep_20);
        fibers[i] = fiber_start(runtime->L, 0);
    }
    assert_int_equal(runtime->fiber_count, 1000);
    for (size_t i = 0; i < 1000; i++) {
        int results;
        assert_true(fiber_drive(runtime->L, fibers[i], &results));
        lua_settop(runtime->L, 0);
    }
    assert_int_equal(runtime->fiber_count, 0);
    assert_true(runtime_now(runtime) - before < 15000);
}

/* ---- cancellation ---- */

static int sleep_long(lua_State *L)
{
    struct failure failure;
    enum wait_outcome outcome = fiber_sleep(runtime_of(L), 60000);
    if (outcome != WAIT_TIMEOUT && !fiber_wait_failure(&failure, outcome, "sleep", 0))
        return failure_raise(L, &failure);
    return 0;
}

static int cancel_a_child(lua_State *L)
{
    lua_pushcfunction(L, sleep_long);
    struct fiber *child = fiber_start(L, 0);
    fiber_sleep(runtime_of(L), 5);
    fiber_cancel(child);
    int results;
    bool done = fiber_join(L, child, &results);
    lua_pushboolean(L, !done && failure_is(L, -1, "cancelled"));
    return 1;
}

static void a_cancelled_wait_fails(void **state)
{
    struct runtime *runtime = *state;
    uint64_t before = runtime_now(runtime);
    int results;
    assert_true(run(runtime, cancel_a_child, &results));
    assert_true(lua_toboolean(runtime->L, -1));
    assert_true(runtime_now(runtime) - before < 5000);
}

/* The first wait after a cancellation fails, those after it work: clean-up is given its time. */
static int wait_after_cancel(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    enum wait_outcome first = fiber_sleep(runtime, 60000);
    enum wait_outcome second = fiber_sleep(runtime, 5);
    lua_pushboolean(L, first == WAIT_CANCELLED && second == WAIT_TIMEOUT);
    return 1;
}

static int cancel_and_join(lua_State *L, lua_CFunction function)
{
    lua_pushcfunction(L, function);
    struct fiber *child = fiber_start(L, 0);
    fiber_sleep(runtime_of(L), 5);
    fiber_cancel(child);
    int results;
    return fiber_join(L, child, &results) ? results : lua_error(L);
}

static int grace(lua_State *L)
{
    return cancel_and_join(L, wait_after_cancel);
}

static void clean_up_may_wait(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_true(run(runtime, grace, &results));
    assert_true(lua_toboolean(runtime->L, -1));
}

static int shielded_wait(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    fiber_shield(runtime);
    enum wait_outcome inside = fiber_sleep(runtime, 30);
    fiber_unshield(runtime);
    enum wait_outcome after = fiber_sleep(runtime, 30);
    lua_pushboolean(L, inside == WAIT_TIMEOUT && after == WAIT_CANCELLED);
    return 1;
}

static int shield(lua_State *L)
{
    return cancel_and_join(L, shielded_wait);
}

static void a_shield_puts_a_cancellation_off(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_true(run(runtime, shield, &results));
    assert_true(lua_toboolean(runtime->L, -1));
}

static int killed_wait(lua_State *L)
{
    fiber_shield(runtime_of(L));
    lua_pushboolean(L, fiber_sleep(runtime_of(L), 60000) == WAIT_CANCELLED);
    fiber_unshield(runtime_of(L));
    return 1;
}

static int kill_shielded(lua_State *L)
{
    lua_pushcfunction(L, killed_wait);
    struct fiber *child = fiber_start(L, 0);
    fiber_sleep(runtime_of(L), 5);
    fiber_cancel(child);
    fiber_sleep(runtime_of(L), 5);
    fiber_kill(child);
    int results;
    return fiber_join(L, child, &results) ? results : lua_error(L);
}

static void a_kill_reaches_behind_a_shield(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_true(run(runtime, kill_shielded, &results));
    assert_true(lua_toboolean(runtime->L, -1));
}

/* ---- the rest ---- */

static int raise_failure(lua_State *L)
{
    fiber_sleep(runtime_of(L), 1);
    return failure_error(L, "failed", "test", "on purpose");
}

static void an_error_ends_the_fiber_and_is_kept(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_false(run(runtime, raise_failure, &results));
    assert_true(failure_is(runtime->L, -1, "failed"));
}

static int collector_wait(lua_State *L)
{
    lua_pushinteger(L, fiber_sleep(runtime_of(L), 1));
    lua_setglobal(L, "outcome");
    return 0;
}

static int wait_in_collector(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, collector_wait);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    lua_gc(L, LUA_GCCOLLECT, 0);
    lua_getglobal(L, "outcome");
    return 1;
}

static void a_wait_in_the_collector_is_refused(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_true(run(runtime, wait_in_collector, &results));
    assert_int_equal(lua_tointeger(runtime->L, -1), WAIT_REFUSED);
}

static void double_it(void *argument)
{
    *(int *)argument *= 2;
}

static int offload(lua_State *L)
{
    int number = 21;
    bool done = fiber_offload(runtime_of(L), double_it, &number);
    lua_pushinteger(L, done ? number : -1);
    return 1;
}

static void work_is_done_on_the_pool(void **state)
{
    struct runtime *runtime = *state;
    int results;
    assert_true(run(runtime, offload, &results));
    assert_int_equal(lua_tointeger(runtime->L, -1), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sleep_ends_after_its_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_timer_due_before_the_loop_waits_is_not_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_inside_a_sort_comparator, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_thousand_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_wait_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clean_up_may_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shield_puts_a_cancellation_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_kill_reaches_behind_a_shield, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_ends_the_fiber_and_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wait_in_the_collector_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(work_is_done_on_the_pool, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("fiber", tests, NULL, NULL);
}
