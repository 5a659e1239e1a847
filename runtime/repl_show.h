/* Values for people: rows of records as a table, records as lines, times, durations and sizes readable. */
#ifndef MOONBOOK_REPL_SHOW_H
#define MOONBOOK_REPL_SHOW_H

#include "buffer.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Columns that UTF-8 text takes on the screen. */
size_t show_width(const char *text, size_t length);

/* [-0, +0, v] Appends the value at `index` as lines; what is nested shows as a count. Columns end at `width`. */
void show_value(lua_State *L, int index, size_t width, struct buffer *out);

/* [-0, +0, v] The same with everything that is nested, as a tree. */
void show_whole(lua_State *L, int index, struct buffer *out);

/* What a number means by the name of its field: "86400 (1 d)", a time, a size; false: just a number. */
bool show_quantity(const char *name, long long number, struct buffer *out);

#endif
