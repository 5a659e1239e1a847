/* Memory of one call from Lua: released when that C function returns, by whatever way - also by a raised error.
 *
 * So a binding keeps what it reads in a scratch and raises where it likes. */
#ifndef MOONBOOK_SCRATCH_H
#define MOONBOOK_SCRATCH_H

#include "buffer.h"

#include <lua.h>
#include <stddef.h>

struct scratch;

/* [-0, +1, m] Pushes a new scratch, to be closed when the running C function ends: leave it on the stack. */
struct scratch *scratch_open(lua_State *L);

/* All below belong to the scratch and end the process when memory is exhausted. */
void *scratch_zeroed(struct scratch *scratch, size_t count, size_t size);
char *scratch_copy(struct scratch *scratch, const char *bytes, size_t length);
char *scratch_text(struct scratch *scratch, const char *text);
char *scratch_format(struct scratch *scratch, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The content of the buffer, "" for an empty one; the buffer is empty afterwards. */
char *scratch_take(struct scratch *scratch, struct buffer *buffer);

/* An empty buffer, released with the scratch. */
struct buffer *scratch_buffer(struct scratch *scratch);

#endif
