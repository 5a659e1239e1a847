/* The one door from the host program to its Lua modules. */
#ifndef MOONBOOK_BINDINGS_H
#define MOONBOOK_BINDINGS_H

#include <lua.h>

/* [-0, +0, v] Makes every module a global and tells the runtime of them. */
void bindings_open(lua_State *L);

#endif
