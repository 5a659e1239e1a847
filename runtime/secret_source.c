/* Reads secrets from where they are, each source once a run. */
#include "secret_source.h"

#include "buffer.h"
#include "fiber.h"
#include "host.h"
#include "process.h"
#include "redact.h"
#include "runtime.h"
#include "secret.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE           "moonbook.secrets"
#define COMMAND_TIME_MS (5 * 60 * 1000) /* a person may have to type the passphrase of a key */
#define LARGEST_SECRET  (1024 * 1024)
#define MOST_ARGUMENTS  256

static const struct {
    const char *prefix;
    enum secret_place place;
} prefixes[] = {
    {"pass:", SECRET_PASS},
    {"env:", SECRET_ENV},
    {"file:", SECRET_FILE},
    {"command:", SECRET_SHELL},
};

static bool parse_store(const struct runtime *runtime, const char *text, struct secret_source *source)
{
    for (const struct secret_store *store = runtime->stores; store && store->name; store++) {
        size_t length = strlen(store->name);
        if (strncmp(text, store->name, length) == 0 && text[length] == ':' && text[length + 1]) {
            *source =
                (struct secret_source){.place = SECRET_STORE, .name = text + length + 1, .store = store};
            return true;
        }
    }
    return false;
}

bool secret_source_parse(const struct runtime *runtime, const char *text, struct secret_source *source)
{
    *source = (struct secret_source){0};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t length = strlen(prefixes[i].prefix);
        if (strncmp(text, prefixes[i].prefix, length) == 0 && text[length]) {
            source->place = prefixes[i].place;
            source->name = text + length;
            return true;
        }
    }
    if (parse_store(runtime, text, source))
        return true;
    source->place = strcmp(text, "-") == 0 ? SECRET_INPUT : SECRET_PROMPT;
    source->name = source->place == SECRET_INPUT ? "the secret" : "secret: ";
    return source->place == SECRET_INPUT || strcmp(text, "prompt") == 0;
}

/* What is shown of a source; of a command only the program, as its arguments may be private. */
static void describe(const struct secret_source *source, char *out, size_t size)
{
    switch (source->place) {
    case SECRET_PASS:
        snprintf(out, size, "pass:%s", source->name);
        break;
    case SECRET_ENV:
        snprintf(out, size, "env:%s", source->name);
        break;
    case SECRET_FILE:
        snprintf(out, size, "file:%s", source->name);
        break;
    case SECRET_SHELL:
        snprintf(out, size, "command:%.*s", (int)strcspn(source->name, " \t\n"), source->name);
        break;
    case SECRET_COMMAND:
        snprintf(out, size, "command:%s", source->argv[0]);
        break;
    case SECRET_PROMPT:
        snprintf(out, size, "prompt");
        break;
    case SECRET_INPUT:
        snprintf(out, size, "standard input");
        break;
    case SECRET_STORE:
        snprintf(out, size, "%s:%s", source->store->name, source->name);
        break;
    }
}

static void cut_first_line(struct buffer *text)
{
    char *newline = text->length ? memchr(text->bytes, '\n', text->length) : NULL;
    if (!newline)
        return;
    explicit_bzero(newline, text->length - (size_t)(newline - text->bytes));
    text->length = (size_t)(newline - text->bytes);
}

static void cut_line_ends(struct buffer *text)
{
    while (text->length && strchr("\r\n", text->bytes[text->length - 1]) && text->bytes[text->length - 1])
        text->bytes[--text->length] = '\0';
}

/* Runs a command and takes its output. What it says on standard error goes into the failure, what it prints
 * never. */
