/* The configuration editor, case by case: a text, a path, a value (as HCL), and the text that comes out. */
#include "hcl_edit.h"
#include "hcl_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

/* The value at the path: texts as they are, other values as they are written; "-" where there is none. */
static void assert_reads(const char *text, const char *source, const char *wanted)
{
    struct hcl_editor editor;
    struct hcl_fault fault = {0};
    struct hcl_path path;
    struct failure failure;
    struct buffer out = {0};
    if (!hcl_editor_open(&editor, text, strlen(text), &fault))
        fail_msg("%s: byte %zu: %s is wanted", text, fault.at, fault.wanted);
    if (!hcl_path_read(source, strlen(source), &path, &failure))
        fail_msg("%s: %s", source, failure.message);
    struct hcl_place place = hcl_find(&editor.document, &path);
    if (place.outcome == HCL_FOUND) {
        const struct hcl_node *node = hcl_at(&editor.document, place.value);
        if (node->kind == HCL_STRING || node->kind == HCL_HEREDOC)
            hcl_text(&editor.document, place.value, &out);
        else
            buffer_append(&out, text + node->begin, node->end - node->begin);
    } else {
        buffer_append_text(&out, place.outcome == HCL_SEVERAL ? "several" : "-");
    }
    if (strcmp(buffer_text(&out), wanted) != 0)
        fail_msg("%s of\n%s\nis \"%s\", wanted \"%s\"", source, text, buffer_text(&out), wanted);
    buffer_free(&out);
    hcl_path_free(&path);
    hcl_editor_close(&editor);
}

static void paths_lead_to_values(void **state)
{
    (void)state;
    assert_reads("a = 1\n", "a", "1");
    assert_reads("a { b { c = 4 } }", "a.b.c", "4");
    assert_reads("a = { b = { c = 4 } }", "a.b.c", "4");
    assert_reads("a { b = 1 }", "a.c.d", "-");
    assert_reads("a { b = 1 }", "a.b.c", "-");
    assert_reads("a \"x\" { b = 1 }\na \"y\" { b = 2 }\n", "a[\"y\"].b", "2");
    assert_reads("a \"x\" { b = 1 }\na \"y\" { b = 2 }\n", "a['x'].b", "1");
    assert_reads("a \"x\" { b = 1 }\na \"y\" { b = 2 }\n", "a[2].b", "2");
    assert_reads("a \"x\" { b = 1 }\na \"y\" { b = 2 }\n", "a.b", "several");
    assert_reads("a \"x\" { b = 1 }\n", "a.b", "1"); /* there is one: the label may be left out */
    assert_reads("a \"x\" \"y\" { b = 1 }\na \"x\" \"z\" { b = 2 }\n", "a[\"x\"][\"z\"].b", "2");
    assert_reads("a \"x\" \"y\" { b = 1 }\na \"x\" \"z\" { b = 2 }\n", "a[\"x\"].b", "several");
    assert_reads("a \"x\" { b = 1 }\na \"x\" { b = 2 }\n", "a[\"x\"][2].b", "2");
    assert_reads("a { \"b.c\" = 1 }", "a[\"b.c\"]", "1");
    assert_reads("\"b.c\" = 1", "[\"b.c\"]", "1");
    assert_reads("a = [1, [2, 3]]", "a[2][1]", "2");
    assert_reads("a = [{ b = 1 }, { b = 2 }]", "a[2].b", "2");
    assert_reads("a = [{ b = 1 }, { b = 2 }]", "a.b", "several");
    assert_reads("a = [{ b = 1 }]", "a.b", "1");
    assert_reads("{\"a\": [{\"b\": {\"x\": {\"c\": 5}}}]}", "a.b[\"x\"].c", "5");
    assert_reads("a = 1\na = 2\n", "a", "several");
    assert_reads("a = 1\na = 2\n", "a[2]", "2");
    assert_reads("a b { c = 1 }", "a[\"b\"].c", "1");
    assert_reads("caf\xC3\xA9 = 1", "caf\xC3\xA9", "1");
}

