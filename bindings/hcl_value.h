/* What values mean: texts without their escapes, numbers, and whether two of them are equal however they are written.
 *
 * A text is what stands between the quotes with its escapes resolved, except that templates stay as they are written:
 * "${attr.cpu.arch}" is that text, and "$${" (or \u0024{) is "$${", so that what was read can be written again. */
#ifndef MOONBOOK_HCL_VALUE_H
#define MOONBOOK_HCL_VALUE_H

#include "hcl_parse.h"

/* Appends the text of a STRING, a HEREDOC, a KEY, or the source of an EXPRESSION. */
void hcl_text(const struct hcl_document *document, uint32_t node, struct buffer *out);

/* Is the text of a STRING or KEY this one? */
bool hcl_text_is(const struct hcl_document *document, uint32_t node, const char *bytes, size_t length);

/* Appends a quoted text of these bytes. With `literal` nothing in it is a template. False where a template in it has
 * no end (nothing is appended), or the bytes are not UTF-8. */
bool hcl_quote(const char *bytes, size_t length, bool literal, bool json, struct buffer *out);

enum hcl_number {
    HCL_INTEGER,   /* within 64 bits, signed */
    HCL_LARGE,     /* an integer beyond */
    HCL_FLOAT,     /* with a fraction or an exponent */
    HCL_AMBIGUOUS, /* 0755: octal in HCL1, decimal in HCL2 */
};

/* The number that a NUMBER is. `digits` gets the decimal digits of a large one. */
enum hcl_number hcl_number(const struct hcl_document *document, uint32_t node, int64_t *integer, double *real,
                           struct buffer *digits);

/* Do two values of two documents mean the same? Blocks in objects are never equal to anything. */
bool hcl_equal(const struct hcl_document *a, uint32_t left, const struct hcl_document *b, uint32_t right);

/* Is it a name that needs no quotes? */
bool hcl_is_name(const char *bytes, size_t length);

/* The member's name and the number of its labels. */
uint32_t hcl_name(const struct hcl_document *document, uint32_t member);
uint32_t hcl_label(const struct hcl_document *document, uint32_t member, unsigned number); /* from 0; or 0 */
unsigned hcl_count_labels(const struct hcl_document *document, uint32_t member);

#endif
