/* The gate and its journal: what is decided by the mode, what is on the record and when, what is kept for an undo, how
 * counts and the overlay follow, that no secret gets into the record. */
#include "change.h"
#include "fiber.h"
#include "host.h"
#include "journal.h"
#include "json.h"
#include "overlay.h"
#include "redact.h"
#include "report.h"
#include "runtime.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A runtime whose state lies in a folder of its own. */
struct scene {
    struct runtime *runtime;
    char folder[64];
    char target[128]; /* a file that the change is about */
    bool applied;
    char journal_at_apply[8192]; /* what was on the record when the change was to be made */
};

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    strcpy(scene->folder, "/tmp/moonbook-test-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    setenv("XDG_STATE_HOME", scene->folder, 1);
    scene->runtime = runtime_new("test");
    assert_non_null(scene->runtime);
    free(scene->runtime->local->state);
    scene->runtime->local->state = strdup(scene->folder);
    snprintf(scene->target, sizeof scene->target, "%s/target", scene->folder);
    FILE *file = fopen(scene->target, "w");
    fputs("before\n", file);
    fclose(file);
    *state = scene;
    return freopen("/dev/null", "w", stderr) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    char line[128];
    runtime_free(scene->runtime);
    snprintf(line, sizeof line, "rm -rf %s", scene->folder);
    int status = system(line);
    free(scene);
    return status;
}

static void read_journal(struct scene *scene, char *out, size_t size)
{
    char path[256];
    out[0] = '\0';
    if (!scene->runtime->journal)
        return;
    snprintf(path, sizeof path, "%s/moonbook/runs/%s/journal.jsonl", scene->folder,
             journal_run(scene->runtime->journal));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
}

static struct change change_of(struct scene *scene)
{
    return (struct change){.kind = "file.present",
                           .target = scene->target,
                           .before = "{\"size\":7}",
                           .after = "{\"size\":6}",
                           .undo = "{\"op\":\"restore\"}",
                           .keep = scene->target};
}

static int make_change(lua_State *L)
{
    struct scene *scene = lua_touserdata(L, 1);
    struct change change = change_of(scene);
    if (change_begin(L, &change) == CHANGE_APPLY) {
        scene->applied = true;
        read_journal(scene, scene->journal_at_apply, sizeof scene->journal_at_apply);
    }
    change_end(L, &change);
    return change_push_result(L, &change, scene->applied);
}

static bool drive(struct scene *scene, lua_CFunction function)
{
    lua_State *L = scene->runtime->L;
    lua_settop(L, 0);
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, scene);
    return fiber_drive(L, fiber_start(L, 1), NULL);
}

static void start_run(struct scene *scene)
{
    struct failure failure;
    assert_true(report_run_start(
        scene->runtime, &(struct report_run){.runbook = "test", .params = "{}", .quiet = true}, &failure));
}

/* ---- applying ---- */

static void announced_before_it_is_made(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_true(drive(scene, make_change));
    assert_true(scene->applied);
    assert_non_null(strstr(scene->journal_at_apply, "\"event\":\"run.start\""));
    assert_non_null(strstr(scene->journal_at_apply, "\"event\":\"change.start\""));
    assert_null(strstr(scene->journal_at_apply, "\"event\":\"change\""));
    char after[8192];
    read_journal(scene, after, sizeof after);
    assert_non_null(strstr(after, "\"status\":\"changed\""));
    assert_int_equal(scene->runtime->counts.changed, 1);
}

static void what_was_there_is_kept(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_true(drive(scene, make_change));
    const char *kept = strstr(scene->journal_at_apply, "\"kept\":\"");
    assert_non_null(kept);
    char path[256] = "", content[64] = "";
    assert_int_equal(sscanf(kept, "\"kept\":\"%255[^\"]", path), 1);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(content, sizeof content, file));
    fclose(file);
    assert_string_equal(content, "before\n");
    struct stat folder;
    *strrchr(path, '/') = '\0';
    assert_int_equal(stat(path, &folder), 0);
    assert_int_equal(folder.st_mode & 0777, 0700);
}

static void the_result_has_before_and_after(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_true(drive(scene, make_change));
    lua_State *L = scene->runtime->L;
    assert_int_equal(lua_getfield(L, -1, "before"), LUA_TTABLE);
    lua_getfield(L, -1, "size");
    assert_int_equal(lua_tointeger(L, -1), 7);
}

static int fail_change(lua_State *L)
{
    struct scene *scene = lua_touserdata(L, 1);
    struct change change = change_of(scene);
    struct failure failure;
    change_begin(L, &change);
    failure_set(&failure, "failed", "test", "the disk is full");
    return change_fail(L, &change, &failure);
}

static void a_failure_is_recorded_and_raised(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_false(drive(scene, fail_change));
    assert_true(failure_is(scene->runtime->L, -1, "failed"));
    char journal[8192];
    read_journal(scene, journal, sizeof journal);
    assert_non_null(strstr(journal, "\"status\":\"failed\""));
    assert_non_null(strstr(journal, "the disk is full"));
    assert_int_equal(scene->runtime->counts.failed, 1);
}

