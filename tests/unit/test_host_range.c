/* Names of many hosts in one word. */
#include "host_range.h"

#include "buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool add(void *context, const char *name)
{
    struct buffer *names = context;
    buffer_format(names, "%s%s", names->length ? " " : "", name);
    return true;
}

static void assert_expands(const char *word, const char *wanted)
{
    struct buffer names = {0};
    struct failure failure = {0};
    if (!host_range_expand(word, add, &names, &failure))
        fail_msg("\"%s\": %s", word, failure.message);
    assert_string_equal(buffer_text(&names), wanted);
    buffer_free(&names);
}

static void assert_refused(const char *word, const char *why)
{
    struct buffer names = {0};
    struct failure failure = {0};
    if (host_range_expand(word, add, &names, &failure))
        fail_msg("\"%s\" became %s", word, buffer_text(&names));
    assert_string_equal(failure.kind, "usage");
    if (!strstr(failure.message, why))
        fail_msg("\"%s\": %s", word, failure.message);
    buffer_free(&names);
}

static void test_ranges_expand(void **state)
{
    (void)state;
    assert_expands("c1", "c1");
    assert_expands("", "");
    assert_expands("c[1-3]", "c1 c2 c3");
    assert_expands("builder[08-11].site", "builder08.site builder09.site builder10.site builder11.site");
    assert_expands("b[98-101]", "b98 b99 b100 b101");
    assert_expands("b[098-101]", "b098 b099 b100 b101");
    assert_expands("c[1,4-5,07]", "c1 c4 c5 c07");
    assert_expands("r[1-2]n[01-02]", "r1n01 r1n02 r2n01 r2n02");
    assert_expands("root@c[1-2]:2222", "root@c1:2222 root@c2:2222");
    assert_expands("[1-2]", "1 2");
    assert_expands("c[7-7]", "c7");
}

static void test_addresses_stay(void **state)
{
    (void)state;
    assert_expands("[::1]:22", "[::1]:22");
    assert_expands("root@[2001:db8::1]", "root@[2001:db8::1]");
    assert_expands("fe80::1", "fe80::1");
}

static void test_other_brackets_are_refused(void **state)
{
    (void)state;
    assert_refused("c[1-3", "not closed");
    assert_refused("c1-3]", "not opened");
    assert_refused("c[]", "no range");
    assert_refused("c[a-b]", "no range");
    assert_refused("c[1-]", "no range");
    assert_refused("c[-3]", "no range");
    assert_refused("c[1,]", "no range");
    assert_refused("c[1 - 3]", "no range");
    assert_refused("c[[1-2]]", "no range");
    assert_refused("c[3-1]", "backwards");
    assert_refused("c[1-99999999999999999999]", "no range");
}

static void test_too_many_are_refused(void **state)
{
    (void)state;
    assert_refused("c[0-10000]", "more than 10000");
    assert_refused("c[1-200]n[1-200]", "more than 10000");
    assert_refused("c[1-9999,1-9999]", "more than 10000");
}

/* Each would be a call within another. */
static void test_too_many_brackets_are_refused(void **state)
{
    (void)state;
    char word[3 * 40000 + 1] = "";
    assert_expands("c[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]", "c1111111111111111");
    const char *const brackets[] = {"[1]", "[:]"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t at = 0; at < sizeof word - 1; at += 3)
            memcpy(word + at, brackets[i], 3);
        assert_refused(word, "more brackets");
    }
}

static bool stop_at_two(void *context, const char *name)
{
    add(context, name);
    return strcmp(name, "c2") != 0;
}

static void test_a_visitor_may_end_it(void **state)
{
    (void)state;
    struct buffer names = {0};
    struct failure failure;
    assert_true(host_range_expand("c[1-9]", stop_at_two, &names, &failure));
    assert_string_equal(buffer_text(&names), "c1 c2");
    buffer_free(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_expand),
        cmocka_unit_test(test_addresses_stay),
        cmocka_unit_test(test_other_brackets_are_refused),
        cmocka_unit_test(test_too_many_are_refused),
        cmocka_unit_test(test_too_many_brackets_are_refused),
        cmocka_unit_test(test_a_visitor_may_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
