/* Characters of UTF-8: which bytes are one, and which must not reach a terminal. */
#ifndef MOONBOOK_UTF8_H
#define MOONBOOK_UTF8_H

#include <stddef.h>

/* Length of the well-formed character at `bytes`, 0 where there is none: no overlong forms, no surrogates. */
size_t utf8_length(const char *bytes, size_t left);

/* The number of the well-formed character at `bytes`; U+FFFD where there is none. */
unsigned utf8_code(const char *bytes, size_t left);

/* Makes text of commands and servers harmless, byte by byte in place: what would steer a terminal (control characters but
 * newline and tab, reversals of the direction of writing) and what is no character becomes "?". */
void utf8_disarm(char *text, size_t length);

#endif
