/* What consul.present and consul.absent know: how each kind of thing is read, written and removed.
 *
 * Only endpoints that Consul 1.7 and later have. ACL objects are looked for in their lists: 1.8 answers 403 "ACL not
 * found" both for an object that is not there and for a token that is not. */
#include "kinds.h"

#include "converge.h"
#include "secret.h"
#include "unknown.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* --- kv ---------------------------------------------------------------------------------------------------------------- */

/* [-1, +1, v] Of the base64 text on top: its bytes; of null: no bytes. */
static void decode_value(lua_State *L, const char *op)
{
    size_t length;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    if (!text || length == 0) {
        lua_pushliteral(L, "");
        lua_replace(L, -2);
        return;
    }
    luaL_Buffer bytes;
    unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &bytes, length);
    int decoded = EVP_DecodeBlock(out, (const unsigned char *)text, (int)length);
    int padding = (text[length - 1] == '=') + (length > 1 && text[length - 2] == '=');
    if (decoded < padding)
        failure_error(L, "invalid", op, "the value that the server gives is not base64");
    luaL_pushresultsize(&bytes, (size_t)(decoded - padding));
    lua_replace(L, -2);
}

/* [-0, +1, v] {Value=, Flags=} of an entry of kv.read_key. */
static void push_key(lua_State *L, int entry, const char *op)
{
    lua_createtable(L, 0, 2);
    lua_getfield(L, entry, "Value");
    decode_value(L, op);
    lua_setfield(L, -2, "Value");
    lua_getfield(L, entry, "Flags");
    lua_setfield(L, -2, "Flags");
}

bool consul_push_key(lua_State *L, int entry)
{
    push_key(L, entry, "consul.kv");
    bool text = !fields_has_unwritable(L, -1);
    if (text)
        fields_push_shown(L, NULL, -1);
    lua_remove(L, text ? -2 : -1);
    return text;
}

static void look_at_key(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    converge_call(c, "kv", "read_key", 1);
    lua_pop(L, 1);
    if (!lua_istable(L, -1))
        return;
    lua_rawgeti(L, -1, 1);
    int entry = lua_gettop(L);
    c->index = converge_integer(L, entry, "ModifyIndex");
    push_key(L, entry, c->op);
}

static void write_key(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    lua_createtable(L, 0, 3);
    if (lua_getfield(L, c->sent, "Value") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    }
    lua_setfield(L, -2, "body");
    lua_getfield(L, c->sent, "Flags");
    if (fields_is_nothing(L, -1))
        lua_pop(L, 1);
    else
        lua_setfield(L, -2, "flags");
    lua_pushinteger(L, c->index);
    lua_setfield(L, -2, "cas");
    converge_swap(c, "kv", "put_key", 2);
}

static void remove_key(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, c->index);
    lua_setfield(L, -2, "cas");
    converge_swap(c, "kv", "delete_key", 2);
}

/* [-1, +1, m] As kv.read_key answers: a list of one, the value in base64. */
static void answer_key(struct convergence *c)
{
    lua_State *L = c->L;
    size_t length = 0;
    int object = lua_gettop(L);
    lua_getfield(L, object, "Value");
    const char *value = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    if (!value) { /* a secret, or not known yet: nobody may say */
        lua_pushboolean(L, true);
        lua_replace(L, object);
        lua_settop(L, object);
        return;
    }
    luaL_Buffer text;
    char *out = luaL_buffinitsize(L, &text, length / 3 * 4 + 5);
    luaL_pushresultsize(
        &text, (size_t)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)value, (int)length));
    lua_setfield(L, object, "Value");
    lua_settop(L, object);
    lua_pushstring(L, c->name);
    lua_setfield(L, object, "Key");
    lua_createtable(L, 1, 0);
    json_mark_array(L, -1);
    lua_insert(L, object);
    lua_rawseti(L, object, 1);
}

