/* Child processes: outputs, input, exit statuses and signals, timeouts that end the whole group, streams. */
#include "fiber.h"
#include "process.h"
#include "runtime.h"

#include <lauxlib.h>
#include <linux/close_range.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct expectation {
    struct process_options options;
    struct process_result result;
    struct failure failure;
    bool done;
};

static int run_in_fiber(lua_State *L)
{
    struct expectation *expectation = lua_touserdata(L, 1);
    expectation->done =
        process_run(runtime_of(L), &expectation->options, &expectation->result, &expectation->failure);
    return 0;
}

static void run(struct expectation *expectation)
{
    struct runtime *runtime = runtime_new("test");
    if (!expectation->options.timeout_ms)
        expectation->options.timeout_ms = 20000;
    lua_pushcfunction(runtime->L, run_in_fiber);
    lua_pushlightuserdata(runtime->L, expectation);
    assert_true(fiber_drive(runtime->L, fiber_start(runtime->L, 1), NULL));
    runtime_free(runtime);
}

#define SHELL(line)                                                                                          \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        "sh", "-c", line, NULL                                                                               \
    }

static void both_outputs_and_the_status(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("echo out; echo err >&2; exit 7")};
    run(&e);
    assert_true(e.done);
    assert_int_equal(e.result.status, 7);
    assert_int_equal(e.result.signal, 0);
    assert_string_equal(buffer_text(&e.result.output), "out\n");
    assert_string_equal(buffer_text(&e.result.error), "err\n");
    process_result_free(&e.result);
}

static void a_signal_is_not_a_status(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("kill -9 $$")};
    run(&e);
    assert_true(e.done);
    assert_int_equal(e.result.status, -1);
    assert_int_equal(e.result.signal, SIGKILL);
    process_result_free(&e.result);
}

static void input_reaches_the_command(void **state)
{
    (void)state;
    size_t size = 3 << 20; /* more than a pipe holds, both ways */
    char *text = malloc(size);
    memset(text, 'x', size);
    struct expectation e = {.options = {.argv = SHELL("cat"), .input = text, .input_length = size}};
    run(&e);
    assert_true(e.done);
    assert_int_equal(e.result.output.length, size);
    assert_memory_equal(e.result.output.bytes, text, size);
    process_result_free(&e.result);
    free(text);
}

static void a_command_that_reads_nothing_is_no_failure(void **state)
{
    (void)state;
    static char text[1 << 20];
    struct expectation e = {.options = {.argv = SHELL("exit 0"), .input = text, .input_length = sizeof text}};
    run(&e);
    assert_true(e.done);
    assert_int_equal(e.result.status, 0);
    process_result_free(&e.result);
}

static void much_on_standard_error_does_not_block(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("head -c 20000000 /dev/zero >&2; echo done")};
    run(&e);
    assert_true(e.done);
    assert_int_equal(e.result.error.length, 20000000);
    assert_string_equal(buffer_text(&e.result.output), "done\n");
    process_result_free(&e.result);
}

static void too_much_output_is_a_failure(void **state)
{
    (void)state;
    struct expectation e = {.options = {.argv = SHELL("yes"), .output_limit = 1 << 20}};
    run(&e);
    assert_false(e.done);
    assert_string_equal(e.failure.kind, "failed");
    process_result_free(&e.result);
}

/* The grandchild holds on: after the timeout it must be gone too. */
static void a_timeout_ends_the_whole_group(void **state)
{
    (void)state;
    char folder[] = "/tmp/moonbook-test-XXXXXX", line[256], path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pid", folder);
    snprintf(line, sizeof line,
             "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > %s; sleep 60; sleep 60' & wait; sleep 60", path);
    struct expectation e = {.options = {.argv = SHELL(line), .timeout_ms = 2000}};
    run(&e);
    assert_false(e.done);
    assert_string_equal(e.failure.kind, "timeout");
    process_result_free(&e.result);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int process = 0;
    assert_int_equal(fscanf(file, "%d", &process), 1);
    fclose(file);
    /* Killed: it is gone as soon as the machine comes to it; its zombie may wait for init. */
    char status[64], letter = 0;
    snprintf(status, sizeof status, "/proc/%d/stat", process);
    for (int tries = 0; tries < 6000 && letter != 'Z' && (file = fopen(status, "r")); tries++) {
        if (fscanf(file, "%*d %*s %c", &letter) != 1)
            letter = 'Z'; /* it went while it was read */
        fclose(file);
        usleep(10000);
    }
    assert_true(letter == 'Z' || access(status, F_OK) != 0);
    unlink(path);
    rmdir(folder);
}

