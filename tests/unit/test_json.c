/* The JSON codec: what three real servers answered comes back as it was, and hostile text is refused. */
#include "failure.h"
#include "json.h"
#include "redact.h"
#include "runtime.h"
#include "secret.h"
#include "unknown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

struct world {
    struct runtime runtime;
    lua_State *L;
};

static int open_all(lua_State *L)
{
    luaL_openlibs(L);
    failure_open(L);
    json_open(L);
    unknown_open(L);
    secret_open(L);
    return 0;
}

static int set_up(void **state)
{
    struct world *world = allocate_zeroed(1, sizeof *world);
    world->runtime.redactor = redactor_new();
    world->L = luaL_newstate();
    *(struct runtime **)lua_getextraspace(world->L) = &world->runtime;
    lua_pushcfunction(world->L, open_all);
    assert_int_equal(lua_pcall(world->L, 0, 0, 0), LUA_OK);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    assert_int_equal(lua_gettop(world->L), 0);
    lua_close(world->L);
    redactor_free(world->runtime.redactor);
    free(world);
    return 0;
}

static int encode_first(lua_State *L)
{
    json_encode(L, 1);
    return 1;
}

/* Encodes the value on top of the stack and takes it off; the text or the error is left. */
static const char *encode(lua_State *L, bool good)
{
    lua_pushcfunction(L, encode_first);
    lua_insert(L, -2);
    int status = lua_pcall(L, 1, 1, 0);
    const char *text = luaL_tolstring(L, -1, NULL);
    if ((status == LUA_OK) != good)
        print_error("%s\n", text);
    assert_int_equal(status == LUA_OK, good);
    lua_remove(L, -2);
    return text;
}

static void decode(lua_State *L, const char *text, size_t length)
{
    char error[256] = "";
    if (!json_decode(L, text, length, error, sizeof error))
        fail_msg("%s: %.200s", error, text);
}

static void assert_becomes(lua_State *L, const char *text, const char *wanted)
{
    decode(L, text, strlen(text));
    assert_string_equal(encode(L, true), wanted);
    lua_pop(L, 1);
}

static void assert_stays(lua_State *L, const char *text)
{
    assert_becomes(L, text, text);
}

static void assert_refused(lua_State *L, const char *text, size_t length, const char *wanted)
{
    char error[256] = "";
    int top = lua_gettop(L);
    if (json_decode(L, text, length, error, sizeof error))
        fail_msg("was not refused: %.200s", text);
    assert_int_equal(lua_gettop(L), top);
    assert_string_equal(error, wanted);
}

#define REFUSED(L, text, wanted) assert_refused(L, text, sizeof(text) - 1, wanted)

/* Runs Lua that ends in a value; encoding it gives `wanted`, or a refusal with this text. */
static void assert_encodes(lua_State *L, const char *chunk, bool good, const char *wanted)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    assert_string_equal(encode(L, good), wanted);
    lua_pop(L, 1);
}

/* ---- Recorded answers ---- */

/* Reading what was written gives the same text again, and every value is equal to the first one. */
static const char same_values[] = "local function same(a, b)\n"
                                  "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b and\n"
                                  "    (math.type(a) ~= 'integer' or math.type(b) == 'integer') end\n"
                                  "  if getmetatable(a) ~= getmetatable(b) then return false end\n"
                                  "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
                                  "  for k in pairs(b) do if a[k] == nil then return false end end\n"
                                  "  return true\n"
                                  "end\n"
                                  "return same\n";

static void round_trip_line(lua_State *L, const char *line, size_t length)
{
    int top = lua_gettop(L);
    assert_int_equal(luaL_dostring(L, same_values), LUA_OK);
    decode(L, line, length);
    lua_pushvalue(L, -1);
    size_t written_length;
    encode(L, true);
    const char *written = lua_tolstring(L, -1, &written_length);
    decode(L, written, written_length);
    lua_pushvalue(L, -1);
    assert_string_equal(encode(L, true), written);
    lua_pop(L, 1);
    lua_remove(L, -2);
    assert_int_equal(lua_pcall(L, 2, 1, 0), LUA_OK);
    assert_true(lua_toboolean(L, -1));
    lua_settop(L, top);
}

