/* Settings in the configuration of agents: HCL and JSON as they are found in the folders of Consul and Nomad. */
#include "api.h"

#include "hcl_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void is(const char *text, const char *path, const char *wanted)
{
    struct buffer value = {0}, arena = {0};
    struct hcl_document document;
    struct hcl_fault fault;
    assert_true(hcl_parse(text, strlen(text), &arena, &document, &fault));
    bool found = api_agent_setting(&document, path, &value);
    assert_int_equal(found, wanted != NULL);
    if (wanted)
        assert_string_equal(buffer_text(&value), wanted);
    buffer_free(&value);
    buffer_free(&arena);
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
                       " \"addresses\": [{\"http\": \"::1\"}], \"quoted\": \"a\\\"b\", \"none\": null}";
    is(json, "client_addr", "10.1.2.3");
    is(json, "ports.http", "8501");
    is(json, "ports.a", NULL);
    is(json, "addresses.http", "::1");
    is(json, "quoted", "a\"b");
    is(json, "none", NULL);
}

static void settings_as_agents_read_them(void **state)
{
    (void)state;
    is("ports { http = 1 }\nports { https = 3 }\nports { http = 2 }", "ports.http", "2");
    is("Ports { HTTP = 0x10 }", "ports.http", "16");
    is("ports = [{ http = 1 }, { http = 2 }]", "ports.http", "2");
    is("\"ports\" \"x\" { \"http\" = 5 }", "ports.http", "5");
    is("a = \"x } client_addr = \\\"10.0.0.1\\\"\"\nb = <<E\nclient_addr = \"10.0.0.2\"\nE\n", "client_addr",
       NULL);
    is("\xEF\xBB\xBF"
       "client_addr = \"10.0.0.1\"\r\n",
       "client_addr", "10.0.0.1");
    is("client_addr = var.x", "client_addr", NULL);
    is("", "b", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_in_blocks),
        cmocka_unit_test(settings_in_objects),
        cmocka_unit_test(settings_as_agents_read_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