static void a_background_child_does_not_hold_the_run(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("sleep 120 & echo $!")};
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    run(&e);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(e.done);
    assert_true(after.tv_sec - before.tv_sec < 60);
    assert_int_equal(kill((pid_t)atoi(buffer_text(&e.result.output)), SIGTERM), 0);
    process_result_free(&e.result);
}

static void a_missing_program_is_named(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = (const char *const[]){"moonbook-no-such-program", NULL}};
    run(&e);
    assert_false(e.done);
    assert_string_equal(e.failure.kind, "not-found");
    assert_non_null(strstr(e.failure.message, "moonbook-no-such-program"));
    process_result_free(&e.result);
}

static void the_environment_is_added_to(void **state)
{
    (void)state;
    setenv("MOONBOOK_TEST_OLD", "old", 1);
    struct expectation e = {
        .options = {.argv = SHELL("echo $MOONBOOK_TEST_OLD $HOME_OF_IT"),
                    .environment = (const char *const[]){"MOONBOOK_TEST_OLD=new", "HOME_OF_IT=x", NULL}}};
    run(&e);
    assert_string_equal(buffer_text(&e.result.output), "new x\n");
    process_result_free(&e.result);
}

static void no_descriptor_leaks_into_a_child(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("ls /proc/self/fd | tr '\\n' ' '")};
    run(&e);
    assert_string_equal(buffer_text(&e.result.output), "0 1 2 3 "); /* 3 is ls itself */
    process_result_free(&e.result);
}

/* ---- streams ---- */

static int read_lines(lua_State *L)
{
    struct expectation *e = lua_touserdata(L, 1);
    struct process_stream *stream = process_open(runtime_of(L), &e->options, &e->failure);
    struct buffer line = {0};
    int got;
    while ((got = process_read_line(stream, &line, 5000, &e->failure)) == 1) {
        buffer_append(&e->result.output, buffer_text(&line), line.length);
        buffer_append_text(&e->result.output, "|");
    }
    e->done = got == 0;
    buffer_free(&line);
    process_close(stream);
    return 0;
}

static void stream(struct expectation *expectation)
{
    struct runtime *runtime = runtime_new("test");
    lua_pushcfunction(runtime->L, read_lines);
    lua_pushlightuserdata(runtime->L, expectation);
    assert_true(fiber_drive(runtime->L, fiber_start(runtime->L, 1), NULL));
    runtime_free(runtime);
}

static void a_stream_gives_line_by_line(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("echo one; echo; printf three")};
    stream(&e);
    assert_true(e.done);
    assert_string_equal(buffer_text(&e.result.output), "one||three|");
    process_result_free(&e.result);
}

static void a_stream_gives_long_lines_whole(void **state)
{
    (void)state;
    struct expectation e = {.options.argv =
                                SHELL("echo 1; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo 3")};
    stream(&e);
    assert_true(e.done);
    assert_int_equal(e.result.output.length, 2 + 3000001 + 2);
    assert_string_equal(buffer_text(&e.result.output) + 3000000, "xx|3|");
    process_result_free(&e.result);
}

static void a_line_without_an_end_is_a_failure(void **state)
{
    (void)state;
    struct expectation e = {.options.argv = SHELL("exec tr '\\0' x </dev/zero")};
    stream(&e);
    assert_false(e.done);
    assert_string_equal(e.failure.kind, "failed");
    assert_non_null(strstr(e.failure.message, "a line of more than 16 MiB"));
    process_result_free(&e.result);
}

int main(void)
{
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* what the test's caller left open, as main.c does */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_outputs_and_the_status),
        cmocka_unit_test(a_signal_is_not_a_status),
        cmocka_unit_test(input_reaches_the_command),
        cmocka_unit_test(a_command_that_reads_nothing_is_no_failure),
        cmocka_unit_test(much_on_standard_error_does_not_block),
        cmocka_unit_test(too_much_output_is_a_failure),
        cmocka_unit_test(a_timeout_ends_the_whole_group),
        cmocka_unit_test(a_background_child_does_not_hold_the_run),
        cmocka_unit_test(a_missing_program_is_named),
        cmocka_unit_test(the_environment_is_added_to),
        cmocka_unit_test(no_descriptor_leaks_into_a_child),
        cmocka_unit_test(a_stream_gives_line_by_line),
        cmocka_unit_test(a_stream_gives_long_lines_whole),
        cmocka_unit_test(a_line_without_an_end_is_a_failure),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
