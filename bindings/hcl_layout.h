/* How a configuration is laid out: what stands on the lines of a thing, how deep lines are indented, how they end. */
#ifndef MOONBOOK_HCL_LAYOUT_H
#define MOONBOOK_HCL_LAYOUT_H

#include "hcl_parse.h"

/* The lines that a member or an item begins and ends on. */
struct hcl_lines {
    size_t begin;     /* of its first line, if it starts that */
    bool starts_line; /* nothing but blanks stands before it */
    size_t comma;     /* where the comma behind it is, 0 without one */
    size_t rest;      /* behind it, its comma, blanks and comments on its last line */
    bool ends_line;   /* nothing else stands behind it */
    size_t next;      /* the beginning of the line after, if it ends its own; the end of the text */
};

struct hcl_lines hcl_lines(const struct hcl_document *document, uint32_t node);

/* The blanks that the line with this byte begins with. */
struct text_span hcl_indentation(const struct hcl_document *document, size_t at);

/* One level of indentation, as the text has it; two spaces where it does not tell. */
struct text_span hcl_unit(const struct hcl_document *document);

/* How the line with this byte ends; of a last line without an ending, how the first line does. */
struct text_span hcl_newline(const struct hcl_document *document, size_t at);

/* Is it all on one line? */
bool hcl_one_line(const struct hcl_document *document, uint32_t node);

/* Is it a member with an object or a body on several lines? */
bool hcl_has_lines(const struct hcl_document *document, uint32_t node);

/* The member or item before it in its container; 0 for the first. */
uint32_t hcl_before(const struct hcl_document *document, uint32_t node);

/* Is there an empty line before the line at `at`? `begin` is where it begins. */
bool hcl_blank_before(const struct hcl_document *document, size_t at, size_t *begin);

/* Does the value end in a heredoc, so that nothing may follow on its line? */
bool hcl_ends_in_heredoc(const struct hcl_document *document, uint32_t node);

/* Is it a plain attribute with a line of its own? */
bool hcl_is_setting(const struct hcl_document *document, uint32_t member);

/* How many characters its name has, and where its "=" is, from the name's beginning; 0 where no mere spaces are between. */
size_t hcl_name_width(const struct hcl_document *document, uint32_t member);
size_t hcl_sign_column(const struct hcl_document *document, uint32_t member);

/* Do two attributes on adjacent lines have their "=" below each other, or not? 0 where they do not tell. */
int hcl_aligned_pair(const struct hcl_document *document, uint32_t above, uint32_t below);

/* Does the text mostly align them? */
bool hcl_aligned(const struct hcl_document *document);

#endif