static void values_mean_what_they_say(void **state)
{
    (void)state;
    assert_reads("a = \"x\\ty\\n\\\"\\\\ \\u00e9 \\U0001F600\"", "a", "x\ty\n\"\\ \xC3\xA9 \xF0\x9F\x98\x80");
    assert_reads("{\"a\": \"\\ud83d\\ude00 \\/\"}", "a", "\xF0\x9F\x98\x80 /");
    assert_reads("a = \"${b(\"c\")} x\"", "a", "${b(\"c\")} x");
    assert_reads("a = \"${b \\\"c\\\"} x\"", "a", "${b \\\"c\\\"} x"); /* HCL1 */
    assert_reads("a = \"$${b}\"", "a", "$${b}");
    assert_reads("a = \"\\u0024{b\"", "a", "$${b");
    assert_reads("a = \"{{ GetInterfaceIP \\\"eth0\\\" }}\"", "a", "{{ GetInterfaceIP \"eth0\" }}");
    assert_reads("a = <<E\none\n two\nE\n", "a", "one\n two\n");
    assert_reads("a = <<E\r\none\r\nE\r\n", "a", "one\r\n");
    assert_reads("a = <<E\nE\nb = 1", "a", "");
    assert_reads("a = <<-E\n    one\n      two\n\n    three\n  E\n", "a", "one\n  two\n\nthree\n");
    assert_reads("a = -0x10", "a", "-0x10");
    assert_reads("a = b.c + 1 # why\n", "a", "b.c + 1");
    assert_reads("a = f(\n  1,\n  \"}\"\n)\nb = 2", "a", "f(\n  1,\n  \"}\"\n)");
    assert_reads("a = [for x in y : x]\n", "a", "[for x in y : x]");
    assert_reads("a = { for k, v in y : k => v }\n", "a", "{ for k, v in y : k => v }");
    assert_reads("a = { for = 1 }\n", "a.for", "1");
    assert_reads("a = x ? \"y\" : z\nb = 1", "a", "x ? \"y\" : z");
    assert_reads("a = true", "a", "true");
    assert_reads("a = trueish", "a", "trueish");
    assert_reads("\xC3\xBC\xD0\xBA\xE5\x90\x8D = 1", "\xC3\xBC\xD0\xBA\xE5\x90\x8D", "1");
    assert_reads("a = \"\xE2\x80\x9Cx\xE2\x80\x9D\xC2\xA0\"", "a", "\xE2\x80\x9Cx\xE2\x80\x9D\xC2\xA0");
    assert_reads("a = null", "a", "null");
}

static bool are_equal(const char *left, const char *right)
{
    struct buffer arenas[2] = {{0}};
    struct hcl_document documents[2];
    struct hcl_fault fault;
    assert_true(hcl_parse_value(left, strlen(left), &arenas[0], &documents[0], &fault));
    assert_true(hcl_parse_value(right, strlen(right), &arenas[1], &documents[1], &fault));
    bool equal = hcl_equal(&documents[0], documents[0].root, &documents[1], documents[1].root);
    buffer_free(&arenas[0]);
    buffer_free(&arenas[1]);
    return equal;
}

static void equal_values_are_equal_however_written(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"4", "4.0"},
        {"0x1F", "31"},
        {"1e3", "1000"},
        {"-0", "0"},
        {"\"\\u0061\"", "\"a\""},
        {"<<E\na\nE\n", "\"a\\n\""},
        {"[1, 2]", "[ 1 , # x\n 2.0, ]"},
        {"{ a = 1, b = 2 }", "{\n \"b\" = 2\n a : 1\n}"},
        {"18446744073709551615", "18446744073709551615"},
        {"f( 1)", "f( 1)"},
        {"\"$${a}\"", "\"\\u0024{a}\""},
        {"null", "null"},
    };
    static const char *const different[][2] = {
        {"4", "\"4\""},
        {"4", "5"},
        {"9223372036854775807", "9223372036854775806"},
        {"9223372036854775807", "9223372036854775808"},
        {"9007199254740993", "9007199254740992.0"},
        {"0755", "755"},
        {"0755", "493"},
        {"true", "\"true\""},
        {"[1, 2]", "[2, 1]"},
        {"[1]", "[1, 2]"},
        {"{ a = 1 }", "{ a = 1, b = 2 }"},
        {"{ a = 1, a = 2 }", "{ a = 1, b = 2 }"},
        {"\"${a}\"", "\"$${a}\""},
        {"null", "false"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!are_equal(same[i][0], same[i][1]) || !are_equal(same[i][1], same[i][0]))
            fail_msg("%s is not %s", same[i][0], same[i][1]);
    for (size_t i = 0; i < sizeof different / sizeof *different; i++)
        if (are_equal(different[i][0], different[i][1]) || are_equal(different[i][1], different[i][0]))
            fail_msg("%s is %s", different[i][0], different[i][1]);
}

