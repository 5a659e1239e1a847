/* The secrets in an answer: fields that a table names become secret values before Lua sees them. */
#include "api.h"

#include "secret.h"

#include <string.h>

/* [-1, +1, v] All texts and numbers in the value on top. What is empty has nothing to hide. */
static void hide_all(lua_State *L, const char *where)
{
    luaL_checkstack(L, 6, "answer");
    if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2);) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            hide_all(L, where);
            lua_rawset(L, -4); /* a field that is there: the traversal goes on */
        }
        return;
    }
    size_t length = 0;
    int type = lua_type(L, -1);
    const char *text = type == LUA_TSTRING || type == LUA_TNUMBER ? lua_tolstring(L, -1, &length) : NULL;
    if (length == 0)
        return;
    secret_push_any(L, text, length, where);
    lua_remove(L, -2);
}

/* [-1, +1, v] The keys of the object on top. */
static void hide_keys(lua_State *L, const char *where)
{
    if (!lua_istable(L, -1))
        return;
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, -3);) {
        lua_pushvalue(L, -2);
        hide_all(L, where);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

static void hide_path(lua_State *L, const char *path, const char *where);

/* [-0, +0, v] Each element of the table on top. */
static void hide_elements(lua_State *L, const char *rest, const char *where)
{
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        hide_path(L, rest, where);
        lua_rawset(L, -4);
    }
}

/* [-1, +1, v] What the path names in the value on top. */
static void hide_path(lua_State *L, const char *path, const char *where)
{
    luaL_checkstack(L, 6, "answer");
    size_t length = strcspn(path, ".");
    const char *rest = path + length + (path[length] == '.');
    if (!*path || (strcmp(path, "*") == 0 && !lua_istable(L, -1)))
        hide_all(L, where);
    else if (strcmp(path, "#") == 0)
        hide_keys(L, where);
    else if (!lua_istable(L, -1))
        return;
    else if (length == 1 && *path == '*')
        hide_elements(L, rest, where);
    else {
        lua_pushlstring(L, path, length);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL) {
            hide_path(L, rest, where);
            lua_rawset(L, -3);
        } else
            lua_pop(L, 2);
    }
}

void api_hide(lua_State *L, const char *list, const char *where)
{
    char path[API_WORD];
    while (list && api_next_path(&list, path, sizeof path))
        hide_path(L, path, where);
}
