/* The overlay: what earlier steps would have done, so that later reads under --check see it.
 *
 * A store by host, kind ("file", "unit", "package", "user", ...) and name; the values are Lua values, their meaning
 * belongs to the binding of that kind. Empty and never written to outside --check. */
#ifndef MOONBOOK_OVERLAY_H
#define MOONBOOK_OVERLAY_H

#include "host.h"

#include <lua.h>
#include <stdbool.h>

/* [-1, +0, m] Predicts: the value on top of the stack is what `kind` `name` on `host` would be. Without --check
 * it is a programming error (asserted). */
void overlay_put(lua_State *L, struct host *host, const char *kind, const char *name);

/* [-0, +(0|1), -] True and the value pushed where something was predicted; false and nothing pushed otherwise. */
bool overlay_get(lua_State *L, struct host *host, const char *kind, const char *name);

/* Called with a prediction's value on top of the stack, which it leaves as it found it; true ends the walk. It may predict
 * something else under that name. */
typedef bool overlay_visit(lua_State *L, const char *name, void *context);

/* [-0, +0, e] Shows every prediction of a kind, in no order. True when `visit` ended the walk. */
bool overlay_each(lua_State *L, struct host *host, const char *kind, overlay_visit *visit, void *context);

/* [-0, +1, -] The table name -> value of a kind, or nil: for "does any predicted package bring this unit". */
void overlay_all(lua_State *L, struct host *host, const char *kind);

#endif
