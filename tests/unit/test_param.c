/* Parameters of runbooks: each type takes what is right, and says what would be where it is not. */
#include "fiber.h"
#include "json.h"
#include "param.h"
#include "redact.h"
#include "runtime.h"
#include "secret.h"
#include "secret_source.h"
#include "unknown.h"

#include <fcntl.h>
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
#include <lauxlib.h>

static int set_up(void **state)
{
    *state = runtime_new("test");
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    struct runtime *runtime = *state;
    assert_int_equal(lua_gettop(runtime->L), 0);
    runtime_free(runtime);
    return 0;
}

static lua_State *lua_of(void **state)
{
    return ((struct runtime *)*state)->L;
}

/* ---- Types ---- */

static void assert_type(const char *text, const char *name)
{
    char error[256] = "", written[256];
    struct param_type *type = param_type_parse(text, error, sizeof error);
    if (!type)
        fail_msg("%s: %s", text, error);
    param_type_name(type, written, sizeof written);
    assert_string_equal(written, name);
    param_type_free(type);
}

static void test_types_are_read(void **state)
{
    (void)state;
    static const char *const plain[] = {"string", "integer", "number", "boolean", "duration", "size",  "ip",
                                        "cidr",   "host",    "port",   "path",    "url",      "secret"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        assert_type(plain[i], plain[i]);
    assert_type("enum(a,b)", "enum(a,b)");
    assert_type(" list( enum( fast , safe ) ) ", "list(enum(fast,safe))");
    assert_type("map(list(secret))", "map(list(secret))");
}

static void test_other_types_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "text",
                                        "list",
                                        "list()",
                                        "list(text)",
                                        "enum",
                                        "enum()",
                                        "enum(a,)",
                                        "enum(a",
                                        "map(ip",
                                        "ip(4)",
                                        "string x",
                                        "list(ip))",
                                        "LIST(string)",
                                        "enum(a(b))",
                                        "strings",
                                        "str",
                                        "list(ip",
                                        "list(list(list(list(list(list(list(list(list(ip)))))))))"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char error[256] = "";
        struct param_type *type = param_type_parse(texts[i], error, sizeof error);
        if (type)
            fail_msg("\"%s\" was taken for a type", texts[i]);
        assert_true(error[0]);
    }
}

/* ---- Values ---- */

/* Converts a text and gives what it became as JSON, or the message. The caller frees it. */
static char *convert(lua_State *L, const char *type_text, const char *text)
{
    char error[1024] = "";
    struct param_type *type = param_type_parse(type_text, error, sizeof error);
    assert_non_null(type);
    bool good = param_from_text(L, type, "p", text, error, sizeof error);
    assert_int_equal(lua_gettop(L), good ? 1 : 0);
    param_type_free(type);
    if (!good)
        return copy_text(error);
    json_encode(L, -1);
    char *copy = copy_text(lua_tostring(L, -1));
    lua_settop(L, 0);
    return copy;
}

static void assert_gives(lua_State *L, const char *type, const char *text, const char *wanted)
{
    char *got = convert(L, type, text);
    if (strcmp(got, wanted) != 0)
        fail_msg("%s \"%s\" gave %s, not %s", type, text, got, wanted);
    free(got);
}

/* Each text, up to NULL, comes back as it is. */
static void assert_takes(lua_State *L, const char *type, const char *const *texts)
{
    for (; *texts; texts++) {
        char quoted[600];
        snprintf(quoted, sizeof quoted, "\"%s\"", *texts);
        assert_gives(L, type, *texts, quoted);
    }
}

