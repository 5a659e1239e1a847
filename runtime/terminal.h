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

#endif
