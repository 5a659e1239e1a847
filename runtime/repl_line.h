/* Lines that a person types, or that come through a pipe: read without blocking the loop. libedit where a terminal can do
 * it, the terminal's own line elsewhere. */
#ifndef MOONBOOK_REPL_LINE_H
#define MOONBOOK_REPL_LINE_H

#include "buffer.h"
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>

struct line_reader;

enum line_outcome {
    LINE_READ,
    LINE_END,         /* Ctrl-D, the end of the pipe, SIGTERM */
    LINE_INTERRUPTED, /* Ctrl-C */
};

/* What could stand at the cursor. */
struct line_candidates {
    char **texts; /* whole words, sorted, each once */
    size_t count;
    size_t typed; /* how many bytes before the cursor they take the place of */
};

/* Fills in what could come; called in the reader's fiber: it may wait. */
typedef void line_completer(void *context, const char *text, size_t cursor,
                            struct line_candidates *candidates);

/* The runtime's reader of standard input, made at the first call: what it has read ahead is for the next session too.
 * `complete` may be NULL. `is_new`: it has no history yet. */
struct line_reader *line_reader_of(struct runtime *runtime, line_completer *complete, void *context,
                                   bool *is_new);

/* Called by runtime_free. NULL is fine. */
void line_reader_free(struct line_reader *reader);

/* Does a person type? False for pipes and files: no prompt is shown then. */
bool line_is_typed(const struct line_reader *reader);

/* Is it edited here, with keys and history? */
bool line_is_edited(const struct line_reader *reader);

/* Reads one line, without its newline, into `line` (cleared first); what was pasted may have more. */
enum line_outcome line_read(struct line_reader *reader, const char *prompt, struct buffer *line);

/* Waits for a key, at most `ms`. True when one was pressed; it is not read as part of the next line. On a dumb terminal it is
 * a line. */
bool line_wait_for_key(struct line_reader *reader, uint64_t ms);

/* The line can be called back with the arrow keys; a text of several lines is one. */
void line_remember(struct line_reader *reader, const char *text);

/* Sorts the candidates and drops doubles. */
void line_candidates_sort(struct line_candidates *candidates);
void line_candidates_free(struct line_candidates *candidates);

#endif
