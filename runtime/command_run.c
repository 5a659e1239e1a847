/* moonbook run: a runbook or a file, on this machine. Scripts and chunks differ in their beginning only. */
#include "buffer.h"
#include "command.h"
#include "fiber.h"
#include "host.h"
#include "interrupt.h"
#include "json.h"
#include "report.h"
#include "terminal.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One execution, from the command line to the exit status. Lives on the heap beside the fiber that runs it. */
struct execution {
    struct runtime *runtime;
    const struct command_line *line;
    struct runbook runbook;
    struct fiber *root;
    bool started; /* parameters were right, the run has begun */
};

/* ---- in the fiber ---- */

/* What is wrong with files that the command line names is wrong usage. */
static int raise_usage(lua_State *L, struct failure *failure)
{
    if (strcmp(failure->kind, "cancelled") != 0)
        snprintf(failure->kind, sizeof failure->kind, "usage");
    return failure_raise(L, failure);
}

/* [-0, +1, v] The table of --vars FILE: JSON, or Lua that returns a table. */
static void push_vars(lua_State *L, const char *path)
{
    struct failure failure;
    size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, ".lua") == 0) {
        if (luaL_loadfilex(L, path, "t") != LUA_OK)
            failure_error(L, "usage", "--vars", "%s", lua_tostring(L, -1));
        lua_call(L, 0, 1);
    } else {
        struct buffer text = {0};
        char error[256] = "";
        bool read = host_read(runtime_of(L)->local, path, &text, &failure);
        bool decoded = read && json_decode(L, buffer_text(&text), text.length, error, sizeof error);
        buffer_wipe(&text);
        if (!read) {
            snprintf(failure.op, sizeof failure.op, "--vars");
            raise_usage(L, &failure);
        }
        if (!decoded)
            failure_error(L, "usage", "--vars", "%s: %s", path, error);
    }
    if (!lua_istable(L, -1))
        failure_error(L, "usage", "--vars", "%s holds no table of parameters", path);
}

/* [-0, +2, v] Everything that may be refused before anything is touched; then the run begins. Pushes the runbook's
 * function and its parameters. */
static void begin_runbook(lua_State *L, struct execution *execution)
{
    const struct command_line *line = execution->line;
    struct failure failure;
    if (!runbook_find(execution->runtime, line->words[0], &execution->runbook, &failure))
        raise_usage(L, &failure);
    runbook_load(L, &execution->runbook);
    int runbook = lua_gettop(L), vars = 0;
    if (line->vars) {
        push_vars(L, line->vars);
        vars = lua_gettop(L);
    }
    runbook_parameters(L, runbook, line->settings, line->setting_count, vars);
    int parameters = lua_gettop(L);
    runbook_validate(L, runbook, parameters);
    runbook_meet_needs(L, runbook, execution->runbook.name);
    runbook_shown_parameters(L, parameters);
    lua_getfield(L, runbook, "about");
    if (!report_run_start(execution->runtime, execution->runbook.name, lua_tostring(L, -1),
                          lua_tostring(L, -2), false, &failure))
        failure_raise(L, &failure);
    lua_getfield(L, runbook, "run");
    lua_pushvalue(L, parameters);
}

