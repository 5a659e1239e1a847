/* file.line and file.block: state words for parts of a text file. */
#ifndef MOONBOOK_FILE_LINES_H
#define MOONBOOK_FILE_LINES_H

#include <lua.h>

/* The Lua functions. */
int file_line(lua_State *L);
int file_block(lua_State *L);

#endif
