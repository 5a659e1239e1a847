/* Host values in Lua: what host("local") returns. */
#ifndef MOONBOOK_HOST_VALUE_H
#define MOONBOOK_HOST_VALUE_H

#include "host.h"

#include <lua.h>

#define HOST_VALUE "moonbook.host"

/* [-0, +0, -] The host of the value at `index`, NULL when it is none. */
struct host *host_value(lua_State *L, int index);

/* [-0, +1, m] */
void host_value_push(lua_State *L, struct host *host);

/* [-0, +0, v] The host of that name which the table at `index` describes as host{} does: an entry of hosts.lua. */
struct host *host_describe(lua_State *L, const char *name, int index);

#endif
