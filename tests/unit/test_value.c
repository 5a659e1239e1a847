/* What Lua sees of failures, secrets and unknown values, and how bindings read options tables. */
#include "binding.h"
#include "fiber.h"
#include "redact.h"
#include "secret.h"
#include "unknown.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int read_options(lua_State *L);

static int raise_failure(lua_State *L)
{
    struct failure failure;
    failure_set(&failure, "exit", "host.run", "%s ended with status 3\nsecond line\n", "sh");
    failure_hint(&failure, "look at %s", "the log");
    failure.status = 3;
    return failure_raise(L, &failure);
}

static int set_up(void **state)
{
    struct runtime *runtime = runtime_new("test");
    lua_State *L = runtime->L;
    secret_push(L, "hunter22", 8, "test");
    lua_setglobal(L, "secret");
    secret_push(L, "hunter22", 8, "test");
    lua_setglobal(L, "same");
    secret_push(L, "hunter23", 8, "test");
    lua_setglobal(L, "other");
    secret_push(L, "Hunter22", 8, "test");
    lua_setglobal(L, "first");
    unknown_push(L);
    lua_setglobal(L, "unknown");
    lua_register(L, "raise", raise_failure);
    lua_register(L, "options", read_options);
    *state = runtime;
    return 0;
}

static int tear_down(void **state)
{
    runtime_free(*state);
    return 0;
}

/* Runs Lua in a fiber; its asserts are the test. Returns whether the step became inexact. */
struct chunk {
    const char *text;
    bool inexact;
};

