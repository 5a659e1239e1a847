/* The examples beside the functions' documentation: each one runs for real (they clean up after themselves), and every
 * function has what help needs. */
#include "binding.h"
#include "bindings.h"
#include "fiber.h"
#include "report.h"
#include "runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int open_bindings(lua_State *L)
{
    bindings_open(L);
    return 0;
}

static struct runtime *start(void)
{
    struct runtime *runtime = runtime_new("test");
    struct failure failure;
    lua_pushcfunction(runtime->L, open_bindings);
    assert_int_equal(lua_pcall(runtime->L, 0, 0, 0), LUA_OK);
    assert_true(
        report_run_start(runtime, &(struct report_run){.runbook = "examples", .quiet = true}, &failure));
    return runtime;
}

/* Runs one example in a runtime of its own; false and its error printed when it fails. */
static bool runs(const char *module, const struct binding_function *function)
{
    struct runtime *runtime = start();
    lua_State *L = runtime->L;
    bool done = luaL_loadstring(L, function->example) == LUA_OK && fiber_drive(L, fiber_start(L, 0), NULL);
    if (!done)
        print_message("# %s.%s: %s\n", module, function->name, luaL_tolstring(L, -1, NULL));
    runtime_free(runtime);
    return done;
}

static void every_example_runs(void **state)
{
    (void)state;
    unsigned failed = 0, ran = 0;
    struct runtime *runtime = start();
    for (size_t i = 0; runtime->modules[i]; i++) {
        const struct binding_module *module = runtime->modules[i];
        for (const struct binding_function *each = module->functions; each->name; each++) {
            if (!each->example || (module->api && *each->name))
                continue; /* those that need a server run against one: tests/lib/examples.lua */
            failed += !runs(module->name, each);
            ran++;
        }
    }
    runtime_free(runtime);
    assert_int_equal(failed, 0);
    assert_true(ran > 20);
}

static void every_function_is_documented(void **state)
{
    (void)state;
    struct runtime *runtime = start();
    for (size_t i = 0; runtime->modules[i]; i++) {
        const struct binding_module *module = runtime->modules[i];
        assert_non_null(module->about);
        for (const struct binding_function *each = module->functions; each->name; each++) {
            assert_true(each->usage && *each->usage);
            assert_true(each->about && strlen(each->about) > 20);
            assert_non_null(strstr(each->usage, each->name));
        }
    }
    runtime_free(runtime);
}

int main(void)
{
    char folder[] = "/tmp/moonbook-test-XXXXXX", line[64];
    if (!mkdtemp(folder) || setenv("XDG_STATE_HOME", folder, 1) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_runs),
        cmocka_unit_test(every_function_is_documented),
    };
    int failed = cmocka_run_group_tests_name("examples", tests, NULL, NULL);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line) == 0 ? failed : 1;
}
