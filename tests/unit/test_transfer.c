/* HTTP exchanges in fibers, against tests/lua/http_server.py (started here; found from the top of the repository). */
#include "fiber.h"
#include "transfer.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FIBERS 50

static struct {
    pid_t process;
    int port;
    struct runtime *runtime;
} server;

/* What a test wants of its fibers; each makes one request with it. */
struct job {
    struct transfer_request request;
    char url[256];
    struct transfer_answer answer;
    struct failure failure;
    bool answered;
    uint64_t took_ms;
};

static int run_job(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    struct runtime *runtime = runtime_of(L);
    uint64_t started = runtime_now(runtime);
    job->answered = transfer_perform(runtime, &job->request, &job->answer, &job->failure);
    job->took_ms = runtime_now(runtime) - started;
    return 0;
}

static struct fiber *begin(struct job *job)
{
    lua_State *L = server.runtime->L;
    lua_pushcfunction(L, run_job);
    lua_pushlightuserdata(L, job);
    return fiber_start(L, 1);
}

static void perform(struct job *job)
{
    assert_true(fiber_drive(server.runtime->L, begin(job), NULL));
    lua_settop(server.runtime->L, 0);
}

static struct job job_for(const char *path)
{
    struct job job = {.request = TRANSFER_REQUEST};
    snprintf(job.url, sizeof job.url, "http://127.0.0.1:%d%s", server.port, path);
    job.request.op = "test";
    job.request.method = "GET";
    job.request.reads = true;
    return job;
}

/* The URL lives in the job, whose address is known only after job_for returned it. */
#define JOB(name, path)                                                                                      \
    struct job name = job_for(path);                                                                         \
    name.request.url = name.url

static void test_get(void **state)
{
    (void)state;
    JOB(job, "/json");
    perform(&job);
    assert_true(job.answered);
    assert_int_equal(job.answer.status, 200);
    assert_string_equal(transfer_answer_header(&job.answer, "content-TYPE"), "application/json");
    assert_non_null(strstr(buffer_text(&job.answer.body), "1600000000000000001"));
    transfer_answer_free(&job.answer);
}

static void test_bodies_and_headers(void **state)
{
    (void)state;
    const struct transfer_header headers[] = {{"X-Thing", "one", false}, {"X-Empty", "", false}};
    JOB(job, "/echo/a%2Fb/../c");
    job.request.method = "PUT";
    job.request.body = "some bytes";
    job.request.body_length = 10;
    job.request.headers = headers;
    job.request.header_count = 2;
    perform(&job);
    const char *echo = buffer_text(&job.answer.body);
    assert_true(job.answered);
    assert_non_null(strstr(echo, "\"method\": \"PUT\""));
    assert_non_null(strstr(echo, "/echo/a%2Fb/../c"));
    assert_non_null(strstr(echo, "\"body\": \"some bytes\""));
    assert_non_null(strstr(echo, "\"x-thing\": \"one\""));
    assert_non_null(strstr(echo, "\"x-empty\": \"\""));
    assert_null(strstr(echo, "form-urlencoded"));
    transfer_answer_free(&job.answer);
}

static void test_files(void **state)
{
    (void)state;
    FILE *from = tmpfile(), *to = tmpfile();
    fputs("from a file", from);
    fflush(from);
    JOB(job, "/echo");
    job.request.method = "PUT";
    job.request.body_file = fileno(from);
    job.request.answer_file = fileno(to);
    perform(&job);
    assert_true(job.answered);
    assert_int_equal(job.answer.body.length, 0);
    char text[2048] = "";
    assert_true(pread(fileno(to), text, sizeof text - 1, 0) > 0);
    assert_non_null(strstr(text, "\"body\": \"from a file\""));
    transfer_answer_free(&job.answer);
    fclose(from);
    fclose(to);
}

static void test_many_at_once(void **state)
{
    (void)state;
    static struct job jobs[FIBERS];
    struct fiber *fibers[FIBERS];
    uint64_t started = runtime_now(server.runtime);
    for (int i = 0; i < FIBERS; i++) {
        jobs[i] = job_for("/slow/0.5");
        jobs[i].request.url = jobs[i].url;
        fibers[i] = begin(&jobs[i]);
    }
    for (int i = 0; i < FIBERS; i++) {
        assert_true(fiber_drive(server.runtime->L, fibers[i], NULL));
        assert_true(jobs[i].answered);
        assert_string_equal(buffer_text(&jobs[i].answer.body), "late");
        transfer_answer_free(&jobs[i].answer);
    }
    assert_true(runtime_now(server.runtime) - started < 15000); /* not 25 s */
}

static void test_timeout(void **state)
{
    (void)state;
    JOB(job, "/slow/20");
    job.request.timeout_ms = 200;
    perform(&job);
    assert_false(job.answered);
    assert_string_equal(job.failure.kind, "timeout");
    assert_non_null(strstr(job.failure.message, "did not answer"));
    assert_true(job.took_ms >= 190 && job.took_ms < 15000);
    transfer_answer_free(&job.answer);
}

