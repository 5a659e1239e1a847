/* The commands of a session, a row each: running, :help and completion read it. */
#include "repl_commands.h"

#include "failure.h"
#include "fiber.h"
#include "foreground.h"
#include "host.h"
#include "inventory.h"
#include "json.h"
#include "nearest.h"
#include "quantity.h"
#include "redact.h"
#include "repl_show.h"
#include "report.h"
#include "terminal.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what they say ---- */

static void say(struct repl *repl, const char *text)
{
    struct buffer out = {0};
    buffer_append_text(&out, text);
    repl_print(repl, &out);
    buffer_free(&out);
}

/* ---- :help ---- */

/* The text, broken at blanks before the screen ends; its lines but the first begin behind `indent` blanks. */
static void add_wrapped(struct buffer *out, const char *text, size_t indent, size_t columns)
{
    size_t room = columns > indent + 20 ? columns - indent - 1 : SIZE_MAX;
    for (size_t length; (length = strlen(text)); text += length + (text[length] == ' ')) {
        if (length > room)
            for (length = room; length > 1 && text[length] != ' '; length--)
                ;
        buffer_append(out, text, length);
        buffer_format(out, "\n%*s", text[length] ? (int)indent : 0, "");
    }
}

/* [-0, +0, -] What :help lists first. */
static void list_commands(struct buffer *out)
{
    unsigned columns, rows;
    terminal_size(&columns, &rows);
    buffer_append_text(out,
                       "Lua with every module loaded. What an expression gives is shown; _ is the last.\n"
                       "Reads run at once; each change is shown and asked for: y, n, a, d.\n\n");
    for (const struct repl_command *each = repl_commands; each->name; each++) {
        char head[64];
        snprintf(head, sizeof head, ":%s%s%s", each->name, *each->arguments ? " " : "", each->arguments);
        buffer_format(out, "  %-30s ", head);
        add_wrapped(out, each->about, 33, columns);
    }
    buffer_append_text(out,
                       "\n  Tab completes, Ctrl-R searches the history, Ctrl-C cancels, Ctrl-D ends.\n"
                       "  task(function() ... end) runs on behind the prompt.\n"
                       "  A local of a line stays for the lines after it, as a copy: functions that were\n"
                       "  made with it keep their own.\n");
}

static void command_help(struct repl *repl, const char *arguments)
{
    if (!*arguments) {
        struct buffer out = {0};
        list_commands(&out);
        repl_print(repl, &out);
        buffer_free(&out);
        return;
    }
    for (const struct repl_command *each = repl_commands; each->name; each++)
        if (strcmp(each->name, *arguments == ':' ? arguments + 1 : arguments) == 0 && *arguments == ':') {
            struct buffer out = {0};
            buffer_format(&out, ":%s %s\n    %s\n", each->name, each->arguments, each->about);
            repl_print(repl, &out);
            buffer_free(&out);
            return;
        }
    lua_State *L = repl->L;
    lua_pushcfunction(L, repl_describe);
    lua_pushlightuserdata(L, repl);
    lua_pushstring(L, arguments);
    if (repl_call(repl, 2, NULL))
        repl_print(repl, &repl->shown);
    buffer_clear(&repl->shown);
}

/* ---- hosts ---- */

/* In a fiber: the session, the name. Leaves the host. */
static int find_host(lua_State *L)
{
    inventory_push(L, lua_tostring(L, 2), NULL);
    if (lua_rawlen(L, -1) != 1)
        return failure_error(L, "usage", ":on", "a session is on one host; \"%s\" stands for %d",
                             lua_tostring(L, 2), (int)lua_rawlen(L, -1));
    lua_rawgeti(L, -1, 1);
    return 1;
}

bool repl_enter_host(struct repl *repl, const char *name)
{
    lua_State *L = repl->L;
    lua_pushcfunction(L, find_host);
    lua_pushlightuserdata(L, repl);
    lua_pushstring(L, name);
    if (!repl_call(repl, 2, NULL))
        return false;
    repl->context.host = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return true;
}

static void command_on(struct repl *repl, const char *arguments)
{
    struct buffer out = {0};
    if (*arguments) {
        repl_enter_host(repl, arguments);
        return;
    }
    const struct host *host = repl->context.host ? repl->context.host : repl->runtime->local;
    buffer_format(&out, "%s\n", host->name);
    repl_print(repl, &out);
    buffer_free(&out);
}

/* In a fiber: the session. Those of hosts.lua: names, and groups with what they stand for. */
static int list_hosts(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    static const char *const fields[] = {"hosts", "groups"};
    bool some = false;
    for (int i = 0; i < 2; i++) {
        inventory_file_push(L, fields[i]);
        if (!lua_istable(L, -1))
            continue;
        lua_newtable(L);
        for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING)
                continue;
            lua_pushfstring(L, "%s%s", i ? "@" : "", lua_tostring(L, -2));
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
            some = true;
        }
        show_value(L, -1, 100, &repl->shown);
    }
    if (!some)
        buffer_append_text(&repl->shown, "no hosts.lua names any; :on takes every name that ssh knows\n");
    return 0;
}

