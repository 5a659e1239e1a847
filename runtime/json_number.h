/* Integers of JSON that are beyond Lua's range (json.h): Consul's KV flags are unsigned 64-bit numbers. */
#ifndef MOONBOOK_JSON_NUMBER_H
#define MOONBOOK_JSON_NUMBER_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* [-0, +0, m] Makes the metatable; once for each state. */
void json_number_open(lua_State *L);

/* [-0, +1, m] Pushes the integer with these digits. */
void json_number_push(lua_State *L, const char *digits, size_t length);

/* The digits of the value at `index`, or NULL where it is no such number. */
const char *json_number_digits(lua_State *L, int index);

#endif
