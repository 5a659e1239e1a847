/* Programs that get the terminal: the editor, the pager. The loop goes on meanwhile. */
#ifndef MOONBOOK_FOREGROUND_H
#define MOONBOOK_FOREGROUND_H

#include "buffer.h"
#include "runtime.h"

#include <stdbool.h>

/* The operator's editor: $VISUAL, else $EDITOR; NULL where neither is set. */
const char *foreground_editor(void);

/* Runs `program`, a shell's words ("emacs -nw"), with `argument` behind it (NULL: none) and `input` as its standard input (NULL:
 * the terminal). True when it ended with 0. In a fiber others go on. */
bool foreground_run(struct runtime *runtime, const char *program, const char *argument,
                    const struct buffer *input);

/* Shows the text in $PAGER, else in less. False: there is none. */
bool foreground_page(struct runtime *runtime, const struct buffer *text);

#endif
