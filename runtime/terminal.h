/* The operator's terminal: questions on /dev/tty, asked one at a time, without blocking the loop. */
#ifndef MOONBOOK_TERMINAL_H
#define MOONBOOK_TERMINAL_H

#include "buffer.h"
#include "failure.h"
#include "runtime.h"

#include <stdbool.h>

/* Writes the question (redacted) and reads one line without its newline into `answer`. Without `echo` what is typed does
 * not show; the terminal's settings are put back in every case. Fails "usage" where there is no
 * terminal, "cancelled" on Ctrl-C, "failed" at the end of input. Waits for as long as the person takes. */
bool terminal_ask(struct runtime *runtime, const char *question, bool echo, struct buffer *answer,
                  struct failure *failure);

/* Is there a terminal to ask on? */
bool terminal_present(void);

/* What was typed and nobody has read is dropped: it was no answer to a question that is asked only now. */
void terminal_forget(void);

/* Somebody types a line while fibers go on: whoever writes to the terminal or asks on it takes that line off the screen
 * and brings it back (runtime->typed). */
struct terminal_line {
    void (*leave)(void *context);
    void (*back)(void *context);
    void *context;
};

/* Takes the line that is being typed off the screen; what returns is handed to terminal_back. NULL: there is none. */
const struct terminal_line *terminal_leave(struct runtime *runtime);
void terminal_back(struct runtime *runtime, const struct terminal_line *line);

/* Columns and rows of the terminal that standard output is; 80 and 24 where it is none. */
void terminal_size(unsigned *columns, unsigned *rows);

#endif
