/* Calls of an API: the rows by their Lua names, and the tables of functions that they become. */
#include "api.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* --- words and rows ------------------------------------------------------------------------------------------- */

/* Copies the list up to the next comma and moves it on behind that. 0 at its end. */
static size_t next_item(const char **list, char *item, size_t size)
{
    const char *comma = strchrnul(*list, ',');
    size_t length = (size_t)(comma - *list), kept = length < size ? length : size - 1;
    memcpy(item, *list, kept);
    item[kept] = '\0';
    *list = comma + (length > 0 && *comma == ',');
    return kept;
}

bool api_next_word(const char **list, char *word, size_t size, bool *needed)
{
    size_t length = next_item(list, word, size);
    if (length == 0)
        return false;
    bool star = word[length - 1] == '*' || word[length - 1] == '!';
    if (star)
        word[length - 1] = '\0';
    if (needed)
        *needed = star;
    return true;
}

bool api_next_path(const char **list, char *path, size_t size)
{
    return next_item(list, path, size) > 0;
}

bool api_has_word(const char *list, const char *word)
{
    char each[API_WORD];
    while (api_next_word(&list, each, sizeof each, NULL))
        if (strcmp(each, word) == 0)
            return true;
    return false;
}

void api_lua_name(const char *name, char *out, size_t size)
{
    if (out != name)
        snprintf(out, size, "%s", name);
    for (; *out; out++)
        if (*out == '-')
            *out = '_';
}

static bool same_name(const char *api, const char *lua)
{
    for (; *api && (*api == *lua || (*api == '-' && *lua == '_')); api++)
        lua++;
    return !*api && !*lua;
}

const struct api_row *api_find(const struct api_product *product, const char *group, const char *name)
{
    for (const struct api_row *row = product->rows; row->group; row++)
        if (same_name(row->group, group) && (!name || same_name(row->name, name)))
            return row;
    return NULL;
}

const char *api_permission_of(const struct api_product *product, const struct api_row *row)
{
    const struct api_permission *each = product->permissions;
    for (; each && each->group; each++)
        if (strcmp(each->group, row->group) == 0 && (!each->name || strcmp(each->name, row->name) == 0))
            return each->resource;
    return "";
}

/* --- the module -------------------------------------------------------------------------------------------------- */

/* [-0, +1, m] Pushes the function of a row. Upvalues of the caller: product, client or nil. */
static void push_function(lua_State *L, const struct api_product *product, const struct api_row *row)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)product);
    lua_pushlightuserdata(L, (void *)(uintptr_t)row);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushcclosure(L, api_call, 3);
}

/* Is the row's group `group`, or one below it ("auth/token" in "auth")? */
static bool is_in_group(const struct api_row *row, const char *group, bool *below)
{
    char name[API_WORD];
    size_t length = strlen(group);
    api_lua_name(row->group, name, sizeof name);
    *below = strncmp(name, group, length) == 0 && name[length] == '/';
    return *below || strcmp(name, group) == 0;
}

static int index_group(lua_State *L);

/* [-0, +1, m] Pushes the table of a group, or nothing and returns false where there is none. */
static bool push_group(lua_State *L, const struct api_product *product, const char *group)
{
    int top = lua_gettop(L);
    bool has_below = false;
    for (const struct api_row *row = product->rows; row->group; row++) {
        char name[API_WORD];
        bool below;
        if (!is_in_group(row, group, &below))
            continue;
        if (lua_gettop(L) == top)
            lua_newtable(L);
        has_below = has_below || below;
        if (below)
            continue;
        api_lua_name(row->name, name, sizeof name);
        push_function(L, product, row);
        lua_setfield(L, -2, name);
    }
    if (has_below) { /* groups below are found as those at the top are */
        lua_createtable(L, 0, 1);
        lua_pushlightuserdata(L, (void *)(uintptr_t)product);
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_pushfstring(L, "%s/", group);
        lua_pushcclosure(L, index_group, 3);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, -2);
    }
    return lua_gettop(L) > top;
}

/* product.GROUP, the first time: a table of functions. Upvalues: product, client or nil, the groups that it is below. */
static int index_group(lua_State *L)
{
    const struct api_product *product = lua_touserdata(L, lua_upvalueindex(1));
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *above = lua_tostring(L, lua_upvalueindex(3));
    const char *name = lua_tostring(L, 2);
    const struct api_row *row = product->top && !*above ? api_find(product, product->top, name) : NULL;
    if (row)
        push_function(L, product, row);
    else if (!push_group(L, product, lua_pushfstring(L, "%s%s", above, name)))
        return 0;
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

/* [-1, +0, m] Makes the table below the client on top (nil: the default one) answer with groups. */
static void attach_groups(lua_State *L, const struct api_product *product)
{
    int table = lua_absindex(L, -2);
    if (!lua_getmetatable(L, table)) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, -1);
        lua_setmetatable(L, table);
    }
    lua_pushlightuserdata(L, (void *)(uintptr_t)product);
    lua_pushvalue(L, -3);
    lua_pushliteral(L, "");
    lua_pushcclosure(L, index_group, 3);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
}

void api_open_module(lua_State *L, const struct api_product *product)
{
    lua_pushnil(L);
    attach_groups(L, product);
}

/* [-0, +0, m] A convergent function of the client on top, in the table below it. */
static void attach_function(lua_State *L, const char *name, lua_CFunction function)
{
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -3, name);
}

int api_call_module(lua_State *L, const struct api_product *product)
{
    lua_settop(L, 2); /* the module and its argument */
    lua_newtable(L);
    api_client_new(L, product, 2);
    attach_function(L, "present", product->present);
    attach_function(L, "absent", product->absent);
    attach_groups(L, product);
    return 1;
}
