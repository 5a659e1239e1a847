/* task(fn): a function of a session that runs on while other inputs are typed. */
#include "failure.h"
#include "fiber.h"
#include "redact.h"
#include "repl.h"
#include "repl_show.h"
#include "report.h"
#include "terminal.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define SAID_MOST 20 /* lines of a result */

/* The first lines; the whole is in the session's variable. */
static void say_result(struct repl_task *task, struct buffer *shown)
{
    size_t lines = 0;
    char *cut = NULL;
    for (char *at = shown->bytes; at && (at = strchr(at, '\n')); at++)
        if (++lines == SAID_MOST)
            cut = at;
    if (cut && lines > SAID_MOST)
        cut[1] = '\0';
    report_say(task->repl->runtime, "task %u is done%s%s%s", task->number, shown->length ? ":\n" : "\n",
               buffer_text(shown), cut && lines > SAID_MOST ? "...\n" : "");
}

/* In the task's fiber: the task, the function. */
static int run_task(lua_State *L)
{
    struct repl_task *task = lua_touserdata(L, 1);
    struct buffer shown = {0};
    struct failure failure;
    unsigned columns, rows;
    struct fiber_context *context = fiber_context(task->repl->runtime);
    context->target = NULL; /* the step and the fleet that began it end before it does */
    context->step = NULL;
    terminal_size(&columns, &rows);
    int status = lua_pcall(L, 0, LUA_MULTRET, 0);
    if (status != LUA_OK) {
        failure_from_lua(L, -1, &failure);
        if (strcmp(failure.kind, "cancelled") == 0)
            report_say(task->repl->runtime, "task %u is cancelled\n", task->number);
        else {
            report_say(task->repl->runtime, "task %u failed:\n", task->number);
            report_error(task->repl->runtime, &failure);
        }
    } else {
        if (lua_gettop(L) > 1)
            show_value(L, 2, columns, &shown);
        say_result(task, &shown);
        buffer_free(&shown);
    }
    task->ended = true;
    lua_settop(L, 0);
    return 0;
}

/* task(function) -> its number. Upvalue 1: the session, NULL once it is over. */
static int begin(lua_State *L)
{
    struct repl *repl = *(struct repl **)lua_touserdata(L, lua_upvalueindex(1));
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (!repl)
        failure_error(L, "usage", "task", "its session is over");
    lua_settop(L, 1);
    struct repl_task *task = allocate_zeroed(1, sizeof *task);
    task->repl = repl;
    task->number = ++repl->task_count;
    task->next = repl->tasks;
    repl->tasks = task;
    lua_pushcfunction(L, run_task);
    lua_pushlightuserdata(L, task);
    lua_pushvalue(L, 1);
    struct fiber_context *context = fiber_context(repl->runtime);
    unsigned input = context->input;
    context->input = 0; /* Ctrl-C is for the input, not for it */
    task->fiber = fiber_start(L, 2);
    fiber_context(repl->runtime)->input = input;
    lua_pushinteger(L, task->number);
    return 1;
}

struct fiber *repl_begin_silent(struct repl *repl, lua_State *L, int arguments)
{
    struct repl_task *task = allocate_zeroed(1, sizeof *task);
    task->repl = repl;
    task->ended = true; /* nothing that :tasks lists */
    task->next = repl->tasks;
    repl->tasks = task;
    task->fiber = fiber_start(L, arguments);
    return task->fiber;
}

void repl_tasks_open(struct repl *repl, int environment)
{
    repl->self = lua_newuserdatauv(repl->L, sizeof *repl->self, 0);
    *repl->self = repl;
    lua_pushvalue(repl->L, -1);
    repl->self_reference = luaL_ref(repl->L, LUA_REGISTRYINDEX);
    lua_pushcclosure(repl->L, begin, 1);
    lua_setfield(repl->L, environment, "task");
}

void repl_tasks_reap(struct repl *repl)
{
    for (struct repl_task **at = &repl->tasks; *at;) {
        struct repl_task *task = *at;
        if (!fiber_ended(task->fiber)) {
            at = &task->next;
            continue;
        }
        int top = lua_gettop(repl->L);
        fiber_join(repl->L, task->fiber, NULL);
        lua_settop(repl->L, top);
        *at = task->next;
        free(task);
    }
}

void repl_tasks_end(struct repl *repl)
{
    for (struct repl_task *task = repl->tasks; task; task = task->next)
        fiber_cancel(task->fiber);
    while (repl->tasks) {
        struct repl_task *task = repl->tasks;
        int top = lua_gettop(repl->L);
        fiber_join(repl->L, task->fiber, NULL);
        lua_settop(repl->L, top);
        repl->tasks = task->next;
        free(task);
    }
    *repl->self = NULL; /* who kept the function in a variable learns that there is nobody to run it for */
    luaL_unref(repl->L, LUA_REGISTRYINDEX, repl->self_reference);
}
