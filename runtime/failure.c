/* Failures: C's struct failure, Lua's error tables, and the way between them. */
#include "failure.h"

#include "fiber.h"
#include "host.h"
#include "redact.h"
#include "runtime.h"
#include "utf8.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define METATABLE "moonbook.failure"

/* Copies as much as fits and never cuts a UTF-8 character in two: the text goes on into JSON. */
static void put_text(char *out, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size) {
        length = size - 1;
        while (length && ((unsigned char)text[length] & 0xC0) == 0x80)
            length--;
    }
    memmove(out, text, length);
    out[length] = '\0';
}

/* The length of a text that may have been cut at `size`, without what could be the beginning of a secret at its end:
 * nobody would know that any more. */
static size_t length_without_secret(lua_State *L, const char *text, size_t size)
{
    const struct runtime *runtime = runtime_of(L);
    size_t length = strlen(text);
    bool cut = length + 4 >= size; /* by up to three bytes more, to keep a character whole */
    return length - (cut && runtime && runtime->redactor ? redact_tail(runtime->redactor, text, length) : 0);
}

static void trim_broken_tail(char *text, size_t size)
{
    size_t length = strlen(text);
    if (length + 1 < size)
        return;
    size_t start = length;
    while (start && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (!start)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (length - (start - 1) < wanted)
        text[start - 1] = '\0';
}

static void set(struct failure *failure, const char *kind, const char *op, const char *format,
                va_list arguments)
{
    /* Formatted aside, as the arguments may be parts of *failure itself. */
    char message[sizeof failure->message];
    vsnprintf(message, sizeof message, format, arguments);
    trim_broken_tail(message, sizeof message);
    put_text(failure->op, sizeof failure->op, op ? op : "");
    put_text(failure->kind, sizeof failure->kind, kind);
    memcpy(failure->message, message, strlen(message) + 1);
    failure->hint[0] = failure->host[0] = failure->step[0] = '\0';
    failure->status = 0;
}

bool failure_set(struct failure *failure, const char *kind, const char *op, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(failure, kind, op, format, arguments);
    va_end(arguments);
    return false;
}

static const char *kind_of_errno(int error_number)
{
    switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
    case ENXIO:
    case ENODEV:
        return "not-found";
    case EACCES:
    case EPERM:
    case EROFS:
        return "permission";
    case ETIMEDOUT:
        return "timeout";
    case ECANCELED:
        return "cancelled";
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
        return "unreachable";
    default:
        return "failed";
    }
}

/* What helps whatever the call was; a caller that knows better gives its own hint afterwards. */
static const char *hint_of_errno(int error_number)
{
    switch (error_number) {
    case EACCES:
    case EPERM:
        return "run it as root, or as a user who may; on other hosts --sudo makes it so";
    case EROFS:
        return "mount the file system writable: `findmnt -o TARGET,OPTIONS` shows how it is";
    case ENOSPC:
        return "make room: `df -h` and `df -i` show what is full";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files (ulimit -n)";
    default:
        return "";
    }
}

bool failure_errno(struct failure *failure, int error_number, const char *op, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(failure, kind_of_errno(error_number), op, format, arguments);
    va_end(arguments);
    char reason[128];
    size_t length = strlen(failure->message);
    /* GNU's strerror_r: the returned text, not necessarily the buffer, holds the message. */
    snprintf(failure->message + length, sizeof failure->message - length, ": %s",
             strerror_r(error_number, reason, sizeof reason));
    put_text(failure->hint, sizeof failure->hint, hint_of_errno(error_number));
    return false;
}

void failure_hint(struct failure *failure, const char *format, ...)
{
    char hint[sizeof failure->hint];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(hint, sizeof hint, format, arguments);
    va_end(arguments);
    trim_broken_tail(hint, sizeof hint);
    memcpy(failure->hint, hint, strlen(hint) + 1);
}