/* Calls `function` with the session and the text, and prints what it has shown. */
static bool call_and_print(struct repl *repl, lua_CFunction function, const char *text)
{
    lua_pushcfunction(repl->L, function);
    lua_pushlightuserdata(repl->L, repl);
    lua_pushstring(repl->L, text);
    bool done = repl_call(repl, 2, NULL);
    if (!done)
        buffer_clear(&repl->shown);
    repl_print(repl, &repl->shown);
    return done;
}

static void command_hosts_list(struct repl *repl, const char *arguments)
{
    (void)arguments;
    call_and_print(repl, list_hosts, "");
}

/* ---- the last value ---- */

static void push_last(lua_State *L, const struct repl *repl)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, repl->environment);
    lua_getfield(L, -1, "_");
    lua_remove(L, -2);
}

static int show_json(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    size_t length;
    push_last(L, repl);
    json_encode(L, lua_gettop(L));
    const char *text = lua_tolstring(L, -1, &length);
    buffer_append(&repl->shown, text, length);
    buffer_append_text(&repl->shown, "\n");
    return 0;
}

static int show_unfolded(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    push_last(L, repl);
    show_whole(L, -1, &repl->shown);
    return 0;
}

/* With an expression: runs it first. */
static void command_json(struct repl *repl, const char *arguments)
{
    if (*arguments) {
        lua_pushcfunction(repl->L, repl_value);
        lua_pushlightuserdata(repl->L, repl);
        lua_pushstring(repl->L, arguments);
        if (!repl_call(repl, 2, NULL))
            return;
    }
    call_and_print(repl, show_json, "");
}

static void command_unfold(struct repl *repl, const char *arguments)
{
    repl->whole = true;
    if (*arguments)
        repl_evaluate(repl, arguments);
    else
        call_and_print(repl, show_unfolded, "");
    repl->whole = false;
}

/* ---- the rest ---- */

static void command_time(struct repl *repl, const char *arguments)
{
    uint64_t started = uv_hrtime();
    if (!repl_evaluate(repl, arguments))
        return;
    struct buffer out = {0};
    double ms = (double)(uv_hrtime() - started) / 1e6;
    char text[48];
    duration_format((int64_t)(ms + 0.5), text, sizeof text);
    if (ms < 100)
        buffer_format(&out, "(%.2f ms)\n", ms);
    else
        buffer_format(&out, "(%s)\n", text);
    repl_print(repl, &out);
    buffer_free(&out);
}

static void command_http(struct repl *repl, const char *arguments)
{
    bool *on = &repl->runtime->options.requests;
    *on = *arguments ? strcmp(arguments, "off") != 0 : !*on;
    say(repl, *on ? "requests are shown\n" : "requests are not shown\n");
}

static void command_trace(struct repl *repl, const char *arguments)
{
    struct buffer out = {0};
    (void)arguments;
    if (!repl->error.length)
        buffer_append_text(&out, "nothing has failed\n");
    else
        buffer_format(&out, "%s\n", repl->error.bytes);
    repl_print(repl, &out);
    buffer_free(&out);
}

/* The last input, in the editor; what it holds afterwards runs. */
static void command_edit_input(struct repl *repl, const char *arguments)
{
    (void)arguments;
    const char *editor = foreground_editor();
    char path[] = "/tmp/moonbook-XXXXXX.lua";
    struct buffer text = {0};
    struct failure failure;
    int file = editor ? mkstemps(path, 4) : -1;
    if (file < 0) {
        say(repl, editor ? "no file can be made in /tmp\n" : "set $EDITOR to the editor to use\n");
        return;
    }
    const char *last = repl->last ? repl->last : "";
    bool done = write(file, last, strlen(last)) == (ssize_t)strlen(last);
    close(file);
    done = done && foreground_run(repl->runtime, editor, path, NULL) &&
           host_read(repl->runtime->local, path, &text, &failure);
    unlink(path);
    while (text.length && isspace((unsigned char)text.bytes[text.length - 1]))
        text.bytes[--text.length] = '\0';
    if (done && text.length) {
        repl_history_add(repl, text.bytes);
        repl_evaluate(repl, text.bytes);
    }
    buffer_wipe(&text);
}

static void command_tasks(struct repl *repl, const char *arguments)
{
    struct buffer out = {0};
    (void)arguments;
    for (const struct repl_task *task = repl->tasks; task; task = task->next)
        if (!task->ended)
            buffer_format(&out, "task %u is running\n", task->number);
    if (!out.length)
        buffer_append_text(&out, "no task is running\n");
    repl_print(repl, &out);
    buffer_free(&out);
}

