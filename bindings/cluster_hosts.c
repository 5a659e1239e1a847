/* Hosts that the cluster knows, for the inventory: consul:SERVICE, nomad:FIELD=VALUE,... */
#include "api.h"
#include "inventory.h"
#include "nearest.h"

#include <fnmatch.h>
#include <string.h>

/* [-arguments, +1, v] The answer of an endpoint of this machine's own client. */
static void ask(lua_State *L, const struct api_product *product, const char *group, const char *name,
                int arguments)
{
    int top = lua_gettop(L) - arguments;
    api_default_client(L, product);
    lua_insert(L, top + 1);
    api_invoke(L, top + 1, api_find(product, group, name), arguments, NULL);
    lua_pop(L, 1);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

/* [-0, +0, m] Appends {name=, address=} of the record on top to the list. */
static void add_host(lua_State *L, int list, const char *name)
{
    int record = lua_gettop(L);
    lua_createtable(L, 0, 2);
    lua_getfield(L, record, name);
    lua_setfield(L, -2, "name");
    lua_getfield(L, record, "Address");
    lua_setfield(L, -2, "address");
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

int consul_hosts(lua_State *L)
{
    const char *service = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    ask(L, &consul_product, "catalog", "list_service_nodes", 1);
    for (lua_Integer i = 1; lua_istable(L, 3) && lua_geti(L, 3, i) == LUA_TTABLE; i++, lua_pop(L, 1))
        add_host(L, 2, "Node");
    if (lua_rawlen(L, 2) == 0)
        failure_advise(L, "usage", "hosts",
                       "moonbook -e 'for name in pairs(consul.catalog.list_services()) do print(name) end' "
                       "shows which there are; "
                       "without a token that may read them (CONSUL_HTTP_TOKEN) there seem to be none",
                       "consul:%s: no node has that service", service);
    lua_settop(L, 2);
    return 1;
}

/* What nodes can be chosen by, and the field of a node's record (https://developer.hashicorp.com/nomad/api-docs/nodes). */
static const struct {
    const char *name, *field;
} fields[] = {
    {"class", "NodeClass"},
    {"status", "Status"},
    {"datacenter", "Datacenter"},
    {"dc", "Datacenter"},
    {"name", "Name"},
    {"id", "ID"},
    {"address", "Address"},
    {"eligibility", "SchedulingEligibility"},
    {"drain", "Drain"},
    {"version", "Version"},
    {"pool", "NodePool"},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static const char *record_field(lua_State *L, const char *filter, const char *name)
{
    const char *names[FIELD_COUNT + 1] = {NULL};
    struct failure failure;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        names[i] = fields[i].name;
        if (strcmp(name, names[i]) == 0)
            return fields[i].field;
    }
    const char *meant = nearest_name(name, names);
    failure_set(&failure, "usage", "hosts", "nomad:%s: nodes are not chosen by \"%s\"", filter, name);
    if (meant)
        failure_hint(&failure, "did you mean %s?", meant);
    else
        failure_hint(&failure,
                     "by class, status, datacenter, name, id, address, eligibility, drain, version, pool");
    failure_raise(L, &failure);
    return NULL;
}

/* Does the node on top have what one condition says? Patterns as the shell's, an id by its beginning. */
static bool fits_one(lua_State *L, const char *field, const char *wanted)
{
    int type = lua_getfield(L, -1, field);
    const char *text = type == LUA_TBOOLEAN ? (lua_toboolean(L, -1) ? "true" : "false") : lua_tostring(L, -1);
    bool fits = text && (fnmatch(wanted, text, 0) == 0 ||
                         (strcmp(field, "ID") == 0 && *wanted && strncmp(text, wanted, strlen(wanted)) == 0));
    lua_pop(L, 1);
    return fits;
}

/* [-0, +1, v] The filter as a list of {field, value}. */
static void push_conditions(lua_State *L, const char *filter)
{
    lua_newtable(L);
    for (const char *at = filter; *at;) {
        size_t length = strcspn(at, ",");
        const char *equals = memchr(at, '=', length);
        if (!equals)
            failure_advise(L, "usage", "hosts", "write nomad:class=builder,status=ready",
                           "nomad:%s: \"%.*s\" is no FIELD=VALUE", filter, (int)length, at);
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, at, (size_t)(equals - at));
        lua_pushstring(L, record_field(L, filter, lua_tostring(L, -1)));
        lua_rawseti(L, -3, 1);
        lua_pop(L, 1);
        lua_pushlstring(L, equals + 1, length - (size_t)(equals + 1 - at));
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        at += length + (at[length] == ',');
    }
}

/* Does the node on top have all of them? */
static bool fits(lua_State *L, int conditions)
{
    int node = lua_gettop(L);
    bool all = true;
    for (lua_Integer i = 1; all && lua_rawgeti(L, conditions, i) == LUA_TTABLE; i++) {
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        lua_pushvalue(L, node);
        all = fits_one(L, lua_tostring(L, -3), lua_tostring(L, -2));
        lua_settop(L, node);
    }
    lua_settop(L, node);
    return all;
}

int nomad_hosts(lua_State *L)
{
    enum { FILTER = 1, LIST, CONDITIONS, NODES };
    const char *filter = luaL_checkstring(L, FILTER);
    lua_settop(L, FILTER);
    lua_newtable(L);
    push_conditions(L, filter);
    ask(L, &nomad_product, "nodes", "list_nodes", 0);
    for (lua_Integer i = 1; lua_istable(L, NODES) && lua_geti(L, NODES, i) == LUA_TTABLE; i++, lua_pop(L, 1))
        if (fits(L, CONDITIONS))
            add_host(L, LIST, "Name");
    if (lua_rawlen(L, LIST) == 0)
        failure_advise(L, "usage", "hosts",
                       "moonbook -e 'for _, n in ipairs(nomad.nodes.list_nodes()) do print(n.Name, "
                       "n.NodeClass, n.Status) end' shows them",
                       "nomad:%s: no node is like that", filter);
    lua_settop(L, LIST);
    return 1;
}
