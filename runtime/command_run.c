/* moonbook run: a runbook or a file, on this machine or on others. Scripts and chunks differ in their beginning only. */
#include "buffer.h"
#include "command.h"
#include "fiber.h"
#include "fleet.h"
#include "host.h"
#include "interrupt.h"
#include "inventory.h"
#include "json.h"
#include "report.h"
#include "secret.h"
#include "secret_source.h"
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
    const char *name; /* of the runbook, of the script, "-e" */
    struct target *targets;
    struct fleet fleet;
    bool started;    /* parameters were right, the run has begun */
    bool host_begun; /* of several hosts one has begun, or failed by more than its parameters */
    bool failed;     /* of several hosts one was not done */
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

/* [-0, +1, v] The function of the runbook's or script's file, or of the chunk. */
static void push_main(lua_State *L, struct execution *execution)
{
    const struct command_line *line = execution->line;
    struct failure failure;
    execution->name = line->chunk ? "-e" : line->words[0];
    if (!line->chunk && !runbook_find(execution->runtime, line->words[0], &execution->runbook, &failure))
        raise_usage(L, &failure);
    if (line->command) {
        execution->name = execution->runbook.name;
        runbook_compile(L, &execution->runbook);
        return;
    }
    if (!line->chunk)
        runbook_search(L, &execution->runbook);
    int status = line->chunk ? luaL_loadbufferx(L, line->chunk, strlen(line->chunk), "=-e", "t")
                             : luaL_loadfilex(L, execution->runbook.path, "t");
    if (status != LUA_OK)
        failure_error(L, "failed", execution->name, "%s", lua_tostring(L, -1));
}

/* [-0, +1, v] What every host is given: a runbook's parameters, a script's arguments, which are the global `arg` too. */
static void push_given(lua_State *L, struct execution *execution, int main)
{
    const struct command_line *line = execution->line;
    if (line->command) {
        lua_pushvalue(L, main);
        runbook_load(L, &execution->runbook);
        int header = lua_gettop(L);
        if (line->vars)
            push_vars(L, line->vars);
        runbook_given_parameters(L, header, line->settings, line->setting_count, line->vars ? header + 1 : 0);
        return;
    }
    int first = line->chunk ? 0 : 1, arguments = (int)line->word_count - first;
    lua_createtable(L, arguments, 1);
    lua_pushstring(L, execution->name);
    lua_rawseti(L, -2, 0);
    for (int i = 1; i <= arguments; i++) {
        lua_pushstring(L, line->words[i - 1 + first]);
        lua_rawseti(L, -2, i);
    }
    lua_pushvalue(L, -1);
    lua_setglobal(L, "arg");
}

void command_take_sudo_password(lua_State *L, const char *text)
{
    struct secret_source source;
    struct failure failure;
    size_t length;
    if (!secret_source_parse(runtime_of(L), text, &source))
        failure_advise(L, "usage", "--sudo-password",
                       "write prompt, pass:NAME, env:VAR, file:PATH, command:TEXT or - (standard input)",
                       "where the password is, is to be said, not the password itself");
    if (source.place == SECRET_PROMPT)
        source.name = "sudo password: ";
    else if (source.place == SECRET_INPUT)
        source.name = "sudo password";
    if (!secret_source_push(L, &source, &failure))
        raise_usage(L, &failure);
    const char *password = secret_bytes(L, -1, &length);
    if (strlen(password) != length || strchr(password, '\n'))
        failure_error(L, "usage", "--sudo-password", "the password is not one line");
    luaL_ref(L, LUA_REGISTRYINDEX);
    runtime_of(L)->options.sudo = true;
    runtime_of(L)->options.sudo_password = password;
}

/* [-0, +0, v] The hosts: those of --on, else this machine. */
static void take_targets(lua_State *L, struct execution *execution)
{
    const struct command_line *line = execution->line;
    int top = lua_gettop(L);
    if (line->on)
        inventory_push(L, line->on, line->except);
    size_t count = line->on ? lua_rawlen(L, -1) : 1;
    execution->targets = allocate_zeroed(count, sizeof *execution->targets);
    execution->fleet = (struct fleet){
        .plan = {.forks = line->forks, .most_failures = line->most_failures},
        .targets = execution->targets,
        .count = count,
        .context = execution,
    };
    for (size_t i = 0; i < count; i++) {
        if (line->on)
            lua_rawgeti(L, top + 1, (lua_Integer)i + 1);
        execution->targets[i].host = line->on ? lua_touserdata(L, -1) : execution->runtime->local;
        lua_settop(L, top + (line->on != NULL));
    }
    if (line->batch)
        fleet_parse_batch(line->batch, count, &execution->fleet.plan.batch);
    lua_settop(L, top);
}

/* [-0, +(n + 2), v] On its host: the function to call and its n arguments, after all that may be refused before anything is
 * touched; below them the parameters as JSON, or nil. */