/* Nomad writes whole floats as 5.0, we as 5: takes the ".0" away. Returns the new length. */
static size_t drop_zero_fractions(char *text, size_t length)
{
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        bool digit = kept && strchr("0123456789", text[kept - 1]);
        if (digit && i + 2 < length && memcmp(text + i, ".0", 2) == 0 && strchr(",]}", text[i + 2]))
            i++;
        else
            text[kept++] = text[i];
    }
    return kept;
}

/* The recordings have the same spacing and escapes as our text, but the servers' order of names: what we write
 * has the same bytes in another order. */
static void assert_same_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t counts[256] = {0};
    assert_int_equal(a_length, b_length);
    for (size_t i = 0; i < a_length; i++)
        counts[(unsigned char)a[i]]++;
    for (size_t i = 0; i < b_length; i++)
        counts[(unsigned char)b[i]]--;
    for (size_t i = 0; i < 256; i++)
        assert_int_equal(counts[i], 0);
}

static size_t round_trip_file(lua_State *L, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s is missing: run the tests from the repository's root", path);
    char *line = NULL;
    size_t capacity = 0, lines = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, file)) > 0) {
        while (length && line[length - 1] == '\n')
            line[--length] = '\0';
        round_trip_line(L, line, (size_t)length);
        decode(L, line, (size_t)length);
        size_t written_length;
        encode(L, true);
        const char *written = lua_tolstring(L, -1, &written_length);
        assert_same_bytes(line, drop_zero_fractions(line, (size_t)length), written, written_length);
        lua_pop(L, 1);
        lines++;
    }
    free(line);
    fclose(file);
    return lines;
}

static void test_recordings(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    size_t lines = 0;
    lines += round_trip_file(L, "tests/recordings/consul-1.8.7.jsonl");
    lines += round_trip_file(L, "tests/recordings/nomad-1.1.2.jsonl");
    lines += round_trip_file(L, "tests/recordings/vault-1.8.jsonl");
    assert_int_equal(lines, 220);
}

/* ---- Values ---- */

static void test_integers_are_exact(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    assert_stays(L, "0");
    assert_stays(L, "-1");
    assert_stays(L, "999999999999999999");
    assert_stays(L, "-99999999999999999");
    assert_stays(L, "-999999999999999999");
    assert_stays(L, "1600000000000000001");
    assert_stays(L, "9223372036854775807");
    assert_stays(L, "-9223372036854775808");
    assert_stays(L, "9223372036854775808");
    assert_stays(L, "-9223372036854775809");
    assert_stays(L, "18446744073709551615");
    assert_stays(L, "340282366920938463463374607431768211456");
    decode(L, "-9223372036854775808", 20);
    assert_true(lua_isinteger(L, -1));
    lua_pop(L, 1);
    char digits[1100];
    memset(digits, '7', sizeof digits);
    assert_refused(L, digits, sizeof digits, "line 1, column 1101: a number of more than 1024 characters");
}