/* ---- not applying ---- */

static void check_predicts_and_touches_nothing(void **state)
{
    struct scene *scene = *state;
    scene->runtime->options.check = true;
    start_run(scene);
    assert_true(drive(scene, make_change));
    assert_false(scene->applied);
    assert_int_equal(scene->runtime->counts.predicted, 1);
    assert_int_equal(scene->runtime->counts.changed, 0);
    char path[128];
    snprintf(path, sizeof path, "%s/moonbook/undo", scene->folder);
    assert_int_equal(access(path, F_OK), -1);
}

static void no_journal_no_change(void **state)
{
    struct scene *scene = *state;
    char path[128];
    /* A file where the folder should be: root may write to everything else. */
    snprintf(path, sizeof path, "%s/moonbook", scene->folder);
    fclose(fopen(path, "w"));
    start_run(scene);
    assert_false(drive(scene, make_change));
    assert_false(scene->applied);
    assert_int_equal(scene->runtime->counts.changed, 0);
}

static int cancelled_change(lua_State *L)
{
    fiber_cancel(runtime_of(L)->current);
    return make_change(L);
}

static void nothing_begins_after_an_interrupt(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_false(drive(scene, cancelled_change));
    assert_true(failure_is(scene->runtime->L, -1, "cancelled"));
    assert_false(scene->applied);
}

static int interrupted_change(lua_State *L)
{
    struct scene *scene = lua_touserdata(L, 1);
    struct change change = change_of(scene);
    change_begin(L, &change);
    fiber_cancel(runtime_of(L)->current);
    scene->applied = fiber_sleep(runtime_of(L), 5) == WAIT_TIMEOUT; /* goes on */
    change_end(L, &change);
    return 0;
}

static void a_change_under_way_is_finished(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_true(drive(scene, interrupted_change));
    assert_true(scene->applied);
    assert_int_equal(scene->runtime->counts.changed, 1);
}

/* ---- what gets out ---- */

static int secret_change(lua_State *L)
{
    struct scene *scene = lua_touserdata(L, 1);
    struct change change = change_of(scene);
    change.after = "{\"token\":\"hvs.CANARY-1234\"}";
    change.diff = "+token hvs.CANARY-1234\n";
    change_begin(L, &change);
    change_end(L, &change);
    return 0;
}

static void a_secret_is_not_written_down(void **state)
{
    struct scene *scene = *state;
    assert_true(redactor_add(scene->runtime->redactor, "hvs.CANARY-1234", 15));
    start_run(scene);
    assert_true(drive(scene, secret_change));
    char journal[8192];
    read_journal(scene, journal, sizeof journal);
    assert_null(strstr(journal, "CANARY"));
    assert_non_null(strstr(journal, "<secret>"));
}

static void every_line_of_the_journal_is_json(void **state)
{
    struct scene *scene = *state;
    start_run(scene);
    assert_true(drive(scene, make_change));
    report_run_end(scene->runtime, "ok", NULL);
    char journal[16384], error[128];
    read_journal(scene, journal, sizeof journal);
    unsigned lines = 0;
    for (char *line = strtok(journal, "\n"); line; line = strtok(NULL, "\n"), lines++)
        assert_true(json_decode(scene->runtime->L, line, strlen(line), error, sizeof error));
    assert_int_equal(lines, 4); /* run.start, change.start, change, run.end */
}

/* ---- the overlay ---- */

static int predict(lua_State *L)
{
    struct host *host = runtime_of(L)->local;
    assert_false(overlay_get(L, host, "unit", "nomad.service"));
    lua_pushliteral(L, "predicted");
    overlay_put(L, host, "unit", "nomad.service");
    lua_pushboolean(L, overlay_get(L, host, "unit", "nomad.service"));
    assert_false(overlay_get(L, host, "user", "nomad.service"));
    return 1;
}

static void the_overlay_remembers_by_kind_and_name(void **state)
{
    struct scene *scene = *state;
    scene->runtime->options.check = true;
    assert_true(drive(scene, predict));
    assert_true(lua_toboolean(scene->runtime->L, -1));
}

#define SCENE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(announced_before_it_is_made),
        SCENE_TEST(what_was_there_is_kept),
        SCENE_TEST(the_result_has_before_and_after),
        SCENE_TEST(a_failure_is_recorded_and_raised),
        SCENE_TEST(check_predicts_and_touches_nothing),
        SCENE_TEST(no_journal_no_change),
        SCENE_TEST(nothing_begins_after_an_interrupt),
        SCENE_TEST(a_change_under_way_is_finished),
        SCENE_TEST(a_secret_is_not_written_down),
        SCENE_TEST(every_line_of_the_journal_is_json),
        SCENE_TEST(the_overlay_remembers_by_kind_and_name),
    };
    return cmocka_run_group_tests_name("change", tests, NULL, NULL);
}
