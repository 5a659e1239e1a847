/* Objects of an API as the server would store them: what is equal, what goes out, what the difference says. */
#include "fiber.h"
#include "fields.h"
#include "json.h"
#include "runtime.h"
#include "secret.h"
#include "unknown.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* rules{types=, sets=, weak=} at index 1; wanted at 2, found at 3. */
static struct fields rules(lua_State *L)
{
    struct fields fields = {.types = ""};
    lua_settop(L, 3);
    lua_getfield(L, 1, "types");
    if (!lua_isnil(L, -1))
        fields.types = lua_tostring(L, -1);
    lua_getfield(L, 1, "sets");
    fields.sets = lua_toboolean(L, -1);
    lua_getfield(L, 1, "weak");
    fields.weak = lua_toboolean(L, -1);
    lua_pop(L, 3);
    return fields;
}

static int same(lua_State *L)
{
    struct fields fields = rules(L);
    bool equal = fields_equal(L, &fields, FIELD_PLAIN, 2, 3);
    assert_int_equal(lua_gettop(L), 3);
    lua_pushboolean(L, equal);
    return 1;
}

static int sent(lua_State *L)
{
    struct fields fields = rules(L);
    fields_push_sent(L, &fields, FIELD_PLAIN, 2, 3);
    assert_int_equal(lua_gettop(L), 4);
    json_encode(L, -1);
    return 1;
}

static int merged(lua_State *L)
{
    struct fields fields = rules(L);
    fields_push_merged(L, &fields, 2, 3);
    assert_int_equal(lua_gettop(L), 4);
    json_encode(L, -1);
    return 1;
}

static int lines(lua_State *L)
{
    struct fields fields = rules(L);
    struct fields_difference difference = {0};
    fields_describe(L, &fields, 2, 3, &difference);
    assert_int_equal(lua_gettop(L), 3);
    lua_pushstring(L, buffer_text(&difference.lines));
    lua_pushstring(L, buffer_text(&difference.before));
    lua_pushstring(L, buffer_text(&difference.after));
    lua_pushboolean(L, difference.hidden);
    fields_difference_free(&difference);
    return 4;
}

static int copy(lua_State *L)
{
    fields_push_copy(L, 1);
    return 1;
}

static int decode(lua_State *L)
{
    char error[128];
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    if (!json_decode(L, text, length, error, sizeof error))
        return luaL_error(L, "%s", error);
    return 1;
}

static int set_up(void **state)
{
    struct runtime *runtime = runtime_new("test");
    lua_State *L = runtime->L;
    lua_register(L, "same", same);
    lua_register(L, "sent", sent);
    lua_register(L, "copy", copy);
    lua_register(L, "merged", merged);
    lua_register(L, "lines", lines);
    lua_register(L, "decode", decode);
    json_push_null(L);
    lua_setglobal(L, "null");
    secret_push(L, "hunter22", 8, "test");
    lua_setglobal(L, "secret");
    secret_push(L, "hunter23", 8, "test");
    lua_setglobal(L, "other");
    unknown_push(L);
    lua_setglobal(L, "unknown");
    *state = runtime;
    return 0;
}

static int tear_down(void **state)
{
    runtime_free(*state);
    return 0;
}

