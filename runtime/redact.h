/* The redactor: whatever leaves the program (terminal, JSON, journal, error text, trace) passes it.
 *
 * It knows every secret that was opened or made, in the forms in which it can leave: as it is, escaped for JSON and
 * for a URL, in base64. */
#ifndef MOONBOOK_REDACT_H
#define MOONBOOK_REDACT_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

struct redactor;

#define REDACTED       "<secret>"
#define SECRET_MINIMUM 4 /* shorter ones cannot be told from ordinary text and are refused */

struct redactor *redactor_new(void);
void redactor_free(struct redactor *redactor); /* wipes what it holds */

/* From now on `bytes` never leave. Each line of several lines is a secret of its own too. Returns false, and
 * notes nothing, when shorter than SECRET_MINIMUM. */
bool redactor_add(struct redactor *redactor, const char *bytes, size_t length);

/* Replaces every secret in the buffer by REDACTED, longest first. Returns true if there was one. */
bool redact(const struct redactor *redactor, struct buffer *text);

/* Appends the end of `text`, at most `most` bytes, redacted before it is cut: half a secret would pass unseen. It begins
 * with a line where there is one, and has no white space at its end. For what programs say, the reason comes last. */
void redacted_tail(const struct redactor *redactor, const struct buffer *text, size_t most,
                   struct buffer *out);

/* Appends the beginning of `text`, at most `most` bytes, redacted before it is cut; no white space around it. */
void redacted_head(const struct redactor *redactor, const struct buffer *text, size_t most,
                   struct buffer *out);

/* How many of the last bytes of `text` could be the beginning of a secret: a stream holds them back. */
size_t redact_tail(const struct redactor *redactor, const char *text, size_t length);

#endif
