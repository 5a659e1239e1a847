/* The pure text edits: lines and blocks. Each case is a text, an edit and the text that comes out. */
#include "file_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define END ((size_t)-1)

struct line_case {
    const char *text;
    const char *wanted;   /* lines, separated by '|'; "" is none */
    const char *matching; /* lines that begin with this match; NULL: no pattern */
    size_t place;
    const char *result;
};

static struct text_span span(const char *text)
{
    return (struct text_span){text, strlen(text)};
}

static size_t split_wanted(const char *wanted, struct text_span lines[8])
{
    size_t count = 0;
    while (*wanted != '\0') {
        size_t length = strcspn(wanted, "|");
        lines[count++] = (struct text_span){wanted, length};
        wanted += length + (wanted[length] == '|');
    }
    return count;
}

static void edit(const struct line_case *example, const char *text, struct buffer *out)
{
    struct text_span wanted[8], lines[32];
    bool matching[32] = {false};
    size_t count = text_count_lines(text, strlen(text));
    assert_true(count < 32);
    text_split(text, strlen(text), lines);
    size_t prefix = example->matching != NULL ? strlen(example->matching) : 0;
    for (size_t i = 0; i < count && example->matching != NULL; i++)
        matching[i] = lines[i].length >= prefix && memcmp(lines[i].bytes, example->matching, prefix) == 0;
    struct line_edit line_edit = {.wanted = wanted,
                                  .wanted_count = split_wanted(example->wanted, wanted),
                                  .matching = example->matching != NULL ? matching : NULL,
                                  .place = example->place == END ? count : example->place};
    edit_lines(text, strlen(text), &line_edit, out);
}

static void check_lines(const struct line_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer once = {0}, twice = {0};
        edit(&cases[i], cases[i].text, &once);
        assert_string_equal(buffer_text(&once), cases[i].result);
        assert_int_equal(once.length, strlen(cases[i].result));
        /* A second time changes nothing. */
        edit(&cases[i], buffer_text(&once), &twice);
        assert_string_equal(buffer_text(&twice), cases[i].result);
        buffer_free(&once);
        buffer_free(&twice);
    }
}

#define CHECK_LINES(...)                                                                                     \
    do {                                                                                                     \
        static const struct line_case cases[] = {__VA_ARGS__};                                               \
        check_lines(cases, sizeof cases / sizeof cases[0]);                                                  \
    } while (0)

static void lines_without_pattern(void **state)
{
    (void)state;
    CHECK_LINES({"", "a", NULL, END, "a\n"}, {"a\n", "a", NULL, END, "a\n"},
                {"a\nb\n", "c|b|d", NULL, END, "a\nb\nc\nd\n"}, {"a\nb\n", "c", NULL, 0, "c\na\nb\n"},
                {"a\nb\n", "c|d", NULL, 1, "a\nc\nd\nb\n"}, {"a\na\n", "a", NULL, END, "a\na\n"},
                {"a\n", "b|b", NULL, END, "a\nb\n"}, {"ab\n", "a", NULL, END, "ab\na\n"});
}

static void lines_with_pattern(void **state)
{
    (void)state;
    CHECK_LINES({"x\ns=1\ny\n", "s=2", "s=", END, "x\ns=2\ny\n"},
                {"x\ns=1\ny\ns=3\nz\n", "s=2", "s=", END, "x\ns=2\ny\nz\n"},
                {"x\ns=1\ny\n", "s=2|s=3", "s=", END, "x\ns=2\ns=3\ny\n"},
                {"s=1\nx\ns=2\ny\n", "s=2", "s=", END, "x\ns=2\ny\n"},
                {"s=2\ns=1\n", "s=1|s=2", "s=", END, "s=2\ns=1\n"},
                {"s=9\ns=2\n", "s=1|s=2", "s=", END, "s=1\ns=2\n"},
                {"x\ny\n", "s=1|s=2", "s=", 1, "x\ns=1\ns=2\ny\n"},
                {"x\ny\n", "s=1", "s=", END, "x\ny\ns=1\n"}, {"s=1\nx\ns=1\n", "s=1", "s=", END, "s=1\nx\n"},
                {"s=1\nx\ns=2\n", "", "s=", END, "x\n"}, {"#p\nx\n", "p", "#p", END, "p\nx\n"},
                {"s=1\nx\n", "s=1|s=2", "#s", END, "s=1\ns=2\nx\n"}, {"s=1\n", "", "s=", END, ""});
}