static void test_exact_numbers_behave(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    static const char chunk[] =
        "local a, b, c, n, m = ...\n"
        "assert(tostring(a) == '18446744073709551615')\n"
        "assert(a == b and a ~= c and not (a < b) and a <= b)\n"
        "assert(c < a and a > c and n < c and 5 < a and not (a < 5) and n < 0.5)\n"
        "assert(math.type(a + 0) == 'float' and a + 0 == 2.0^64 and 1 - n == 2.0^64 and -n == a + 0)\n"
        "assert(n < m and m > n and n <= m)\n"
        "assert(a // 2 == 2.0^63 and a .. '!' == '18446744073709551615!')\n"
        "assert(not pcall(function() return a + {} end))\n";
    assert_int_equal(luaL_loadstring(L, chunk), LUA_OK);
    decode(L, "18446744073709551615", 20);
    decode(L, "18446744073709551615", 20);
    decode(L, "9223372036854775808", 19);
    decode(L, "-18446744073709551615", 21);
    decode(L, "-9223372036854775809", 20);
    if (lua_pcall(L, 5, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

static void test_floats(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    assert_stays(L, "0.1");
    assert_stays(L, "2.5");
    assert_stays(L, "0.30000000000000004");
    assert_becomes(L, "1.7976931348623157e308", "1.7976931348623157e+308");
    assert_becomes(L, "5e-324", "4.94065645841247e-324");
    assert_becomes(L, "5.0", "5");
    assert_becomes(L, "1e3", "1000");
    assert_stays(L, "-0");
    assert_becomes(L, "1e19", "1e+19");
    decode(L, "5.0", 3);
    assert_false(lua_isinteger(L, -1));
    lua_pop(L, 1);
    REFUSED(L, "[1e999]", "line 1, column 6: a number too large for a float");
    assert_encodes(L, "return 3 / 2 + 0.5", true, "2");
    assert_encodes(L, "return {a = 0/0}", false, "json.encode: at a: JSON has neither infinity nor NaN");
    assert_encodes(L, "return 1/0", false, "json.encode: JSON has neither infinity nor NaN");
}

static void test_containers(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    assert_stays(L, "[]");
    assert_stays(L, "{}");
    assert_stays(L, "null");
    assert_stays(L, "{\"a\":[],\"b\":{},\"c\":null,\"d\":[null,[],{}]}");
    assert_becomes(L, "{\"b\":1,\"a\":2,\"a\":3,\"ab\":4}", "{\"a\":3,\"ab\":4,\"b\":1}");
    assert_becomes(L, "{\"a\":1,\"a\":null}", "{\"a\":null}");
    assert_becomes(L, " [ true , false ] \n", "[true,false]");
    assert_stays(L, "{\"1\":\"text, not an array\"}");
    decode(L, "[[]]", 4);
    assert_true(json_is_array(L, -1));
    lua_pop(L, 1);
}

static void test_strings(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    assert_stays(L, "\"\\u0000\"");
    assert_stays(L, "{\"a\":2,\"a\\u0000b\":1}");
    assert_stays(L, "\"\\\" \\\\ / \\b\\f\\n\\r\\t\\u001f \x7f\"");
    assert_becomes(L, "\"\\/ \\u00e9 \\uD83D\\uDE00\"", "\"/ \xC3\xA9 \xF0\x9F\x98\x80\"");
    decode(L, "\"a\\u0000b\"", 10);
    size_t length;
    assert_memory_equal(lua_tolstring(L, -1, &length), "a\0b", 3);
    assert_int_equal(length, 3);
    lua_pop(L, 1);
    size_t huge = 8 << 20;
    char *text = allocate(huge + 2);
    memset(text, 'x', huge + 2);
    text[0] = text[huge + 1] = '"';
    decode(L, text, huge + 2);
    assert_int_equal(lua_rawlen(L, -1), huge);
    lua_pop(L, 1);
    free(text);
}

/* ---- Hostile text ---- */

static void test_text_is_refused(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    REFUSED(L, "", "line 1, column 1: the text is empty");
    REFUSED(L, " \n ", "line 1, column 1: the text is empty");
    REFUSED(L, "\xEF\xBB\xBF{}", "line 1, column 1: a byte order mark, which JSON does not have");
    REFUSED(L, "{} x", "line 1, column 4: parse error: trailing garbage");
    REFUSED(L, "{} {}", "line 1, column 4: parse error: trailing garbage");
    REFUSED(L, "{\n \"\xC3\xA9\": [1,]}",
            "line 2, column 10: parse error: unallowed token at this point in JSON text");
    REFUSED(L, "{\"a\":1", "line 1, column 7: parse error: premature EOF");
    REFUSED(L, "\"abc", "line 1, column 5: parse error: premature EOF");
    REFUSED(L, "\"\\u12",
            "line 1, column 6: lexical error: invalid (non-hex) character occurs after '\\u' inside string.");
    REFUSED(L, "\"\\ud800\\u", "line 1, column 2: half of a surrogate pair");
    REFUSED(L, "\"\\ud800\"", "line 1, column 2: half of a surrogate pair");
    REFUSED(L, "\"\\udc00\"", "line 1, column 2: half of a surrogate pair");
    REFUSED(L, "\"\\udc00\\udc00\"", "line 1, column 2: half of a surrogate pair");
    REFUSED(L, "\"\\ud800\\ud800\"", "line 1, column 2: half of a surrogate pair");
    REFUSED(L, "\"\\ud800x\"", "line 1, column 2: half of a surrogate pair");
    REFUSED(L, "\"\xED\xA0\x80\"", "line 1, column 2: invalid UTF-8");
    REFUSED(L, "\"\xC0\x80\"", "line 1, column 2: invalid UTF-8");
    REFUSED(L, "\"ab\xC3\"", "line 1, column 4: invalid UTF-8");
    REFUSED(L, "\"\xF4\x90\x80\x80\"", "line 1, column 2: invalid UTF-8");
    REFUSED(L, "\"\xC3", "line 1, column 2: invalid UTF-8");
    REFUSED(L, "[1,\0002]", "line 1, column 4: lexical error: invalid char in json text.");
    REFUSED(L, "\"a\nb\"", "line 1, column 3: lexical error: invalid character inside string.");
    assert_stays(L, "\"\\\\ud800\"");
    assert_becomes(L, "\"\\\\\\u0041\"", "\"\\\\A\"");
}

/* Plain text is looked at eight bytes at a time. */
static void test_bad_bytes_are_found_wherever_they_are(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    for (int before = 0; before < 24; before++) {
        char text[64], wanted[64];
        int length = snprintf(text, sizeof text, "\"%*s\xDC 12345678\"", before, "");
        snprintf(wanted, sizeof wanted, "line 1, column %d: invalid UTF-8", before + 2);
        assert_refused(L, text, (size_t)length, wanted);
        length = snprintf(text, sizeof text, "\"%*s\\udfff 12345678\"", before, "");
        snprintf(wanted, sizeof wanted, "line 1, column %d: half of a surrogate pair", before + 2);
        assert_refused(L, text, (size_t)length, wanted);
        snprintf(text, sizeof text, "\"%*s\xC3\xA9\\\\\xF0\x9F\x98\x80 12345678\"", before, "");
        assert_stays(L, text);
    }
}

static void test_other_grammars_are_refused(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    static const char *const texts[] = {"01",       "+1",    ".5",      "1.",    "NaN",        "Infinity",
                                        "0x10",     "{a:1}", "{'a':1}", "[1 2]", "/* c */ 1",  "{\"a\"}",
                                        "{\"a\":}", "[",     "]",       "tru",   "nulll",      "\"\\x41\"",
                                        "{1:2}",    "1 1",   "-",       "\"\\",  "{\"a\":1,}", "1e"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char error[256] = "";
        if (json_decode(L, texts[i], strlen(texts[i]), error, sizeof error))
            fail_msg("was not refused: %s", texts[i]);
        assert_memory_equal(error, "line 1, column ", 15);
    }
}

static void test_depth_is_capped(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    char text[2 * (JSON_MAX_DEPTH + 1) + 1];
    memset(text, '[', JSON_MAX_DEPTH);
    memset(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    text[2 * JSON_MAX_DEPTH] = '\0';
    assert_stays(L, text);
    memset(text, '[', JSON_MAX_DEPTH + 1);
    assert_refused(L, text, JSON_MAX_DEPTH + 1, "line 1, column 121: nested deeper than 120 levels");
    char *deep = allocate(1 << 20);
    memset(deep, '[', 1 << 20);
    assert_refused(L, deep, 1 << 20, "line 1, column 121: nested deeper than 120 levels");
    free(deep);
    /* The way to the place is cut by the length of a message. */
    assert_int_equal(luaL_dostring(L, "local t = {} for i = 1, 120 do t = {t} end return t"), LUA_OK);
    assert_non_null(strstr(encode(L, false), "nested deeper than 120 levels"));
    lua_pop(L, 1);
}

/* Running out of memory at any point neither leaks the parser nor leaves the state broken. */
struct allowance {
    size_t left;
};

static void *limited(void *user, void *block, size_t old_size, size_t size)
{
    struct allowance *allowance = user;
    if (!size) {
        free(block);
        return NULL;
    }
    if ((!block || size > old_size) && !allowance->left--) {
        allowance->left = 0;
        return NULL;
    }
    return realloc(block, size);
}

static int decode_and_encode(lua_State *L)
{
    static const char text[] = "{\"a\":[1,2,{\"b\":18446744073709551615,\"c\":\"text \\u0041\"}],\"d\":{}}";
    char error[256];
    if (json_decode(L, text, sizeof text - 1, error, sizeof error))
        json_encode(L, -1);
    return 1;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    struct runtime runtime = {0};
    bool done = false;
    for (size_t count = 0; !done; count++) {
        assert_true(count < 1000);
        struct allowance allowance = {SIZE_MAX};
        lua_State *L = lua_newstate(limited, &allowance);
        *(struct runtime **)lua_getextraspace(L) = &runtime;
        lua_pushcfunction(L, open_all);
        assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
        lua_pushcfunction(L, decode_and_encode);
        allowance.left = count;
        int status = lua_pcall(L, 0, 1, 0);
        allowance.left = SIZE_MAX;
        done = status == LUA_OK;
        assert_true(done || status == LUA_ERRMEM);
        lua_close(L);
    }
}

/* ---- Encoding ---- */

static void test_values_are_refused(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    assert_encodes(L, "return {a = {{b = print}}}", false, "json.encode: at a[1].b: a function is no JSON");
    assert_encodes(L, "local t = {} t.list = {1, t} return t", false,
                   "json.encode: at list[2]: a table that contains itself");
    assert_encodes(L, "return {1, x = 2}", false, "json.encode: a table with both names and numbers as keys");
    assert_encodes(L, "return {[true] = 2}", false,
                   "json.encode: a table with a key that is neither text nor a number from 1");
    assert_encodes(L, "return {[1] = 2, [3] = 4}", false,
                   "json.encode: an array with holes; put json.null there");
    assert_encodes(L, "return '\\xff'", false, "json.encode: text that is not UTF-8; encode bytes as base64");
    assert_encodes(L, "return {['\\xff'] = 1}", false, "json.encode: at ?: a name that is not UTF-8");
    assert_encodes(L, "return io.stdout", false, "json.encode: an object of the program is no JSON");
    assert_encodes(L, "return coroutine.create(print)", false, "json.encode: a coroutine is no JSON");
    lua_pushlightuserdata(L, L);
    assert_string_equal(encode(L, false), "json.encode: an object of the program is no JSON");
    lua_pop(L, 1);
    unknown_push(L);
    assert_string_equal(encode(L, false), "json.encode: a value that only a real run can know");
    lua_pop(L, 1);
    lua_newtable(L);
    secret_push(L, "hunter22", 8, "test");
    lua_setfield(L, -2, "token");
    assert_string_equal(encode(L, false), "json.encode: at token: a secret cannot become text");
    lua_pop(L, 1);
    /* Each table is held twice: a walk without bounds would take 2^119 steps. */
    assert_encodes(L, "local t = {print} for i = 1, 118 do t = {t, t} end return #t", true, "2");
}

static void test_wide_output_is_bounded(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    assert_int_equal(
        luaL_dostring(L, "local t = {('x'):rep(1 << 20)} for i = 1, 20 do t = {t, t} end return t"), LUA_OK);
    assert_non_null(strstr(encode(L, false), "more than 512 MiB of JSON"));
    lua_pop(L, 1);
}

static void test_requests_open_secrets(void **state)
{
    lua_State *L = ((struct world *)*state)->L;
    struct buffer body = {0};
    lua_newtable(L);
    secret_push(L, "hunter\"22", 9, "test");
    lua_setfield(L, -2, "token");
    json_encode_request(L, -1, &body);
    assert_string_equal(buffer_text(&body), "{\"token\":\"hunter\\\"22\"}");
    buffer_wipe(&body);
    lua_pop(L, 1);
}

static void test_text_is_built(void **state)
{
    (void)state;
    struct json_text json = {0};
    json_open_object(&json);
    json_key(&json, "a");
    json_integer(&json, -5);
    json_key(&json, "b \"c\"");
    json_open_array(&json);
    json_string(&json, "x\xff\xC3");
    json_string(&json, NULL);
    json_bytes(&json, "\0\xE2\x82\xAC", 4);
    json_boolean(&json, true);
    json_open_array(&json);
    json_close_array(&json);
    json_close_array(&json);
    json_key(&json, "d");
    json_raw(&json, "{\"e\":1}");
    json_key(&json, "f");
    json_raw(&json, NULL);
    json_close_object(&json);
    assert_string_equal(
        buffer_text(&json.out),
        "{\"a\":-5,\"b \\\"c\\\"\":[\"x\xEF\xBF\xBD\xEF\xBF\xBD\",null,\"\\u0000\xE2\x82\xAC\",true,[]],"
        "\"d\":{\"e\":1},\"f\":null}");
    buffer_free(&json.out);
}

int main(void)
{
    const struct CMUnitTest json[] = {
        cmocka_unit_test_setup_teardown(test_recordings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_integers_are_exact, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exact_numbers_behave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_floats, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_containers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_bytes_are_found_wherever_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_grammars_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_depth_is_capped, set_up, tear_down),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test_setup_teardown(test_values_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wide_output_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_requests_open_secrets, set_up, tear_down),
        cmocka_unit_test(test_text_is_built),
    };
    return cmocka_run_group_tests(json, NULL, NULL);
}