/* ---- editing ---- */

enum operation { SET, REMOVE, ADD };

struct edit_case {
    const char *text, *path, *value; /* value NULL: remove */
    const char *result;              /* or the beginning of the error, after a "!" */
};

static bool edit(struct hcl_editor *editor, struct hcl_path *path, const char *value,
                 enum operation operation)
{
    struct buffer arena = {0};
    struct hcl_document document;
    struct hcl_fault fault;
    if (operation == REMOVE)
        return hcl_remove(editor, path);
    assert_true(hcl_parse_value(value, strlen(value), &arena, &document, &fault));
    struct hcl_value wanted = {&document, document.root};
    bool done = operation == SET ? hcl_set(editor, path, wanted) : hcl_add_block(editor, path, wanted);
    buffer_free(&arena);
    return done;
}

static void check_edit(const struct edit_case *example, enum operation operation)
{
    struct hcl_editor editor;
    struct hcl_fault fault = {0};
    struct hcl_path path;
    struct failure failure = {0};
    if (!hcl_editor_open(&editor, example->text, strlen(example->text), &fault))
        fail_msg("%s: byte %zu: %s is wanted", example->text, fault.at, fault.wanted);
    editor.op = "test";
    editor.failure = &failure;
    assert_true(hcl_path_read(example->path, strlen(example->path), &path, &failure));
    bool done = edit(&editor, &path, example->value, operation), refused = example->result[0] == '!';
    const char *got = done ? buffer_text(&editor.text) : failure.message;
    const char *wanted = example->result + refused;
    if (done == refused || (refused ? strncmp(got, wanted, strlen(wanted)) : strcmp(got, wanted)) != 0)
        fail_msg("%s = %s in\n%s\ngave\n%s\nwanted\n%s", example->path, example->value, example->text, got,
                 wanted);
    if (!done)
        assert_string_equal(buffer_text(&editor.text), example->text);
    hcl_path_free(&path);
    hcl_editor_close(&editor);
}

#define CHECK(operation, ...)                                                                                \
    do {                                                                                                     \
        static const struct edit_case cases[] = {__VA_ARGS__};                                               \
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)                                            \
            check_edit(&cases[i], operation);                                                                \
    } while (0)

static void a_comment_before_the_sign_is_that_of_its_line(void **state)
{
    (void)state;
    CHECK(SET, {"a /* why */ = 1\n", "b", "2", "a /* why */ = 1\nb = 2\n"},
          {"a # why\n  = 1\n", "b", "2", "a # why\n  = 1\nb = 2\n"},
          {"c {\n  a/* why */= /* x */ 1\n}\n", "c.b", "2", "c {\n  a/* why */= /* x */ 1\n  b = 2\n}\n"});
}

static void what_is_there_is_replaced_in_place(void **state)
{
    (void)state;
    CHECK(SET, {"a   =   1 # one\n", "a", "2", "a   =   2 # one\n"},
          {"a = \"x\"\r\nb = 1\r\n", "a", "\"y\"", "a = \"y\"\r\nb = 1\r\n"},
          {"a = 4.0", "a", "4", "a = 4.0"}, {"a = \"\\u0061\"", "a", "\"a\"", "a = \"\\u0061\""},
          {"a = <<E\nx\nE\nb = 1\n", "a", "\"y\\n\"", "a = \"y\\n\"\nb = 1\n"},
          {"a { b = 1 }\n", "a.b", "true", "a { b = true }\n"},
          {"a \"x\" { b = 1 }\na \"y\" { b = 1 }\n", "a[\"y\"].b", "2",
           "a \"x\" { b = 1 }\na \"y\" { b = 2 }\n"},
          {"{\"a\":1,\"b\":[1,2]}", "b[2]", "\"x\"", "{\"a\":1,\"b\":[1,\"x\"]}"},
          {"{\"a\":1}", "a", "\"${x(\"y\")} \\u0024{z\"", "{\"a\":\"${x(\\\"y\\\")} \\u0024{z\"}"},
          {"a =\n  1\n", "a", "null", "a = null\n"}, {"a = var.x # y\n", "a", "1", "a = 1 # y\n"},
          {"a { b = 1 }\n", "a", "4", "!a is a block"},
          {"a = 1\na = 2\n", "a", "3", "!a is there 2 times, on lines 1 and 2"},
          {"a = 1\na = 2\n", "a[2]", "3", "a = 1\na = 3\n"},
          {"a = 1\n", "a.b", "2", "!a on line 1 is a number"}, {"a = 1\n", "b[2]", "2", "!there is no b[2]"});
}