static int push_call(lua_State *L, struct execution *execution, int main, int given)
{
    if (!execution->line->command) {
        int arguments = (int)lua_rawlen(L, given);
        luaL_checkstack(L, arguments + 2, "too many arguments");
        lua_pushnil(L);
        lua_pushvalue(L, main);
        for (int i = 1; i <= arguments; i++)
            lua_rawgeti(L, given, i);
        return arguments;
    }
    lua_pushvalue(L, main);
    runbook_load(L, &execution->runbook);
    int header = lua_gettop(L), parameters = header + 1;
    runbook_parameters(L, header, given);
    runbook_validate(L, header, parameters);
    runbook_meet_needs(L, header, execution->runbook.name);
    runbook_shown_parameters(L, parameters);
    lua_getfield(L, header, "run");
    lua_pushvalue(L, parameters);
    return 1;
}

/* [-0, +0, v] The run is announced; `shown` is the index of its parameters as JSON, or of nil. */
static void start_run(lua_State *L, struct execution *execution, int main, int shown)
{
    struct failure failure;
    int top = lua_gettop(L);
    struct report_run run = {
        .runbook = execution->name,
        .params = lua_tostring(L, shown),
        .quiet = !execution->line->command,
        .targets = execution->targets,
        .target_count = execution->fleet.count,
    };
    if (!run.quiet) {
        lua_pushvalue(L, main);
        runbook_load(L, &execution->runbook);
        lua_getfield(L, -1, "about");
        run.about = lua_tostring(L, -1);
    }
    if (!report_run_start(execution->runtime, &run, &failure))
        failure_raise(L, &failure);
    lua_settop(L, top);
    execution->started = true;
}

/* One host: what is refused is refused before the run is on the record. */
static void execute_on_one(lua_State *L, struct execution *execution, int main, int given)
{
    target_enter(execution->runtime, execution->targets);
    int arguments = push_call(L, execution, main, given);
    start_run(L, execution, main, lua_gettop(L) - arguments - 1);
    lua_call(L, arguments, 0);
}

/* ---- on many hosts ---- */

/* The execution, the main function, what is given: in the fiber of a host. */
static int execute_on_host(lua_State *L)
{
    struct execution *execution = lua_touserdata(L, 1);
    int arguments = push_call(L, execution, 2, 3);
    report_host_start(execution->runtime, fiber_context(execution->runtime)->target,
                      lua_tostring(L, lua_gettop(L) - arguments - 1));
    execution->host_begun = true;
    lua_call(L, arguments, 0);
    return 0;
}

static int begin_host(lua_State *L, void *context, size_t index)
{
    (void)index;
    lua_pushcfunction(L, execute_on_host);
    lua_pushlightuserdata(L, context);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    return 3;
}

static void end_host(lua_State *L, void *context, size_t index, int results)
{
    struct execution *execution = context;
    struct target *target = &execution->targets[index];
    (void)L;
    (void)results;
    if (target->failure && strcmp(target->failure->kind, "usage") != 0)
        execution->host_begun = true;
    report_host_end(execution->runtime, target);
}

/* Several hosts: what they are given is known to be right, but what each computes for itself. */
static void execute_on_many(lua_State *L, struct execution *execution, int main, int given)
{
    if (execution->line->command)
        runbook_shown_parameters(L, given);
    else
        lua_pushnil(L);
    start_run(L, execution, main, lua_gettop(L));
    lua_pop(L, 1);
    execution->fleet.begin = begin_host;
    execution->fleet.end = end_host;
    execution->failed = fleet_run(L, &execution->fleet) > 0;
}

