/* Settings in the configuration of agents: HCL and JSON as they are found in the folders of Consul and Nomad. */
#include "api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void is(const char *text, const char *path, const char *wanted)
{
    struct buffer value = {0};
    bool found = api_agent_setting(text, path, &value);
    assert_int_equal(found, wanted != NULL);
    if (wanted)
        assert_string_equal(buffer_text(&value), wanted);
    buffer_free(&value);
}

static void settings_in_blocks(void **state)
{
    (void)state;
    const char *hcl = "# comment with ports { http = 1 }\n"
                      "/* and\n ports { http = 2 } */ // client_addr = \"x\"\n"
                      "client_addr = \"0.0.0.0\"\n"
                      "ports {\n  http = 8500, https = -1\n}\n"
                      "service \"web\" \"two\" { port = 80 ports { http = 3 } }\n"
                      "retry_join = [\"a\", \"ports\"]\n"
                      "addresses = { http = \"10.0.0.1 10.0.0.2\" }\n"
                      "tls { http = true }\n";
    is(hcl, "client_addr", "0.0.0.0");
    is(hcl, "ports.http", "8500");
    is(hcl, "ports.https", "-1");
    is(hcl, "service.port", "80");
    is(hcl, "addresses.http", "10.0.0.1 10.0.0.2");
    is(hcl, "tls.http", "true");
    is(hcl, "http", NULL);
    is(hcl, "ports", NULL);
}

static void settings_in_objects(void **state)
{
    (void)state;
    const char *json = "{\"client_addr\": \"10.1.2.3\", \"ports\": {\"http\": 8501, \"a\": [1, 2]},"
                       " \"addresses\": [{\"http\": \"::1\"}], \"quoted\": \"a\\\"b\"}\n"
                       "{\"client_addr\": \"10.9.9.9\"}";
    is(json, "client_addr", "10.9.9.9"); /* files are merged: the last one holds */
    is(json, "ports.http", "8501");
    is(json, "addresses.http", "::1");
    is(json, "quoted", "a\"b");
}

static void damaged_text_ends(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",      "{",  "}}}}", "a",     "a =",   "a = \"",
        "a = [", "/*", "\"",   "a \"b", "= = =", "{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{a = 1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        is(texts[i], "b", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_in_blocks),
        cmocka_unit_test(settings_in_objects),
        cmocka_unit_test(damaged_text_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
