/* moonbook repl: a session on this machine or another. */
#include "command.h"
#include "failure.h"
#include "fiber.h"
#include "host.h"
#include "interrupt.h"
#include "repl.h"
#include "repl_commands.h"
#include "report.h"
#include "runbook.h"
#include "target.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* What the fiber and what drives it share. */
struct session {
    const struct command_line *line;
    struct target target;
    int status;
};

/* [-0, +0, v] The journal waits for the first change. */
static void begin_record(lua_State *L, struct session *session)
{
    struct failure failure;
    struct report_run run = {
        .runbook = "repl", .quiet = true, .targets = &session->target, .target_count = 1};
    if (!report_run_start(runtime_of(L), &run, &failure))
        failure_raise(L, &failure);
}

static void greet(const struct repl *repl)
{
    if (!line_is_typed(repl->reader))
        return;
    puts("moonbook " MOONBOOK_VERSION ", :help tells what can be typed");
    fflush(stdout);
}

static int run_session(lua_State *L)
{
    struct session *session = lua_touserdata(L, 1);
    struct runtime *runtime = runtime_of(L);
    struct repl repl;
    lua_settop(L, 0);
    if (session->line->sudo_source)
        command_take_sudo_password(L, session->line->sudo_source);
    repl_init(&repl, L);
    bool found = !session->line->on || repl_enter_host(&repl, session->line->on);
    session->status = found ? EXIT_DONE : EXIT_USAGE_ERROR;
    if (found) {
        session->target.host = repl.context.host ? repl.context.host : runtime->local;
        begin_record(L, session);
        greet(&repl);
        repl.failed = false;
        repl_run(L, &repl);
        if (repl.failed && !line_is_typed(repl.reader))
            session->status = EXIT_FAILED;
    }
    repl_clear(&repl);
    return 0;
}

static int execute(struct runtime *runtime, const struct command_line *line)
{
    lua_State *L = runtime->L;
    struct session session = {.line = line};
    struct failure failure;
    lua_pushcfunction(L, run_session);
    lua_pushlightuserdata(L, &session);
    struct fiber *root = fiber_start(L, 1);
    interrupt_watch(runtime, root, 0);
    bool done = fiber_drive(L, root, NULL);
    if (!done && !runtime->exit_asked) {
        failure_from_lua(L, -1, &failure);
        report_error(runtime, &failure);
        session.status = command_exit_status(&failure);
    } else if (session.target.host)
        report_run_end(runtime, "ok", NULL);
    if (runtime->exit_asked)
        session.status = runtime->exit_status;
    lua_settop(L, 0);
    interrupt_unwatch(runtime);
    target_clear(&session.target);
    return session.status;
}

const struct command command_repl = {
    .name = "repl",
    .arguments = "",
    .about = "a session: look and change by hand, here or --on one host",
    .takes = TAKES_SESSION,
    .execute = execute,
};