static void what_is_missing_is_made(void **state)
{
    (void)state;
    CHECK(SET, {"", "a", "1", "a = 1\n"}, {"", "a.b.c", "1", "a {\n  b {\n    c = 1\n  }\n}\n"},
          {"", "a[\"x\"].b", "1", "a \"x\" {\n  b = 1\n}\n"},
          {"", "a[\"x.y\"]", "1", "a = {\n  \"x.y\" = 1\n}\n"}, {"", "a", "{}", "a {}\n"},
          {"a = 1", "b", "2", "a = 1\nb = 2"}, {"a = 1\r\n", "b", "2", "a = 1\r\nb = 2\r\n"},
          {"# x", "b", "2", "# x\nb = 2"},
          {"\xEF\xBB\xBF", "b", "2",
           "\xEF\xBB\xBF"
           "b = 2\n"},
          {"a   = 1 # x\nbcd = 2\n", "e", "3", "a   = 1 # x\nbcd = 2\ne   = 3\n"},
          {"a=1\n", "bc", "2", "a=1\nbc=2\n"},
          {"a  = 1\nlong_name = 2\n", "b", "3", "a  = 1\nlong_name = 2\nb = 3\n"},
          {"a = 1\nb {\n}\n", "c", "2", "a = 1\nc = 2\nb {\n}\n"},
          {"a {\n\tb = 1\n}\n", "a.c", "2", "a {\n\tb = 1\n\tc = 2\n}\n"},
          {"a {\n\tb {\n\t\tc = 1\n\t}\n}\n", "a.d.e", "2",
           "a {\n\tb {\n\t\tc = 1\n\t}\n\td {\n\t\te = 2\n\t}\n}\n"},
          {"a {\n    b = 1\n}\n", "c.d", "2", "a {\n    b = 1\n}\n\nc {\n    d = 2\n}\n"},
          {"a {}\n", "a.b", "1", "a {\n  b = 1\n}\n"},
          {"a {\n  # x\n}\n", "a.b", "1", "a {\n  # x\n  b = 1\n}\n"},
          {"a { b = 1 }\n", "a.c", "2", "a {\n  b = 1\n  c = 2\n}\n"},
          {"a { b = 1, c = 2 }\n", "a.d", "3", "a { b = 1, c = 2, d = 3 }\n"},
          {"a = { b = 1 }\n", "a.c", "2", "a = { b = 1, c = 2 }\n"},
          {"a = {}\n", "a.c", "2", "a = { c = 2 }\n"},
          {"a = {\n  b = 1,\n}\n", "a.c", "2", "a = {\n  b = 1,\n  c = 2,\n}\n"},
          {"a = {\n  b = 1\n}\n", "a.c.d", "2", "a = {\n  b = 1\n  c = {\n    d = 2\n  }\n}\n"},
          {"a = 1 b = 2\n", "c", "3", "a = 1 b = 2\nc = 3\n"},
          {"s \"x\" {\n}\nt {\n}\n", "s[\"y\"].b", "1", "s \"x\" {\n}\ns \"y\" {\n  b = 1\n}\nt {\n}\n"},
          {"a \"x\" {\n}\n", "a[\"y\"]", "1", "!a[\"y\"] is a block"},
          {"a \"x\" {\n}\n", "a[\"y\"]", "{ b = 1 }", "a \"x\" {\n}\n\na \"y\" {\n  b = 1\n}\n"},
          {"a = <<E\nx\nE\n", "b", "1", "a = <<E\nx\nE\nb = 1\n"});
}