static int execute_in_fiber(lua_State *L)
{
    struct execution *execution = lua_touserdata(L, 1);
    enum { MAIN = 1, GIVEN };
    lua_settop(L, 0);
    push_main(L, execution);
    push_given(L, execution, MAIN);
    lua_copy(L, -1, GIVEN);
    lua_settop(L, GIVEN);
    if (execution->line->sudo_source)
        command_take_sudo_password(L, execution->line->sudo_source);
    take_targets(L, execution);
    if (execution->fleet.count == 1)
        execute_on_one(L, execution, MAIN, GIVEN);
    else
        execute_on_many(L, execution, MAIN, GIVEN);
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

/* Some hosts failed. All by their parameters, before anything was done: wrong usage. */
static int finish_fleet(struct execution *execution)
{
    struct buffer why = {0};
    struct failure failure;
    fleet_explain(&execution->fleet, &why);
    failure_set(&failure, "failed", "", "%s", buffer_text(&why));
    report_run_end(execution->runtime, "failed", why.length ? &failure : NULL);
    buffer_free(&why);
    return execution->host_begun ? EXIT_FAILED : EXIT_USAGE_ERROR;
}

/* Of several hosts, those that failed or were cut short by another's os.exit. */
static size_t count_undone(const struct execution *execution)
{
    size_t count = 0;
    for (size_t i = 0; i < execution->fleet.count; i++) {
        const struct target *target = &execution->targets[i];
        bool asked = target->failure && strcmp(target->failure->op, "os.exit") == 0;
        count += target->state != TARGET_DONE && !asked;
    }
    return count;
}

/* os.exit: its status, but 0 only where no other host was left undone. */
static int finish_exit(struct execution *execution)
{
    struct runtime *runtime = execution->runtime;
    size_t count = execution->fleet.count, undone = count > 1 ? count_undone(execution) : 0;
    struct failure failure;
    if (!execution->started)
        return runtime->exit_status;
    bool failed = runtime->exit_status != 0 || undone;
    failure_set(&failure, "failed", "os.exit", "the script ended the run: %zu of %zu hosts were not done",
                undone, count);
    if (count == 1) {
        failure_set(&failure, "failed", "os.exit", "the script ended with status %d", runtime->exit_status);
        target_end(runtime, execution->targets, failed ? &failure : NULL);
        report_host_end(runtime, execution->targets);
    }
    report_run_end(runtime, failed ? "failed" : "ok", undone ? &failure : NULL);
    return failed && !runtime->exit_status ? EXIT_FAILED : runtime->exit_status;
}

static int finish(struct execution *execution, bool done)
{
    struct runtime *runtime = execution->runtime;
    struct failure failure;
    bool single = execution->started && execution->fleet.count == 1;
    if (runtime->exit_asked && !runtime->interrupts)
        return finish_exit(execution);
    if (done && single) {
        target_end(runtime, execution->targets, NULL);
        report_host_end(runtime, execution->targets);
    }
    if (done && execution->failed)
        return finish_fleet(execution);
    if (done) {
        report_run_end(runtime, "ok", NULL);
        return exit_status_of_run(runtime);
    }
    failure_from_lua(runtime->L, -1, &failure);
    if (!execution->started) {
        report_error(runtime, &failure);
        return command_exit_status(&failure);
    }
    const char *status = describe_end(execution, &failure);
    if (single) {
        target_end(runtime, execution->targets, &failure);
        report_host_end(runtime, execution->targets);
    }
    report_run_end(runtime, status, &failure);
    return strcmp(status, "interrupted") == 0 ? EXIT_INTERRUPTED : EXIT_FAILED;
}

/* Everything that the options say is looked at before anything is begun. */
static bool check_options(struct runtime *runtime, const struct command_line *line, struct failure *failure)
{
    size_t batch;
    const char *lonely = line->except ? "--except" : line->batch ? "--batch" : line->forks ? "--forks" : NULL;
    if (runtime->options.step && !terminal_present()) {
        failure_set(failure, "usage", "--step", "there is no terminal to ask on");
        failure_hint(failure, "start it from a terminal; --check --diff shows what --step would ask");
        return false;
    }
    if (runtime->options.repl_on_error && runtime->options.json) {
        failure_set(failure, "usage", "--repl-on-error",
                    "events for a program and a session for a person exclude each other");
        failure_hint(failure, "leave out --json");
        return false;
    }
    if (!line->on && (lonely || line->most_failures >= 0)) {
        failure_set(failure, "usage", lonely ? lonely : "--max-failures",
                    "it is for hosts, and none are named");
        failure_hint(failure, "name them with --on HOST,HOST");
        return false;
    }
    if (line->batch && !fleet_parse_batch(line->batch, 1, &batch))
        return failure_set(failure, "usage", "--batch", "\"%s\" is no number of hosts such as 5 or 25%%",
                           line->batch);
    return true;
}

static int execute(struct runtime *runtime, const struct command_line *line)
{
    struct failure failure;
    if (!check_options(runtime, line, &failure)) {
        report_error(runtime, &failure);
        return EXIT_USAGE_ERROR;
    }
    struct execution *execution = allocate_zeroed(1, sizeof *execution);
    execution->runtime = runtime;
    execution->line = line;
    lua_pushcfunction(runtime->L, execute_in_fiber);
    lua_pushlightuserdata(runtime->L, execution);
    struct fiber *root = fiber_start(runtime->L, 1);
    interrupt_watch(runtime, root, line->timeout_ms);
    bool done = fiber_drive(runtime->L, root, NULL);
    int status = finish(execution, done);
    lua_settop(runtime->L, 0);
    interrupt_unwatch(runtime);
    report_forget_hosts(runtime);
    runbook_free(&execution->runbook);
    for (size_t i = 0; i < execution->fleet.count; i++)
        target_clear(&execution->targets[i]);
    free(execution->targets);
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
    .about = "run a runbook, on this machine or --on others",
    .takes = TAKES_JSON | TAKES_RUN | TAKES_SET | TAKES_HOSTS,
    .least_words = 1,
    .most_words = 1,
    .execute = execute,
};
