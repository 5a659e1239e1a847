/* What could stand at the cursor, and the values that a binding knows: asked in the fiber of a call, and not waited for. */
#include "fiber.h"
#include "repl.h"
#include "repl_show.h"
#include "runtime.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct line_candidates found;

static int set_up(void **state)
{
    *state = runtime_new("test");
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    line_candidates_free(&found);
    runtime_free(*state);
    return 0;
}

/* A reference with one function. */
static int reference(lua_State *L)
{
    return luaL_dostring(
               L, "return {{kind = 'endpoint', name = 'shop.goods.sell', usage = '(id, {price=, to=})'},"
                  "{kind = 'module', name = 'shop'}}") == LUA_OK
               ? 1
               : lua_error(L);
}

/* Completes the text, an argument, up to its end. */
static int complete(lua_State *L)
{
    struct repl repl;
    const char *text = lua_tostring(L, 1);
    repl_init(&repl, L);
    line_candidates_free(&found);
    repl_complete(&repl, text, strlen(text), &found);
    line_candidates_sort(&found);
    repl_clear(&repl);
    return 0;
}

/* Joins what could stand there by blanks. */
static const char *completed(struct runtime *runtime, const char *text, lua_CFunction values)
{
    static char joined[512];
    lua_settop(runtime->L, 0);
    runtime->reference = reference;
    runtime->live_values = values;
    lua_pushcfunction(runtime->L, complete);
    lua_pushstring(runtime->L, text);
    assert_true(fiber_drive(runtime->L, fiber_start(runtime->L, 1), NULL));
    *joined = '\0';
    for (size_t i = 0; i < found.count; i++) {
        strcat(joined, i ? " " : "");
        strcat(joined, found.texts[i]);
    }
    return joined;
}

static void names_of_the_reference(void **state)
{
    assert_string_equal(completed(*state, "sh", NULL), "");
    assert_string_equal(completed(*state, "shop.", NULL), "goods");
    assert_string_equal(completed(*state, "print(shop.goods.s", NULL), "sell");
    assert_string_equal(completed(*state, "shop.goods.sell('x', { p", NULL), "price = ");
    assert_string_equal(completed(*state, "shop.goods.sell { price = 1, ", NULL), "price =  to = ");
    assert_string_equal(completed(*state, "host('c1').shop.goods.s", NULL), "sell");
    assert_string_equal(completed(*state, "-- shop.", NULL), "");
    assert_string_equal(completed(*state, "[[ shop.", NULL), "");
}

/* Says what it was asked. */
static int say_asked(lua_State *L)
{
    lua_pushfstring(L, "%s%s/%d/%s", lua_tostring(L, 4), lua_tostring(L, 1), (int)lua_tointeger(L, 2),
                    lua_isnil(L, 3) ? "-" : lua_tostring(L, 3));
    lua_rawseti(L, 5, 1);
    return 0;
}

/* What a server may have: a quote, what steers a terminal, a backslash, the end of a long string. */
static int give_hostile(lua_State *L)
{
    static const char *const values[] = {"a\"b", "c\033[2J", "d\\e", "f]]g", "h\xc2\x9bi", "j\nk"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        lua_pushstring(L, values[i]);
        lua_rawseti(L, 5, (lua_Integer)i + 1);
    }
    return 0;
}

static void values_are_written_as_the_string_has_them(void **state)
{
    assert_string_equal(completed(*state, "shop.goods.sell(\"", give_hostile),
                        "a\\\"b c\\027[2J d\\\\e f]]g j\\010k");
    assert_string_equal(completed(*state, "shop.goods.sell('", give_hostile),
                        "a\"b c\\027[2J d\\\\e f]]g j\\010k");
    assert_string_equal(completed(*state, "shop.goods.sell([[", give_hostile), "a\"b d\\e");
}

static void a_binding_is_asked_for_values(void **state)
{
    assert_string_equal(completed(*state, "shop.goods.sell(\"", say_asked), "shop.goods.sell/1/-");
    assert_string_equal(completed(*state, "shop.goods.sell(1, 'ab", say_asked), "abshop.goods.sell/2/-");
    assert_int_equal(found.typed, 2);
    assert_string_equal(completed(*state, "shop.goods.sell(1, { to = \"", say_asked), "shop.goods.sell/2/to");
    assert_string_equal(completed(*state, "shop.sell{\"", say_asked), "shop.sell/1/-");
    assert_string_equal(completed(*state, "shop.sell \"", say_asked), "shop.sell/1/-");
    assert_string_equal(completed(*state, "host('c1').shop.sell(\"", say_asked), "shop.sell/1/-");
}