static void json_is_edited_as_json(void **state)
{
    (void)state;
    CHECK(SET, {"{}", "a.b", "1", "{\n  \"a\": {\n    \"b\": 1\n  }\n}"},
          {"{\"a\":1}", "b", "2", "{\"a\":1, \"b\":2}"},
          {"{\n  \"a\": 1\n}\n", "b", "2", "{\n  \"a\": 1,\n  \"b\": 2\n}\n"},
          {"{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n", "a[\"x\"].y", "[1]",
           "{\n\t\"a\": {\n\t\t\"b\": 1,\n\t\t\"x\": {\n\t\t\t\"y\": [1]\n\t\t}\n\t}\n}\n"},
          {"{\n  \"a\": {}\n}\n", "a.b", "1", "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n"},
          {"{\"a\": 1}", "a", "x.y", "!JSON has no expressions"});
    CHECK(REMOVE, {"{\n  \"a\": 1,\n  \"b\": 2\n}\n", "b", NULL, "{\n  \"a\": 1\n}\n"},
          {"{\n  \"a\": 1,\n  \"b\": 2\n}\n", "a", NULL, "{\n  \"b\": 2\n}\n"},
          {"{\"a\": 1, \"b\": 2}", "b", NULL, "{\"a\": 1}"},
          {"{\"a\": 1, \"b\": 2}", "a", NULL, "{\"b\": 2}"}, {"{\"a\": 1}", "a", NULL, "{}"},
          {"{\"a\": [1, 2, 3]}", "a[2]", NULL, "{\"a\": [1, 3]}"});
    CHECK(ADD, {"{\"s\": {\"a\": 1}}", "s", "{ b = 2 }", "{\"s\": [{\"a\": 1}, {\"b\": 2}]}"},
          {"{\"s\": [{\"a\": 1}]}", "s", "{ b = 2 }", "{\"s\": [{\"a\": 1}, {\"b\": 2}]}"},
          {"{\"s\": {\"x\": {}}}", "s[\"y\"]", "{ b = 2 }", "{\"s\": {\"x\": {}, \"y\": {\"b\": 2}}}"},
          {"{\"s\": {\"x\": {}}}", "s[\"x\"]", "{ b = 2 }", "!there is such a block already, on line 1"});
}

static void lists_and_blocks_keep_what_is_equal(void **state)
{
    (void)state;
    CHECK(SET,
          {"a = [\n  \"x\", # one\n  \"y\", # two\n]\n", "a", "[\"x\", \"z\"]",
           "a = [\n  \"x\", # one\n  \"z\", # two\n]\n"},
          {"a = [\n  \"x\", # one\n  \"y\", # two\n  \"z\" # three\n]\n", "a", "[\"y\", \"z\"]",
           "a = [\n  \"y\", # two\n  \"z\" # three\n]\n"},
          {"a = [\n  \"x\" # one\n]\n", "a", "[\"x\", \"y\"]", "a = [\n  \"x\", # one\n  \"y\"\n]\n"},
          {"a = [\n  \"x\",\n]\n", "a", "[\"w\", \"x\"]", "a = [\n  \"w\",\n  \"x\",\n]\n"},
          {"a = [\"x\", \"y\"]\n", "a", "[\"x\"]", "a = [\"x\"]\n"},
          {"a = []\n", "a", "[1, 2]", "a = [1, 2]\n"}, {"a = [1]\n", "a", "[]", "a = []\n"},
          {"a = [1, 2]\n", "a[3]", "3", "a = [1, 2, 3]\n"},
          {"a {\n  b = 1 # x\n  c = 2\n}\n", "a", "{ b = 1, d = 3 }", "a {\n  b = 1 # x\n  d = 3\n}\n"},
          {"a \"x\" {\n  b = 1 # x\n}\na \"y\" {\n}\n", "a", "{ x = { b = 2 } }",
           "a \"x\" {\n  b = 2 # x\n}\n"},
          {"a \"x\" {\n}\n", "a", "{ x = 1 }", "!a are blocks with labels"},
          {"a = { b = 1 }\n", "a", "{ b = 1.0 }", "a = { b = 1 }\n"},
          {"a = { b = 1 }\n", "a", "2", "a = 2\n"});
}

