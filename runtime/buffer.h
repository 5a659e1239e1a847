/* A growing byte string: what is read from files, children and servers. */
#ifndef MOONBOOK_BUFFER_H
#define MOONBOOK_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* `bytes` is NUL-terminated whenever it is not NULL; the NUL is not counted in `length`.
 * A buffer of all zeros is an empty one. */
struct buffer {
    char *bytes;
    size_t length;
    size_t capacity;
    size_t used; /* bytes that something was ever written to: what is beyond was never touched */
};

/* Appends `length` bytes. Ends the process when memory is exhausted, as Lua's own allocator would report. */
void buffer_append(struct buffer *buffer, const void *bytes, size_t length);

/* Appends a NUL-terminated string. */
void buffer_append_text(struct buffer *buffer, const char *text);

/* Appends printf-formatted text. */
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes the buffer empty and keeps its memory. */
void buffer_clear(struct buffer *buffer);

/* Releases the memory; the buffer is empty and usable afterwards. */
void buffer_free(struct buffer *buffer);

/* Overwrites the bytes before releasing them: for what may hold a secret. */
void buffer_wipe(struct buffer *buffer);

/* The content as a string, "" for an empty buffer; valid until the buffer changes. */
const char *buffer_text(const struct buffer *buffer);

/* strdup, malloc and realloc that end the process with a message instead of returning NULL. */
char *copy_text(const char *text);
void *allocate(size_t size);
void *allocate_zeroed(size_t count, size_t size);
void *reallocate(void *memory, size_t size);

#endif
