/* hosts.lua: the operator's own list of hosts and groups. Loading it has no effect: it runs apart from every module.
 *
 *     return {
 *       hosts  = { builder07 = { address = "10.0.3.7", user = "root", sudo = "pass:ops/sudo" } },
 *       groups = { builders = "builder[01-40]", all = { "@builders", "srv[1-3]" } },
 *     }
 */
#include "inventory.h"
#include "runbook.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char registry_key;

/* Appends the path of the file that holds; nothing where there is none. */
static void find_file(struct buffer *path)
{
    struct buffer own = {0};
    const char *named = getenv("MOONBOOK_HOSTS");
    runbook_own_folder(&own); /* .../moonbook/scripts */
    buffer_append_text(&own, "/../hosts.lua");
    const char *const places[] = {named && *named ? named : NULL, "hosts.lua", buffer_text(&own),
                                  "/etc/moonbook/hosts.lua"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !path->length; i++)
        if (places[i] && (i == 0 || access(places[i], F_OK) == 0))
            buffer_append_text(path, places[i]);
    buffer_free(&own);
}

static void check_trust(lua_State *L, const char *path)
{
    struct failure failure;
    char real[PATH_MAX], folder[PATH_MAX];
    if (!realpath(path, real))
        failure_error(L, "usage", "hosts.lua", "%s cannot be read: %s", path, strerror(errno));
    memcpy(folder, real, sizeof folder);
    *strrchr(folder, '/') = '\0';
    if (!runbook_trusted(*folder ? folder : "/", real, &failure)) {
        strcpy(failure.op, "hosts.lua");
        failure_raise(L, &failure);
    }
}

/* [-0, +0, v] The table on top has these fields alone, tables. */
static void check_fields(lua_State *L, const char *path)
{
    static const char right[] =
        "it returns { hosts = { NAME = { address = ... } }, groups = { NAME = \"c[1-3]\" } }";
    if (!lua_istable(L, -1))
        failure_advise(L, "usage", "hosts.lua", right, "%s returned %s", path, luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "a number";
        if (strcmp(name, "hosts") != 0 && strcmp(name, "groups") != 0)
            failure_advise(L, "usage", "hosts.lua", right, "%s has a field \"%s\" that is not known", path,
                           name);
        if (!lua_istable(L, -1))
            failure_advise(L, "usage", "hosts.lua", right, "%s: %s is %s", path, name, luaL_typename(L, -1));
    }
}

/* [-0, +1, v] */
static void load(lua_State *L)
{
    struct buffer path = {0};
    find_file(&path);
    if (!path.length) {
        lua_newtable(L);
        return;
    }
    const char *name = lua_pushstring(L, path.bytes);
    buffer_free(&path);
    check_trust(L, name);
    if (luaL_loadfilex(L, name, "t") != LUA_OK)
        failure_error(L, "usage", "hosts.lua", "%s", lua_tostring(L, -1));
    runbook_push_inert_environment(L);
    lua_setupvalue(L, -2, 1);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        if (failure_is(L, -1, "cancelled"))
            lua_error(L);
        failure_error(L, "usage", "hosts.lua", "%s", luaL_tolstring(L, -1, NULL));
    }
    check_fields(L, name);
    lua_remove(L, -2);
}

void inventory_file_push(lua_State *L, const char *field)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        load(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
    }
    lua_getfield(L, -1, field);
    lua_remove(L, -2);
}
