/* The redactor: no secret passes, in any form, whole or in pieces. */
#include "redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = redactor_new();
    return 0;
}

static int tear_down(void **state)
{
    redactor_free(*state);
    return 0;
}

static void add(struct redactor *redactor, const char *secret)
{
    assert_true(redactor_add(redactor, secret, strlen(secret)));
}

static void assert_redacted(const struct redactor *redactor, const char *text, const char *wanted)
{
    struct buffer buffer = {0};
    buffer_append_text(&buffer, text);
    bool found = redact(redactor, &buffer);
    assert_string_equal(buffer_text(&buffer), wanted);
    assert_int_equal(buffer.length, strlen(wanted));
    assert_int_equal(found, strcmp(text, wanted) != 0);
    buffer_free(&buffer);
}

static void test_plain(void **state)
{
    struct redactor *redactor = *state;
    assert_redacted(redactor, "nothing is known yet", "nothing is known yet");
    assert_redacted(redactor, "", "");
    add(redactor, "hunter22");
    assert_redacted(redactor, "token hunter22.", "token <secret>.");
    assert_redacted(redactor, "hunter22", "<secret>");
    assert_redacted(redactor, "hunter22hunter22", "<secret><secret>");
    assert_redacted(redactor, "hunter2", "hunter2");
    assert_redacted(redactor, "hhunter22x", "h<secret>x");
    assert_false(redactor_add(redactor, "abc", 3));
    assert_redacted(redactor, "abc", "abc");
}

static void test_bytes(void **state)
{
    struct redactor *redactor = *state;
    struct buffer buffer = {0};
    assert_true(redactor_add(redactor, "a\0b\0c", 5));
    buffer_append(&buffer, "x a\0b\0c y", 9);
    assert_true(redact(redactor, &buffer));
    assert_string_equal(buffer_text(&buffer), "x <secret> y");
    buffer_free(&buffer);
}

static void test_longest_and_overlapping(void **state)
{
    struct redactor *redactor = *state;
    add(redactor, "abcd");
    add(redactor, "abcdefgh");
    add(redactor, "ghijkl");
    assert_redacted(redactor, "-abcdefgh-", "-<secret>-");
    add(redactor, "cdef");
    assert_redacted(redactor, "-abcdefgh-", "-<secret>-");
    assert_redacted(redactor, "-abcdexx-", "-<secret>exx-");
    assert_redacted(redactor, "-abcdefghijkl-", "-<secret>-");
    assert_redacted(redactor, "-ghijkl-", "-<secret>-");
}

static void test_json_forms(void **state)
{
    struct redactor *redactor = *state;
    add(redactor, "a\"b\\c/<d>&\te\x01");
    assert_redacted(redactor, "{\"k\":\"a\\\"b\\\\c/<d>&\\te\\u0001\"}", "{\"k\":\"<secret>\"}");
    assert_redacted(redactor, "\"a\\\"b\\\\c/\\u003cd\\u003e\\u0026\\te\\u0001\"", "\"<secret>\"");
    assert_redacted(redactor, "\"a\\\"b\\\\c\\/<d>&\\te\\u0001\"", "\"<secret>\"");
}

static void test_url_forms(void **state)
{
    struct redactor *redactor = *state;
    add(redactor, "p w/x+y\xC3\xA9~=");
    assert_redacted(redactor, "?t=p%20w%2Fx%2By%C3%A9~%3D&", "?t=<secret>&");
    assert_redacted(redactor, "?t=p%20w%2fx%2by%c3%a9~%3d&", "?t=<secret>&");
    assert_redacted(redactor, "?t=p+w%2Fx%2By%C3%A9~%3D&", "?t=<secret>&");
    assert_redacted(redactor, "/v1/p%20w/x%2By%C3%A9~%3D", "/v1/<secret>");
    assert_redacted(redactor, "/v1/p%20w/x+y%C3%A9~=", "/v1/<secret>");
}

/* base64("user:hunter22?\?>") and base64 of the secret after none, one and two bytes. */
static void test_base64_forms(void **state)
{
    struct redactor *redactor = *state;
    add(redactor, "hunter22?\?>");
    assert_redacted(redactor, "aHVudGVyMjI/Pz4=", "<secret>4=");
    assert_redacted(redactor, "eGh1bnRlcjIyPz8+", "eG<secret>");
    assert_redacted(redactor, "eHhodW50ZXIyMj8/Pg==", "eHh<secret>g==");
    assert_redacted(redactor, "Basic dXNlcjpodW50ZXIyMj8/Pg==", "Basic dXNlcjp<secret>g==");
    assert_redacted(redactor, "eGh1bnRlcjIyPz8-", "eG<secret>");
}

