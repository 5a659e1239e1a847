/* Durations and sizes as operators write them. */
#include "quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_duration(const char *text, int64_t wanted)
{
    int64_t ms = -1;
    if (!duration_parse(text, &ms))
        fail_msg("\"%s\" was refused", text);
    assert_int_equal(ms, wanted);
}

static void test_durations_are_read(void **state)
{
    (void)state;
    assert_duration("1d", 86400000);
    assert_duration("90s", 90000);
    assert_duration("1h30m", 5400000);
    assert_duration("1.5h", 5400000);
    assert_duration("250ms", 250);
    assert_duration("2w", 1209600000);
    assert_duration("10", 10000);
    assert_duration("0.25", 250);
    assert_duration("0", 0);
    assert_duration("0s", 0);
    assert_duration("1m0s", 60000); /* as Go writes it */
    assert_duration("0.1s", 100);
    assert_duration("9007199254740992ms", (int64_t)1 << 53);
}

static void test_other_durations_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        " ",
                                        "d",
                                        "1x",
                                        "-1s",
                                        "+1s",
                                        "1h30",
                                        "1 h",
                                        " 1h",
                                        "1h ",
                                        ".5s",
                                        "1.s",
                                        "1e3",
                                        "0x10",
                                        "infinite",
                                        "1,5h",
                                        "1m2m3",
                                        "1d1",
                                        "1hm",
                                        "nan",
                                        "1D",
                                        "9007199254740993ms",
                                        "99999999999999999999s",
                                        "9999999999999d",
                                        "9007199254741s",
                                        "1.1234567891s"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t ms = 7;
        if (duration_parse(texts[i], &ms))
            fail_msg("\"%s\" was read as %lld ms", texts[i], (long long)ms);
        assert_int_equal(ms, 7);
    }
}

static void assert_duration_text(int64_t ms, const char *wanted)
{
    char text[64];
    duration_format(ms, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void test_durations_are_written(void **state)
{
    (void)state;
    assert_duration_text(0, "0 ms");
    assert_duration_text(250, "250 ms");
    assert_duration_text(999, "999 ms");
    assert_duration_text(1000, "1 s");
    assert_duration_text(1500, "1.5 s");
    assert_duration_text(59940, "59.9 s");
    assert_duration_text(59960, "1 min");
    assert_duration_text(125000, "2 min 5 s");
    assert_duration_text(3600000, "1 h");
    assert_duration_text(12000000, "3 h 20 min");
    assert_duration_text(352800000, "4 d 2 h");
    assert_duration_text(-1500, "-1.5 s");
    assert_duration_text(INT64_MIN, "-106751991167 d 7 h");
}

static void assert_size(const char *text, int64_t wanted)
{
    int64_t bytes = -1;
    if (!size_parse(text, &bytes))
        fail_msg("\"%s\" was refused", text);
    assert_int_equal(bytes, wanted);
}

static void test_sizes_are_read(void **state)
{
    (void)state;
    assert_size("512M", 536870912);
    assert_size("10GiB", (int64_t)10 << 30);
    assert_size("1K", 1024);
    assert_size("1k", 1024);
    assert_size("1kB", 1024);
    assert_size("1KB", 1024);
    assert_size("1.5G", 1610612736);
    assert_size("4096", 4096);
    assert_size("7B", 7);
    assert_size("0", 0);
    assert_size("2T", (int64_t)2 << 40);
    assert_size("8191P", (int64_t)8191 << 50);
}

static void test_other_sizes_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",    "M",   "-1M", "1 M",   "1X",  "1.5", "1.5B",
                                        "1MM", "1iB", "1Mi", "8192P", "1e3", "1M ", "9999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t bytes = 7;
        if (size_parse(texts[i], &bytes))
            fail_msg("\"%s\" was read as %lld bytes", texts[i], (long long)bytes);
        assert_int_equal(bytes, 7);
    }
}

static void assert_size_text(int64_t bytes, const char *wanted)
{
    char text[64];
    size_format(bytes, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void test_sizes_are_written(void **state)
{
    (void)state;
    assert_size_text(0, "0 B");
    assert_size_text(512, "512 B");
    assert_size_text(1023, "1023 B");
    assert_size_text(1024, "1 KiB");
    assert_size_text(1572864, "1.5 MiB");
    assert_size_text(1048575, "1 MiB");
    assert_size_text(INT64_MAX, "8192 PiB");
}

int main(void)
{
    const struct CMUnitTest quantity[] = {
        cmocka_unit_test(test_durations_are_read),      cmocka_unit_test(test_other_durations_are_refused),
        cmocka_unit_test(test_durations_are_written),   cmocka_unit_test(test_sizes_are_read),
        cmocka_unit_test(test_other_sizes_are_refused), cmocka_unit_test(test_sizes_are_written),
    };
    return cmocka_run_group_tests(quantity, NULL, NULL);
}
