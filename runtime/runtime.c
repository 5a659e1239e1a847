/* The runtime's life: what is made at the start and released at the end. */
#include "runtime.h"

#include "buffer.h"
#include "failure.h"
#include "fiber.h"
#include "host.h"
#include "hosts.h"
#include "interrupt.h"
#include "journal.h"
#include "json.h"
#include "redact.h"
#include "repl_line.h"
#include "report.h"
#include "secret.h"
#include "transfer.h"
#include "unknown.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

uint64_t runtime_now(struct runtime *runtime)
{
    (void)runtime;
    return uv_hrtime() / 1000000;
}

int64_t wall_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int open_libraries(lua_State *L)
{
    luaL_openlibs(L);
    failure_open(L);
    json_open(L);
    unknown_open(L);
    secret_open(L);
    return 0;
}

struct runtime *runtime_new(const char *program)
{
    struct runtime *runtime = allocate_zeroed(1, sizeof *runtime);
    if (uv_loop_init(&runtime->loop) != 0) {
        free(runtime);
        return NULL;
    }
    fiber_watch_loop(runtime);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of that write */
    runtime->program = copy_text(program);
    runtime->redactor = redactor_new();
    runtime->reporter = reporter_new(runtime);
    runtime->local = host_local_new(runtime);
    runtime->L = luaL_newstate();
    if (runtime->L) {
        *(struct runtime **)lua_getextraspace(runtime->L) = runtime;
        lua_gc(runtime->L, LUA_GCGEN, 0, 0);
        lua_pushcfunction(runtime->L, open_libraries);
        if (lua_pcall(runtime->L, 0, 0, 0) == LUA_OK)
            return runtime;
    }
    runtime_free(runtime);
    return NULL;
}

/* Every fiber is joined by whoever started it; after a fatal error some may be left. */
static void end_fibers(struct runtime *runtime)
{
    while (runtime->fibers && runtime->L) {
        struct fiber *fiber = runtime->fibers;
        fiber_kill(fiber);
        fiber_drive(runtime->L, fiber, NULL);
        lua_settop(runtime->L, 0);
    }
}

static void close_handle(uv_handle_t *handle, void *argument)
{
    (void)argument;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void runtime_free(struct runtime *runtime)
{
    end_fibers(runtime);
    interrupt_unwatch(runtime);
    transfers_free(runtime);
    line_reader_free(runtime->reader);
    hosts_close(runtime);
    if (runtime->L)
        lua_close(runtime->L);
    /* Children that were told to end: their exits are awaited, their timers kill them after two seconds. */
    uv_run(&runtime->loop, UV_RUN_DEFAULT);
    uv_walk(&runtime->loop, close_handle, NULL);
    uv_run(&runtime->loop, UV_RUN_DEFAULT);
    uv_loop_close(&runtime->loop);
    fiber_release_stacks(runtime);
    journal_close(runtime->journal);
    reporter_free(runtime->reporter);
    hosts_free(runtime);
    host_free(runtime->local);
    redactor_free(runtime->redactor);
    free(runtime->program);
    free(runtime);
}