static bool fetch_command(struct runtime *runtime, const char *const *argv, struct buffer *out,
                          struct failure *failure, const char *op)
{
    struct process_options options = {
        .argv = argv, .timeout_ms = COMMAND_TIME_MS, .output_limit = LARGEST_SECRET};
    struct process_result result = {0};
    bool good = process_run(runtime, &options, &result, failure);
    if (good && (result.status || result.signal)) {
        cut_line_ends(&result.error);
        good = failure_set(failure, "failed", op, "%s ended with %s %d%s%s", argv[0],
                           result.signal ? "signal" : "status", result.signal ? result.signal : result.status,
                           result.error.length ? ": " : "", buffer_text(&result.error));
        failure_hint(failure, "try the command by hand on this machine");
    }
    if (good)
        buffer_append(out, buffer_text(&result.output), result.output.length);
    if (result.output.length)
        explicit_bzero(result.output.bytes, result.output.length);
    process_result_free(&result);
    return good;
}

static bool fetch_pass(struct runtime *runtime, const char *name, struct buffer *out, struct failure *failure,
                       const char *op)
{
    if (name[0] == '-')
        return failure_set(failure, "usage", op, "a name in the password store does not begin with a dash");
    bool good = fetch_command(runtime, (const char *[]){"pass", "show", name, NULL}, out, failure, op);
    if (good)
        cut_first_line(out);
    else if (strcmp(failure->kind, "failed") == 0)
        failure_hint(failure, "try `pass show %s` on this machine", name);
    return good;
}

static bool fetch_env(const char *name, struct buffer *out, struct failure *failure, const char *op)
{
    const char *value = getenv(name);
    if (!value || !*value) {
        failure_set(failure, "not-found", op, "the environment variable %s is %s", name,
                    value ? "empty" : "not set");
        failure_hint(failure, "export %s, or name another source", name);
        return false;
    }
    buffer_append_text(out, value);
    return true;
}

static bool fetch_file(struct runtime *runtime, const char *name, struct buffer *out, struct failure *failure)
{
    struct buffer path = {0};
    const char *home = getenv("HOME");
    if (strncmp(name, "~/", 2) == 0 && home)
        buffer_format(&path, "%s%s", home, name + 1);
    else
        buffer_append_text(&path, name);
    bool good = host_read(runtime->local, buffer_text(&path), out, failure);
    buffer_free(&path);
    if (good)
        cut_first_line(out);
    return good;
}

/* ---- Standard input ---- */

