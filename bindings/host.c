/* Lua module `host`: the machine that a runbook acts on - its facts, its commands, and other hosts. */
#include "host_value.h"

#include "binding.h"
#include "change.h"
#include "fiber.h"
#include "hosts.h"
#include "inventory.h"
#include "json.h"
#include "overlay.h"
#include "secret.h"
#include "secret_source.h"
#include "unknown.h"

#include <stdlib.h>
#include <string.h>

/* ---- host.run ---- */

/* Vectors that a command needs, owned by a userdata so that an error on the way leaks nothing. */
struct run_request {
    struct host_command command;
    const char **argv;
    char **environment;
    struct buffer shown; /* argv as a person would type it: the change's target */
    struct process_result result;
};

static int run_request_gc(lua_State *L)
{
    struct run_request *request = lua_touserdata(L, 1);
    free(request->argv);
    for (char **entry = request->environment; entry && *entry; entry++) {
        explicit_bzero(*entry, strlen(*entry));
        free(*entry);
    }
    free(request->environment);
    buffer_free(&request->shown);
    process_result_free(&request->result);
    memset(request, 0, sizeof *request);
    return 0;
}

/* [-0, +1, m] */
static struct run_request *push_request(lua_State *L)
{
    struct run_request *request = lua_newuserdatauv(L, sizeof *request, 0);
    memset(request, 0, sizeof *request);
    if (luaL_newmetatable(L, "moonbook.run_request")) {
        lua_pushcfunction(L, run_request_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return request;
}

static void append_quoted(struct buffer *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@%+";
    if (*word && strspn(word, plain) == strlen(word)) {
        buffer_append_text(out, word);
        return;
    }
    buffer_append_text(out, "'");
    for (; *word; word++)
        buffer_append_text(out, *word == '\'' ? "'\\''" : (char[]){*word, '\0'});
    buffer_append_text(out, "'");
}

static void take_argv(lua_State *L, int table, struct run_request *request, const char *op)
{
    lua_Integer count = luaL_len(L, table);
    if (count < 1)
        failure_advise(L, "usage", op, "write host.run{\"systemctl\", \"status\", \"nomad\"}",
                       "no command was given");
    request->argv = allocate_zeroed((size_t)count + 1, sizeof *request->argv);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, table, i);
        if (secret_is(L, -1))
            failure_advise(L, "usage", op, "hand it over by stdin= or env=",
                           "argument %d is a secret: every user of the host can read command lines", (int)i);
        if (unknown_is(L, -1)) { /* only predicted under --check */
            unknown_used(L);
            lua_pop(L, 1);
            lua_pushliteral(L, UNKNOWN_TEXT);
            lua_pushvalue(L, -1);
            lua_rawseti(L, table, i);
        }
        if (lua_type(L, -1) == LUA_TNUMBER) { /* converted in place, so that the table keeps the text */
            lua_pushvalue(L, -1);
            lua_tostring(L, -1);
            lua_rawseti(L, table, i);
            lua_pop(L, 1);
            lua_rawgeti(L, table, i);
        }
        size_t length = 0;
        const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
        if (!word || strlen(word) != length)
            failure_error(L, "usage", op, "argument %d must be text without NUL, not %s", (int)i,
                          luaL_typename(L, -1));
        request->argv[i - 1] = word;
        if (i > 1)
            buffer_append_text(&request->shown, " ");
        append_quoted(&request->shown, word);
        lua_pop(L, 1);
    }
    request->command.argv = request->argv;
}

/* What shells take as one: on another host it is a shell that sets it, and what a shell refuses would be lost or run. */
static bool is_variable(const char *name, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return length && strspn(name, letters) == length && !(*name >= '0' && *name <= '9');
}

static void take_environment(lua_State *L, int table, struct run_request *request, const char *op)
{
    if (lua_getfield(L, table, "env") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    luaL_checktype(L, -1, LUA_TTABLE);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        count++;
    request->environment = allocate_zeroed(count + 1, sizeof *request->environment);
    count = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        size_t length;
        const char *value = secret_or_text(L, -1, op, &length, NULL);
        if (lua_type(L, -2) != LUA_TSTRING)
            failure_error(L, "usage", op, "env= is a table NAME = value");
        size_t name_length;
        const char *name = lua_tolstring(L, -2, &name_length);
        if (!is_variable(name, name_length))
            failure_error(L, "usage", op,
                          "env= has \"%s\", which is no name of a variable: letters, digits and _", name);
        struct buffer entry = {0};
        buffer_format(&entry, "%s=", name);
        buffer_append(&entry, value, length);
        request->environment[count++] = entry.bytes;
    }
    lua_pop(L, 1);
    request->command.environment = (const char *const *)request->environment;
}

