/* Groups of fibers: a userdata with a __close that ends whoever still runs. */
#include "group.h"

#include "buffer.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

struct group {
    struct fiber **fibers; /* NULL once joined */
    size_t count, started, joined;
};

static int group_gc(lua_State *L)
{
    struct group *group = lua_touserdata(L, 1);
    free(group->fibers);
    group->fibers = NULL;
    return 0;
}

void group_cancel(struct group *group)
{
    for (size_t i = 0; i < group->started; i++)
        if (group->fibers[i] && !fiber_ended(group->fibers[i]))
            fiber_cancel(group->fibers[i]);
}

static int group_close(lua_State *L)
{
    struct group *group = lua_touserdata(L, 1);
    group_cancel(group);
    for (size_t i; (i = group_left(group)) != GROUP_NONE; lua_settop(L, 1))
        group_join(L, group, i, NULL);
    return 0;
}

struct group *group_push(lua_State *L, size_t count)
{
    struct group *group = lua_newuserdatauv(L, sizeof *group, 0);
    memset(group, 0, sizeof *group);
    if (luaL_newmetatable(L, "moonbook.group")) {
        lua_pushcfunction(L, group_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, group_close);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    group->fibers = allocate_zeroed(count, sizeof *group->fibers);
    group->count = count;
    lua_toclose(L, -1);
    return group;
}

size_t group_start(lua_State *L, struct group *group, int nargs)
{
    size_t number = group->started;
    group->fibers[number] = fiber_start(L, nargs);
    group->started++;
    fiber_watch(group->fibers[number]);
    return number;
}

size_t group_started(const struct group *group)
{
    return group->started;
}

size_t group_running(const struct group *group)
{
    return group->started - group->joined;
}

size_t group_ended(const struct group *group)
{
    for (size_t i = 0; i < group->started; i++)
        if (group->fibers[i] && fiber_ended(group->fibers[i]))
            return i;
    return GROUP_NONE;
}

size_t group_left(const struct group *group)
{
    for (size_t i = 0; i < group->started; i++)
        if (group->fibers[i])
            return i;
    return GROUP_NONE;
}

bool group_join(lua_State *L, struct group *group, size_t number, int *results)
{
    struct fiber *fiber = group->fibers[number];
    group->fibers[number] = NULL;
    group->joined++;
    return fiber_join(L, fiber, results);
}
