/* Edits of text by lines and blocks: pure functions, bytes in, bytes out.
 *
 * Lines that an edit does not name keep every byte, their ending too. New lines end as the file's first line
 * does; a file whose last line has no newline stays so. */
#ifndef MOONBOOK_FILE_EDIT_H
#define MOONBOOK_FILE_EDIT_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes that belong to somebody else. */
struct text_span {
    const char *bytes;
    size_t length;
};

/* How many lines a text has; a last one without newline counts. */
size_t text_count_lines(const char *bytes, size_t length);

/* Splits a text into its lines, without their endings (LF or CR LF). `lines` has room for text_count_lines. */
void text_split(const char *bytes, size_t length, struct text_span *lines);

bool text_span_equal(struct text_span a, struct text_span b);

/* What the lines of a text shall be. `wanted` is a set: repeated lines count once. */
struct line_edit {
    const struct text_span *wanted;
    size_t wanted_count;
    const bool
        *matching; /* for each line of the text: is it one of those that `wanted` replaces; NULL = none is */
    size_t place;  /* missing lines go before this line where nothing matches; the count of lines = the end */
};

/* Appends the edited text to `out`. Lines that are wanted stay where they are; other matching lines are replaced in
 * place by those missing, then removed; what is still missing comes after the last match, else at `place`. */
void edit_lines(const char *bytes, size_t length, const struct line_edit *edit, struct buffer *out);

/* A block: the lines between a line `begin` and a line `end`. */
struct block_edit {
    struct text_span begin, end, content;
    size_t place; /* where a new block goes: before this line; the count of lines = the end */
};

enum block_result {
    BLOCK_EDITED,
    BLOCK_UNCLOSED, /* begin without end, or end without begin: nobody can know what belongs to the block */
    BLOCK_REPEATED, /* the block is there twice */
    BLOCK_NESTED,   /* the content has a line that is one of the markers */
};

/* Appends the text with the block's content replaced to `out`; the block with its markers is removed where the
 * content is empty. Nothing is appended unless BLOCK_EDITED is returned. */
enum block_result edit_block(const char *bytes, size_t length, const struct block_edit *edit,
                             struct buffer *out);

#endif