static void check_key(struct convergence *c)
{
    lua_State *L = c->L;
    if (!c->wanted)
        return;
    for (lua_pushnil(L); lua_next(L, c->wanted); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "Value") != 0 && strcmp(name, "Flags") != 0)
            converge_refuse(c, "a text, or {Value = text, Flags = number}", "\"%s\" is no field of a key",
                            name);
    }
    lua_getfield(L, c->wanted, "Value");
    bool text = lua_type(L, -1) == LUA_TSTRING || secret_is(L, -1) || unknown_is(L, -1);
    if (!text && !fields_is_nothing(L, -1))
        converge_refuse(c, "tostring(...) or json.encode(...) makes one",
                        "the value of a key is a text, not %s", luaL_typename(L, -1));
    lua_pop(L, 1);
}

/* --- things of a list, told apart by name ------------------------------------------------------------------------------------ */

/* [-0, +1, v] The entry of the list that has the name, or nil; notes its ID. */
static void pick_by_name(struct convergence *c, const char *group, const char *list)
{
    converge_call(c, group, list, 0);
    c->listed = true;
    lua_pop(c->L, 1);
    converge_pick(c->L, "Name", c->name);
    if (lua_istable(c->L, -1))
        converge_text(c->L, lua_gettop(c->L), "ID", c->id, sizeof c->id);
}

/* [-1, +1, v] Of the entry on top, or nil: what the endpoint says of it in full. */
static void read_by_id(struct convergence *c, const char *name, const char *id)
{
    if (!lua_istable(c->L, -1))
        return;
    lua_pop(c->L, 1);
    lua_pushstring(c->L, id);
    converge_call(c, "acl", name, 1);
    c->listed = false;
    lua_pop(c->L, 1);
}

/* [-0, +0, v] Creates it, or updates the one that there is. */
static void put(struct convergence *c, const char *group, const char *create, const char *update,
                const char *id)
{
    bool there = !fields_is_nothing(c->L, c->found);
    if (there)
        lua_pushstring(c->L, id);
    lua_pushvalue(c->L, c->sent);
    if (*c->name && strcmp(group, "connect") != 0) {
        lua_pushstring(c->L, c->name);
        lua_setfield(c->L, -2, "Name");
    }
    converge_call(c, group, there ? update : create, there ? 2 : 1);
}

static void remove_by_id(struct convergence *c, const char *group, const char *name, const char *id)
{
    lua_pushstring(c->L, id);
    converge_call(c, group, name, 1);
}

static void look_at_policy(struct convergence *c)
{
    pick_by_name(c, "acl", "list_acl_policies");
    read_by_id(c, "read_acl_policy", c->id);
}

static void write_policy(struct convergence *c)
{
    put(c, "acl", "create_acl_policy", "update_acl_policy", c->id);
}

static void remove_policy(struct convergence *c)
{
    remove_by_id(c, "acl", "delete_acl_policy", c->id);
}

static void look_at_role(struct convergence *c)
{
    pick_by_name(c, "acl", "list_acl_roles");
    read_by_id(c, "read_acl_role", c->id);
}

static void write_role(struct convergence *c)
{
    put(c, "acl", "create_acl_role", "update_acl_role", c->id);
}

static void remove_role(struct convergence *c)
{
    remove_by_id(c, "acl", "delete_acl_role", c->id);
}

static void look_at_auth_method(struct convergence *c)
{
    pick_by_name(c, "acl", "list_auth_methods");
    read_by_id(c, "read_auth_method", c->name);
}

static void write_auth_method(struct convergence *c)
{
    put(c, "acl", "create_auth_method", "update_auth_method", c->name);
}

static void remove_auth_method(struct convergence *c)
{
    remove_by_id(c, "acl", "delete_auth_method", c->name);
}

static void look_at_query(struct convergence *c)
{
    pick_by_name(c, "query", "list_prepared_queries");
}

static void write_query(struct convergence *c)
{
    put(c, "query", "create_prepared_query", "update_prepared_query", c->id);
}

static void remove_query(struct convergence *c)
{
    remove_by_id(c, "query", "delete_prepared_query", c->id);
}

/* --- ACL tokens: by accessor --------------------------------------------------------------------------------------------------- */

static void look_at_token(struct convergence *c)
{
    lua_State *L = c->L;
    converge_call(c, "acl", "list_acl_tokens", 0);
    c->listed = true;
    lua_pop(L, 1);
    converge_pick(L, "AccessorID", c->name);
    read_by_id(c, "read_acl_token", c->name);
}