static int run_chunk(lua_State *L)
{
    struct chunk *chunk = lua_touserdata(L, 1);
    struct fiber_context *context = fiber_context(runtime_of(L));
    context->host = runtime_of(L)->local;
    context->step = "a step";
    context->inexact = false;
    if (luaL_loadstring(L, chunk->text) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    chunk->inexact = context->inexact;
    return 0;
}

static bool run(void **state, const char *text)
{
    lua_State *L = ((struct runtime *)*state)->L;
    struct chunk chunk = {.text = text};
    lua_pushcfunction(L, run_chunk);
    lua_pushlightuserdata(L, &chunk);
    if (!fiber_drive(L, fiber_start(L, 1), NULL))
        fail_msg("%s\nin: %s", luaL_tolstring(L, -1, NULL), text);
    lua_settop(L, 0);
    return chunk.inexact;
}

/* The chunk raises an error whose line has this text. */
static void raises(void **state, const char *chunk, const char *message)
{
    char text[2048];
    snprintf(text, sizeof text,
             "local ok, e = pcall(function() %s end)\nassert(not ok, 'no error')\n"
             "assert(tostring(e):find([==[%s]==], 1, true), tostring(e))",
             chunk, message);
    run(state, text);
}

/* ---- Failures ---- */

static void test_failures(void **state)
{
    run(state,
        "local ok, e = pcall(raise)\n"
        "assert(e.kind == 'exit' and e.op == 'host.run' and e.status == 3 and e.step == 'a step')\n"
        "assert(e.host ~= nil and e.hint == 'look at the log')\n"
        "e.host = 'builder42'\n"
        "assert(tostring(e) == 'builder42: step \"a step\": host.run: sh ended with status 3 | second line; "
        "look at the log', tostring(e))\n"
        "assert('it: ' .. e == 'it: ' .. tostring(e))\n"
        "e.host, e.step, e.op, e.hint = nil\n"
        "assert(tostring(e) == 'sh ended with status 3 | second line')");
    lua_State *L = ((struct runtime *)*state)->L;
    struct failure failure;
    assert_false(failure_errno(&failure, ENOENT, "file.read", "opening %s", "/x"));
    assert_string_equal(failure.kind, "not-found");
    assert_string_equal(failure.message, "opening /x: No such file or directory");
    failure_hint(&failure, "make it");
    failure.status = 7;
    failure_push(L, &failure);
    assert_true(failure_is(L, -1, NULL));
    assert_true(failure_is(L, -1, "not-found"));
    assert_false(failure_is(L, -1, "failed"));
    struct failure again;
    failure_from_lua(L, -1, &again);
    assert_string_equal(again.kind, failure.kind);
    assert_string_equal(again.op, failure.op);
    assert_string_equal(again.message, failure.message);
    assert_string_equal(again.hint, failure.hint);
    assert_int_equal(again.status, 7);
    lua_pushstring(L, "chunk:1: plain");
    assert_false(failure_is(L, -1, NULL));
    failure_from_lua(L, -1, &again);
    assert_string_equal(again.message, "chunk:1: plain");
    lua_pushnil(L);
    failure_from_lua(L, -1, &again);
    assert_string_equal(again.message, "an error without a message (a nil value)");
    lua_settop(L, 0);
}

static void test_long_failures_stay_utf8(void **state)
{
    (void)state;
    struct failure failure;
    struct buffer text = {0};
    for (size_t i = 0; i < 3000; i++)
        buffer_append(&text, "\xE2\x82\xAC", 3);
    for (size_t shift = 0; shift < 3; shift++) {
        failure_set(&failure, "failed", "", "%.*s%s", (int)shift, "ab", text.bytes);
        size_t length = strlen(failure.message);
        assert_true(length > sizeof failure.message - 5);
        assert_int_equal((length - shift) % 3, 0);
        failure_set(&failure, failure.kind, failure.op, "%s again", failure.message);
        assert_memory_equal(failure.message, shift ? "a" : "\xE2", 1);
    }
    buffer_free(&text);
}

/* ---- Secrets ---- */

static void test_secrets_do_not_show(void **state)
{
    run(state,
        "assert(tostring(secret) == '<secret>' and string.format('%s', secret) == '<secret>')\n"
        "assert(secret == same and secret ~= other and secret ~= first and not rawequal(secret, same))\n"
        "local joined = 'Bearer ' .. secret .. 5\n"
        "assert(type(joined) == 'userdata' and tostring(joined) == '<secret>')\n"
        "assert('x' .. secret == 'x' .. same and 'x' .. secret ~= secret)\n"
        "assert(getmetatable(secret) == 'secret')\n"
        "local ways = { function() return #secret end, function() return secret:sub(1) end,\n"
        "  function() return secret < other end, function() return secret + 1 end,\n"
        "  function() return string.len(secret) end, function() return string.rep(secret, 2) end,\n"
        "  function() return table.concat{secret} end, function() secret.x = 1 end,\n"
        "  function() return string.format('%q', secret) end, function() return secret .. {} end,\n"
        "  function() return string.pack('z', secret) end, function() return secret() end,\n"
        "  function() return load(secret) end, function() for k in pairs(secret) do end end }\n"
        "for i, way in ipairs(ways) do\n"
        "  local ok, e = pcall(way)\n"
        "  assert(not ok and not tostring(e):find('hunter'), i)\n"
        "end");
    lua_State *L = ((struct runtime *)*state)->L;
    size_t length;
    bool is_secret;
    lua_getglobal(L, "secret");
    lua_pushliteral(L, "x ");
    lua_insert(L, -2);
    lua_concat(L, 2);
    assert_string_equal(secret_bytes(L, -1, &length), "x hunter22");
    assert_int_equal(length, 10);
    assert_string_equal(secret_or_text(L, -1, "test", &length, &is_secret), "x hunter22");
    assert_true(is_secret);
    lua_pushliteral(L, "text");
    assert_null(secret_bytes(L, -1, NULL));
    assert_string_equal(secret_or_text(L, -1, "test", NULL, &is_secret), "text");
    assert_false(is_secret);
    lua_settop(L, 0);
    struct buffer text = {0};
    buffer_append_text(&text, "hunter22");
    assert_true(redact(((struct runtime *)*state)->redactor, &text));
    buffer_free(&text);
}

/* ---- Unknown values ---- */

static void test_unknown_values(void **state)
{
    static const char *const uses[] = {
        "return unknown.stdout",
        "return unknown[1]",
        "return unknown()",
        "return unknown + 1",
        "return 1 // unknown",
        "return unknown .. 'x'",
        "return 'x' .. unknown",
        "assert(tostring(unknown) == '<unknown>')",
        "assert(not (unknown < 5))",
        "unknown.x = 1",
        "assert(#unknown == 1)",
        "return secret .. unknown",
        "local n = 0 for i, v in ipairs(unknown) do n = n + 1 end assert(n == 1)",
        "local n = 0 for k, v in pairs(unknown) do n = n + 1 end assert(n == 1)",
        "local n = 0 for l in unknown.stdout:gmatch('[^\\n]+') do n = n + 1 end assert(n == 1)",
        "assert(options{'x', text = unknown} == '<unknown>')",
        "assert(type(unknown.a.b.c('x').d) == 'userdata')",
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (!run(state, uses[i]))
            fail_msg("is no use: %s", uses[i]);
    assert_false(run(state, "local x = unknown; return x == nil"));
    raises(state, "repeat local line = unknown:read() until line == nil", "a loop waits for a result");
}

/* ---- Options ---- */

static int read_options(lua_State *L)
{
    static const char *const names[] = {"text", "flag", "count", "wait", "mode", "list", NULL};
    argument_table(L, 1, "test", names);
    argument_subject(L, 1, "test", "path");
    const char *text = argument_string(L, 1, "test", "text", "fallback");
    argument_boolean(L, 1, "test", "flag", true);
    lua_Integer count = argument_integer(L, 1, "test", "count", 7);
    lua_Integer wait = argument_duration(L, 1, "test", "wait", 250);
    lua_Integer mode = argument_mode(L, 1, "test", "mode");
    lua_pushstring(L, text);
    lua_pushboolean(L, argument_boolean(L, 1, "test", "flag", true));
    lua_pushinteger(L, count);
    lua_pushinteger(L, wait);
    lua_pushinteger(L, mode);
    const char **list = argument_list(L, 1, "test", "list");
    luaL_Buffer joined;
    luaL_buffinit(L, &joined);
    for (size_t i = 0; list && list[i]; i++) {
        luaL_addstring(&joined, list[i]);
        luaL_addchar(&joined, ';');
    }
    luaL_pushresult(&joined);
    lua_remove(L, -2);
    return 6;
}

static void test_options(void **state)
{
    run(state,
        "local function is(t, ...)\n"
        "  local got, want = {options(t)}, {...}\n"
        "  for i = 1, 6 do assert(got[i] == want[i], i .. ': ' .. tostring(got[i])) end\n"
        "end\n"
        "is({'p'}, 'fallback', true, 7, 250, -1, '')\n"
        "is({'p', text = '', flag = false, count = 3.0, wait = '1m', mode = '0640', list = {'a', 'b'}},\n"
        "   '', false, 3, 60000, 416, 'a;b;')\n"
        "is({'p', wait = 0.5, mode = 0x1A0, list = 'one'}, 'fallback', true, 7, 500, 416, 'one;')\n"
        "is({'p', mode = '1777', list = {}}, 'fallback', true, 7, 250, 1023, '')");
    raises(state, "options('p')", "test: a table {...} is wanted, not string");
    raises(state, "options{'p', txet = 'x'}", "test: there is no option \"txet\"; did you mean \"text\"?");
    raises(state, "options{'p', verbose = 'x'}",
           "there is no option \"verbose\"; it takes text, flag, count");
    raises(state, "options{'p', [true] = 1}", "an option's name is text, not boolean");
    raises(state, "options{}", "the path is missing: it comes first, without a name");
    raises(state, "options{''}", "the path is empty");
    raises(state, "options{5}", "path is text, not number");
    raises(state, "options{'p', text = secret}", "text cannot be a secret: it would show");
    raises(state, "options{'p', text = 'a\\0b'}", "text has a NUL byte in it");
    raises(state, "options{'p', flag = 1}", "flag is true or false, not number");
    raises(state, "options{'p', count = 1.5}", "count is a whole number, not 1.5");
    raises(state, "options{'p', count = '1'}", "count is a whole number, not string");
    raises(state, "options{'p', wait = 'soon'}", "wait = \"soon\" is no duration");
    raises(state, "options{'p', wait = -1}", "wait is a number of seconds from 0, not -1");
    raises(state, "options{'p', mode = 640}", "write it as text: mode = \"0640\"");
    raises(state, "options{'p', mode = '9'}", "mode = \"9\" is no mode");
    raises(state, "options{'p', list = {'a', 5}}", "list[2] is text, not number");
    raises(state, "options{'p', list = 5}", "list is text, not number");
}

static void test_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"content", "owner", "group", "mode", "id", NULL};
    assert_string_equal(nearest_name("di", names), "id");
    assert_string_equal(nearest_name("contnet", names), "content");
    assert_string_equal(nearest_name("Owner", names), "owner");
    assert_string_equal(nearest_name("modes", names), "mode");
    assert_string_equal(nearest_name("gruop", names), "group");
    assert_null(nearest_name("recursive", names));
    assert_null(nearest_name("", names));
    assert_null(
        nearest_name("contentcontentcontentcontentcontentcontentcontentcontentcontentcontent", names));
}

int main(void)
{
    const struct CMUnitTest value[] = {
        cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
        cmocka_unit_test(test_long_failures_stay_utf8),
        cmocka_unit_test_setup_teardown(test_secrets_do_not_show, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_options, set_up, tear_down),
        cmocka_unit_test(test_nearest_name),
    };
    return cmocka_run_group_tests(value, NULL, NULL);
}
