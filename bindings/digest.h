/* SHA-256 of bytes in memory: how contents enter the journal. */
#ifndef MOONBOOK_DIGEST_H
#define MOONBOOK_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_SIZE 65 /* 64 hexadecimal digits and the NUL */

/* Writes the SHA-256 of the bytes in hexadecimal; an empty text where the library refuses. */
bool digest_sha256(const void *bytes, size_t length, char hex[DIGEST_SIZE]);

#endif