static void what_is_removed_takes_its_line_along(void **state)
{
    (void)state;
    CHECK(REMOVE, {"a = 1\nb = 2 # two\nc = 3\n", "b", NULL, "a = 1\nc = 3\n"},
          {"a = 1\n", "b", NULL, "a = 1\n"}, {"a = 1\n", "a.b", NULL, "a = 1\n"},
          {"a = 1\nb = 2", "b", NULL, "a = 1"}, {"a = 1\r\nb = 2", "b", NULL, "a = 1"},
          {"a { b = 1 }\n", "a.b", NULL, "a { }\n"}, {"a { b = 1, c = 2 }\n", "a.b", NULL, "a { c = 2 }\n"},
          {"a { b = 1, c = 2 }\n", "a.c", NULL, "a { b = 1 }\n"}, {"a = 1 b = 2\n", "a", NULL, "b = 2\n"},
          {"a = 1 b = 2\n", "b", NULL, "a = 1\n"},
          {"a = 1\n\nb {\n  c = 1\n}\n\nd = 2\n", "b", NULL, "a = 1\n\nd = 2\n"},
          {"a = <<E\nx\nE\nb = 1\n", "a", NULL, "b = 1\n"},
          {"a = [\n  1, # one\n  2\n]\n", "a[2]", NULL, "a = [\n  1, # one\n]\n"},
          {"a \"x\" {\n}\na \"y\" {\n}\n", "a[\"x\"]", NULL, "a \"y\" {\n}\n"},
          {"a \"x\" {\n}\na \"y\" {\n}\n", "a", NULL, "!a is there 2 times, on lines 1 and 3"});
}

static void blocks_are_added_beside_their_like(void **state)
{
    (void)state;
    CHECK(
        ADD, {"", "s", "{ a = 1 }", "s {\n  a = 1\n}\n"},
        {"s {\n  a = 1\n}\nt = 1\n", "s", "{ a = 2 }", "s {\n  a = 1\n}\n\ns {\n  a = 2\n}\nt = 1\n"},
        {"c {\n}\n", "c.v[\"x\"]", "{ b = 1, d = { e = 2 }, f = { \"g.h\" = 3 } }",
         "c {\n  v \"x\" {\n    b = 1\n    f = {\n      \"g.h\" = 3\n    }\n    d {\n      e = 2\n    }\n  "
         "}\n}\n"},
        {"c \"x\" {\n}\n", "c[\"x\"]", "{}", "!there is such a block already, on line 1"},
        {"a  = 1\nbc = 2\n", "d", "{ e = 1, fgh = 2 }", "a  = 1\nbc = 2\n\nd {\n  e   = 1\n  fgh = 2\n}\n"});
}

/* ---- what is refused ---- */

struct fault_case {
    const char *text, *message;
};