/* [-0, +1, m] {code=, stdout=, stderr=, changed=} */
static void push_result(lua_State *L, const struct process_result *result, bool changed)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, result->status);
    lua_setfield(L, -2, "code");
    lua_pushlstring(L, buffer_text(&result->output), result->output.length);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, buffer_text(&result->error), result->error.length);
    lua_setfield(L, -2, "stderr");
    lua_pushboolean(L, changed);
    lua_setfield(L, -2, "changed");
}

static bool status_is_wanted(lua_State *L, int table, int status)
{
    bool wanted = false;
    int top = lua_gettop(L);
    int type = lua_getfield(L, table, "ok");
    if (type == LUA_TNIL)
        wanted = status == 0;
    else if (type == LUA_TNUMBER)
        wanted = lua_tointeger(L, -1) == status;
    else if (type == LUA_TBOOLEAN)
        wanted = lua_toboolean(L, -1) || status == 0;
    else if (type == LUA_TTABLE)
        for (lua_Integer i = 1; !wanted && lua_rawgeti(L, -1, i) != LUA_TNIL; lua_pop(L, 1), i++)
            wanted = lua_tointeger(L, -1) == status;
    lua_settop(L, top);
    return wanted;
}

static void describe_exit(const struct host *host, const struct run_request *request, struct failure *failure)
{
    const struct process_result *result = &request->result;
    struct buffer said = {0};
    host_last_words(host, result, &said);
    if (result->signal)
        failure_set(failure, "exit", "host.run", "%s: ended by signal %d (%s)%s%s",
                    buffer_text(&request->shown), result->signal, strsignal(result->signal),
                    said.length ? ": " : "", buffer_text(&said));
    else
        failure_set(failure, "exit", "host.run", "%s: exit status %d%s%s", buffer_text(&request->shown),
                    result->status, said.length ? ": " : "", buffer_text(&said));
    failure->status = result->status;
    buffer_free(&said);
}