/* [-0, +n, v] The loaded script or chunk, and its arguments. Returns their number. */
static int begin_script(lua_State *L, struct execution *execution)
{
    const struct command_line *line = execution->line;
    struct failure failure;
    const char *name = line->chunk ? "-e" : line->words[0];
    if (!line->chunk && !runbook_find(execution->runtime, line->words[0], &execution->runbook, &failure))
        raise_usage(L, &failure);
    if (!line->chunk)
        runbook_search(L, &execution->runbook);
    int status = line->chunk ? luaL_loadbufferx(L, line->chunk, strlen(line->chunk), "=-e", "t")
                             : luaL_loadfilex(L, execution->runbook.path, "t");
    if (status != LUA_OK)
        failure_error(L, "failed", name, "%s", lua_tostring(L, -1));
    int first = line->chunk ? 0 : 1, arguments = (int)line->word_count - first;
    lua_createtable(L, arguments, 1);
    lua_pushstring(L, name);
    lua_rawseti(L, -2, 0);
    for (int i = 1; i <= arguments; i++) {
        lua_pushstring(L, line->words[i - 1 + first]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, arguments, "too many arguments");
    for (int i = 1; i <= arguments; i++)
        lua_pushstring(L, line->words[i - 1 + first]);
    if (!report_run_start(execution->runtime, name, NULL, NULL, true, &failure))
        failure_raise(L, &failure);
    return arguments;
}

static int execute_in_fiber(lua_State *L)
{
    struct execution *execution = lua_touserdata(L, 1);
    int arguments = 1;
    if (execution->line->command)
        begin_runbook(L, execution);
    else
        arguments = begin_script(L, execution);
    execution->started = true;
    lua_call(L, arguments, 0);
    return 0;
}

/* ---- around it ---- */

/* A cancellation has a cause that the operator should read. */
static const char *describe_end(const struct execution *execution, struct failure *failure)
{
    const struct runtime *runtime = execution->runtime;
    if (strcmp(failure->kind, "cancelled") != 0)
        return "failed";
    if (runtime->timed_out) {
        failure_set(failure, "timeout", "--timeout", "the run did not end within %.3g s",
                    (double)execution->line->timeout_ms / 1000.0);
        failure_hint(failure, "run it again with more time: it goes on with what is missing");
        return "failed";
    }
    if (runtime->interrupts > 1)
        failure_set(failure, "cancelled", "", "interrupted twice; what was under way was cut short");
    else if (runtime->interrupts)
        failure_set(failure, "cancelled", "",
                    "interrupted; what was begun was finished, the rest was not begun");
    failure_hint(failure, "run it again: it goes on with what is missing");
    return "interrupted";
}

static int exit_status_of_run(const struct runtime *runtime)
{
    if (!runtime->options.detailed_exitcode)
        return EXIT_DONE;
    unsigned changes = runtime->options.check ? runtime->counts.predicted : runtime->counts.changed;
    return changes ? EXIT_CHANGED : EXIT_DONE;
}

static int finish(struct execution *execution, bool done)
{
    struct runtime *runtime = execution->runtime;
    struct failure failure;
    if (runtime->exit_asked && !runtime->interrupts) {
        if (execution->started)
            report_run_end(runtime, runtime->exit_status == 0 ? "ok" : "failed", NULL);
        return runtime->exit_status;
    }
    if (done) {
        report_host_end(runtime, runtime->local->name, "ok");
        report_run_end(runtime, "ok", NULL);
        return exit_status_of_run(runtime);
    }
    failure_from_lua(runtime->L, -1, &failure);
    if (!execution->started) {
        report_error(runtime, &failure);
        return command_exit_status(&failure);
    }
    const char *status = describe_end(execution, &failure);
    report_host_end(runtime, runtime->local->name, status);
    report_run_end(runtime, status, &failure);
    return strcmp(status, "interrupted") == 0 ? EXIT_INTERRUPTED : EXIT_FAILED;
}

static int execute(struct runtime *runtime, const struct command_line *line)
{
    if (runtime->options.step && !terminal_present()) {
        struct failure failure;
        failure_set(&failure, "usage", "--step", "there is no terminal to ask on");
        failure_hint(&failure, "start it from a terminal; --check --diff shows what --step would ask");
        report_error(runtime, &failure);
        return EXIT_USAGE_ERROR;
    }
    struct execution *execution = allocate_zeroed(1, sizeof *execution);
    execution->runtime = runtime;
    execution->line = line;
    lua_pushcfunction(runtime->L, execute_in_fiber);
    lua_pushlightuserdata(runtime->L, execution);
    execution->root = fiber_start(runtime->L, 1);
    interrupt_watch(runtime, execution->root, line->timeout_ms);
    bool done = fiber_drive(runtime->L, execution->root, NULL);
    int status = finish(execution, done);
    lua_settop(runtime->L, 0);
    interrupt_unwatch(runtime);
    runbook_free(&execution->runbook);
    free(execution);
    return status;
}

int command_script(struct runtime *runtime, const struct command_line *line)
{
    return execute(runtime, line);
}

const struct command command_run = {
    .name = "run",
    .arguments = "RUNBOOK|FILE",
    .about = "run a runbook on this machine",
    .takes = TAKES_JSON | TAKES_RUN | TAKES_SET,
    .least_words = 1,
    .most_words = 1,
    .execute = execute,
};