/* [-0, +0, m] */
static void set_text_field(lua_State *L, const char *name, const char *text)
{
    if (!text || !text[0])
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* [-0, +0, m] Text that may quote a server or a command; scripts print errors. Secrets go first: they may hold what is
 * disarmed, and nobody would know them afterwards. */
static void set_clean_field(lua_State *L, const char *name, const char *text, size_t length)
{
    const struct runtime *runtime = runtime_of(L);
    struct buffer clean = {0};
    buffer_append(&clean, text, length);
    if (runtime && runtime->redactor)
        redact(runtime->redactor, &clean);
    utf8_disarm(clean.bytes, clean.length);
    lua_pushlstring(L, clean.bytes, clean.length);
    buffer_free(&clean);
    lua_setfield(L, -2, name);
}

/* "file.present /etc/x" fails with "/etc/x: Permission denied": the path once is enough. */
static const char *message_after_op(const struct failure *failure)
{
    const char *subject = strchr(failure->op, ' ');
    size_t length = subject ? strlen(++subject) : 0;
    bool repeats = length && strncmp(failure->message, subject, length) == 0 &&
                   strncmp(failure->message + length, ": ", 2) == 0;
    return failure->message + (repeats ? length + 2 : 0);
}

void failure_push(lua_State *L, const struct failure *failure)
{
    luaL_checkstack(L, 4, "no room for an error");
    lua_createtable(L, 0, 8);
    set_text_field(L, "kind", failure->kind);
    if (failure->op[0])
        set_clean_field(L, "op", failure->op, strlen(failure->op));
    const char *message = message_after_op(failure);
    const char *end = failure->message + length_without_secret(L, failure->message, sizeof failure->message);
    set_clean_field(L, "message", message, end > message ? (size_t)(end - message) : 0);
    if (failure->hint[0])
        set_clean_field(L, "hint", failure->hint, strlen(failure->hint));
    if (failure->status) {
        lua_pushinteger(L, failure->status);
        lua_setfield(L, -2, "status");
    }
    struct runtime *runtime = runtime_of(L);
    if (runtime && runtime->current) {
        const struct fiber_context *context = fiber_context(runtime);
        set_text_field(L, "host", host_current(runtime)->name);
        set_text_field(L, "step", context->step);
    }
    luaL_setmetatable(L, METATABLE);
}

int failure_raise(lua_State *L, const struct failure *failure)
{
    failure_push(L, failure);
    return lua_error(L);
}

int failure_error(lua_State *L, const char *kind, const char *op, const char *format, ...)
{
    struct failure failure;
    va_list arguments;
    va_start(arguments, format);
    set(&failure, kind, op, format, arguments);
    va_end(arguments);
    return failure_raise(L, &failure);
}

int failure_advise(lua_State *L, const char *kind, const char *op, const char *hint, const char *format, ...)
{
    struct failure failure;
    va_list arguments;
    va_start(arguments, format);
    set(&failure, kind, op, format, arguments);
    va_end(arguments);
    failure_hint(&failure, "%s", hint);
    return failure_raise(L, &failure);
}

/* Is it a table with our metatable? [-0, +0, -] */
static bool is_error_table(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_checkstack(L, 2) || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, METATABLE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* [-0, +1, -] A field of the table as it is, without metamethods. */
static int raw_field(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

bool failure_is(lua_State *L, int index, const char *kind)
{
    if (!is_error_table(L, index))
        return false;
    if (!kind)
        return true;
    bool same = raw_field(L, index, "kind") == LUA_TSTRING && strcmp(lua_tostring(L, -1), kind) == 0;
    lua_pop(L, 1);
    return same;
}

/* Copies a text field of the table at `index`; "" where it has none. */
static bool take_field(lua_State *L, int index, const char *name, char *out, size_t size)
{
    bool found = raw_field(L, index, name) == LUA_TSTRING;
    put_text(out, size, found ? lua_tostring(L, -1) : "");
    out[length_without_secret(L, out, size)] = '\0';
    lua_pop(L, 1);
    return found;
}

void failure_from_lua(lua_State *L, int index, struct failure *failure)
{
    index = lua_absindex(L, index);
    *failure = (struct failure){.kind = "failed"};
    if (lua_type(L, index) == LUA_TSTRING) {
        put_text(failure->message, sizeof failure->message, lua_tostring(L, index));
        failure->message[length_without_secret(L, failure->message, sizeof failure->message)] = '\0';
        return;
    }
    /* A table that a script raised by itself may have the same fields: they are taken for what they say. */
    if (lua_istable(L, index) && lua_checkstack(L, 3)) {
        if (!take_field(L, index, "kind", failure->kind, sizeof failure->kind))
            put_text(failure->kind, sizeof failure->kind, "failed");
        take_field(L, index, "host", failure->host, sizeof failure->host);
        take_field(L, index, "step", failure->step, sizeof failure->step);
        take_field(L, index, "op", failure->op, sizeof failure->op);
        take_field(L, index, "hint", failure->hint, sizeof failure->hint);
        raw_field(L, index, "status");
        failure->status = lua_isinteger(L, -1) ? (int)lua_tointeger(L, -1) : 0;
        lua_pop(L, 1);
        if (take_field(L, index, "message", failure->message, sizeof failure->message))
            return;
    }
    snprintf(failure->message, sizeof failure->message, "an error without a message (a %s value)",
             luaL_typename(L, index));
}

/* [-0, +0, m] Appends a text with its line ends replaced, for a message must stay one line. */
static void add_line(luaL_Buffer *buffer, const char *text, size_t length)
{
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r' || text[length - 1] == ' '))
        length--;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            luaL_addstring(buffer, " | ");
        else if (text[i] != '\r')
            luaL_addchar(buffer, text[i]);
    }
}

/* [-0, +0, m] The text at `slot` between two others; nothing where it is no text. A buffer keeps things on
 * top of the stack, so that the fields are fetched before it begins. */
static void add_part(lua_State *L, luaL_Buffer *buffer, int slot, const char *before, const char *after)
{
    if (lua_type(L, slot) != LUA_TSTRING)
        return;
    size_t length;
    const char *text = lua_tolstring(L, slot, &length);
    luaL_addstring(buffer, before);
    add_line(buffer, text, length);
    luaL_addstring(buffer, after);
}

/* tostring(error): HOST: step "STEP": OP: MESSAGE; HINT */
static int failure_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    raw_field(L, 1, "host");
    raw_field(L, 1, "step");
    raw_field(L, 1, "op");
    raw_field(L, 1, "message");
    raw_field(L, 1, "hint");
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    add_part(L, &buffer, 2, "", ": ");
    add_part(L, &buffer, 3, "step \"", "\": ");
    add_part(L, &buffer, 4, "", ": ");
    add_part(L, &buffer, 5, "", "");
    add_part(L, &buffer, 6, "; ", "");
    luaL_pushresult(&buffer);
    return 1;
}

/* "could not: " .. error, as scripts write that know errors as strings. */
static int failure_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

/* A script's own error{message=, hint=}: it becomes one of ours, keeping its fields. [-0, +0, m] */
static void adopt_table(lua_State *L)
{
    struct failure failure;
    int table = lua_gettop(L);
    failure_from_lua(L, table, &failure);
    failure_push(L, &failure);
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, table) == LUA_TNIL) {
            lua_pushvalue(L, -3);
            lua_pushvalue(L, -3);
            lua_rawset(L, table);
        }
        lua_pop(L, 2);
    }
    lua_settop(L, table);
    luaL_setmetatable(L, METATABLE);
}

void failure_adopt(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        struct failure failure;
        failure_from_lua(L, -1, &failure);
        failure_push(L, &failure);
        lua_remove(L, -2);
    } else if (lua_istable(L, -1) && !lua_getmetatable(L, -1)) {
        bool speaks = raw_field(L, -1, "message") == LUA_TSTRING;
        lua_pop(L, 1);
        if (speaks)
            adopt_table(L);
    } else if (lua_istable(L, -2)) {
        lua_pop(L, 1); /* the metatable */
    }
}

void failure_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__tostring", failure_tostring},
        {"__concat", failure_concat},
        {NULL, NULL},
    };
    if (luaL_newmetatable(L, METATABLE))
        luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);
}
