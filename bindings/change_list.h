/* What a state word about several things returns: packages, units. */
#ifndef MOONBOOK_CHANGE_LIST_H
#define MOONBOOK_CHANGE_LIST_H

#include "change.h"
#include "scratch.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* [-0, +1, m] {changed=, before=, after=}: of one change its states, of more {TARGET=state, ...}. */
int change_list_push_result(lua_State *L, struct scratch *scratch, const struct change *const *changes,
                            size_t count, bool changed);

#endif
