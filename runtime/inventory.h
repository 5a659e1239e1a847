/* The inventory: which hosts a word of the operator stands for.
 *
 * A list of terms, commas between: a name, user@host:port, a range builder[01-40], @GROUP of hosts.lua, and what the cluster
 * itself knows: consul:SERVICE, nomad:class=builder,status=ready (its sources are registered by bindings). */
#ifndef MOONBOOK_INVENTORY_H
#define MOONBOOK_INVENTORY_H

#include "host.h"

#include <lua.h>
#include <stddef.h>

/* Somewhere that hosts are known: what a binding registers. */
struct inventory_source {
    const char *name; /* "consul": the term is consul:WHAT */
    const char *what; /* "SERVICE", for messages and help */
    lua_CFunction
        list; /* [-1, +1, v] WHAT, a string -> a list of {name=, address=}; raises where it makes no sense */
};

/* [-0, +1, v] Pushes a list of light userdata, struct host each: those that `on` stands for without those of `except` (NULL: none),
 * each once, in order. Raises "usage" where a term is wrong or nothing is left. */
void inventory_push(lua_State *L, const char *on, const char *except);

/* The host of a name: "local", as hosts.lua describes it, else as ssh would reach it. `fallback`: an address for where nobody
 * knows the name, or NULL. [-0, +0, v] */
struct host *inventory_host(lua_State *L, const char *name, const char *fallback);

/* [-0, +1, v] hosts.lua's `field` ("hosts", "groups"), a table; nil where there is no such file or field. Looked for in
 * $MOONBOOK_HOSTS, ./hosts.lua, $XDG_CONFIG_HOME/moonbook/hosts.lua, /etc/moonbook/hosts.lua: the first one holds. */
void inventory_file_push(lua_State *L, const char *field);

#endif