static void write_token(struct convergence *c)
{
    lua_State *L = c->L;
    bool there = !fields_is_nothing(L, c->found);
    if (there)
        lua_pushstring(L, c->name);
    lua_pushvalue(L, c->sent);
    lua_pushstring(L, c->name);
    lua_setfield(L, -2, "AccessorID");
    converge_call(c, "acl", there ? "update_acl_token" : "create_acl_token", there ? 2 : 1);
}

static void remove_token(struct convergence *c)
{
    remove_by_id(c, "acl", "delete_acl_token", c->name);
}

static void check_token(struct convergence *c)
{
    size_t length = strlen(c->name);
    if (length != 36 || strspn(c->name, "0123456789abcdefABCDEF-") != length)
        converge_refuse(c, "choose an accessor once, uuidgen makes one, and keep it in the runbook",
                        "a token is told apart by its AccessorID, a UUID; its name says nothing");
}

/* --- services of this agent ------------------------------------------------------------------------------------------------------ */

static void look_at_service(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushstring(L, c->name);
    converge_call(c, "agent", "read_agent_service", 1);
    lua_pop(L, 1);
    if (!lua_istable(L, -1))
        return;
    lua_getfield(L, -1, "Service"); /* the same under another name than registration gives it */
    lua_setfield(L, -2, "Name");
}

/* [-0, +0, v] A service that nobody named is called as its id. */
static void settle_service(struct convergence *c)
{
    lua_State *L = c->L;
    if (lua_getfield(L, c->wanted, "Name") == LUA_TNIL && fields_is_nothing(L, c->found)) {
        lua_pushstring(L, c->name);
        lua_setfield(L, c->wanted, "Name");
    }
    lua_pop(L, 1);
}

/* [-0, +0, v] Takes the addresses out of what goes out that the agent made from the address and the port: it makes them
 * anew. */
static void drop_made_addresses(struct convergence *c)
{
    static const char *const made[] = {"lan_ipv4", "wan_ipv4", "lan_ipv6", "wan_ipv6"};
    lua_State *L = c->L;
    int top = lua_gettop(L);
    if (fields_is_nothing(L, c->found) || lua_getfield(L, c->sent, "TaggedAddresses") != LUA_TTABLE) {
        lua_settop(L, top);
        return;
    }
    bool named = lua_getfield(L, c->wanted, "TaggedAddresses") == LUA_TTABLE;
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        lua_settop(L, top + 2);
        if (named && lua_getfield(L, top + 2, made[i]) != LUA_TNIL)
            continue;
        if (lua_getfield(L, top + 1, made[i]) != LUA_TTABLE)
            continue;
        int one = lua_gettop(L);
        lua_getfield(L, one, "Address");
        lua_getfield(L, c->found, "Address");
        lua_getfield(L, one, "Port");
        lua_getfield(L, c->found, "Port");
        if (lua_rawequal(L, one + 1, one + 2) && lua_rawequal(L, one + 3, one + 4)) {
            lua_pushnil(L);
            lua_setfield(L, top + 1, made[i]);
        }
    }
    lua_settop(L, top);
}

static void write_service(struct convergence *c)
{
    lua_State *L = c->L;
    drop_made_addresses(c);
    lua_pushvalue(L, c->sent);
    lua_pushstring(L, c->name);
    lua_setfield(L, -2, "ID");
    converge_call(c, "agent", "register_service", 1);
}

static void remove_service(struct convergence *c)
{
    remove_by_id(c, "agent", "deregister_service", c->name);
}

static void check_service(struct convergence *c)
{
    lua_State *L = c->L;
    char id[256];
    if (c->wanted && converge_text(L, c->wanted, "ID", id, sizeof id) && strcmp(id, c->name) != 0)
        converge_refuse(c, "leave ID out", "the name is the service's id: \"%s\" is another one", id);
}

/* --- config entries: "service-defaults/web" ---------------------------------------------------------------------------------------- */