/* Is there nothing to do, by `creates=` or `unless=`? */
static bool is_done_already(lua_State *L, int table, const char *op)
{
    struct host *host = host_current(runtime_of(L));
    struct failure failure;
    const char *creates = argument_string(L, table, op, "creates", NULL);
    if (creates) {
        struct host_stat stat;
        if (overlay_get(L, host, "file", creates)) {
            lua_getfield(L, -1, "exists");
            bool exists = lua_toboolean(L, -1);
            lua_pop(L, 2);
            return exists;
        }
        if (!host_stat_one(host, creates, &stat, &failure))
            failure_raise(L, &failure);
        if (stat.exists)
            return true;
    }
    if (lua_getfield(L, table, "unless") == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (lua_type(L, -1) != LUA_TTABLE)
        failure_error(L, "usage", op, "unless= is a command like {\"test\", \"-e\", \"/x\"}");
    struct run_request *request = push_request(L);
    take_argv(L, lua_gettop(L) - 1, request, op);
    bool ran = host_run(host, &request->command, &request->result, &failure);
    bool done = ran && request->result.status == 0;
    /* Not installed yet under --check: what would bring it has been predicted, so it would not hold yet. */
    if (!ran && strcmp(failure.kind, "not-found") != 0)
        failure_raise(L, &failure);
    lua_pop(L, 2);
    return done;
}

static void apply_run(lua_State *L, int table, struct run_request *request, struct change *change)
{
    struct host *host = host_current(runtime_of(L));
    struct failure failure;
    bool ran = host_run(host, &request->command, &request->result, &failure);
    if (ran && !status_is_wanted(L, table, request->result.status)) {
        describe_exit(host, request, &failure);
        ran = false;
    }
    if (ran && change)
        change_end(L, change);
    else if (!ran && change)
        change_fail(L, change, &failure);
    else if (!ran)
        failure_raise(L, &failure);
}

static const char *const run_options[] = {"stdin",   "env", "timeout", "reads", "unless",
                                          "creates", "ok",  "cwd",     NULL};

/* [-0, +1, v] Runs what the table at 1 says. */
static int run_table(lua_State *L, const char *op)
{
    argument_table(L, 1, op, run_options);
    struct run_request *request = push_request(L);
    take_argv(L, 1, request, op);
    take_environment(L, 1, request, op);
    if (lua_getfield(L, 1, "stdin") != LUA_TNIL && unknown_is(L, -1))
        unknown_used(L);
    else if (!lua_isnil(L, -1))
        request->command.input = secret_or_text(L, -1, op, &request->command.input_length, NULL);
    lua_pop(L, 1);
    request->command.directory = argument_string(L, 1, op, "cwd", NULL);
    request->command.timeout_ms = (uint64_t)argument_duration(L, 1, op, "timeout", HOST_TIMEOUT_MS);
    if (argument_boolean(L, 1, op, "reads", false)) {
        apply_run(L, 1, request, NULL);
        push_result(L, &request->result, false);
        return 1;
    }
    if (is_done_already(L, 1, op)) {
        change_unneeded(L, op, buffer_text(&request->shown));
        push_result(L, &(struct process_result){0}, false);
        return 1;
    }
    struct change change = {.kind = op, .target = buffer_text(&request->shown)};
    switch (change_begin(L, &change)) {
    case CHANGE_APPLY:
        apply_run(L, 1, request, &change);
        push_result(L, &request->result, true);
        return 1;
    case CHANGE_PREDICT:
    case CHANGE_DECLINE:
    default:
        change_end(L, &change);
        unknown_push(L);
        return 1;
    }
}

static int host_run_function(lua_State *L)
{
    lua_settop(L, 1);
    return run_table(L, "host.run");
}

static int host_sh(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_createtable(L, 3, 0);
        lua_insert(L, 1);
        lua_rawseti(L, 1, 3);
    } else {
        argument_table(L, 1, "host.sh", run_options);
        argument_subject(L, 1, "host.sh", "shell command");
        lua_rawgeti(L, 1, 1);
        lua_rawseti(L, 1, 3);
    }
    lua_pushliteral(L, "sh");
    lua_rawseti(L, 1, 1);
    lua_pushliteral(L, "-c");
    lua_rawseti(L, 1, 2);
    return run_table(L, "host.sh");
}

/* ---- facts ---- */

/* [-0, +1, v] Standard output of a reading command; raises when it fails. */
static void push_output(lua_State *L, struct host *host, const char *const *argv)
{
    struct failure failure;
    struct host_command command = {.argv = argv, .timeout_ms = 30000};
    struct buffer output = {0};
    bool done = host_check(host, &command, &output, &failure);
    if (done)
        lua_pushlstring(L, buffer_text(&output), output.length);
    buffer_free(&output);
    if (!done)
        failure_raise(L, &failure);
}

static const char facts_key;

/* [-0, +1, m] The table of what is known of all hosts. */
static void push_facts(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &facts_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &facts_key);
}

/* [-0, +1, m] What was asked of the host before, or nil and false. */
static bool push_known(lua_State *L, const struct host *host, const char *name)
{
    push_facts(L);
    lua_pushfstring(L, "%s\n%s", host->machine, name);
    bool known = lua_rawget(L, -2) != LUA_TNIL;
    lua_remove(L, -2);
    return known;
}

/* [-1, +0, m] Keeps it. */
static void note_known(lua_State *L, const struct host *host, const char *name)
{
    push_facts(L);
    lua_pushfstring(L, "%s\n%s", host->machine, name);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

/* [-0, +1, m] Value of NAME= in the text of os-release(5), without its quotes; nil where it is missing. */
static void push_release_field(lua_State *L, const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, name, length) != 0 || line[length] != '=')
            continue;
        const char *value = line + length + 1;
        size_t size = strcspn(value, "\n");
        if (size >= 2 && (*value == '"' || *value == '\'') && value[size - 1] == *value) {
            value++;
            size -= 2;
        }
        lua_pushlstring(L, value, size);
        return;
    }
    lua_pushnil(L);
}

