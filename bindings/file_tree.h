/* file.directory, file.link and file.absent: what there is in the tree beside files. */
#ifndef MOONBOOK_FILE_TREE_H
#define MOONBOOK_FILE_TREE_H

#include <lua.h>

/* The Lua functions. */
int file_directory(lua_State *L);
int file_link(lua_State *L);
int file_absent(lua_State *L);

#endif