/* [-0, +2, v] Pushes the two halves of the name. */
static void push_halves(struct convergence *c, const char *between, const char *example)
{
    const char *middle = strstr(c->name, between), *end = middle;
    const char *second = middle ? middle + strlen(between) : "";
    while (end && end > c->name && end[-1] == ' ')
        end--;
    second += strspn(second, " ");
    if (!middle || end == c->name || !*second)
        converge_refuse(c, "", "the name is \"%s\"", example);
    lua_pushlstring(c->L, c->name, (size_t)(end - c->name));
    lua_pushstring(c->L, second);
}

static void check_entry(struct convergence *c)
{
    push_halves(c, "/", "kind/name\", as in \"service-defaults/web");
    lua_pop(c->L, 2);
}

static void look_at_entry(struct convergence *c)
{
    check_entry(c);
    push_halves(c, "/", "");
    converge_call(c, "config", "read_config_entry", 2);
    lua_pop(c->L, 1);
    if (lua_istable(c->L, -1))
        c->index = converge_integer(c->L, lua_gettop(c->L), "ModifyIndex");
}

static void write_entry(struct convergence *c)
{
    lua_State *L = c->L;
    lua_pushvalue(L, c->sent);
    int entry = lua_gettop(L);
    push_halves(c, "/", "");
    lua_setfield(L, entry, "Name");
    lua_setfield(L, entry, "Kind");
    lua_pushinteger(L, c->index);
    lua_setfield(L, entry, "cas");
    converge_swap(c, "config", "put_config_entry", 1);
}

static void remove_entry(struct convergence *c)
{
    push_halves(c, "/", "");
    converge_call(c, "config", "delete_config_entry", 2);
}

/* --- intentions: "web => db" ---------------------------------------------------------------------------------------------------------- */

static void check_intention(struct convergence *c)
{
    push_halves(c, "=>", "source => destination\", as in \"web => db");
    lua_pop(c->L, 2);
}

static void look_at_intention(struct convergence *c)
{
    lua_State *L = c->L;
    check_intention(c);
    int top = lua_gettop(L);
    push_halves(c, "=>", "");
    const char *source = lua_tostring(L, top + 1), *destination = lua_tostring(L, top + 2);
    converge_call(c, "connect", "list_intentions", 0);
    c->listed = true;
    lua_pop(L, 1);
    int list = lua_gettop(L);
    lua_pushnil(L);
    lua_insert(L, top + 1);
    for (lua_Integer i = 1; lua_istable(L, list + 1) && lua_rawgeti(L, list + 1, i) == LUA_TTABLE; i++) {
        char names[2][256];
        converge_text(L, lua_gettop(L), "SourceName", names[0], sizeof names[0]);
        converge_text(L, lua_gettop(L), "DestinationName", names[1], sizeof names[1]);
        if (strcmp(names[0], source) == 0 && strcmp(names[1], destination) == 0) {
            converge_text(L, lua_gettop(L), "ID", c->id, sizeof c->id);
            lua_replace(L, top + 1);
            break;
        }
        lua_pop(L, 1);
    }
    lua_settop(L, top + 1);
}

/* By its id; what later versions made by name only has none, and an endpoint of its own. */
static void write_intention(struct convergence *c)
{
    lua_State *L = c->L;
    bool exact = !fields_is_nothing(L, c->found) && !*c->id;
    lua_pushvalue(L, c->sent);
    int intention = lua_gettop(L);
    push_halves(c, "=>", "");
    lua_setfield(L, intention, exact ? "destination" : "DestinationName");
    lua_setfield(L, intention, exact ? "source" : "SourceName");
    if (exact)
        converge_call(c, "connect", "put_intention", 1);
    else
        put(c, "connect", "create_intention_by_id", "update_intention_by_id", c->id);
}

static void remove_intention(struct convergence *c)
{
    lua_State *L = c->L;
    if (*c->id) {
        remove_by_id(c, "connect", "delete_intention_by_id", c->id);
        return;
    }
    lua_createtable(L, 0, 2);
    push_halves(c, "=>", "");
    lua_setfield(L, -3, "destination");
    lua_setfield(L, -2, "source");
    converge_call(c, "connect", "delete_intention", 1);
}

