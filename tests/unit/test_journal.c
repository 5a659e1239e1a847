/* The journal's folder and file: names, modes, appending, failures. */
#include "journal.h"
#include "runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int set_up(void **state)
{
    strcpy(folder, "/tmp/moonbook-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_STATE_HOME", folder, 1);
    *state = runtime_new("test");
    return 0;
}

static int tear_down(void **state)
{
    char line[128];
    runtime_free(*state);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

static unsigned mode_of(const char *format, const char *run)
{
    char path[256];
    struct stat found;
    snprintf(path, sizeof path, format, folder, run);
    assert_int_equal(stat(path, &found), 0);
    return found.st_mode & 0777;
}

static void only_the_owner_may_read_it(void **state)
{
    struct failure failure;
    struct journal *journal = journal_open(*state, &failure);
    assert_non_null(journal);
    assert_int_equal(mode_of("%s/moonbook/runs/%s", journal_run(journal)), 0700);
    assert_int_equal(mode_of("%s/moonbook/runs/%s/journal.jsonl", journal_run(journal)), 0600);
    journal_close(journal);
}

static void two_runs_of_a_second_have_two_names(void **state)
{
    struct failure failure;
    struct journal *first = journal_open(*state, &failure), *second = journal_open(*state, &failure);
    assert_non_null(first);
    assert_non_null(second);
    assert_string_not_equal(journal_run(first), journal_run(second));
    assert_int_equal(journal_next_change(first), 1);
    assert_int_equal(journal_next_change(first), 2);
    assert_int_equal(journal_next_change(second), 1);
    journal_close(first);
    journal_close(second);
}

static void lines_are_appended(void **state)
{
    struct failure failure;
    struct journal *journal = journal_open(*state, &failure);
    assert_true(journal_write(journal, "{\"a\":1}", 7, true, &failure));
    assert_true(journal_write(journal, "{\"b\":2}", 7, false, &failure));
    char path[256], text[64] = "";
    snprintf(path, sizeof path, "%s/moonbook/runs/%s/journal.jsonl", folder, journal_run(journal));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, "{\"a\":1}\n{\"b\":2}\n");
    journal_close(journal);
}

static void a_state_folder_that_is_a_file_is_said(void **state)
{
    struct failure failure;
    char path[128];
    snprintf(path, sizeof path, "%s/moonbook", folder);
    fclose(fopen(path, "w"));
    assert_null(journal_open(*state, &failure));
    assert_non_null(strstr(failure.message, folder));
    assert_true(failure.hint[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_owner_may_read_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_runs_of_a_second_have_two_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_are_appended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_folder_that_is_a_file_is_said, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
