/* Versions and constraints. */
#include "version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct version read_version(const char *text)
{
    struct version version;
    if (!version_parse(text, &version))
        fail_msg("\"%s\" was refused", text);
    return version;
}

static void test_versions_are_read(void **state)
{
    (void)state;
    static const char *const texts[] = {"1",
                                        "1.8",
                                        "1.8.4",
                                        "v1.8.4",
                                        "1.8.4.2",
                                        "1.8.0-dev",
                                        "1.10.0-beta1",
                                        "1.10.0-rc.2",
                                        "1.8.0+ent",
                                        "1.13.1+ent.hsm",
                                        "1.7.0-beta2+ent",
                                        "1.8.0beta1",
                                        "1.8.0~rc1",
                                        "1.8.7-2",
                                        "01.08",
                                        "1.2.3.4.5.6.7.8"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        read_version(texts[i]);
    struct version version = read_version("v1.10.2-beta.1+ent");
    assert_int_equal(version.segments[1], 10);
    assert_int_equal(version.segments[3], 0);
    assert_int_equal(version.given, 3);
    assert_string_equal(version.pre, "beta.1");
}

static void test_other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "v",
        "latest",
        "1.",
        ".1",
        "1..8",
        "1.8.x",
        " 1.8",
        "1.8 ",
        "1.8\n",
        "V1.8",
        "1.8.7:",
        "1.8-",
        "1.8+",
        "1.8-rc.",
        "1.8-.1",
        "1.8+a b",
        "1.8+.",
        "-1.8",
        "1,8",
        "1.8/2",
        "1.2.3.4.5.6.7.8.9",
        "1234567890123456789.1",
        "1.8-long-long-long-long-long-long-long-long-long-long-long-long-long-long"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct version version;
        if (version_parse(texts[i], &version))
            fail_msg("\"%s\" was taken", texts[i]);
    }
}

/* Each comes before the next; equal ones stand on one line. */
static const char *const order[][3] = {
    {"0.11.5"},
    {"1.0.0-alpha"},
    {"1.0.0-beta"},
    {"1.0.0-beta.2"},
    {"1.0.0-beta.11"},
    {"1.0.0-rc1", "1.0.0rc1", "v1-rc1"},
    {"1.0.0-rc2", "1.0-rc2+ent"},
    {"1", "1.0.0", "v1.0+ent"},
    {"1.0.0.1"},
    {"1.0.1"},
    {"1.8.0-dev"},
    {"1.8.0", "1.8.0+ent", "1.8.0+ent.hsm"},
    {"1.8.4"},
    {"1.9.0"},
    {"1.10.0-1"},
    {"1.10.0-2"},
    {"1.10.0-10"},
    {"1.10.0-beta1"},
    {"1.10.0"},
    {"1.10.1"},
    {"2"},
    {"10.0"},
};
#define ORDERED (sizeof order / sizeof *order)

static void check_order(const char *one, const char *other, int wanted)
{
    struct version first = read_version(one), second = read_version(other);
    int got = version_compare(&first, &second);
    if ((got > 0) - (got < 0) != wanted)
        fail_msg("%s and %s: %d, not %d", one, other, got, wanted);
}

static void test_versions_have_an_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < ORDERED; i++)
        for (size_t j = 0; j < ORDERED; j++)
            for (size_t k = 0; k < 3 && order[i][k]; k++)
                check_order(order[i][k], order[j][0], (i > j) - (i < j));
    check_order("1.0-beta", "1.0-beta.x", 1); /* go-version's own way: a word more comes before */
}

static void test_constraints(void **state)
{
    (void)state;
    static const struct {
        const char *constraint, *version;
        bool fits;
    } cases[] = {
        {">= 1.9", "1.8.4", false},
        {">= 1.9", "1.9.0", true},
        {">= 1.9", "1.10.0", true},
        {">=1.9", "1.9.0+ent", true},
        {">= 1.7, < 2", "1.8.7", true},
        {">= 1.7, < 2", "1.6.9", false},
        {">= 1.7 ,<2", "2.0.0", false},
        {" >= 1.7 , < 2 ", "1.7", true},
        {">= 1.7, < 2, != 1.8.1", "1.8.1", false},
        {"< 1.10", "1.9.9", true},
        {"< 1.10", "1.10.0", false},
        {"< 1.10", "1.10.0-beta1", false}, /* it has what 1.10 changes */
        {"< 1.10", "1.9.0-beta1", true},
        {"< 1.10.0-beta2", "1.10.0-beta1", true},
        {"<= 1.10", "1.10.0", true},
        {"<= 1.10", "1.10.1", false},
        {">= 1.0", "1.8.0-dev", true},
        {">= 1.8", "1.8.0-dev", false},
        {">= 1.8.0-dev", "1.8.0-dev", true},
        {">= 1.10.0-beta1", "1.10.0", true},
        {"> 1.8", "1.8.0", false},
        {"> 1.8", "1.8.1", true},
        {"= 1.8", "1.8.0", true},
        {"= 1.8", "1.8.4", false},
        {"1.8.4", "v1.8.4+ent", true},
        {"!= 1.8.4", "1.8.4", false},
        {"!= 1.8.4", "1.8.5", true},
        {"~> 1.8", "1.8.0", true},
        {"~> 1.8", "1.15.2", true},
        {"~> 1.8", "1.7.9", false},
        {"~> 1.8", "2.0.0", false},
        {"~> 1.8", "2.0.0-beta1", false},
        {"~> 1.8.4", "1.8.9", true},
        {"~> 1.8.4", "1.8.3", false},
        {"~> 1.8.4", "1.9.0", false},
        {"~> 1.8.4, != 1.8.6", "1.8.6", false},
        {"~> 1", "2.3", true},
        {"~> v1.8.4", "1.8.4.1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct version version = read_version(cases[i].version);
        if (!version_constraint_valid(cases[i].constraint))
            fail_msg("\"%s\" is no constraint", cases[i].constraint);
        if (version_fits(&version, cases[i].constraint) != cases[i].fits)
            fail_msg("\"%s\" and %s", cases[i].constraint, cases[i].version);
    }
}

static void test_what_is_no_constraint(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",         " ",          ",",       ">=",     ">= ",  ">> 1.0",  "=> 1.0", "1.x",    ">= 1.0,",
        ", >= 1.0", ">= 1.0 < 2", "1.0 2.0", "== 1.0", "^1.0", ">= 1.0;", "~ 1.0",  "latest", ">= 1.0,, < 2"};
    struct version version = read_version("1.0");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (version_constraint_valid(texts[i]) || version_fits(&version, texts[i]))
            fail_msg("\"%s\" was taken", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_are_read),      cmocka_unit_test(test_other_texts_are_refused),
        cmocka_unit_test(test_versions_have_an_order), cmocka_unit_test(test_constraints),
        cmocka_unit_test(test_what_is_no_constraint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
