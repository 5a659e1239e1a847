/* The unknown value: what a command or call that --check did not make would have returned.
 *
 * Whatever is done with it (index, call, compare, concatenate, print) gives another unknown or a placeholder, and
 * marks the rest of the fiber's step inexact: changes predicted after it carry exact=false. */
#ifndef MOONBOOK_UNKNOWN_H
#define MOONBOOK_UNKNOWN_H

#include <lua.h>
#include <stdbool.h>

void unknown_open(lua_State *L);

/* [-0, +1, m] */
void unknown_push(lua_State *L);

/* [-0, +0, -] */
bool unknown_is(lua_State *L, int index);

/* [-0, +0, -] A binding used one: what the fiber predicts from here on is inexact. */
void unknown_used(lua_State *L);

/* What stands for it where only text will do. */
#define UNKNOWN_TEXT "<unknown>"

#endif
