/* The difference of two texts, for people. */
#ifndef MOONBOOK_DIFF_H
#define MOONBOOK_DIFF_H

#include "buffer.h"
#include "runtime.h"

#include <stdbool.h>

#define DIFF_LIMIT (256 * 1024) /* longer texts are not compared */

/* Is it worth a difference: text (no NUL) and below DIFF_LIMIT? */
bool diff_worthwhile(const struct buffer *text);

/* Appends the unified difference of the two texts to `out`, labelled "PATH (before)" and "PATH (after)". Made by
 * the diff program of the operator's machine; the texts stay in memory. False, and nothing appended, where the
 * program is missing or the fiber was cancelled: a difference is a service to the reader, nothing depends on it. */
bool diff_unified(struct runtime *runtime, const char *path, const struct buffer *before,
                  const struct buffer *after, struct buffer *out);

#endif
