/* The reference of all that Lua is given, as tables. */
#ifndef MOONBOOK_REFERENCE_H
#define MOONBOOK_REFERENCE_H

#include <lua.h>

/* [-0, +1, m] A list of {kind=, name=, ...}: a "module" {about=}, then its "function"s {usage=, about=, example=}, the
 * "thing"s that its present and absent know {usage=, about=} and its
 * "endpoint"s {product=, group=, usage=, method=, path=, query=, body=, returns=, effect=, since=, doc=, ...}. */
int reference_push(lua_State *L);

#endif
