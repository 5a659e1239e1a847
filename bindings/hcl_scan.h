/* The words of HCL: where a comment, a text, a heredoc, a number, a name or an expression ends.
 *
 * HCL1 (agents' configuration) and HCL2 (jobs) together: what either of them takes is taken, as long as both agree on
 * where it ends. Nothing is evaluated. Each function begins at `at`, moves it behind what it read and returns true; or
 * returns false with `wrong_at` and `wanted` saying where which thing should have been. */
#ifndef MOONBOOK_HCL_SCAN_H
#define MOONBOOK_HCL_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define HCL_DEPTH_MOST 100 /* blocks, lists, templates in each other */

struct hcl_scan {
    const char *text;
    size_t length;
    size_t at;
    unsigned depth;
    size_t wrong_at;
    const char *wanted; /* "a value", a constant; NULL while nothing is wrong */
};

/* The byte at `at` + ahead, 0 at the end of the text (which has no NUL in it). */
static inline char hcl_peek(const struct hcl_scan *scan, size_t ahead)
{
    return ahead < scan->length - scan->at ? scan->text[scan->at + ahead] : '\0';
}

bool hcl_wrong(struct hcl_scan *scan, size_t at, const char *wanted);

/* One level deeper; false beyond HCL_DEPTH_MOST. The caller takes it back. */
bool hcl_deeper(struct hcl_scan *scan);

/* Spaces and tabs, a carriage return before a newline, comments; with `lines` newlines too, else it stays at one. */
bool hcl_skip(struct hcl_scan *scan, bool lines);

/* "text" with escapes, ${ } and %{ }: at the quote. */
bool hcl_scan_string(struct hcl_scan *scan);

/* ${ ... } or %{ ... } with all that is nested in it. */
bool hcl_scan_template(struct hcl_scan *scan);

/* <<EOF ... EOF, <<-EOF ... EOF: it ends behind the closing word, before the newline. */
bool hcl_scan_heredoc(struct hcl_scan *scan);

bool hcl_scan_number(struct hcl_scan *scan);

/* A letter of any alphabet or _; within a character it is one. */
bool hcl_at_letter(const struct hcl_scan *scan);

/* Letters, digits, _ and -, not beginning with a digit or -; with `dots` those too, as HCL1 has them in names. */
bool hcl_scan_name(struct hcl_scan *scan, bool dots);

/* A whole expression of HCL2 to the end of the line, to a comma or to a closing bracket that is not its own; with `lines`
 * newlines do not end it. `at` ends up behind its last word. */
bool hcl_scan_expression(struct hcl_scan *scan, bool lines);

/* Does an expression go on at `at`, behind a complete value? */
bool hcl_goes_on(const struct hcl_scan *scan);

/* Length of the escape at `text` (a backslash), or 0 for one that neither HCL1 nor HCL2 knows; `code` is the character
 * that it stands for, `is_byte` that it is a byte (\xFF, \377). */
size_t hcl_escape(const char *text, size_t left, unsigned *code, bool *is_byte);

#endif
