/* What systemctl show prints, and names of units. */
#include "systemd_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* 2026-11-22 10:46:00 UTC, as date -u -d says. */
#define MOMENT INT64_C(1795344360000000)

static void test_timestamps(void **state)
{
    (void)state;
    assert_true(systemd_timestamp("Sun 2026-11-22 10:46:00.123456 UTC") == MOMENT + 123456);
    assert_true(systemd_timestamp("Sun 2026-11-22 10:46:00.000001 UTC") == MOMENT + 1);
    assert_true(systemd_timestamp("Sun 2026-11-22 10:46:00 UTC") == MOMENT);
    assert_true(systemd_timestamp("Sun 2026-11-22 10:46:00 CET") == 0);
    assert_true(systemd_timestamp("n/a") == 0);
    assert_true(systemd_timestamp("") == 0);
}

static void test_show_is_read(void **state)
{
    (void)state;
    static const char output[] =
        "Id=nomad.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=812\nNRestarts=3\n"
        "NeedDaemonReload=yes\nInvocationID=0123456789abcdef0123456789abcdef\nUnitFileState=enabled\n"
        "ExecMainStartTimestamp=Sun 2026-11-22 10:46:00.5 UTC\nDescription=a=b c\nUnheardOf=1\n"
        "\nId=no.service\nLoadState=not-found\nActiveState=inactive\nMainPID=0\n";
    struct unit_state states[2];
    assert_int_equal(systemd_show_read(output, states, 2), 2);
    assert_string_equal(states[0].id, "nomad.service");
    assert_string_equal(states[0].enabled, "enabled");
    assert_string_equal(states[0].description, "a=b c");
    assert_int_equal(states[0].pid, 812);
    assert_int_equal(states[0].restarts, 3);
    assert_true(states[0].reload_needed);
    assert_true(states[0].started_us == MOMENT + 500000);
    assert_string_equal(states[1].load, "not-found");
    assert_int_equal(states[1].pid, 0);
    assert_false(states[1].reload_needed);
    assert_int_equal(systemd_show_read(output, states, 1), 2);
    assert_int_equal(systemd_show_read("", states, 2), 0);
    assert_int_equal(systemd_show_read("\n\nno equals sign", states, 2), 1);
}

static void test_long_values_are_cut(void **state)
{
    (void)state;
    char output[4096] = "ActiveState=", *at = output + strlen(output);
    memset(at, 'x', sizeof output - 14);
    struct unit_state states[1];
    assert_int_equal(systemd_show_read(output, states, 1), 1);
    assert_int_equal(strlen(states[0].active), sizeof states[0].active - 1);
}

static void test_drop_ins(void **state)
{
    (void)state;
    struct unit_state unit = {.drop_ins = "/etc/systemd/system/a.service.d/x.conf /run/y.conf"};
    systemd_note_drop_in(&unit, "/run/y.conf", 11);
    systemd_note_drop_in(&unit, "/etc/systemd/system/a.service.d/x.conf", 38);
    assert_false(unit.reload_needed);
    systemd_note_drop_in(&unit, "/run/y", 6);
    assert_true(unit.reload_needed);
}

static void assert_name(const char *given, const char *wanted)
{
    char out[UNIT_NAME_SIZE];
    assert_int_equal(systemd_unit_name(given, out), wanted != NULL);
    if (wanted)
        assert_string_equal(out, wanted);
}

static void test_unit_names(void **state)
{
    (void)state;
    assert_name("nomad", "nomad.service");
    assert_name("nomad.service", "nomad.service");
    assert_name("apt-daily.timer", "apt-daily.timer");
    assert_name("foo.bar", "foo.bar.service");
    assert_name("getty@tty1", "getty@tty1.service");
    assert_name("dev-disk\\x2d1.mount", "dev-disk\\x2d1.mount");
    assert_name("", NULL);
    assert_name("-x", NULL);
    assert_name(".service", NULL);
    assert_name("a*", NULL);
    assert_name("a b", NULL);
    assert_name("../a", NULL);
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_name(longest, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timestamps),          cmocka_unit_test(test_show_is_read),
        cmocka_unit_test(test_long_values_are_cut), cmocka_unit_test(test_drop_ins),
        cmocka_unit_test(test_unit_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