static void test_lines(void **state)
{
    struct redactor *redactor = *state;
    add(redactor, "-----BEGIN KEY-----\r\nMIIBVQIBADANBg\r\nkqhkiG9w\nab\n-----END KEY-----\n");
    assert_redacted(redactor, "line: kqhkiG9w, MIIBVQIBADANBg", "line: <secret>, <secret>");
    assert_redacted(redactor, "ab -----BEGIN KEY-----", "ab -----BEGIN KEY-----");
    assert_redacted(redactor, "\"kqhkiG9w\\nab\"", "\"<secret>\\nab\"");
}

static size_t tail(const struct redactor *redactor, const char *text)
{
    return redact_tail(redactor, text, strlen(text));
}

static void test_tail(void **state)
{
    struct redactor *redactor = *state;
    assert_int_equal(tail(redactor, "abc"), 0);
    add(redactor, "hunter22");
    assert_int_equal(tail(redactor, ""), 0);
    assert_int_equal(tail(redactor, "text"), 0);
    assert_int_equal(tail(redactor, "text hunt"), 4);
    assert_int_equal(tail(redactor, "text hunter2"), 7);
    assert_int_equal(tail(redactor, "text hunter22"), 0);
    assert_int_equal(tail(redactor, "hhhh"), 1);
    assert_int_equal(tail(redactor, "h"), 1);
    /* "abab" may begin anew in its own middle: a cut there would let half of it pass. */
    add(redactor, "abab");
    assert_int_equal(tail(redactor, "xxabab"), 4);
    assert_int_equal(tail(redactor, "xxababab"), 6);
}

/* A stream, cut at every place, holds back what redact_tail says: what comes out is what the whole gives. */
static void test_stream(void **state)
{
    struct redactor *redactor = *state;
    static const char text[] = "x hunter22 ababab y abab hunter2 aHVudGVyMjI= z";
    add(redactor, "hunter22");
    add(redactor, "abab");
    struct buffer whole = {0};
    buffer_append_text(&whole, text);
    redact(redactor, &whole);
    for (size_t size = 1; size < sizeof text; size++) {
        struct buffer held = {0}, out = {0};
        for (size_t at = 0; at < sizeof text - 1; at += size) {
            buffer_append(&held, text + at, at + size < sizeof text - 1 ? size : sizeof text - 1 - at);
            size_t kept = redact_tail(redactor, held.bytes, held.length);
            struct buffer ready = {0}, rest = {0};
            buffer_append(&ready, held.bytes, held.length - kept);
            buffer_append(&rest, held.bytes + held.length - kept, kept);
            redact(redactor, &ready);
            buffer_append(&out, buffer_text(&ready), ready.length);
            buffer_free(&ready);
            buffer_free(&held);
            held = rest;
        }
        redact(redactor, &held);
        buffer_append(&out, buffer_text(&held), held.length);
        assert_string_equal(buffer_text(&out), buffer_text(&whole));
        buffer_free(&held);
        buffer_free(&out);
    }
    buffer_free(&whole);
}

static void assert_end(const struct redactor *redactor, const char *text, size_t most, const char *wanted)
{
    struct buffer whole = {0}, out = {0};
    buffer_append_text(&whole, text);
    redacted_tail(redactor, &whole, most, &out);
    assert_string_equal(buffer_text(&out), wanted);
    assert_string_equal(buffer_text(&whole), text);
    buffer_free(&whole);
    buffer_free(&out);
}

static void assert_beginning(const struct redactor *redactor, const char *text, size_t most,
                             const char *wanted)
{
    struct buffer whole = {0}, out = {0};
    buffer_append_text(&whole, text);
    redacted_head(redactor, &whole, most, &out);
    assert_string_equal(buffer_text(&out), wanted);
    buffer_free(&whole);
    buffer_free(&out);
}

static void test_cut(void **state)
{
    struct redactor *redactor = *state;
    add(redactor, "hunter22");
    assert_end(redactor, "", 10, "");
    assert_end(redactor, " \n", 10, "");
    assert_end(redactor, "said \n\n", 10, "said");
    assert_end(redactor, "one\ntwo\nthree\n", 9, "two\nthree");
    assert_end(redactor, "one\ntwo\nthree\n", 8, "three");
    assert_end(redactor, "one\ntwo\nthree\n", 13, "one\ntwo\nthree");
    assert_end(redactor, "abcdefgh", 4, "efgh");
    assert_end(redactor, "hunter22 was wrong", 13, "et> was wrong");
    assert_end(redactor,
               "a\xc3\xa4\xc3\xa4"
               "b",
               4,
               "\xc3\xa4"
               "b");
    assert_beginning(redactor, "\n what hunter22 says\n", 100, "what <secret> says");
    assert_beginning(redactor, "is hunter22", 6, "is <se");
    assert_beginning(redactor, "is hunter22", 3, "is");
    assert_beginning(redactor, "a\xc3\xa4\xc3\xa4", 4, "a\xc3\xa4");
    assert_beginning(redactor, " \n", 4, "");
}

int main(void)
{
    const struct CMUnitTest redactor[] = {
        cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_longest_and_overlapping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_url_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_base64_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(redactor, NULL, NULL);
}
