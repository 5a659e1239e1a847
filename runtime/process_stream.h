/* What a stream of lines is made of: a command here (process.c) or on another machine. */
#ifndef MOONBOOK_PROCESS_STREAM_H
#define MOONBOOK_PROCESS_STREAM_H

#include "process.h"

struct process_stream_operations {
    int (*read_line)(struct process_stream *stream, struct buffer *line, uint64_t timeout_ms,
                     struct failure *failure);
    void (*close)(struct process_stream *stream);
};

/* The first member of what a transport allocates. */
struct process_stream {
    const struct process_stream_operations *operations;
};

/* Appends the next line of `have` from `*offset` on, without its newline; the last one without a newline when nothing more
 * comes. False where there is none yet. What was read is dropped now and then. */
bool process_take_line(struct buffer *have, size_t *offset, bool more_comes, struct buffer *line);

/* Is more to be read before it is asked for? While little waits, and while what waits is not a whole line. */
bool process_wants_more(const struct buffer *have, size_t offset);

/* Is what waits too much for one line? Then fills in "failed" and returns true. */
bool process_line_is_too_long(const struct buffer *have, size_t offset, struct failure *failure);

#endif
