/* The pure parts of the apt module: source files, versions, what dpkg, apt-cache and /proc/locks print. */
#include "apt.h"
#include "apt_query.h"
#include "apt_source.h"
#include "apt_version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#define URI "https://apt.example.org"

/* ---- source files ---- */

/* Takes URI out; NULL: it was not there. `wanted_empty`: no entry is left. */
static void assert_taken(bool deb822, const char *text, const char *wanted, bool wanted_empty)
{
    struct buffer rest = {0};
    bool empty = !wanted_empty;
    bool found = apt_source_take_out(text, deb822, URI, &rest, &empty);
    assert_int_equal(found, wanted != NULL);
    assert_string_equal(buffer_text(&rest), wanted ? wanted : text);
    if (found)
        assert_int_equal(empty, wanted_empty);
    buffer_free(&rest);
}

static void test_lines_are_taken_out(void **state)
{
    (void)state;
    assert_taken(false, "deb " URI " bookworm main\n", "", true);
    assert_taken(false, "deb\t[ arch=amd64 signed-by=/x y=z ]  " URI "/ bookworm main", "", true);
    assert_taken(false, "# c\n deb-src [a=b] HTTPS://Apt.Example.Org// x y\n", "# c\n", true);
    assert_taken(false, "deb http://a b c\ndeb " URI " d e\n\n", "deb http://a b c\n\n", false);
    assert_taken(false, "#deb " URI " bookworm main\n", NULL, true);
    assert_taken(false, "deb " URI ".evil bookworm main\n", NULL, false);
    assert_taken(false, "deb " URI "/debian bookworm main\n", NULL, false);
    assert_taken(false, "deb [unclosed " URI " x\n", NULL, true);
    assert_taken(false, "deb\ndeb \ndeb [a]\n", NULL, false);
    assert_taken(false, "", NULL, true);
}

static void test_stanzas_are_taken_out(void **state)
{
    (void)state;
    assert_taken(true, "Types: deb\nURIs: " URI "\nSuites: x\n", "", true);
    assert_taken(true, "# c\n\nTypes: deb\nuris:\n " URI "/\nSuites: x\n\n\nTypes: deb\nURIs: http://b\n",
                 "# c\n\nTypes: deb\nURIs: http://b\n", false);
    assert_taken(true, "Types: deb\nURIs: http://a " URI " http://b\nSuites: x\n",
                 "Types: deb\nURIs: http://a http://b\nSuites: x\n", false);
    assert_taken(true, "Types: deb\nURIs: http://a\n# note\n  " URI "\nSuites: x\n",
                 "Types: deb\nURIs: http://a\nSuites: x\n", false);
    assert_taken(true, "Enabled: no\nTypes: deb\nURIs: " URI "\n", NULL, true);
    assert_taken(true, "Enabled: yes\nTypes: deb\nURIs: " URI "\n", "", true);
    assert_taken(true, "# URIs: " URI "\nTypes: deb\nURIs: http://a\n", NULL, false);
    assert_taken(true, "URIs:", NULL, true);
    assert_taken(true, "Types: deb\nURIs:", NULL, false);
    assert_taken(true, "\n\n \n", NULL, true);
}

/* Every beginning of a file, in memory of exactly that size. */
static void test_cut_off_files_are_safe(void **state)
{
    (void)state;
    static const char text[] =
        "# c\nTypes: deb\nURIs: http://a\n# n\n  " URI "\n\n\nEnabled: no\nTypes: deb\nURIs: " URI "\n";
    for (int deb822 = 0; deb822 < 2; deb822++) {
        for (size_t length = 0; length < sizeof text; length++) {
            struct buffer rest = {0};
            bool empty;
            char *copy = strndup(text, length);
            apt_source_take_out(copy, deb822, URI, &rest, &empty);
            buffer_free(&rest);
            free(copy);
        }
    }
}

static void test_a_source_is_written(void **state)
{
    (void)state;
    static const char *const components[] = {"main", "test", NULL}, *const architectures[] = {"amd64", NULL};
    struct apt_source source = {URI, "bookworm", components, architectures, "/k.gpg"};
    struct buffer out = {0};
    apt_source_write(&source, "# by alice", &out);
    assert_string_equal(buffer_text(&out),
                        "# by alice\nTypes: deb\nURIs: " URI "\nSuites: bookworm\nComponents: main test\n"
                        "Architectures: amd64\nSigned-By: /k.gpg\n");
    struct buffer comment = {0};
    apt_source_comment("# a\n#b\nTypes: deb\n# c\n", &comment);
    assert_string_equal(buffer_text(&comment), "# a\n#b\n");
    buffer_clear(&out);
    struct apt_source flat = {URI, "./", components, NULL, NULL};
    apt_source_write(&flat, "", &out);
    assert_string_equal(buffer_text(&out), "Types: deb\nURIs: " URI "\nSuites: ./\n");
    buffer_free(&out);
    buffer_free(&comment);
}

