/* Which version a product's servers are: what the `needs` of a runbook is compared with. */
#include "api.h"

#include "version.h"

#include <stdio.h>
#include <string.h>

/* The lowest version that an answer tells. */
struct told {
    char text[96];
    struct version version;
    bool readable;
};

/* The text on top is a version: "1.8.7:" where Consul adds its revision. */
static void take_version(lua_State *L, struct told *told)
{
    struct told found = {0};
    if (lua_type(L, -1) != LUA_TSTRING)
        return;
    const char *text = lua_tostring(L, -1);
    snprintf(found.text, sizeof found.text, "%.*s", (int)strcspn(text, ":"), text);
    found.readable = version_parse(found.text, &found.version);
    bool lower = told->readable && found.readable && version_compare(&found.version, &told->version) < 0;
    if (found.text[0] && (!told->text[0] || lower))
        *told = found;
}

/* [-0, +0, m] Follows the path (api.h) into the value on top. */
static void follow(lua_State *L, const char *path, struct told *told)
{
    char word[API_WORD];
    size_t length = strcspn(path, ".");
    const char *rest = path + length + (path[length] == '.');
    if (!*path)
        take_version(L, told);
    if (!*path || !lua_istable(L, -1))
        return;
    luaL_checkstack(L, 4, "answer");
    snprintf(word, sizeof word, "%.*s", (int)length, path);
    char *equals = strchr(word, '=');
    if (strcmp(word, "*") == 0) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
            follow(L, rest, told);
        return;
    }
    if (equals)
        *equals++ = '\0';
    lua_pushstring(L, word);
    int type = lua_rawget(L, -2);
    bool fits = equals && type == LUA_TSTRING && strcmp(lua_tostring(L, -1), equals) == 0;
    if (!equals)
        follow(L, rest, told);
    lua_pop(L, 1);
    if (fits)
        follow(L, rest, told);
}

/* [-0, +(0|1), v] Asks one endpoint of the client at 1. False with the error where it is refused. */
static bool ask(lua_State *L, const struct api_product *product, const struct api_version *from,
                struct told *told)
{
    char path[API_WORD];
    if (!api_try(L, 1, api_find(product, from->group, from->name), 0, NULL))
        return false;
    lua_pop(L, 1);
    for (const char *paths = from->paths; !told->text[0] && api_next_path(&paths, path, sizeof path);)
        follow(L, path, told);
    lua_pop(L, 1);
    return true;
}

/* [-0, +1, v] "https://10.0.0.7:8200 (from VAULT_ADDR)" */
static void push_where(lua_State *L, const struct api_client *client)
{
    struct buffer where = {0};
    if (client->target.unix_socket)
        buffer_format(&where, "unix://%s", client->target.unix_socket);
    else
        transfer_show_url(client->base, &where);
    while (where.length && where.bytes[where.length - 1] == '/')
        where.bytes[--where.length] = '\0';
    if (strcmp(client->address_from, "the default") == 0)
        buffer_append_text(&where, " (the default)");
    else
        buffer_format(&where, " (from %s)", client->address_from);
    lua_pushstring(L, buffer_text(&where));
    buffer_free(&where);
}

int api_push_version(lua_State *L, const struct api_product *product)
{
    struct told told = {0};
    lua_settop(L, 0);
    const struct api_client *client = api_default_client(L, product);
    for (const struct api_version *from = product->versions; from->group && !told.text[0]; from++)
        ask(L, product, from, &told);
    if (!told.text[0] && lua_gettop(L) > 1) {
        lua_settop(L, 2); /* the first refusal */
        return lua_error(L);
    }
    if (!told.text[0])
        return failure_error(L, "failed", product->name, "no answer of %s names its version", product->title);
    lua_pushstring(L, told.text);
    push_where(L, client);
    return 2;
}
