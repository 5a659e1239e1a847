/* Several fibers in the hands of one: whatever ends the call that started them, none of them outlives it. */
#ifndef MOONBOOK_GROUP_H
#define MOONBOOK_GROUP_H

#include "fiber.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct group;

#define GROUP_NONE ((size_t)-1)

/* [-0, +1, m] A group of at most `count` members, left on the stack as a to-be-closed value of the C function that calls:
 * closing it cancels the members that still run and waits for their end. */
struct group *group_push(lua_State *L, size_t count);

/* [-(nargs + 1), +0, m] The function and its arguments on top become the next member: its number, from 0. */
size_t group_start(lua_State *L, struct group *group, int nargs);

/* How many were started, and how many of them are not joined. */
size_t group_started(const struct group *group);
size_t group_running(const struct group *group);

/* The number of a member that ended and is not joined yet; GROUP_NONE where there is none. */
size_t group_ended(const struct group *group);

/* Cancels every member that still runs. */
void group_cancel(struct group *group);

/* A member that is not joined; GROUP_NONE where all are. */
size_t group_left(const struct group *group);

/* [-0, +n, -] Waits for the member's end and releases it, as fiber_join. */
bool group_join(lua_State *L, struct group *group, size_t number, int *results);

#endif