static void assert_list_name(const char *url, const char *wanted)
{
    struct buffer out = {0};
    apt_list_name(url, &out);
    assert_string_equal(buffer_text(&out), wanted);
    buffer_free(&out);
}

/* The names are those that apt 2.6 gave. */
static void test_list_names_are_apts(void **state)
{
    (void)state;
    assert_list_name("http://mirror.example.org/debian/dists/bookworm-updates/InRelease",
                     "mirror.example.org_debian_dists_bookworm-updates_InRelease");
    assert_list_name("http://10.0.0.1:8080/dists/x/InRelease", "10.0.0.1:8080_dists_x_InRelease");
    assert_list_name("https://user:pass@host/a_b~c/dists/x/Release", "host_a%5fb%7ec_dists_x_Release");
    assert_list_name("file:/srv/repo/InRelease", "file:_srv_repo_InRelease");
}

static void test_release_urls(void **state)
{
    (void)state;
    struct buffer out = {0};
    apt_release_url(URI "//", "bookworm", "InRelease", &out);
    assert_string_equal(buffer_text(&out), URI "/dists/bookworm/InRelease");
    buffer_clear(&out);
    apt_release_url(URI "/", "./", "Release", &out);
    assert_string_equal(buffer_text(&out), URI "/Release");
    buffer_clear(&out);
    apt_suites_of_index("<a href=\"../\">..</a><a href=\"jammy/\">jammy/</a><a href='x/'><a href=\"y\"><a "
                        "href=\"bookworm/\">",
                        &out);
    assert_string_equal(buffer_text(&out), " jammy bookworm");
    buffer_free(&out);
}

/* ---- versions ---- */

static int sign(int number)
{
    return (number > 0) - (number < 0);
}

static void test_versions_are_ordered_as_dpkg_does(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int order;
    } pairs[] = {
        {"1.0", "1.0", 0},       {"1.9.7-1", "1.10.0-1", -1},
        {"1.10", "1.9", 1},      {"1.0~rc1", "1.0", -1},
        {"1.0~~", "1.0~", -1},   {"1:0.1", "2.0", 1},
        {"0:1.0", "1.0", 0},     {"1.0-1", "1.0-2", -1},
        {"1.0", "1.0-1", -1},    {"1.0-0", "1.0", 0},
        {"1.0a", "1.0+", -1},    {"1.0a", "1.0", 1},
        {"1.01", "1.1", 0},      {"1.8.7+dfsg1-2", "1.8.7-9", 1},
        {"1.0-1.1", "1.0-1", 1}, {"2-1-1", "2-1", 1},
        {"1.0~a", "1.0~b", -1},  {"9999999999999999999", "9", 1},
        {"a", "b", -1},          {"1.0.0", "1.0", 1},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (sign(apt_version_compare(pairs[i].a, pairs[i].b)) != pairs[i].order ||
            sign(apt_version_compare(pairs[i].b, pairs[i].a)) != -pairs[i].order)
            fail_msg("%s and %s", pairs[i].a, pairs[i].b);
        char command[256];
        snprintf(command, sizeof command, "dpkg --compare-versions '%s' %s '%s' 2>/dev/null", pairs[i].a,
                 pairs[i].order < 0 ? "lt"
                 : pairs[i].order   ? "gt"
                                    : "eq",
                 pairs[i].b);
        if (system("command -v dpkg >/dev/null") == 0 && system(command) != 0)
            fail_msg("dpkg thinks otherwise of %s and %s", pairs[i].a, pairs[i].b);
    }
}

static void test_what_is_wanted(void **state)
{
    (void)state;
    char error[256];
    assert_true(apt_version_satisfies("1.9.7-1", "1.9.7-1"));
    assert_true(apt_version_satisfies("1.9.7-1", "1.9.7"));
    assert_false(apt_version_satisfies("1.9.7-1", "1.9.7-2"));
    assert_true(apt_version_satisfies("1.9.7-1", "1.9.*"));
    assert_false(apt_version_satisfies("1.10.0-1", "1.9.*"));
    assert_true(apt_version_satisfies("1.9.7-1", "< 1.10"));
    assert_false(apt_version_satisfies("1.10.0-1", "< 1.10"));
    assert_true(apt_version_satisfies("1.9.7-1", ">= 1.8, < 1.10"));
    assert_false(apt_version_satisfies("1.7.9-1", ">=1.8,<1.10"));
    assert_true(apt_version_satisfies("1.9.7-1", "<= 1.9.7"));
    assert_false(apt_version_satisfies("1.9.7-1", "> 1.9.7"));
    assert_true(apt_version_satisfies("1.9.7-2", "> 1.9.7-1"));
    assert_true(apt_version_satisfies("1.9.7-1", "!= 1.9.6"));
    assert_true(apt_version_satisfies("2:1.0", "> 1:5"));
    static const char *const invalid[] = {"",    " , ",           ">",    "~> 1.0", "=> 1", "<>< 1",
                                          "1 2", "latest please", "< 1.*"};
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        if (apt_wanted_valid(invalid[i], error, sizeof error))
            fail_msg("\"%s\" was accepted", invalid[i]);
    assert_true(apt_wanted_valid(">= 1.8, < 1.10", error, sizeof error));
    assert_true(apt_wanted_valid("1:1.9.*", error, sizeof error));
}