static void cancel(uv_timer_t *timer)
{
    fiber_cancel(timer->data);
    uv_close((uv_handle_t *)timer, NULL);
}

static void test_cancel(void **state)
{
    (void)state;
    static uv_timer_t timer;
    JOB(job, "/slow/20");
    struct fiber *fiber = begin(&job);
    uv_timer_init(&server.runtime->loop, &timer);
    timer.data = fiber;
    uv_timer_start(&timer, cancel, 200, 0);
    assert_true(fiber_drive(server.runtime->L, fiber, NULL));
    assert_false(job.answered);
    assert_string_equal(job.failure.kind, "cancelled");
    assert_true(job.took_ms < 15000);
    transfer_answer_free(&job.answer);
}

static void expect_failure(const char *path, const char *kind, const char *message)
{
    JOB(job, path);
    if (path[0] != '/')
        job.request.url = path;
    job.request.timeout_ms = 60000;
    job.request.answer_limit = 1 << 20;
    perform(&job);
    if (job.answered || strcmp(job.failure.kind, kind) != 0 || !strstr(job.failure.message, message))
        fail_msg("%s: %s: %s", path, job.answered ? "answered" : job.failure.kind, job.failure.message);
    transfer_answer_free(&job.answer);
}

static void test_failures(void **state)
{
    (void)state;
    expect_failure("http://127.0.0.1:1/", "unreachable", "127.0.0.1:1: Connection refused");
    expect_failure("http://nowhere.invalid/", "unreachable", "nowhere.invalid");
    expect_failure("/short", "unreachable", "broke off");
    expect_failure("/reset", "unreachable", "broke off");
    expect_failure("/garbage", "invalid", "HTTP");
    expect_failure("/spaces", "invalid", "larger than 1048576 bytes");
    expect_failure("ftp://127.0.0.1/", "usage", "not an http or https URL");
    expect_failure("/a b", "usage", "not an http or https URL");
}

static void test_header_injection(void **state)
{
    (void)state;
    const struct transfer_header header = {"X-Token", "a\r\nX-Other: b", true};
    JOB(job, "/echo");
    job.request.headers = &header;
    job.request.header_count = 1;
    perform(&job);
    assert_false(job.answered);
    assert_string_equal(job.failure.kind, "usage");
    assert_null(strstr(job.failure.message, "X-Other")); /* it may be a secret */
    transfer_answer_free(&job.answer);
}

static void test_retries(void **state)
{
    (void)state;
    JOB(job, "/busy/unit/2");
    job.request.retries = 2;
    perform(&job);
    assert_true(job.answered);
    assert_int_equal(job.answer.status, 200);
    transfer_answer_free(&job.answer);
    JOB(data, "/busy/data/9");
    data.request.retries = 2;
    data.request.answers = (const int[]){429, 0};
    perform(&data);
    assert_int_equal(data.answer.status, 429);
    assert_string_equal(buffer_text(&data.answer.body), "busy");
    transfer_answer_free(&data.answer);
    JOB(patient, "/busy/late/1?after=60"); /* longer than the time there is: no sleep, the answer as it is */
    patient.request.retries = 2;
    patient.request.timeout_ms = 30000;
    perform(&patient);
    assert_int_equal(patient.answer.status, 429);
    assert_true(patient.took_ms < 20000);
    transfer_answer_free(&patient.answer);
}

static void test_check_refuses_changes(void **state)
{
    (void)state;
    JOB(job, "/echo");
    job.request.reads = false;
    server.runtime->options.check = true;
    perform(&job);
    server.runtime->options.check = false;
    assert_false(job.answered);
    assert_non_null(strstr(job.failure.message, "--check"));
    transfer_answer_free(&job.answer);
}

/* The end of the program with a request under way: no late callback, nothing left. */
static void test_freed_while_waiting(void **state)
{
    (void)state;
    struct runtime *runtime = runtime_new("test");
    static struct job job;
    job = job_for("/slow/20");
    job.request.url = job.url;
    lua_pushcfunction(runtime->L, run_job);
    lua_pushlightuserdata(runtime->L, &job);
    fiber_start(runtime->L, 1);
    runtime_free(runtime);
    assert_false(job.answered);
    transfer_answer_free(&job.answer);
}

static int start(void **state)
{
    (void)state;
    int output[2];
    char port[16] = "";
    if (pipe(output) != 0)
        return -1;
    server.process = fork();
    if (server.process == 0) {
        dup2(output[1], STDOUT_FILENO);
        execlp("python3", "python3", "tests/lua/http_server.py", (char *)NULL);
        _exit(127);
    }
    close(output[1]);
    if (read(output[0], port, sizeof port - 1) <= 0)
        return -1;
    close(output[0]);
    server.port = atoi(port);
    server.runtime = runtime_new("test");
    return server.runtime ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    runtime_free(server.runtime);
    kill(server.process, SIGTERM);
    waitpid(server.process, NULL, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_bodies_and_headers),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_header_injection),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_check_refuses_changes),
        cmocka_unit_test(test_freed_while_waiting),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