/* --- the table ------------------------------------------------------------------------------------------------------------------------ */

#define LINKS "Policies:links,Roles:links,ServiceIdentities:set,NodeIdentities:set,Datacenters:set"

const struct converge_kind consul_kinds[] = {
    {.name = "kv",
     .about = "\"path/of/the/key\"; a text, or {Value=, Flags=}",
     .types = "Value:verbatim",
     .look = look_at_key,
     .write = write_key,
     .remove = remove_key,
     .check = check_key,
     .answer = answer_key,
     .text = "Value"},
    {.name = "acl policy",
     .about = "its name; {Rules=, Description=, Datacenters=}",
     .types = LINKS ",Rules:verbatim,Description:verbatim",
     .given = "ID",
     .group = "acl",
     .row = "update_acl_policy",
     .look = look_at_policy,
     .write = write_policy,
     .remove = remove_policy},
    {.name = "acl role",
     .about = "its name; {Policies = {\"name\", ...}, ServiceIdentities=, NodeIdentities=, Description=}",
     .types = LINKS ",Description:verbatim",
     .given = "ID",
     .group = "acl",
     .row = "update_acl_role",
     .look = look_at_role,
     .write = write_role,
     .remove = remove_role},
    {.name = "acl token",
     .about = "its AccessorID; {Policies=, Roles=, ServiceIdentities=, Description=, Local=}",
     .types = LINKS ",Description:verbatim,ExpirationTTL:unreadable",
     .given = "SecretID,AccessorID,AuthMethod",
     .group = "acl",
     .row = "create_acl_token",
     .look = look_at_token,
     .write = write_token,
     .remove = remove_token,
     .check = check_token},
    {.name = "auth method",
     .about = "its name; {Type=, Config=, MaxTokenTTL=, Description=}",
     .types = "MaxTokenTTL:duration,Description:verbatim,NamespaceRules:set",
     .group = "acl",
     .row = "create_auth_method",
     .look = look_at_auth_method,
     .write = write_auth_method,
     .remove = remove_auth_method},
    {.name = "service",
     .about = "its id on this agent; {Name=, Port=, Address=, Tags=, Meta=, ...}; checks go into create = "
              "{Checks=}",
     .types = "Tags:set,Meta:verbatim,Check:unreadable,Checks:unreadable",
     .given = "ID",
     .group = "agent",
     .row = "register_service",
     .look = look_at_service,
     .write = write_service,
     .remove = remove_service,
     .check = check_service,
     .settle = settle_service},
    {.name = "config entry",
     .about = "\"kind/name\"; its fields",
     .types = "Meta:verbatim,ConnectTimeout:duration,RequestTimeout:duration,IdleTimeout:duration,Interval:"
              "duration,"
              "BaseEjectionTime:duration,MaxEjectionTime:duration,TTL:duration,OnlyPassing:list",
     .given = "CreateIndex,ModifyIndex,Hash,Namespace,Partition,Kind,Name",
     .look = look_at_entry,
     .write = write_entry,
     .remove = remove_entry,
     .check = check_entry},
    {.name = "intention",
     .about = "\"source => destination\"; {Action = \"allow\", Description=, Meta=}; those with permissions "
              "are the "
              "config entry \"service-intentions/destination\"",
     .types = "Meta:verbatim,Description:verbatim",
     .group = "connect",
     .row = "create_intention_by_id",
     .given = "SourceName,DestinationName,SourceNS,DestinationNS,SourceType",
     .look = look_at_intention,
     .write = write_intention,
     .remove = remove_intention,
     .check = check_intention},
    {.name = "prepared query",
     .about = "its name; {Service = {Service=, ...}, Template=, DNS=, Token=}",
     .types = "Tags:set,TTL:duration",
     .group = "query",
     .row = "create_prepared_query",
     .given = "Session",
     .look = look_at_query,
     .write = write_query,
     .remove = remove_query},
    {0},
};

int consul_present(lua_State *L)
{
    return converge_present(L, &consul_product);
}

int consul_absent(lua_State *L)
{
    return converge_absent(L, &consul_product);
}