static void command_cancel(struct repl *repl, const char *arguments)
{
    for (struct repl_task *task = repl->tasks; task; task = task->next)
        if (!task->ended && task->number == strtoul(arguments, NULL, 10)) {
            fiber_cancel(task->fiber);
            return;
        }
    say(repl, "no such task is running; :tasks lists them\n");
}

static void command_quit(struct repl *repl, const char *arguments)
{
    (void)arguments;
    repl->ended = true;
}

/* ---- at a failed step ---- */

static void decide(struct repl *repl, enum repl_verdict verdict)
{
    if (!repl->failed_at) {
        say(repl, "that is for a failed step: moonbook run --repl-on-error\n");
        return;
    }
    repl->verdict = verdict;
    repl->ended = true;
}

static void command_retry(struct repl *repl, const char *arguments)
{
    (void)arguments;
    decide(repl, REPL_RETRY);
}

static void command_skip(struct repl *repl, const char *arguments)
{
    (void)arguments;
    decide(repl, REPL_SKIP);
}

static void command_abort(struct repl *repl, const char *arguments)
{
    (void)arguments;
    decide(repl, REPL_ABORT);
}

/* In a fiber: the session. */
static int list_locals(lua_State *L)
{
    struct repl *repl = lua_touserdata(L, 1);
    repl_push_locals(L, repl);
    if (lua_istable(L, -1))
        show_value(L, -1, 100, &repl->shown);
    else
        buffer_append_text(&repl->shown, "there is no failed step\n");
    return 0;
}

static void command_locals(struct repl *repl, const char *arguments)
{
    (void)arguments;
    call_and_print(repl, list_locals, "");
}

/* ---- the table ---- */

const struct repl_command repl_commands[] = {
    {"help", "[NAME]", "the reference of a function, module or endpoint, with an example", false,
     command_help},
    {"on", "[HOST]", "what follows acts on that host; \"local\" is this machine", false, command_on},
    {"hosts", "", "the hosts and groups of hosts.lua", false, command_hosts_list},
    {"unfold", "[EXPRESSION]", "the last value, or that one, with all that is nested in it", false,
     command_unfold},
    {"json", "[EXPRESSION]", "the last value, or that one, as JSON", false, command_json},
    {"time", "EXPRESSION", "runs it and says how long it took", true, command_time},
    {"watch", "SECONDS EXPRESSION", "runs it again and again until a key is pressed; what changed is marked",
     true, repl_watch},
    {"http", "[on|off]", "show each request to a server, without secrets", false, command_http},
    {"trace", "", "where the last error came from", false, command_trace},
    {"tasks", "", "what task(function) began and still runs", false, command_tasks},
    {"cancel", "NUMBER", "cancels a task", true, command_cancel},
    {"save", "FILE [NAME=LITERAL ...]", "the inputs that succeeded as a runbook; literals become parameters",
     true, repl_save},
    {"run", "RUNBOOK [NAME=VALUE ...]", "runs a runbook here; asks for its parameters", true,
     repl_run_runbook},
    {"edit", "", "the last input in $EDITOR; what is saved runs", false, command_edit_input},
    {"locals", "", "at a failed step: its variables", false, command_locals},
    {"retry", "", "at a failed step: runs it again", false, command_retry},
    {"skip", "", "at a failed step: goes on with the next", false, command_skip},
    {"abort", "", "at a failed step: the run fails", false, command_abort},
    {"quit", "", "ends the session, as Ctrl-D does", false, command_quit},
    {NULL, NULL, NULL, false, NULL},
};

/* A colon begins a command; labels of goto begin with two. */
bool repl_is_command(const char *line)
{
    line += strspn(line, " \t");
    return line[0] == ':' && line[1] != ':';
}

static void refuse(struct repl *repl, const char *name)
{
    const char *names[64] = {NULL};
    for (size_t i = 0; repl_commands[i].name; i++)
        names[i] = repl_commands[i].name;
    const char *meant = nearest_name(name, names);
    report_say(repl->runtime, "there is no command :%s%s%s; :help lists them\n", name,
               meant ? "; did you mean :" : "", meant ? meant : "");
    repl->failed = true;
}

void repl_command(struct repl *repl, const char *line)
{
    char name[32];
    line += strspn(line, " \t") + 1;
    size_t length = strcspn(line, " \t\n");
    snprintf(name, sizeof name, "%.*s", (int)length, line);
    struct buffer arguments = {0};
    buffer_append_text(&arguments, line + length + strspn(line + length, " \t\n"));
    while (arguments.length && isspace((unsigned char)arguments.bytes[arguments.length - 1]))
        arguments.bytes[--arguments.length] = '\0';
    const struct repl_command *command = repl_commands;
    while (command->name && strcmp(command->name, name) != 0)
        command++;
    if (!command->name)
        refuse(repl, name);
    else if (command->needs && !arguments.length) {
        report_say(repl->runtime, "it is :%s %s\n", command->name, command->arguments);
        repl->failed = true;
    } else
        command->run(repl, buffer_text(&arguments));
    buffer_wipe(&arguments);
}
