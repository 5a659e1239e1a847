/* The kinds of things that consul, nomad and vault make present and absent: one table a product. */
#ifndef MOONBOOK_KINDS_H
#define MOONBOOK_KINDS_H

#include "converge.h"

#include <lua.h>

extern const struct converge_kind consul_kinds[], nomad_kinds[], vault_kinds[];

/* The Lua functions; upvalue 1: the client, none = the default one. */
int consul_present(lua_State *L);
int consul_absent(lua_State *L);
int nomad_present(lua_State *L);
int nomad_absent(lua_State *L);
int vault_present(lua_State *L);
int vault_absent(lua_State *L);

/* [-0, +1|0, v] Of a key as kv.read_key gives it, at `entry`: JSON of its value as text and its flags. False, and
 * nothing pushed, where the value is no text. */
bool consul_push_key(lua_State *L, int entry);

#endif