/* Each text, up to NULL, is refused with its own name. */
static void assert_refuses(lua_State *L, const char *type, const char *const *texts)
{
    for (; *texts; texts++) {
        char *got = convert(L, type, *texts), wanted[200];
        snprintf(wanted, sizeof wanted, "\"%.79s", *texts);
        if (strncmp(got, wanted, strlen(wanted)) != 0 || !strstr(got, "; give "))
            fail_msg("%s \"%s\" gave %s", type, *texts, got);
        free(got);
    }
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_numbers(void **state)
{
    lua_State *L = lua_of(state);
    assert_gives(L, "integer", "-12", "-12");
    assert_gives(L, "integer", "9223372036854775807", "9223372036854775807");
    assert_refuses(L, "integer",
                   LIST("", " 1", "1 ", "1.0", "0x10", "+1", "9223372036854775808", "one", "1,2"));
    assert_gives(L, "number", "0.5", "0.5");
    assert_gives(L, "number", "1e3", "1000");
    assert_refuses(L, "number", LIST("", "nan", "inf", "1e999", "0x1p3", "1 ", "1,5", "0x10"));
    assert_gives(L, "boolean", "true", "true");
    assert_gives(L, "boolean", "false", "false");
    assert_refuses(L, "boolean", LIST("", "yes", "True", "1", "t"));
    assert_gives(L, "port", "8300", "8300");
    assert_gives(L, "port", "65535", "65535");
    assert_refuses(L, "port", LIST("0", "65536", "-1", "http", "80 ", "0x50"));
    assert_gives(L, "duration", "1d", "86400");
    assert_gives(L, "duration", "250ms", "0.25");
    assert_refuses(L, "duration", LIST("", "1 d", "soon", "-5s"));
    assert_gives(L, "size", "512M", "536870912");
    assert_refuses(L, "size", LIST("", "big", "1.5", "-1K"));
    assert_gives(L, "port", "99999", "\"99999\" is no port; give a port from 1 to 65535 such as 8300");
}

static void test_addresses(void **state)
{
    lua_State *L = lua_of(state);
    assert_takes(L, "ip", LIST("192.0.2.7", "::1", "2001:db8::7", "::ffff:192.0.2.7"));
    assert_refuses(L, "ip",
                   LIST("", "192.0.2", "192.0.2.256", "192.0.2.07x", "fe80::1%eth0", "[::1]", "1", "host"));
    assert_takes(L, "cidr", LIST("10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "::/128"));
    assert_refuses(L, "cidr",
                   LIST("", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "/8",
                        "10.0.0.0/08", "10.0.0.0/8 ", "10.0.0.0/255.0.0.0"));
    assert_takes(L, "host", LIST("builder42", "a.b-c.example.org", "192.0.2.7", "::1", "4you.example"));
    assert_refuses(L, "host",
                   LIST("", "-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "192.0.2", "1.2.3.4.5",
                        "caf\xC3\xA9", "a/b", "host:80"));
    char label[70], name[260];
    memset(label, 'a', 64);
    label[64] = '\0';
    assert_refuses(L, "host", LIST(label));
    assert_takes(L, "host", LIST(label + 1));
    for (size_t i = 0; i < 254; i++)
        name[i] = i % 2 ? '.' : 'a';
    name[253] = 'a';
    name[254] = '\0';
    assert_refuses(L, "host", LIST(name));
}

static void test_places(void **state)
{
    lua_State *L = lua_of(state);
    assert_takes(L, "path", LIST("/", "/etc/nomad.d", "/a b"));
    assert_refuses(L, "path", LIST("", "etc", "./a", "~/a"));
    assert_gives(L, "path", "/a\nb", "\"/a?b\" is no path; give an absolute path such as /etc/nomad.d");
    assert_takes(L, "url",
                 LIST("https://vault.example.org:8200", "http://192.0.2.7/v1/x?y=z", "http://[::1]:8500",
                      "unix:///run/consul.sock", "HTTPS://example.org"));
    assert_refuses(L, "url",
                   LIST("", "vault.example.org", "ftp://example.org", "https://", "http:///x", "unix://x",
                        "http://exa mple.org", "https://example.org:99999", "file:///etc/passwd", "//x"));
    assert_gives(L, "url", "https://user:pw@example.org",
                 "credentials do not belong into a url; give a URL such as https://vault.example.org:8200 or "
                 "unix:///run/consul.sock");
}

static void test_choices(void **state)
{
    lua_State *L = lua_of(state);
    assert_takes(L, "enum(fast,safe)", LIST("fast", "safe"));
    assert_gives(L, "enum(fast,safe)", "slow", "\"slow\" is no choice; give one of fast, safe");
    assert_gives(L, "string", "", "\"\"");
    assert_gives(L, "string", "a,b", "\"a,b\"");
}

static void test_lists_and_maps(void **state)
{
    lua_State *L = lua_of(state);
    assert_gives(L, "list(string)", "a,b", "[\"a\",\"b\"]");
    assert_gives(L, "list(string)", " a , b ", "[\"a\",\"b\"]");
    assert_gives(L, "list(string)", "", "[]");
    assert_gives(L, "list(string)", "[]", "[]");
    assert_gives(L, "list(string)", "[\"a,b\"]", "[\"a,b\"]");
    assert_gives(L, "list(port)", "1,2", "[1,2]");
    assert_gives(L, "list(duration)", "[\"1d\", 5]", "[86400,5]");
    assert_gives(L, "list(list(integer))", "[[1],[]]", "[[1],[]]");
    assert_gives(L, "list(string)", "a,,b", "item 2 is empty; give a list such as a,b or [\"a\",\"b\"]");
    assert_gives(L, "list(string)", "a,", "item 2 is empty; give a list such as a,b or [\"a\",\"b\"]");
    assert_gives(L, "list(port)", "1,x",
                 "item 2: \"x\" is no port; give a port from 1 to 65535 such as 8300");
    assert_gives(L, "list(port)", "[1,\"2\"]",
                 "item 2: \"2\" is no port; give a port from 1 to 65535 such as 8300");
    assert_gives(L, "list(string)", "[1]", "item 1: \"1\" is no string; give text without a NUL byte");
    assert_gives(L, "map(integer)", "{\"a\": 1, \"b\": 2}", "{\"a\":1,\"b\":2}");
    assert_gives(L, "map(integer)", "{\"a\": 1.5}",
                 "a: \"1.5\" is no integer; give a whole number such as 3");
    assert_gives(L, "map(integer)", "{\"a\": null}",
                 "a: \"a null value\" is no integer; give a whole number such as 3");
    assert_gives(L, "map(list(port))", "{\"a\": [1, 0]}",
                 "a: item 2: \"0\" is no port; give a port from 1 to 65535 such as 8300");
    assert_gives(L, "map(integer)", "[1]",
                 "\"a table value\" is no map; give a map such as {\"name\":\"value\"}");
    assert_gives(L, "map(string)", "a=b",
                 "not JSON (line 1, column 1: lexical error: invalid char in json text.); give a map such as "
                 "{\"name\":\"value\"}");
}

/* Converts what a chunk returns; the JSON of what it became, or the message. */
static void assert_lua(lua_State *L, const char *type_text, const char *chunk, const char *wanted)
{
    char error[1024] = "";
    struct param_type *type = param_type_parse(type_text, error, sizeof error);
    assert_int_equal(luaL_dostring(L, chunk), LUA_OK);
    bool good = param_from_lua(L, type, "p", -1, error, sizeof error);
    assert_int_equal(lua_gettop(L), good ? 2 : 1);
    if (good)
        json_encode(L, -1);
    assert_string_equal(good ? lua_tostring(L, -1) : error, wanted);
    lua_settop(L, 0);
    param_type_free(type);
}

static void test_lua_values(void **state)
{
    lua_State *L = lua_of(state);
    assert_lua(L, "string", "return 'x'", "\"x\"");
    assert_lua(L, "string", "return 'x\\0y'", "\"x\" is no string; give text without a NUL byte");
    assert_lua(L, "string", "return 5", "\"5\" is no string; give text without a NUL byte");
    assert_lua(L, "integer", "return 5.0", "5");
    assert_lua(L, "integer", "return '5'", "\"5\" is no integer; give a whole number such as 3");
    assert_lua(L, "number", "return 0/0", "\"-nan\" is no number; give a number such as 0.5");
    assert_lua(L, "boolean", "return false", "false");
    assert_lua(L, "boolean", "return 'true'", "\"true\" is no boolean; give true or false");
    assert_lua(L, "duration", "return '1d'", "86400");
    assert_lua(L, "duration", "return -1", "\"-1\" is no duration; give a duration such as 90s, 1h30m or 1d");
    assert_lua(L, "size", "return 1024", "1024");
    assert_lua(L, "port", "return 8300", "8300");
    assert_lua(L, "port", "return 65536", "\"65536\" is no port; give a port from 1 to 65535 such as 8300");
    assert_lua(L, "list(ip)", "return {'::1'}", "[\"::1\"]");
    assert_lua(L, "list(ip)", "return {}", "[]");
    assert_lua(L, "list(ip)", "return {x = 1}",
               "\"a table value\" is no list; give a list such as a,b or [\"a\",\"b\"]");
    assert_lua(L, "list(ip)", "return '::1'", "\"::1\" is no list; give a list such as a,b or [\"a\",\"b\"]");
    assert_lua(L, "map(port)", "return {a = 1}", "{\"a\":1}");
    assert_lua(L, "map(port)", "return {5}",
               "\"a table value\" is no map; give a map such as {\"name\":\"value\"}");
    assert_lua(L, "ip", "return nil",
               "\"a nil value\" is no ip; give an address such as 192.0.2.7 or 2001:db8::7");
    assert_lua(L, "ip", "return print",
               "\"a function value\" is no ip; give an address such as 192.0.2.7 or 2001:db8::7");
}

static void test_long_values_are_cut(void **state)
{
    lua_State *L = lua_of(state);
    char text[201];
    memset(text, 'x', 200);
    text[200] = '\0';
    memcpy(text + 79, "\xC3\xA9", 2);
    char *got = convert(L, "ip", text);
    assert_memory_equal(got + 80, "...\" is no ip; give ", 20);
    free(got);
}

/* ---- Secrets ---- */

static const char *const not_sources[] = {
    "hunter22", "", "pass", "pass:", "vault:secret/x#y", "PASS:x", "--", "prompt:x"};

static void test_a_secret_is_never_given_itself(void **state)
{
    lua_State *L = lua_of(state);
    for (size_t i = 0; i < sizeof not_sources / sizeof *not_sources; i++) {
        char *got = convert(L, "secret", not_sources[i]);
        assert_string_equal(
            got, "a secret is never given itself; give where the secret is: pass:NAME, env:VARIABLE, "
                 "file:PATH, command:..., vault:PATH#FIELD, prompt or -");
        free(got);
    }
    assert_lua(L, "secret", "return 12345678",
               "this is not where a secret is; give where the secret is: pass:NAME, env:VARIABLE, file:PATH, "
               "command:..., vault:PATH#FIELD, prompt or -");
    char error[512] = "";
    struct param_type type = {.kind = PARAM_STRING};
    secret_push(L, "hunter22", 8, "test");
    assert_false(param_from_lua(L, &type, "p", -1, error, sizeof error));
    assert_string_equal(error, "a secret is given where a string is wanted; declare the parameter as secret");
    type.kind = PARAM_SECRET;
    assert_true(param_from_lua(L, &type, "p", -1, error, sizeof error));
    assert_true(secret_is(L, -1));
    lua_settop(L, 0);
}

/* What a fiber asks for, and what it got. */
struct asking {
    const char *source;
    bool good, raised;
    char bytes[64];
    char error[1024];
};

static int ask(lua_State *L)
{
    struct asking *asking = lua_touserdata(L, 1);
    asking->good = param_secret(L, "p", asking->source, asking->error, sizeof asking->error);
    assert_int_equal(lua_gettop(L), asking->good ? 2 : 1);
    if (asking->good)
        snprintf(asking->bytes, sizeof asking->bytes, "%s", secret_bytes(L, -1, NULL));
    return 0;
}

static struct fiber *begin_asking(lua_State *L, struct asking *asking)
{
    lua_pushcfunction(L, ask);
    lua_pushlightuserdata(L, asking);
    return fiber_start(L, 1);
}

static void drive(lua_State *L, struct fiber *fiber)
{
    assert_true(fiber_drive(L, fiber, NULL));
    lua_settop(L, 0);
}

static void assert_secret(lua_State *L, const char *source, const char *wanted)
{
    struct asking asking = {.source = source};
    drive(L, begin_asking(L, &asking));
    if (!asking.good)
        fail_msg("%s: %s", source, asking.error);
    assert_string_equal(asking.bytes, wanted);
}

static void assert_no_secret(lua_State *L, const char *source, const char *wanted)
{
    struct asking asking = {.source = source};
    drive(L, begin_asking(L, &asking));
    assert_false(asking.good);
    assert_string_equal(asking.error, wanted);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, mode);
}

static void test_sources(void **state)
{
    lua_State *L = lua_of(state);
    char folder[] = "/tmp/moonbook-test-XXXXXX", path[64], source[80], search[200];
    assert_non_null(mkdtemp(folder));
    setenv("MOONBOOK_TEST_SECRET", "from-env", 1);
    assert_secret(L, "env:MOONBOOK_TEST_SECRET", "from-env");
    unsetenv("MOONBOOK_TEST_SECRET");
    assert_secret(L, "env:MOONBOOK_TEST_SECRET", "from-env"); /* once a run */
    assert_no_secret(L, "env:MOONBOOK_TEST_NONE",
                     "env:MOONBOOK_TEST_NONE: the environment variable MOONBOOK_TEST_NONE is not set; export "
                     "MOONBOOK_TEST_NONE, or name another source");
    snprintf(path, sizeof path, "%s/token", folder);
    write_file(path, "first-line\r\nsecond\n", 0600);
    snprintf(source, sizeof source, "file:%s", path);
    assert_secret(L, source, "first-line");
    assert_secret(L, "command:echo one; echo two", "one\ntwo");
    assert_no_secret(
        L, "command:echo out; echo no >&2; exit 3",
        "command:echo: /bin/sh ended with status 3: no; try the command by hand on this machine");
    assert_no_secret(
        L, "command:echo abc",
        "command:echo: it holds less than four characters, which cannot be kept out of what is printed; "
        "check that the source holds what you expect");
    assert_no_secret(L, "pass:-c", "pass:-c: a name in the password store does not begin with a dash");
    unlink(path);
    snprintf(path, sizeof path, "%s/pass", folder);
    write_file(path, "#!/bin/sh\necho \"$1 $2 word\"\necho user: alice\n", 0700);
    const char *before = getenv("PATH");
    char *kept = copy_text(before);
    snprintf(search, sizeof search, "%s:/usr/bin:/bin", folder);
    setenv("PATH", search, 1);
    assert_secret(L, "pass:alice/consul", "show alice/consul word");
    setenv("PATH", kept, 1);
    free(kept);
    unlink(path);
    rmdir(folder);
    struct buffer text = {0};
    buffer_append_text(&text, "x from-env first-line b25lCnR3bw== show alice/consul word");
    redact(((struct runtime *)*state)->redactor, &text);
    assert_string_equal(buffer_text(&text), "x <secret> <secret> <secret>w== <secret>");
    buffer_free(&text);
}

/* What a server has may be no text. */
static int read_store(lua_State *L)
{
    const char *name = lua_tostring(L, 1);
    if (strcmp(name, "table") == 0)
        lua_newtable(L);
    else if (strcmp(name, "none") == 0)
        lua_pushnil(L);
    else
        lua_pushliteral(L, "stored-word");
    return 1;
}

static void test_store(void **state)
{
    static const struct secret_store stores[] = {{"shop", read_store}, {NULL, NULL}};
    lua_State *L = lua_of(state);
    runtime_of(L)->stores = stores;
    assert_secret(L, "shop:word", "stored-word");
    for (int i = 0; i < 2; i++) { /* the second is not left waiting for the first */
        assert_no_secret(L, "shop:table", "shop:table: what is there is no text but a table; name a text");
        assert_no_secret(L, "shop:none", "shop:none: what is there is no text but nothing; name a text");
    }
    runtime_of(L)->stores = NULL;
}

static void test_standard_input(void **state)
{
    lua_State *L = lua_of(state);
    int ends[2], before = dup(STDIN_FILENO);
    char rest[16] = "";
    assert_int_equal(pipe(ends), 0);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    struct asking asking = {.source = "-"};
    struct fiber *fiber = begin_asking(L, &asking);
    assert_int_equal(write(ends[1], "from-stdin\nrest", 15), 15);
    close(ends[1]);
    drive(L, fiber);
    assert_string_equal(asking.bytes, "from-stdin");
    assert_secret(L, "-", "from-stdin");
    assert_false(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    assert_int_equal(read(STDIN_FILENO, rest, sizeof rest), 4);
    assert_string_equal(rest, "rest");
    dup2(before, STDIN_FILENO);
    close(before);
}

/* Many fibers ask for one source at the same time: the command runs once, all get it. */
static int ask_together(lua_State *L)
{
    struct asking *askings = lua_touserdata(L, 1);
    struct fiber *fibers[10];
    for (size_t i = 0; i < 10; i++)
        fibers[i] = begin_asking(L, &askings[i]);
    for (size_t i = 0; i < 10; i++)
        assert_true(fiber_join(L, fibers[i], NULL));
    return 0;
}

static void test_a_source_is_read_once(void **state)
{
    lua_State *L = lua_of(state);
    char path[] = "/tmp/moonbook-test-XXXXXX", good[160], bad[160], line[64] = "";
    int file = mkstemp(path);
    snprintf(good, sizeof good, "command:echo x >>%s; sleep 0.1; echo together", path);
    snprintf(bad, sizeof bad, "command:echo x >>%s; sleep 0.1; exit 1", path);
    struct asking askings[10] = {0};
    for (size_t i = 0; i < 10; i++)
        askings[i].source = i % 2 ? good : bad;
    lua_pushcfunction(L, ask_together);
    lua_pushlightuserdata(L, askings);
    drive(L, fiber_start(L, 1));
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(askings[i].good, i % 2 == 1);
        assert_string_equal(askings[i].bytes, i % 2 ? "together" : "");
        assert_int_equal(askings[i].error[0] != 0, i % 2 == 0);
    }
    assert_int_equal(read(file, line, sizeof line), 4);
    assert_string_equal(line, "x\nx\n");
    close(file);
    unlink(path);
}

/* The fiber that reads is cancelled: another one that waits for the same source reads in its place. */
static int cancel_first(lua_State *L)
{
    struct asking *askings = lua_touserdata(L, 1);
    struct fiber *first = begin_asking(L, &askings[0]), *second = begin_asking(L, &askings[1]);
    fiber_sleep(runtime_of(L), 20);
    fiber_cancel(first);
    askings[0].raised = !fiber_join(L, first, NULL) && failure_is(L, -1, "cancelled");
    askings[1].raised = !fiber_join(L, second, NULL);
    return 0;
}

static void test_a_cancelled_reader_hands_on(void **state)
{
    lua_State *L = lua_of(state);
    struct asking askings[2] = {{.source = "command:sleep 0.2; echo later"},
                                {.source = "command:sleep 0.2; echo later"}};
    lua_pushcfunction(L, cancel_first);
    lua_pushlightuserdata(L, askings);
    drive(L, fiber_start(L, 1));
    assert_true(askings[0].raised);
    assert_false(askings[0].good);
    if (askings[1].raised || !askings[1].good)
        fail_msg("%s", askings[1].error);
    assert_string_equal(askings[1].bytes, "later");
}

int main(void)
{
    const struct CMUnitTest param[] = {
        cmocka_unit_test(test_types_are_read),
        cmocka_unit_test(test_other_types_are_refused),
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_choices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists_and_maps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lua_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_secret_is_never_given_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_standard_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_source_is_read_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cancelled_reader_hands_on, set_up, tear_down),
    };
    return cmocka_run_group_tests(param, NULL, NULL);
}
