/* Host values in Lua: what host("local") returns. */
#ifndef MOONBOOK_HOST_VALUE_H
#define MOONBOOK_HOST_VALUE_H

#include "host.h"

#include <lua.h>

#define HOST_VALUE "moonbook.host"

/* [-0, +0, -] The host of the value at `index`, NULL when it is none. */
struct host *host_value(lua_State *L, int index);

#endif
