/* Secret values in Lua: opaque, print as <secret>, stay secret when concatenated, opened only by C at the place of use. */
#ifndef MOONBOOK_SECRET_H
#define MOONBOOK_SECRET_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

void secret_open(lua_State *L);

/* [-0, +1, v] Pushes a secret; the redactor learns it. Raises "invalid" when it is shorter than SECRET_MINIMUM.
 * `where` says in errors and in show() where it came from, never what it is: "pass:alice/consul". */
void secret_push(lua_State *L, const char *bytes, size_t length, const char *where);

/* [-0, +1, m] The same for what a server answered: it may be too short for the redactor to know it. */
void secret_push_any(lua_State *L, const char *bytes, size_t length, const char *where);

/* [-0, +1, m] A text that holds secrets, as joining makes it: the redactor knows them, and not what is around them. */
void secret_push_joined(lua_State *L, const char *bytes, size_t length, const char *where);

/* [-0, +0, -] Is it a secret? */
bool secret_is(lua_State *L, int index);

/* [-0, +0, -] The bytes of the secret at `index`, NULL when it is none; valid while the value lives. Whoever
 * calls this hands them to exactly one place: a header, a file, a standard input. */
const char *secret_bytes(lua_State *L, int index, size_t *length);

/* [-0, +0, v] Text or secret at `index`; raises "usage" for another type. `is_secret` may be NULL. */
const char *secret_or_text(lua_State *L, int index, const char *op, size_t *length, bool *is_secret);

#endif