/* [-0, +1, v] What is asked of a host in one go: os-release(5), and further lines like its. */
static const char *push_basics(lua_State *L, struct host *host)
{
    static const char script[] = "cat /etc/os-release 2>/dev/null; echo\n"
                                 "echo \"mb_machine=$(uname -m)\"; echo \"mb_cpus=$(nproc)\"\n"
                                 "echo \"mb_name=$(cat /proc/sys/kernel/hostname)\"\n"
                                 "echo \"mb_memory=$(grep ^MemTotal: /proc/meminfo)\"\n";
    if (!push_known(L, host, "")) {
        lua_pop(L, 1);
        push_output(L, host, (const char *const[]){"sh", "-c", script, NULL});
        lua_pushvalue(L, -1);
        note_known(L, host, "");
    }
    return lua_tostring(L, -1);
}

/* [-0, +1, v] {id=, codename=, version=, arch=}: os-release(5) and dpkg's name of the architecture. */
static int fact_os(lua_State *L, struct host *host)
{
    lua_createtable(L, 0, 5);
    const char *text = push_basics(L, host);
    static const char *const fields[][2] = {
        {"id", "ID"}, {"codename", "VERSION_CODENAME"}, {"version", "VERSION_ID"}, {"name", "PRETTY_NAME"}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        push_release_field(L, text, fields[i][1]);
        lua_setfield(L, -3, fields[i][0]);
    }
    push_release_field(L, text, "mb_machine");
    lua_remove(L, -2);
    static const char *const names[][2] = {{"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "armhf"},
                                           {"ppc64le", "ppc64el"}, {"i686", "i386"},     {NULL, NULL}};
    const char *machine = lua_tostring(L, -1), *architecture = machine;
    size_t length = strcspn(machine, "\n");
    for (size_t i = 0; names[i][0]; i++)
        if (strlen(names[i][0]) == length && strncmp(names[i][0], machine, length) == 0)
            architecture = names[i][1];
    lua_pushlstring(L, architecture, strcspn(architecture, "\n"));
    lua_setfield(L, -3, "arch");
    lua_pop(L, 1);
    return 1;
}

/* [-0, +1, v] The source address of the default route, IPv4 first; nil where there is none. */
static int fact_address(lua_State *L, struct host *host)
{
    /* Documentation addresses (RFC 5737, RFC 3849): the route is only looked up, nothing is sent. */
    static const char *const commands[2][6] = {{"ip", "-4", "route", "get", "192.0.2.1", NULL},
                                               {"ip", "-6", "route", "get", "2001:db8::1", NULL}};
    for (int i = 0; i < 2; i++) {
        struct failure failure;
        struct host_command command = {.argv = commands[i], .timeout_ms = 30000};
        struct buffer output = {0};
        bool done = host_check(host, &command, &output, &failure);
        const char *source = done ? strstr(buffer_text(&output), " src ") : NULL;
        if (source)
            lua_pushlstring(L, source + 5, strcspn(source + 5, " \n"));
        buffer_free(&output);
        if (source)
            return 1;
        if (!done && strcmp(failure.kind, "exit") != 0)
            failure_raise(L, &failure);
    }
    lua_pushnil(L);
    return 1;
}

static int fact_name(lua_State *L, struct host *host)
{
    push_release_field(L, push_basics(L, host), "mb_name");
    return 1;
}

static int fact_cpus(lua_State *L, struct host *host)
{
    push_release_field(L, push_basics(L, host), "mb_cpus");
    lua_pushinteger(L, (lua_Integer)strtoll(lua_tostring(L, -1), NULL, 10));
    return 1;
}

/* [-0, +1, v] Bytes of memory: MemTotal of proc_meminfo(5). */
static int fact_memory(lua_State *L, struct host *host)
{
    push_release_field(L, push_basics(L, host), "mb_memory");
    const char *line = strstr(lua_tostring(L, -1), "MemTotal:");
    lua_pushinteger(L, line ? (lua_Integer)strtoll(line + 9, NULL, 10) * 1024 : 0);
    return 1;
}

/* [-0, +1, v] host.users[name]: {uid=, gid=, home=, shell=}, true where a package will bring it, nil else. */
static int users_index(lua_State *L)
{
    struct host *host = *(struct host **)lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 2);
    if (overlay_get(L, host, "user", name))
        return 1;
    struct failure failure;
    struct host_command command = {.argv = (const char *const[]){"getent", "passwd", "--", name, NULL},
                                   .timeout_ms = 30000};
    struct process_result result;
    bool ran = host_run(host, &command, &result, &failure);
    if (!ran) {
        process_result_free(&result);
        return failure_raise(L, &failure);
    }
    lua_pushlstring(L, buffer_text(&result.output), result.status == 0 ? result.output.length : 0);
    process_result_free(&result);
    static const char *const fields[] = {"name", NULL, "uid", "gid", NULL, "home", "shell"};
    const char *field = lua_tostring(L, -1);
    if (!*field)
        return 0;
    lua_createtable(L, 0, 5);
    for (size_t i = 0; i < 7; i++) {
        size_t length = strcspn(field, ":\n");
        lua_pushlstring(L, field, length);
        if (i == 2 || i == 3)
            lua_pushinteger(L, (lua_Integer)strtoll(lua_tostring(L, -1), NULL, 10));
        if (fields[i])
            lua_setfield(L, i == 2 || i == 3 ? -3 : -2, fields[i]);
        if (!fields[i] || i == 2 || i == 3)
            lua_pop(L, 1);
        field += length + (field[length] == ':');
    }
    return 1;
}

