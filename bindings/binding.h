/* How a Lua module is declared: const tables of functions with their documentation, read by the loader today and
 * by help, completion and the manual. One file a module; each exports one `const struct binding_module`. */
#ifndef MOONBOOK_BINDING_H
#define MOONBOOK_BINDING_H

#include "failure.h"
#include "host.h"
#include "nearest.h"
#include "runtime.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct binding_function {
    const char *name; /* "present"; "" = calling the module itself */
    lua_CFunction call;
    const char *usage;   /* "file.present{path, content=|source=, mode=} -> {changed=, before=, after=}" */
    const char *about;   /* what it does, units, what it raises, where it is specified */
    const char *example; /* Lua that runs as a test, or NULL where it needs a cluster */
};

struct api_product;

struct binding_module {
    const char *name; /* the global's name */
    const char *about;
    const struct binding_function *functions; /* ends with a NULL name */
    void (*open)(lua_State *L);    /* [-0, +0, m] more set-up, the module's table on top; or NULL */
    const struct api_product *api; /* the endpoints that are functions of it too (api.h), or NULL */
};

/* [-0, +0, v] Options tables. `op` is the Lua name for messages.
 * argument_table: the value at `index` is a table whose string keys are all in `names` (NULL-terminated);
 * an unknown one raises "usage" and offers the nearest. The table at `index` is replaced by a copy, with copies of the
 * tables in it: while the call waits, another fiber may change the caller's, and strings that C holds would go. */
void argument_table(lua_State *L, int index, const char *op, const char *const *names);

/* The positional argument [1] of the table as a string ("what it is about first"); raises when it is missing or empty. */
const char *argument_subject(lua_State *L, int index, const char *op, const char *what);

/* Named fields; the fallback where nil. The pointers live as long as that copy stays on the stack. Raise "usage" on a wrong type. */
const char *argument_string(lua_State *L, int index, const char *op, const char *name, const char *fallback);
bool argument_boolean(lua_State *L, int index, const char *op, const char *name, bool fallback);
int64_t argument_integer(lua_State *L, int index, const char *op, const char *name, int64_t fallback);

/* A duration field: number of seconds or text ("5s"); in milliseconds. */
int64_t argument_duration(lua_State *L, int index, const char *op, const char *name, int64_t fallback_ms);

/* A mode field: "0640" or "640" (text is octal), or a Lua number, which is taken as it is (0x1A0); -1 where nil. */
int argument_mode(lua_State *L, int index, const char *op, const char *name);

/* An array of strings field: a NULL-terminated vector pushed as a userdata on the stack [-0, +1, v]; NULL and nil
 * pushed where the field is nil; a single string is an array of one. */
const char **argument_list(lua_State *L, int index, const char *op, const char *name);

#endif