static void lines_keep_endings(void **state)
{
    (void)state;
    CHECK_LINES({"a\r\nb\r\n", "c", NULL, END, "a\r\nb\r\nc\r\n"},
                {"a\r\nb\r\n", "b", NULL, END, "a\r\nb\r\n"}, {"a\r\nb\n", "c", NULL, 1, "a\r\nc\r\nb\n"},
                {"a\ns=1\r\n", "s=2", "s=", END, "a\ns=2\r\n"}, {"a\nb", "c", NULL, END, "a\nb\nc"},
                {"a\r\nb", "c", NULL, END, "a\r\nb\r\nc"}, {"a\nb", "c", NULL, 0, "c\na\nb"},
                {"a\ns=1", "", "s=", END, "a"}, {"a\r\ns=1", "", "s=", END, "a"},
                {"a\ns=1", "s=2", "s=", END, "a\ns=2"}, {"a", "a", NULL, END, "a"},
                {"s=1", "s=2|s=3", "s=", END, "s=2\ns=3"}, {"\n\na\n", "b", NULL, END, "\n\na\nb\n"});
}

static void counts_and_splits(void **state)
{
    (void)state;
    struct text_span lines[4];
    assert_int_equal(text_count_lines("", 0), 0);
    assert_int_equal(text_count_lines("a", 1), 1);
    assert_int_equal(text_count_lines("a\n", 2), 1);
    assert_int_equal(text_count_lines("\n\n", 2), 2);
    text_split("a\r\n\nb\r", 6, lines);
    assert_true(text_span_equal(lines[0], span("a")));
    assert_true(text_span_equal(lines[1], span("")));
    assert_true(text_span_equal(lines[2], span("b\r"))); /* no newline: the CR is text */
}

/* Bytes after a NUL belong to the line too. */
static void lines_may_hold_nul(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct text_span wanted[] = {{"a\0b", 3}};
    struct line_edit line_edit = {.wanted = wanted, .wanted_count = 1, .place = 1};
    edit_lines("a\0c\n", 4, &line_edit, &out);
    assert_int_equal(out.length, 8);
    assert_memory_equal(out.bytes, "a\0c\na\0b\n", 8);
    buffer_free(&out);
}

struct block_case {
    const char *text, *content;
    size_t place;
    enum block_result outcome;
    const char *result;
};

static void check_block(const struct block_case *example)
{
    struct buffer once = {0}, twice = {0};
    struct block_edit block = {span("#B"), span("#E"), span(example->content), example->place};
    if (block.place == END)
        block.place = text_count_lines(example->text, strlen(example->text));
    assert_int_equal(edit_block(example->text, strlen(example->text), &block, &once), example->outcome);
    assert_string_equal(buffer_text(&once), example->result);
    if (example->outcome == BLOCK_EDITED) {
        assert_int_equal(edit_block(buffer_text(&once), once.length, &block, &twice), BLOCK_EDITED);
        assert_string_equal(buffer_text(&twice), example->result);
    }
    buffer_free(&once);
    buffer_free(&twice);
}

static void blocks(void **state)
{
    (void)state;
    static const struct block_case cases[] = {
        {"", "x\n", END, BLOCK_EDITED, "#B\nx\n#E\n"},
        {"a\n", "x\ny\n", END, BLOCK_EDITED, "a\n#B\nx\ny\n#E\n"},
        {"a\n", "x", END, BLOCK_EDITED, "a\n#B\nx\n#E\n"},
        {"a\nb\n", "x\n", 1, BLOCK_EDITED, "a\n#B\nx\n#E\nb\n"},
        {"a\n#B\nold\nolder\n#E\nb\n", "x\n", END, BLOCK_EDITED, "a\n#B\nx\n#E\nb\n"},
        {"a\n#B\nx\n#E\nb\n", "", END, BLOCK_EDITED, "a\nb\n"},
        {"a\n", "", END, BLOCK_EDITED, "a\n"},
        {"a\r\n", "x\ny\n", END, BLOCK_EDITED, "a\r\n#B\r\nx\r\ny\r\n#E\r\n"},
        {"a", "x\n", END, BLOCK_EDITED, "a\n#B\nx\n#E"},
        {"#B\nx\n#E", "y\n", END, BLOCK_EDITED, "#B\ny\n#E"},
        {"a\n#B\nx\n", "x\n", END, BLOCK_UNCLOSED, ""},
        {"a\n#E\nx\n", "x\n", END, BLOCK_UNCLOSED, ""},
        {"#E\n#B\n", "x\n", END, BLOCK_UNCLOSED, ""},
        {"#B\n#B\n#E\n", "x\n", END, BLOCK_UNCLOSED, ""},
        {"#B\n#E\n#E\n", "x\n", END, BLOCK_UNCLOSED, ""},
        {"#B\n#E\n#B\n#E\n", "x\n", END, BLOCK_REPEATED, ""},
        {"a\n", "x\n#E\n", END, BLOCK_NESTED, ""},
        {"a\n", "#B\n", END, BLOCK_NESTED, ""},
        {"a\n", "#B\n#E\n", END, BLOCK_NESTED, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_block(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_without_pattern), cmocka_unit_test(lines_with_pattern),
        cmocka_unit_test(lines_keep_endings),    cmocka_unit_test(counts_and_splits),
        cmocka_unit_test(lines_may_hold_nul),    cmocka_unit_test(blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