static int fact_users(lua_State *L, struct host *host)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    *(struct host **)lua_newuserdatauv(L, sizeof host, 0) = host;
    lua_pushcclosure(L, users_index, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    return 1;
}

static const struct {
    const char *name;
    int (*push)(lua_State *L, struct host *host);
} facts[] = {{"name", fact_name}, {"address", fact_address}, {"os", fact_os},
             {"cpus", fact_cpus}, {"memory", fact_memory},   {"users", fact_users}};

/* [-0, +1, v] A fact, asked of the host once a run; nil for another name. */
static int push_fact(lua_State *L, struct host *host, const char *name)
{
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        if (strcmp(facts[i].name, name) != 0)
            continue;
        if (push_known(L, host, name))
            return 1;
        facts[i].push(L, host); /* leaves the fact on top of whatever it needed */
        lua_pushvalue(L, -1);
        note_known(L, host, name);
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

/* ---- host values ---- */

/* A call on another host: host("local").file.read(p) runs file.read with that host in the fiber's context. */
static int call_on_host(lua_State *L)
{
    struct host *host = *(struct host **)lua_touserdata(L, lua_upvalueindex(1));
    struct fiber_context *context = fiber_context(runtime_of(L));
    struct host *before = context->host;
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    context->host = host;
    unsigned shields = fiber_shields(runtime_of(L));
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    fiber_restore_shields(runtime_of(L), shields);
    fiber_context(runtime_of(L))->host = before;
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L);
}

/* [-1, +1, m] Wraps what a module has under a name: functions are bound to the host, tables are bound in turn. */
static void bind_to_host(lua_State *L, int host_index);

static int bound_index(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_gettable(L, lua_upvalueindex(2));
    bind_to_host(L, lua_upvalueindex(1));
    return 1;
}

/* consul{addr=} on another host: the module itself is called, and the client that it makes acts there, too. */
static int call_module_on_host(lua_State *L)
{
    lua_remove(L, 1); /* the proxy */
    int results = call_on_host(L);
    if (results > 0) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, -2);
        bind_to_host(L, lua_gettop(L) - 1);
        lua_remove(L, -2);
    }
    return results;
}

static void bind_to_host(lua_State *L, int host_index)
{
    int type = lua_type(L, -1);
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, host_index);
        lua_insert(L, -2);
        lua_pushcclosure(L, call_on_host, 2);
    } else if (type == LUA_TTABLE) {
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, host_index);
        lua_pushvalue(L, -4);
        lua_pushcclosure(L, bound_index, 2);
        lua_setfield(L, -2, "__index");
        lua_pushvalue(L, host_index);
        lua_pushvalue(L, -4);
        lua_pushcclosure(L, call_module_on_host, 2);
        lua_setfield(L, -2, "__call");
        lua_setmetatable(L, -2);
        lua_remove(L, -2);
    }
}