static void what_is_wrong_is_said_with_its_place(void **state)
{
    (void)state;
    static const struct fault_case cases[] = {
        {"a = 1\nb = \n", "line 2, column 5: a value is wanted, the line ends\n    b = \n        ^"},
        {"a {\n  b = 1\n",
         "line 1, column 3: \"}\" for this brace is wanted, there is '{'\n    a {\n      ^"},
        {"a = \"x\n", "line 1, column 5: a quote at the end of this text is wanted, there is '\"'"},
        {"a = \"\\q\"", "line 1, column 6: an escape such as"},
        {"a = 10.0.0.1", "line 1, column 5: a number, or a text in quotes is wanted"},
        {"a = b c\n", "line 1, column 7: an operator or the end of the line is wanted"},
        {"a = [1 2]", "line 1, column 8: \",\" or \"]\" is wanted, there is '2'"},
        {"a = <<E\nx\n", "line 1, column 5: a line with the closing word of this heredoc is wanted"},
        {"a b = 1", "line 1, column 5: \"{\" after the labels is wanted"},
        {"a\nb = 1", "line 1, column 2: \"=\" or \"{\" after the name is wanted, the line ends"},
        {"}", "line 1, column 1: a name is wanted, there is '}'"},
        {"/* x", "line 1, column 1: \"*/\" at the end of this comment is wanted"},
        {"a = 1\n\xFF", "line 2, column 1: text in UTF-8 is wanted, there is the byte 0xff"},
        {"\tt\xC3\xA4 = @\n",
         "line 1, column 7: a value is wanted, there is '@'\n    \tt\xC3\xA4 = @\n    \t     ^"},
        /* What a wiki page leaves in a text. */
        {"a\xC2\xA0= 1",
         "line 1, column 2: \"=\" or \"{\" after the name is wanted, there is the character U+00A0"},
        {"a =\xC2\xA0"
         "1",
         "line 1, column 4: a value is wanted, there is the character U+00A0"},
        {"a = 1\xC2\xA0\n", "line 1, column 6: the end of the line is wanted, there is the character U+00A0"},
        {"a = \xE2\x80\x9Cx\xE2\x80\x9D", "line 1, column 5: a value is wanted, there is '\xE2\x80\x9C'"},
        {"a = \xE2\x80\x93"
         "1",
         "line 1, column 5: a value is wanted, there is '\xE2\x80\x93'"},
        {"a\xE2\x80\x8B"
         "b = 1",
         "line 1, column 2: \"=\" or \"{\" after the name is wanted, there is the character U+200B"},
        {"\xF0\x9F\x98\x80 = 1", "line 1, column 1: a name is wanted, there is '\xF0\x9F\x98\x80'"},
        {"a = b + \xE2\x80\xA6\n", "line 1, column 9: an expression is wanted"},
        {"{\"a\": 1,}", "line 1, column 9: another element after the comma is wanted"},
        {"{\"a\": 01}", "line 1, column 7: a number as JSON has it is wanted"},
        {"{\"a\": 1 # x\n}", "line 1, column 9: \",\" or \"}\" is wanted"},
        {"{\"a\": 1}x", "line 1, column 9: the end of the text is wanted"},
        {"token = \"s3cr3t\" x\n", "line 1, column 19: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer arena = {0};
        struct hcl_document document;
        struct hcl_fault fault;
        struct failure failure;
        size_t length = strlen(cases[i].text);
        if (hcl_parse(cases[i].text, length, &arena, &document, &fault))
            fail_msg("%s was read", cases[i].text);
        hcl_explain(cases[i].text, length, &fault, true, "test", &failure);
        if (strncmp(failure.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s\ngave\n%s\nwanted\n%s", cases[i].text, failure.message, cases[i].message);
        assert_null(strstr(failure.message, "s3cr3t"));
        buffer_free(&arena);
    }
}

static void depth_and_size_have_limits(void **state)
{
    (void)state;
    struct buffer text = {0}, arena = {0};
    struct hcl_document document;
    struct hcl_fault fault;
    buffer_append_text(&text, "a = ");
    for (unsigned i = 0; i < 100000; i++)
        buffer_append_text(&text, i % 3 == 0 ? "[" : i % 3 == 1 ? "{ a = " : "\"${\"${");
    assert_false(hcl_parse(text.bytes, text.length, &arena, &document, &fault));
    assert_string_equal(fault.wanted, "at most 100 levels of nesting");
    buffer_clear(&text);
    for (unsigned i = 0; i < 1000000; i++)
        buffer_append_text(&text, "a = [[1]]\n");
    assert_false(hcl_parse(text.bytes, text.length, &arena, &document, &fault));
    assert_string_equal(fault.wanted, "a text of at most 8 MiB");
    text.length = HCL_LARGEST / 10 * 10;
    assert_true(hcl_parse(text.bytes, text.length, &arena, &document, &fault));
    buffer_free(&text);
    buffer_free(&arena);
}

static void paths_are_read_strictly(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",      ".",    "a.",   ".a",     "a..b",    "a[",
                                        "a[]",   "a[0]", "a[x]", "a[\"x]", "a[\"x\"", "a b",
                                        "a[1]b", "a.1",  "[1]",  "a['x]",  "a[-1]",   "\xFF"};
    struct hcl_path path;
    struct failure failure;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (hcl_path_read(wrong[i], strlen(wrong[i]), &path, &failure))
            fail_msg("\"%s\" was read", wrong[i]);
        assert_string_equal(failure.kind, "usage");
        hcl_path_free(&path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_to_values),
        cmocka_unit_test(values_mean_what_they_say),
        cmocka_unit_test(equal_values_are_equal_however_written),
        cmocka_unit_test(what_is_there_is_replaced_in_place),
        cmocka_unit_test(a_comment_before_the_sign_is_that_of_its_line),
        cmocka_unit_test(what_is_missing_is_made),
        cmocka_unit_test(json_is_edited_as_json),
        cmocka_unit_test(lists_and_blocks_keep_what_is_equal),
        cmocka_unit_test(what_is_removed_takes_its_line_along),
        cmocka_unit_test(blocks_are_added_beside_their_like),
        cmocka_unit_test(what_is_wrong_is_said_with_its_place),
        cmocka_unit_test(depth_and_size_have_limits),
        cmocka_unit_test(paths_are_read_strictly),
    };
    return cmocka_run_group_tests_name("hcl", tests, NULL, NULL);
}
