/* Runbooks: where they are looked for, whether they may be trusted, what their header says. */
#ifndef MOONBOOK_RUNBOOK_H
#define MOONBOOK_RUNBOOK_H

#include "buffer.h"
#include "failure.h"
#include "param.h"
#include "runtime.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* A folder of the search path. */
struct runbook_place {
    char *folder;
    const char *origin; /* "MOONBOOK_PATH", "here", "own", "site", "shipped" */
};

struct runbook_places {
    struct runbook_place items[64];
    size_t count;
};

/* $MOONBOOK_PATH, ./scripts, $XDG_CONFIG_HOME/moonbook/scripts, /etc/moonbook/scripts, the installed ones. */
void runbook_places(struct runtime *runtime, struct runbook_places *places);
void runbook_places_free(struct runbook_places *places);

/* The folder of the operator's own runbooks, where `edit` puts copies. */
void runbook_own_folder(struct buffer *path);

struct runbook {
    char *name; /* "setup/join-client" */
    char *path;
    const char *origin; /* of its place; "file" when given as a path */
};
void runbook_free(struct runbook *runbook);

/* Finds a runbook by name ("setup/join-client") or by path ("./x.lua"). "not-found" offers near names; "permission"
 * says who else could have changed it. */
bool runbook_find(struct runtime *runtime, const char *name, struct runbook *runbook,
                  struct failure *failure);

/* All runbooks of all places, each name in the order of the places: the first wins. The caller frees each and the array. */
struct runbook *runbook_list(struct runtime *runtime, size_t *count);

/* [-0, +1, v] Compiles the file: pushes the function that runbook_load takes. `require` finds modules in its folder and in lib/
 * of the places from now on. */
void runbook_compile(lua_State *L, const struct runbook *runbook);

/* [-1, +1, v] Calls what runbook_compile pushed (no effect but its own local work), anew for each host so that none sees another's
 * locals, and checks the header; pushes its table. Raises "usage" with the field that is wrong. */
void runbook_load(lua_State *L, const struct runbook *runbook);

/* [-0, +1, v] The header's table for list and show: the file runs apart from everything, in an environment whose modules
 * are inert, so that looking at what there is cannot do anything. Raises as runbook_load. */
void runbook_describe(lua_State *L, const struct runbook *runbook);

/* [-0, +1, m] An environment for files that only say something: Lua's functions that compute; everything else gives itself. */
void runbook_push_inert_environment(lua_State *L);

/* [-0, +0, m] Sets where `require` looks for a file's modules, as runbook_load does. */
void runbook_search(lua_State *L, const struct runbook *runbook);

/* May this file decide what is done? It and every folder from `top` down belong to the caller or root and nobody else may
 * write to them. */
bool runbook_trusted(const char *top, const char *path, struct failure *failure);

/* [-0, +0, v] The form of `needs` = { PRODUCT = "CONSTRAINT" } in the header at `index`: "usage" names the field, the value
 * and what would be right. No server is asked. */
void runbook_check_needs(lua_State *L, int index, const char *name);

/* [-0, +0, v] Asks the servers that the header at `index` needs for their versions. Raises "usage" where one does not fit,
 * else what kept it from being asked. */
void runbook_meet_needs(lua_State *L, int index, const char *name);

/* One `--set NAME=VALUE`. */
struct runbook_setting {
    char *name;
    char *value;
};

/* [-0, +1, v] The parameters of the runbook table at `index` as far as they are the same on every host: settings, then the table
 * at `vars` (0 = none), then defaults that are values. Raises "usage" naming the parameter, the value and what would be
 * right. */
void runbook_given_parameters(lua_State *L, int index, const struct runbook_setting *settings, size_t count,
                              int vars);

/* [-0, +1, v] A copy of those at `given`, completed by the defaults that are functions, called on the fiber's host. */
void runbook_parameters(lua_State *L, int index, int given);

/* [-0, +0, v] Calls the header's `validate` with the parameters: what it raises is "usage". For what the types cannot say, as
 * that two parameters exclude each other. */
void runbook_validate(lua_State *L, int index, int parameters);

/* [-0, +1, v] The same table with secrets shown as "<secret>", as JSON text. */
void runbook_shown_parameters(lua_State *L, int parameters);

#endif