static int host_value_index(lua_State *L)
{
    struct host *host = *(struct host **)luaL_checkudata(L, 1, HOST_VALUE);
    const char *name = luaL_checkstring(L, 2);
    push_fact(L, host, name);
    if (!lua_isnil(L, -1))
        return 1;
    static const char *const modules[] = {"apt", "systemd", "file", "consul", "nomad", NULL};
    for (size_t i = 0; modules[i]; i++)
        if (strcmp(modules[i], name) == 0) {
            lua_getglobal(L, name);
            bind_to_host(L, 1);
            return 1;
        }
    lua_getglobal(L, "host");
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    bind_to_host(L, 1);
    return 1;
}

static int host_value_tostring(lua_State *L)
{
    struct host *host = *(struct host **)luaL_checkudata(L, 1, HOST_VALUE);
    lua_pushfstring(L, "host(%s)", host->name);
    return 1;
}

struct host *host_value(lua_State *L, int index)
{
    struct host **value = luaL_testudata(L, index, HOST_VALUE);
    return value ? *value : NULL;
}

static const char *const host_options[] = {"address",   "port", "user",        "identity",   "known_hosts",
                                           "transport", "sudo", "consul_addr", "nomad_addr", NULL};

/* [-0, +1, v] Text or nil of the table at `index`; numbers as text. */
static const char *host_option(lua_State *L, int index, const char *name)
{
    int type = lua_getfield(L, index, name);
    if (type == LUA_TNUMBER && lua_isinteger(L, -1))
        lua_tostring(L, -1);
    else if (type != LUA_TSTRING && type != LUA_TNIL)
        failure_error(L, "usage", "host", "%s= must be text, not %s", name, lua_typename(L, type));
    return lua_tostring(L, -1);
}

/* [-0, +1, v] sudo = true, the password, or where it is. */
static void take_sudo(lua_State *L, int index, struct host_spec *spec)
{
    int type = lua_getfield(L, index, "sudo");
    size_t length = 0;
    struct secret_source source;
    if (type == LUA_TSTRING && secret_source_parse(runtime_of(L), lua_tostring(L, -1), &source)) {
        spec->sudo = true;
        spec->sudo_source = lua_tostring(L, -1);
    } else if (secret_is(L, -1)) {
        spec->sudo = true;
        spec->sudo_password = secret_bytes(L, -1, &length);
        if (strlen(spec->sudo_password) != length || strchr(spec->sudo_password, '\n'))
            failure_error(L, "usage", "host", "the password for sudo is not one line");
    } else if (type == LUA_TBOOLEAN || type == LUA_TNIL) {
        spec->sudo = lua_toboolean(L, -1);
    } else {
        failure_advise(L, "usage", "host",
                       "write sudo = secret.prompt \"sudo password\", or sudo = \"pass:ops/sudo\"",
                       "sudo= is true, false, a secret, or where one is");
    }
}

/* [-0, +n, v] What the table at `index` says beside the name; the texts live as long as it and what is pushed. */
static void take_options(lua_State *L, int index, struct host_spec *spec)
{
    luaL_checkstack(L, 20, "host");
    const char *port = host_option(L, index, "port"), *user = host_option(L, index, "user");
    spec->port = port ? port : spec->port;
    spec->user = user ? user : spec->user;
    spec->identity = host_option(L, index, "identity");
    spec->known_hosts = host_option(L, index, "known_hosts");
    spec->transport = host_option(L, index, "transport");
    const char *consul = host_option(L, index, "consul_addr"), *nomad = host_option(L, index, "nomad_addr");
    if (consul || nomad)
        spec->addresses = lua_pushfstring(L, "%s%s%s%s%s", consul ? "consul_addr=" : "", consul ? consul : "",
                                          nomad ? "\nnomad_addr=" : "", nomad ? nomad : "", "\n");
    take_sudo(L, index, spec);
}

/* [-0, +n, v] The host that a name ("user@host:port") and the checked options at `index` describe. */
static struct host *get_host(lua_State *L, const char *name, const char *address, int index)
{
    struct host_spec spec = {0};
    struct buffer space = {0};
    struct failure failure;
    struct host *host = NULL;
    bool parsed = host_spec_parse(name, &spec, &space, &failure);
    if (parsed) { /* what follows may raise: the texts go to the Lua stack */
        const char **const texts[] = {&spec.name, &spec.user, &spec.port};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            if (*texts[i])
                *texts[i] = lua_pushstring(L, *texts[i]);
    }
    buffer_free(&space);
    if (parsed) {
        spec.address = address;
        take_options(L, index, &spec);
        host = hosts_get(runtime_of(L), &spec, &failure);
    }
    if (!host)
        failure_raise(L, &failure);
    return host;
}

