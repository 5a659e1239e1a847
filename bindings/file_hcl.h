/* file.hcl: the state word for settings in a configuration file. */
#ifndef MOONBOOK_FILE_HCL_H
#define MOONBOOK_FILE_HCL_H

#include <lua.h>

/* The Lua function. */
int file_hcl(lua_State *L);

#endif
