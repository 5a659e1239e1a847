/* Memory of one call: a list that a to-be-closed userdata releases. */
#include "scratch.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METATABLE "moonbook.scratch"

struct piece {
    struct piece *next;
    struct buffer buffer; /* `capacity` is not looked at here: bytes are freed, whoever allocated them */
};

struct scratch {
    struct piece *pieces;
};

/* Both __close and __gc: whichever comes first finds the list, the other an empty one. */
static int release(lua_State *L)
{
    struct scratch *scratch = luaL_checkudata(L, 1, METATABLE);
    while (scratch->pieces) {
        struct piece *piece = scratch->pieces;
        scratch->pieces = piece->next;
        buffer_free(&piece->buffer);
        free(piece);
    }
    return 0;
}

struct scratch *scratch_open(lua_State *L)
{
    struct scratch *scratch = lua_newuserdatauv(L, sizeof *scratch, 0);
    scratch->pieces = NULL;
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
    return scratch;
}

struct buffer *scratch_buffer(struct scratch *scratch)
{
    struct piece *piece = allocate_zeroed(1, sizeof *piece);
    piece->next = scratch->pieces;
    scratch->pieces = piece;
    return &piece->buffer;
}

void *scratch_zeroed(struct scratch *scratch, size_t count, size_t size)
{
    struct buffer *buffer = scratch_buffer(scratch);
    buffer->bytes = allocate_zeroed(count, size);
    return buffer->bytes;
}

char *scratch_take(struct scratch *scratch, struct buffer *buffer)
{
    struct buffer *kept = scratch_buffer(scratch);
    *kept = *buffer;
    *buffer = (struct buffer){0};
    if (!kept->bytes)
        kept->bytes = copy_text("");
    return kept->bytes;
}

char *scratch_copy(struct scratch *scratch, const char *bytes, size_t length)
{
    char *copy = scratch_zeroed(scratch, length + 1, 1);
    memcpy(copy, bytes, length);
    return copy;
}

char *scratch_text(struct scratch *scratch, const char *text)
{
    return scratch_copy(scratch, text, strlen(text));
}

char *scratch_format(struct scratch *scratch, const char *format, ...)
{
    struct buffer text = {0};
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    text.bytes = allocate((size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(text.bytes, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text.length = (size_t)length;
    return scratch_take(scratch, &text);
}