struct host *host_describe(lua_State *L, const char *name, int index)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 8, "host");
    lua_pushvalue(L, index);
    argument_table(L, top + 1, "hosts.lua", host_options);
    struct host *host = get_host(L, name, host_option(L, top + 1, "address"), top + 1);
    lua_settop(L, top);
    return host;
}

/* [-0, +n, v] host{...}: the table at 2. */
static struct host *describe_argument(lua_State *L)
{
    bool named = lua_rawlen(L, 2) > 0;
    argument_table(L, 2, "host", host_options);
    const char *address = host_option(L, 2, "address");
    const char *name = named ? argument_subject(L, 2, "host", "name") : address;
    if (!name)
        failure_advise(L, "usage", "host",
                       "write host{\"builder42\", user = \"root\"} or host{address = ...}",
                       "neither a name nor address= is given");
    return get_host(L, name, named ? address : NULL, 2);
}

void host_value_push(lua_State *L, struct host *host)
{
    *(struct host **)lua_newuserdatauv(L, sizeof(struct host *), 0) = host;
    luaL_setmetatable(L, HOST_VALUE);
}

/* host(NAME), host{...}: the operator's machine, or one that is reached when something is done there. */
static int host_call(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_type(L, 2) == LUA_TSTRING)
        host_value_push(L, inventory_host(L, lua_tostring(L, 2), NULL));
    else
        host_value_push(L, describe_argument(L));
    return 1;
}

static int host_index(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    return push_fact(L, host_current(runtime_of(L)), lua_tostring(L, 2));
}

/* [-0, +0, m] The module's table on top gets facts as fields and becomes callable. */
static void host_open(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, host_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, host_call);
    lua_setfield(L, -2, "__call");
    lua_setmetatable(L, -2);
    luaL_newmetatable(L, HOST_VALUE);
    lua_pushcfunction(L, host_value_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, host_value_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "a host");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static const struct binding_function functions[] = {
    {"run", host_run_function,
     "host.run{\"argv\", ..., stdin=, env=, cwd=, timeout=, ok=, reads=, unless=, creates=}"
     " -> {code=, stdout=, stderr=, changed=}",
     "Runs a command without a shell on the host and waits for its end (timeout: seconds or \"5m\", default "
     "10 "
     "minutes, then its whole process group is killed). It is a change, passed through the gate, unless "
     "reads=true; with unless={command} it is skipped when that command ends with 0, with creates=path when "
     "the path "
     "exists. Raises \"exit\" on another status than 0 (or than those in ok=) and on death by a signal, "
     "\"not-found\" "
     "where there is no such program, \"timeout\". A secret may be in stdin= and env=, never in an argument. "
     "Under "
     "--check a change is not run and gives an unknown value.",
     "assert(host.run{\"echo\", \"hello\", reads=true}.stdout == \"hello\\n\")"},
    {"sh", host_sh, "host.sh\"command line\" or host.sh{\"command line\", options of host.run}",
     "host.run with a shell: runs `sh -c` with the command line.",
     "assert(host.sh{\"echo $((1+1))\", reads=true}.stdout == \"2\\n\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module host_module = {
    .name = "host",
    .about =
        "The host that a runbook acts on. host.name, host.address (source of the default route), host.os "
        "{id, codename, version, name, arch}, host.cpus, host.memory (bytes) and host.users[NAME] "
        "{uid, gid, home, shell} are read from it once a run. host(NAME) is another machine with the same "
        "modules, "
        "reached as ssh reaches it when something is done there: host(\"c1\").file.read(\"/etc/hosts\"). "
        "NAME may be "
        "user@host:port. What the SSH configuration lacks goes in a table: host{NAME, address=, port=, "
        "user=, "
        "identity= (file of the key), known_hosts= (file), transport= (\"ssh\", \"openssh\"), sudo= (true or "
        "the "
        "password, a secret), consul_addr=, nomad_addr= (where its agents listen)}. host(\"local\") is the "
        "operator's "
        "machine.",
    .functions = functions,
    .open = host_open,
};
