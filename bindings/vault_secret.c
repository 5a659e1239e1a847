/* A secret out of Vault: "ci/deploy#password", by its path as vault.read takes it. */
#include "api.h"

#include <string.h>

#define NAMES_TOLD 10

/* [-0, +1, v] What is at the path, as the operator's own client reads it: the table of its fields, or nil. False where
 * the token may not read it: the error is on the stack instead. */
static bool push_fields(lua_State *L, const char *path)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 16, "vault");
    api_default_client(L, &vault_product);
    lua_pushstring(L, path);
    if (!api_try(L, top + 1, api_find(&vault_product, "logical", "read"), 1, NULL)) {
        if (!failure_is(L, -1, "permission"))
            lua_error(L);
        lua_replace(L, top + 1);
        lua_settop(L, top + 1);
        return false;
    }
    lua_settop(L, top + 2);
    if (lua_istable(L, -1) && lua_getfield(L, -1, "data") == LUA_TTABLE) {
        /* Version 2 of the engine has the fields a level below, beside their metadata. */
        int data = lua_gettop(L);
        bool versioned = lua_getfield(L, data, "metadata") != LUA_TNIL;
        if (versioned && lua_getfield(L, data, "data") == LUA_TTABLE)
            lua_replace(L, data);
        lua_settop(L, data);
    } else {
        lua_settop(L, top);
        lua_pushnil(L);
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return true;
}

/* "secret/ci" -> "secret/data/ci": how version 2 of the engine has it, as `vault kv get` finds it by itself. */
static const char *push_versioned_path(lua_State *L, const char *path)
{
    const char *slash = strchr(path, '/');
    if (!slash)
        return NULL;
    lua_pushlstring(L, path, (size_t)(slash - path));
    return lua_pushfstring(L, "%s/data%s", lua_tostring(L, -1), slash);
}

/* [-0, +1, v] The fields at the path, or at that of version 2: whoever may read just that one is refused at the other. */
static void find_fields(lua_State *L, const char *path)
{
    bool allowed = push_fields(L, path);
    int first = lua_gettop(L);
    if (allowed && !lua_isnil(L, first))
        return;
    const char *versioned = push_versioned_path(L, path);
    bool versioned_allowed = versioned && push_fields(L, versioned);
    if (!allowed && !versioned_allowed)
        lua_pushvalue(L, first);
    if (!versioned_allowed && (versioned || !allowed))
        lua_error(L);
}

/* [-0, +0, v] The fields are on top. */
static void refuse_field(lua_State *L, const char *path, const char *field)
{
    struct buffer names = {0};
    struct failure failure;
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && count++ < NAMES_TOLD)
            buffer_format(&names, "%s%s", count > 1 ? ", " : "", lua_tostring(L, -2));
    failure_set(&failure, "not-found", "vault", "%s has no field \"%s\"", path, field);
    failure_hint(&failure, "it has %s", names.length ? names.bytes : "none at all");
    buffer_free(&names);
    failure_raise(L, &failure);
}

int vault_secret(lua_State *L)
{
    const char *where = luaL_checkstring(L, 1), *hash = strrchr(where, '#');
    lua_settop(L, 1);
    if (!hash || hash == where || !hash[1])
        return failure_advise(L, "usage", "vault", "write vault:secret/ci/deploy#password",
                              "\"%s\" is no path and field", where);
    /* Vault is the operator's own, whatever host the fiber acts on: its client is that of the environment. */
    lua_pushlstring(L, where, (size_t)(hash - where));
    const char *path = lua_tostring(L, 2);
    find_fields(L, path);
    if (!lua_istable(L, -1))
        return failure_advise(L, "not-found", "vault",
                              "vault.list(\"...\") shows what is there; the token may have to be another",
                              "there is nothing at %s", path);
    if (lua_getfield(L, -1, hash + 1) == LUA_TNIL) {
        lua_pop(L, 1);
        refuse_field(L, path, hash + 1);
    }
    return 1;
}
