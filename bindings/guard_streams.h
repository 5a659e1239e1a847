/* Lua's own files, where they are the program's standard ones. */
#ifndef MOONBOOK_GUARD_STREAMS_H
#define MOONBOOK_GUARD_STREAMS_H

#include <lua.h>

/* [-0, +0, m] Replaces what reads and writes of `io` and of its files. */
void guard_open_streams(lua_State *L);

#endif