struct input {
    uv_poll_t poll;
    struct fiber *fiber; /* NULL once nobody waits any more */
    bool readable;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct input *input = poll->data;
    input->readable = true;
    if (input->fiber)
        fiber_wake(input->fiber);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static bool wait_readable(struct runtime *runtime, struct input *input, struct failure *failure,
                          const char *op)
{
    while (!input->readable) {
        enum wait_outcome outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
        if (outcome != WAIT_WOKEN)
            return fiber_wait_failure(failure, outcome, op, 0);
    }
    input->readable = false;
    return true;
}

/* Reads up to the newline, a byte at a time: what follows belongs to whoever reads next. `input` is NULL
 * where reading never waits. */
static bool read_line(struct runtime *runtime, struct input *input, struct buffer *out,
                      struct failure *failure, const char *op)
{
    while (out->length < LARGEST_SECRET) {
        char byte;
        ssize_t count = read(STDIN_FILENO, &byte, 1);
        if (count == 0 || (count == 1 && byte == '\n'))
            return true;
        if (count == 1)
            buffer_append(out, &byte, 1);
        else if (errno == EAGAIN && input && !wait_readable(runtime, input, failure, op))
            return false;
        else if (errno != EAGAIN && errno != EINTR)
            return failure_errno(failure, errno, op, "reading standard input");
    }
    return failure_set(failure, "invalid", op, "the first line of standard input is longer than 1 MiB");
}

/* A file is read at once; anything else is waited for. libuv makes the descriptor non-blocking, and that is
 * shared with the caller's shell: it is put back. */
static bool fetch_input(struct runtime *runtime, struct buffer *out, struct failure *failure, const char *op)
{
    struct stat status;
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    if (flags < 0 || fstat(STDIN_FILENO, &status) != 0)
        return failure_errno(failure, errno, op, "standard input is closed");
    struct input *input = allocate_zeroed(1, sizeof *input);
    if (S_ISREG(status.st_mode) || uv_poll_init(&runtime->loop, &input->poll, STDIN_FILENO) != 0) {
        free(input);
        return read_line(runtime, NULL, out, failure, op);
    }
    input->poll.data = input;
    input->fiber = runtime->current;
    uv_poll_start(&input->poll, UV_READABLE | UV_DISCONNECT, on_readable);
    bool good = read_line(runtime, input, out, failure, op);
    input->fiber = NULL;
    uv_close((uv_handle_t *)&input->poll, on_closed);
    fcntl(STDIN_FILENO, F_SETFL, flags);
    return good;
}

/* ---- Once a run ---- */

static bool fetch_store(lua_State *L, const struct secret_source *source, struct buffer *out,
                        struct failure *failure, const char *op)
{
    int top = lua_gettop(L);
    size_t length = 0;
    luaL_checkstack(L, LUA_MINSTACK, "secret");
    lua_pushcfunction(L, source->store->read);
    lua_pushstring(L, source->name);
    bool good = lua_pcall(L, 1, 1, 0) == LUA_OK;
    if (good && (lua_type(L, -1) == LUA_TSTRING || secret_is(L, -1))) {
        const char *bytes = secret_or_text(L, -1, source->store->name, &length, NULL);
        buffer_append(out, bytes, length);
    } else if (good) { /* to raise here would leave whoever waits for it waiting */
        good = failure_set(failure, "invalid", op, "what is there is no text but %s",
                           lua_istable(L, -1)     ? "a table"
                           : lua_isboolean(L, -1) ? "a boolean"
                                                  : "nothing");
        failure_hint(failure, "name a text");
    } else {
        failure_from_lua(L, -1, failure);
    }
    lua_settop(L, top);
    return good;
}

static bool fetch(lua_State *L, const struct secret_source *source, struct buffer *out,
                  struct failure *failure, const char *op)
{
    struct runtime *runtime = runtime_of(L);
    switch (source->place) {
    case SECRET_PASS:
        return fetch_pass(runtime, source->name, out, failure, op);
    case SECRET_ENV:
        return fetch_env(source->name, out, failure, op);
    case SECRET_FILE:
        return fetch_file(runtime, source->name, out, failure);
    case SECRET_SHELL:
        return fetch_command(runtime, (const char *[]){"/bin/sh", "-c", source->name, NULL}, out, failure,
                             op);
    case SECRET_COMMAND:
        return fetch_command(runtime, source->argv, out, failure, op);
    case SECRET_PROMPT:
        return terminal_ask(runtime, source->name, false, out, failure);
    case SECRET_INPUT:
        return fetch_input(runtime, out, failure, op);
    case SECRET_STORE:
        return fetch_store(L, source, out, failure, op);
    }
    return failure_set(failure, "usage", op, "an unknown kind of source");
}

/* A source that is being read; others who ask for it wait. It stands in the cache in the secret's place. */
struct waiter {
    struct waiter *next;
    struct fiber *fiber;
};

struct pending {
    bool done;
    bool again; /* the reader itself was cancelled: whoever wakes first reads */
    struct waiter *waiters;
    struct failure failure; /* without a kind where it went well */
};

static void remove_waiter(struct pending *pending, struct waiter *waiter)
{
    struct waiter **link = &pending->waiters;
    while (*link && *link != waiter)
        link = &(*link)->next;
    if (*link)
        *link = waiter->next;
}

/* Waits for the fiber that reads. True: look into the cache again. */
static bool await(struct runtime *runtime, struct pending *pending, struct failure *failure, const char *op)
{
    struct waiter waiter = {pending->waiters, runtime->current};
    pending->waiters = &waiter;
    enum wait_outcome outcome = WAIT_WOKEN;
    while (!pending->done && outcome == WAIT_WOKEN)
        outcome = fiber_suspend(runtime, FIBER_NO_TIMEOUT);
    remove_waiter(pending, &waiter);
    if (!pending->done)
        return fiber_wait_failure(failure, outcome, op, 0);
    if (pending->again || !pending->failure.kind[0])
        return true;
    *failure = pending->failure;
    return false;
}

static void finish(struct pending *pending)
{
    pending->done = true;
    for (struct waiter *waiter = pending->waiters; waiter; waiter = waiter->next)
        fiber_wake(waiter->fiber);
}

/* [-0, +1, m] The cache of this Lua state. */
static void push_cache(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, CACHE);
}