/* ---- what programs print ---- */

static void test_dpkg_query_is_read(void **state)
{
    (void)state;
    static const char output[] =
        "consul\tamd64\tii \t1.8.7-1\nlibc6\ti386\trc \t2.35\nlibc6\tamd64\thi \t2.36\n"
        "half\tall\tiF \t1.0\nworse\tall\tiHR\t\ngone\tamd64\tun \t\nwaits\tall\tiW \t3\n";
    struct apt_status status;
    apt_query_find(output, "consul", &status);
    assert_true(apt_status_complete(&status));
    assert_string_equal(status.version, "1.8.7-1");
    apt_query_find(output, "libc6", &status);
    assert_int_equal(status.wanted, 'h');
    assert_string_equal(status.version, "2.36");
    apt_query_find(output, "libc6:i386", &status);
    assert_int_equal(status.present, 'c');
    apt_query_find(output, "half", &status);
    assert_false(apt_status_complete(&status));
    apt_query_find(output, "worse", &status);
    assert_true(status.broken);
    apt_query_find(output, "waits", &status);
    assert_true(apt_status_complete(&status));
    apt_query_find(output, "consu", &status);
    assert_int_equal(status.present, 'n');
    apt_query_find(output, "gone", &status);
    assert_int_equal(status.present, 'n');
}

static void test_policy_is_read(void **state)
{
    (void)state;
    static const char output[] = "nomad:\n  Installed: 1.9.7-1\n  Candidate: 1.10.0-1\n  Version table:\n"
                                 "     1.10.0-1 500\n        500 http://h bookworm/main amd64 Packages\n"
                                 " *** 1.9.7-1 100\n        100 /var/lib/dpkg/status\n"
                                 "     1.8.4-1 -10\n        500 http://h bookworm/main amd64 Packages\n"
                                 "consul:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"
                                 "     1.8.6-1 -1\n        -1 http://h x/main amd64 Packages\n";
    char candidate[APT_VERSION_SIZE];
    struct apt_choice choices[4];
    assert_int_equal(apt_policy_find(output, "nomad", candidate, choices, 4), 3);
    assert_string_equal(candidate, "1.10.0-1");
    assert_string_equal(choices[0].version, "1.10.0-1");
    assert_true(choices[0].downloadable);
    assert_string_equal(choices[1].version, "1.9.7-1");
    assert_false(choices[1].downloadable);
    assert_int_equal(choices[2].priority, -10);
    assert_int_equal(apt_policy_find(output, "nomad", candidate, choices, 1), 1);
    assert_true(choices[0].downloadable);
    assert_int_equal(apt_policy_find(output, "consul", candidate, choices, 4), 1);
    assert_string_equal(candidate, "");
    assert_int_equal(choices[0].priority, -1);
    assert_true(choices[0].downloadable);
    assert_int_equal(apt_policy_find(output, "noma", candidate, choices, 4), 0);
}

static void test_locks_are_found(void **state)
{
    (void)state;
    static const char locks[] = "1: FLOCK  ADVISORY  WRITE 9 fd:01:77 0 EOF\n"
                                "2: POSIX  ADVISORY  WRITE 812 fd:01:77 0 EOF\n"
                                "2: -> POSIX  ADVISORY  WRITE 900 fd:01:78 0 EOF\n"
                                "3: OFDLCK ADVISORY  WRITE -1 00:1f:79 0 EOF\n";
    long pid = 0;
    assert_true(apt_lock_holder(locks, makedev(0xfd, 1), 77, false, &pid));
    assert_int_equal(pid, 812);
    assert_false(apt_lock_holder(locks, makedev(0xfd, 2), 77, false, &pid));
    assert_true(apt_lock_holder(locks, makedev(0xfd, 2), 77, true, &pid));
    assert_false(apt_lock_holder(locks, makedev(0xfd, 1), 78, false, &pid));
    assert_true(apt_lock_holder(locks, makedev(0, 0x1f), 79, false, &pid));
    assert_int_equal(pid, -1);
    assert_false(apt_lock_holder("", makedev(0, 0), 0, true, &pid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_taken_out),
        cmocka_unit_test(test_stanzas_are_taken_out),
        cmocka_unit_test(test_cut_off_files_are_safe),
        cmocka_unit_test(test_a_source_is_written),
        cmocka_unit_test(test_list_names_are_apts),
        cmocka_unit_test(test_release_urls),
        cmocka_unit_test(test_versions_are_ordered_as_dpkg_does),
        cmocka_unit_test(test_what_is_wanted),
        cmocka_unit_test(test_dpkg_query_is_read),
        cmocka_unit_test(test_policy_is_read),
        cmocka_unit_test(test_locks_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