/* Some come at once, the rest never. */
static int give_slowly(lua_State *L)
{
    lua_pushliteral(L, "web");
    lua_rawseti(L, 5, 1);
    lua_pushliteral(L, "db");
    lua_rawseti(L, 5, 2);
    fiber_sleep(runtime_of(L), 3600000);
    return 0;
}

static int raise_error(lua_State *L)
{
    return luaL_error(L, "no server");
}

/* It would take an hour if it were waited for. */
static void a_slow_server_gives_fewer(void **state)
{
    assert_string_equal(completed(*state, "shop.sell(\"", give_slowly), "db web");
    assert_string_equal(completed(*state, "shop.sell(\"w", give_slowly), "web");
    assert_string_equal(completed(*state, "shop.sell(\"w", raise_error), "");
}

static struct {
    int begun, cancelled;
    bool may_answer;
} server;

/* Answers once it may. */
static int answer_late(lua_State *L)
{
    server.begun++;
    while (!server.may_answer)
        if (fiber_sleep(runtime_of(L), 5) == WAIT_CANCELLED) {
            server.cancelled++;
            return 0;
        }
    lua_pushfstring(L, "%s-late", lua_tostring(L, 4));
    lua_rawseti(L, 5, 1);
    return 0;
}

static void press_tab(struct repl *repl, const char *text)
{
    line_candidates_free(&found);
    repl_complete(repl, text, strlen(text), &found);
}

/* Tab three times: at the same place, then at another. */
static int look_again(lua_State *L)
{
    struct repl repl;
    repl_init(&repl, L);
    press_tab(&repl, "shop.sell('a");
    assert_int_equal(found.count, 0);
    press_tab(&repl, "shop.sell('a");
    assert_int_equal(server.begun, 1);
    press_tab(&repl, "shop.sell('b");
    assert_int_equal(server.begun, 2);
    assert_int_equal(server.cancelled, 1);
    server.may_answer = true;
    for (int tabs = 0; !found.count && tabs < 50; tabs++) /* the machine may be busy */
        press_tab(&repl, "shop.sell('b");
    assert_int_equal(found.count, 1);
    assert_string_equal(found.texts[0], "b-late");
    assert_int_equal(server.begun, 2);
    server.may_answer = false;
    press_tab(&repl, "shop.sell('c");
    repl_forget_look(&repl);
    while (server.cancelled < 2)
        fiber_sleep(repl.runtime, 1);
    repl_clear(&repl);
    return 0;
}

static void what_came_too_late_is_taken_up_again_or_cancelled(void **state)
{
    struct runtime *runtime = *state;
    runtime->reference = reference;
    runtime->live_values = answer_late;
    lua_pushcfunction(runtime->L, look_again);
    assert_true(fiber_drive(runtime->L, fiber_start(runtime->L, 0), NULL));
}

static void numbers_say_what_they_are(void **state)
{
    struct buffer out = {0};
    static const struct {
        const char *name;
        long long number;
        const char *wanted;
    } rows[] = {{"lease_duration", 2764800, "32 d"},
                {"Interval", 10000000000, "10 s"},
                {"Size", 1536, "1.5 KiB"},
                {"MemoryMB", 256, "256 MiB"},
                {"wait_ms", 1500, "1.5 s"},
                {"Port", 8080, ""},
                {"CreateIndex", 86400, ""},
                {"ttl", 0, ""},
                {"Count", 1500, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buffer_clear(&out);
        assert_int_equal(show_quantity(rows[i].name, rows[i].number, &out), *rows[i].wanted != '\0');
        assert_string_equal(buffer_text(&out), rows[i].wanted);
    }
    buffer_clear(&out);
    assert_true(show_quantity("ModifyTime", 1700000000000000000LL, &out));
    assert_int_equal(strncmp(buffer_text(&out), "2023-11-1", 9), 0);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_of_the_reference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_binding_is_asked_for_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_written_as_the_string_has_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_server_gives_fewer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_came_too_late_is_taken_up_again_or_cancelled, set_up, tear_down),
        cmocka_unit_test(numbers_say_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