/* [-0, +1, m] What the source is known by: unlike a description it tells any two sources apart. */
static void push_key(lua_State *L, const struct secret_source *source)
{
    luaL_Buffer key;
    luaL_buffinit(L, &key);
    luaL_addchar(&key, (char)('a' + (int)source->place));
    if (source->place == SECRET_COMMAND)
        for (size_t i = 0; source->argv[i] && i < MOST_ARGUMENTS; i++)
            luaL_addlstring(&key, source->argv[i], strlen(source->argv[i]) + 1);
    else
        luaL_addstring(&key, source->name);
    luaL_pushresult(&key);
}

/* What is on standard input is for whoever asks first: another secret would be read as the same. */
static bool claim_input(lua_State *L, int cache, const struct secret_source *source, struct failure *failure,
                        const char *op)
{
    bool mine = true;
    if (lua_getfield(L, cache, "input") == LUA_TNIL) {
        lua_pushstring(L, source->name);
        lua_setfield(L, cache, "input");
    } else if (strcmp(lua_tostring(L, -1), source->name) != 0) {
        mine = failure_set(failure, "usage", op, "it is read for %s already, and has one secret",
                           lua_tostring(L, -1));
        failure_hint(failure, "give one of the two from elsewhere");
    }
    lua_pop(L, 1);
    return mine;
}

/* [-1, +(0|1), m] Reads the source while the cache, at `cache`, says so; the key is on top of the stack. */
static bool read_source(lua_State *L, int cache, const struct secret_source *source, struct failure *failure,
                        const char *op)
{
    struct buffer bytes = {0};
    struct pending *pending = lua_newuserdatauv(L, sizeof *pending, 0);
    memset(pending, 0, sizeof *pending);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, cache);
    bool good = fetch(L, source, &bytes, failure, op);
    if (source->place != SECRET_ENV)
        cut_line_ends(&bytes);
    if (good && bytes.length < SECRET_MINIMUM) {
        good = failure_set(failure, "invalid", op, "it holds %s",
                           bytes.length
                               ? "less than four characters, which cannot be kept out of what is printed"
                               : "nothing");
        failure_hint(failure, "check that the source holds what you expect");
    }
    lua_pushvalue(L, -2);
    if (good)
        secret_push(L, bytes.bytes, bytes.length, op);
    else
        lua_pushnil(L);
    buffer_wipe(&bytes);
    lua_rawset(L, cache);
    if (!good)
        pending->failure = *failure;
    pending->again = !good && runtime_of(L)->current && fiber_is_cancelled(runtime_of(L));
    finish(pending);
    lua_pop(L, 1); /* the key stays: the caller looks again */
    return good;
}

bool secret_source_push(lua_State *L, const struct secret_source *source, struct failure *failure)
{
    char where[120];
    describe(source, where, sizeof where);
    luaL_checkstack(L, 8, "no room for a secret");
    int top = lua_gettop(L);
    push_cache(L);
    push_key(L, source);
    bool good = source->place != SECRET_INPUT || claim_input(L, top + 1, source, failure, where);
    while (good) {
        lua_pushvalue(L, top + 2);
        lua_rawget(L, top + 1);
        if (secret_is(L, -1)) {
            lua_replace(L, top + 1);
            lua_settop(L, top + 1);
            return true;
        }
        if (lua_isuserdata(L, -1))
            good = await(runtime_of(L), lua_touserdata(L, -1), failure, where);
        else
            lua_pushvalue(L, top + 2), good = read_source(L, top + 1, source, failure, where);
        lua_settop(L, top + 2);
    }
    lua_settop(L, top);
    return false;
}
