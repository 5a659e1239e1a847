/* Completion of values that exist: what bindings.c gives to the runtime. */
#ifndef MOONBOOK_LIVE_VALUES_H
#define MOONBOOK_LIVE_VALUES_H

#include <lua.h>

/* [-5, +0, v] The call, the number of the argument, the option or nil, what is typed of it, and the list that texts are appended
 * to; runtime.h says more. */
int live_values(lua_State *L);

#endif