/* Runs the chunk in a fiber, whose asserts are the test. */
static void run(void **state, const char *chunk)
{
    struct runtime *runtime = *state;
    lua_State *L = runtime->L;
    int results = 0;
    if (luaL_loadstring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    struct fiber *fiber = fiber_start(L, 0);
    if (!fiber_drive(L, fiber, &results))
        fail_msg("%s", luaL_tolstring(L, -1, NULL));
    lua_settop(L, 0);
}

static void test_durations(void **state)
{
    run(state, "for _, w in ipairs{'1d', '24h', 86400, '86400', '86400s', '1440m', '23h60m'} do"
               "  assert(same({types = 'ttl:seconds'}, {ttl = w}, {ttl = 86400}), w)"
               "  assert(same({types = 'ttl:duration'}, {ttl = w}, {ttl = '24h0m0s'}), w)"
               "  assert(sent({types = 'ttl:seconds'}, {ttl = w}, nil) == '{\"ttl\":86400}', w) end "
               "assert(not same({types = 'ttl:seconds'}, {ttl = '1d'}, {ttl = 86401}))"
               "assert(not same({types = 'ttl:duration'}, {ttl = '1500ms'}, {ttl = '1s'}))"
               "assert(same({types = 'ttl:duration'}, {ttl = '1500ms'}, {ttl = '1.5s'}))"
               "assert(same({types = 'ttl:seconds'}, {ttl = 3155760000}, {ttl = 3155760000}))"
               "assert(same({types = 'ttl:seconds'}, {ttl = '36525d'}, {ttl = 3155760000}))");
    run(state,
        "local n = {types = 'KillTimeout:nanoseconds'}"
        "assert(same(n, {KillTimeout = '5s'}, {KillTimeout = 5000000000}))"
        "assert(same(n, {KillTimeout = 5000000000}, {KillTimeout = 5000000000}))"
        "assert(not same(n, {KillTimeout = 5}, {KillTimeout = 5000000000}))" /* numbers are the API's */
        "assert(sent(n, {KillTimeout = '1m'}) == '{\"KillTimeout\":60000000000}')");
    run(state, "local d = {types = 't:duration'}"
               "assert(sent(d, {t = '1m30s'}) == '{\"t\":\"1m30s\"}')" /* Go takes it as it is */
               "assert(sent(d, {t = '1d'}) == '{\"t\":\"86400s\"}')"
               "assert(sent(d, {t = 90}) == '{\"t\":\"90s\"}')"
               "assert(sent(d, {t = 0.25}) == '{\"t\":\"250ms\"}')"
               "assert(sent(d, {t = 'later'}) == '{\"t\":\"later\"}')"); /* the server will say it */
}

static void test_weak_servers(void **state)
{
    run(state, "local w = {weak = true, sets = true}"
               "assert(same(w, {ttl = '1d'}, {ttl = 86400}))"
               "assert(same(w, {ttl = '1d'}, {ttl = '24h'}))"
               "assert(sent(w, {ttl = '1d'}, {ttl = 5}) == '{\"ttl\":86400}')"
               "assert(same(w, {n = '5', b = 'true'}, {n = 5, b = true}))"
               "assert(same(w, {p = 'b, a,c'}, {p = decode '[\"a\",\"b\",\"c\"]'}))"
               "assert(sent(w, {p = 'b, a'}, {p = decode '[]'}) == '{\"p\":[\"b\",\"a\"]}')"
               "assert(not same({}, {n = '5'}, {n = 5}))"
               "assert(not same({}, {ttl = '1d'}, {ttl = 86400}))"
               "assert(not same({types = 'x:verbatim', weak = true}, {x = '1d'}, {x = 86400}))");
}

static void test_lists(void **state)
{
    run(state,
        "local s = {types = 'p:set,q:links,g:named'}"
        "assert(same(s, {p = {'b', 'a'}}, {p = {'a', 'b'}}))"
        "assert(not same(s, {p = {'a', 'a'}}, {p = {'a', 'b'}}))"
        "assert(not same(s, {p = {'a'}}, {p = {'a', 'b'}}))"
        "assert(not same(s, {l = {'b', 'a'}}, {l = {'a', 'b'}}))" /* order means something */
        "assert(same(s, {q = {'b', {Name = 'a'}}}, {q = {{ID = '1', Name = 'a'}, {ID = '2', Name = 'b'}}}))"
        "assert(sent(s, {q = {'b'}}) == '{\"q\":[{\"Name\":\"b\"}]}')");
    /* {x = 1} equals both, {x = 1, y = 2} only one: the first to come must not keep it */
    run(state, "local s = {types = 'p:set'}"
               "assert(same(s, {p = {{x = 1}, {x = 1, y = 2}}}, {p = {{x = 1, y = 2}, {x = 1, y = 3}}}))"
               "assert(not same(s, {p = {{x = 1, y = 2}, {x = 1, y = 2}}}, {p = {{x = 1, y = 2}, {x = 1, y = "
               "3}}}))");
    run(state, "local s = {types = 'g:named'}"
               "local found = {g = {{Name = 'a', n = 1, m = 2}, {Name = 'b', n = 3}}}"
               "assert(same(s, {g = {{Name = 'b'}, {Name = 'a', n = 1}}}, found))"
               "assert(merged(s, {g = {{Name = 'a', n = 5}}}, found) == "
               "'{\"g\":[{\"Name\":\"a\",\"m\":2,\"n\":5}]}')");
}

static void test_unnamed_and_empty(void **state)
{
    run(state, "assert(same({}, {a = {b = 1}}, {a = {b = 1, c = 2}, d = 3}))"
               "assert(merged({}, {a = {b = 5}}, {a = {b = 1, c = 2}, d = 3}) == "
               "'{\"a\":{\"b\":5,\"c\":2},\"d\":3}')"
               "for _, empty in ipairs{'', 0, false, {}, null, decode '[]'} do"
               "  assert(same({}, {a = empty}, {})) assert(same({}, {a = null}, {a = empty})) end "
               "assert(not same({}, {a = null}, {a = 1}))"
               "assert(merged({}, {a = null}, {a = 1, b = 2}) == '{\"b\":2}')"
               "assert(sent({}, {a = null, b = null, c = null}, {a = 1, b = 'x', c = {1}}) =="
               "  '{\"a\":0,\"b\":\"\",\"c\":[]}')"
               "assert(not same({}, {a = {}}, {a = decode '[1]'}))"
               "assert(same({}, {a = {}}, {a = {b = 1}}))"
               "assert(not same({}, {a = {1}}, {a = {b = 1}}))"
               "assert(not same({}, {a = 1}, {a = {1}}))");
    run(state, "local big = decode '{\"n\":18446744073709551615}'"
               "assert(same({}, big, decode '{\"n\":18446744073709551615}'))"
               "assert(not same({}, big, decode '{\"n\":18446744073709551614}'))");
}

static void test_secrets_and_unknowns(void **state)
{
    run(state, "assert(same({}, {a = secret}, {a = 'hunter22'}) and same({}, {a = 'hunter22'}, {a = secret}))"
               "assert(not same({}, {a = secret}, {a = other}) and not same({}, {a = unknown}, {a = 1}))"
               "local text, before, after, hidden = lines({}, {a = other, b = 2}, {a = secret, b = 1})"
               "assert(text == '-a: <secret>\\n+a: <secret>\\n-b: 1\\n+b: 2\\n', text)"
               "assert(before == '{\"a\":\"<secret>\",\"b\":1}' and after == '{\"a\":\"<secret>\",\"b\":2}')"
               "assert(hidden)"
               "text, before, after, hidden = lines({}, {a = 'x'}, {a = '\\0\\255'})"
               "assert(before == '{\"a\":\"<2 bytes>\"}' and hidden)"
               "text, before, after, hidden = lines({}, {a = {secret}}, {})"
               "assert(not text:find 'hunter' and not hidden and after == '{\"a\":[\"<secret>\"]}')");
    /* what a secret takes the place of was one */
    run(state, "local s = {types = 'p:set,g:named'}"
               "local text, before, _, hidden = lines(s,"
               "  {a = secret, p = {secret, 'x'}, o = {k = other}, g = {{Name = 'n', e = {w = secret}}}},"
               "  {a = 'was-1', p = {'was-2', 'x'}, o = {k = 'was-3', l = 1}, g = {{Name = 'n', e = {w = "
               "'was-4'}}}})"
               "assert(not text:find 'was' and not before:find 'was' and hidden, text .. before)"
               "assert(text:find('-a: <secret>\\n+a: <secret>\\n', 1, true), text)"
               "text = lines(s, {a = secret, b = 2}, {a = 'was-1', b = 1})"
               "assert(text:find('-b: 1\\n+b: 2\\n', 1, true), text)");
}

static void test_large_lists(void **state)
{
    run(state, "local s, one, other, third = {types = 'p:set'}, {}, {}, {}"
               "for i = 1, 40000 do one[i], other[40001 - i], third[i] = 't' .. i, 't' .. i, 'x' .. i end "
               "local began = os.clock()"
               "assert(same(s, {p = one}, {p = other}) and not same(s, {p = one}, {p = third}))"
               "lines(s, {p = one}, {p = third})"
               "assert(os.clock() - began < 20)" /* comparing each with each takes minutes */
               "assert(same(s, {p = {'a', 'a', 'b'}}, {p = {'b', 'a'}}))"
               "assert(same({sets = true, weak = true}, {p = {'a', 'a'}}, {p = {'a'}}))"
               "assert(not same(s, {p = {'a', 1}}, {p = {'a', '1'}}))");
    run(state, "local one, other = {}, {}"
               "for i = 1, 20000 do one[i], other[i] = {}, {} end other[10000] = 'else'"
               "local done, err = pcall(same, {types = 'p:set'}, {p = one}, {p = other})"
               "assert(not done and tostring(err):find 'are alike', tostring(err))");
    run(state, "local endless = {} endless.a = endless "
               "local done, err = pcall(copy, endless)"
               "assert(not done and tostring(err):find 'deep', tostring(err))");
}

static void test_difference(void **state)
{
    run(state,
        "local text, before, after = lines({types = 'ttl:seconds,p:set,g:named,r:verbatim'},"
        "  {ttl = '1d', p = {'a', 'c'}, g = {{Name = 'x', n = 2}}, o = {k = 'new'}, same = 1, gone = null},"
        "  {ttl = 60, p = {'a', 'b'}, g = {{Name = 'x', n = 1}, {Name = 'y'}}, same = 1, gone = 'was'})"
        "assert(text == '-g[y]: {\"Name\":\"y\"}\\n-g[x].n: 1\\n+g[x].n: 2\\n-gone: \"was\"\\n+o.k: "
        "\"new\"\\n'"
        "  .. '-p: \"b\"\\n+p: \"c\"\\n-ttl: 60 (1 min)\\n+ttl: 86400 (1 d)\\n', text)"
        "assert(after:find('\"ttl\":86400', 1, true) and before:find('\"o\":null', 1, true))"
        "assert(not after:find 'same')"
        "text = lines({}, {policy = 'a\\nb\\nc\\n'}, {policy = 'a\\nx\\nc\\n'})"
        "assert(text:find('\\n a\\n-x\\n+b\\n c\\n', 1, true), text)");
}

int main(void)
{
    const struct CMUnitTest fields[] = {
        cmocka_unit_test_setup_teardown(test_durations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weak_servers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unnamed_and_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_secrets_and_unknowns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_difference, set_up, tear_down),
    };
    return cmocka_run_group_tests(fields, NULL, NULL);
}
