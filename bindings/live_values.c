/* What a session's completion offers where a value stands: the ids, names and paths that the servers and the host have now. */
#include "live_values.h"

#include "api.h"
#include "inventory.h"

#include <string.h>

enum { CALL = 1, ARGUMENT, OPTION, PREFIX, LIST };

#define MOST_VALUES 500

/* Where values of a path parameter are listed. */
static const struct source {
    const struct api_product *product;
    const char *parameter;    /* "service_id", or an option's name */
    const char *within;       /* part of the row's path, or NULL: wherever the parameter stands */
    const char *group, *name; /* the endpoint that lists them */
    const char *field;        /* of each record; NULL: the keys of an object, or texts */
} sources[] = {
    {&consul_product, "service_id", NULL, "agent", "list_agent_services", NULL},
    {&consul_product, "check_id", NULL, "agent", "list_agent_checks", NULL},
    {&consul_product, "service_name", NULL, "catalog", "list_services", NULL},
    {&consul_product, "service", NULL, "catalog", "list_services", NULL},
    {&consul_product, "node_name", NULL, "catalog", "list_nodes", "Node"},
    {&consul_product, "node", NULL, "catalog", "list_nodes", "Node"},
    {&consul_product, "uuid", "/session/", "session", "list_sessions", "ID"},
    {&consul_product, "uuid", "/query/", "query", "list_prepared_queries", "ID"},
    {&consul_product, "accessor_id", NULL, "acl", "list_acl_tokens", "AccessorID"},
    {&consul_product, "policy_id", NULL, "acl", "list_acl_policies", "ID"},
    {&consul_product, "policy_name", NULL, "acl", "list_acl_policies", "Name"},
    {&consul_product, "role_id", NULL, "acl", "list_acl_roles", "ID"},
    {&consul_product, "role_name", NULL, "acl", "list_acl_roles", "Name"},
    {&consul_product, "method_name", NULL, "acl", "list_auth_methods", "Name"},
    {&consul_product, "rule_id", NULL, "acl", "list_binding_rules", "ID"},
    {&consul_product, "datacenter", NULL, "catalog", "list_datacenters", NULL},
    {&consul_product, "dc", NULL, "catalog", "list_datacenters", NULL},
    {&nomad_product, "job_id", NULL, "jobs", "list_jobs", "ID"},
    {&nomad_product, "alloc_id", NULL, "allocs", "list_allocations", "ID"},
    {&nomad_product, "node_id", NULL, "nodes", "list_nodes", "ID"},
    {&nomad_product, "deployment_id", NULL, "deployments", "list_deployments", "ID"},
    {&nomad_product, "eval_id", NULL, "evaluations", "list_evaluations", "ID"},
    {&nomad_product, "volume_id", NULL, "volumes", "list_volumes", "ID"},
    {&nomad_product, "node_pool", NULL, "node-pools", "list_node_pools", "Name"},
    {&nomad_product, "namespace", NULL, "namespaces", "list_namespaces", "Name"},
    {&nomad_product, "policy_name", NULL, "acl", "list_acl_policies", "Name"},
    {&nomad_product, "accessor_id", NULL, "acl", "list_acl_tokens", "AccessorID"},
    {&nomad_product, "var_path", NULL, "variables", "list_variables", "Path"},
    {&vault_product, "name", "/policies/acl/", "sys", "list_acl_policies", NULL},
    {&vault_product, "name", "/sys/policy/", "sys", "list_acl_policies", NULL},
    {&vault_product, "role_name", "/auth/token/", "auth/token", "list_token_roles", NULL},
    {&vault_product, "mount", NULL, "sys", "list_mounts", NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

/* ---- the list ---- */

/* [-0, +0, m] What begins as the prefix does: the most that are offered must not be used up by others. */
static void offer(lua_State *L, const char *before, const char *text)
{
    const char *prefix = lua_tostring(L, PREFIX);
    lua_Integer count = (lua_Integer)lua_rawlen(L, LIST);
    if (count >= MOST_VALUES)
        return;
    const char *whole = lua_pushfstring(L, "%s%s", before, text);
    if (strncasecmp(whole, prefix, strlen(prefix)) != 0)
        lua_pop(L, 1);
    else
        lua_rawseti(L, LIST, count + 1);
}

/* [-0, +0, e] Texts of a list, names of an object, or a field of each record: of the value on top. */
static void offer_all(lua_State *L, const char *before, const char *field)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 8, "values");
    if (!lua_istable(L, top))
        return;
    for (lua_pushnil(L); lua_next(L, top); lua_settop(L, top + 1)) {
        if (field && lua_istable(L, -1) && lua_getfield(L, -1, field) == LUA_TSTRING)
            offer(L, before, lua_tostring(L, -1));
        else if (!field && lua_type(L, top + 1) == LUA_TSTRING)
            offer(L, before, lua_tostring(L, top + 1));
        else if (!field && lua_type(L, top + 2) == LUA_TSTRING)
            offer(L, before, lua_tostring(L, top + 2));
    }
}

/* ---- the servers ---- */

/* [-arguments, +1, v] What an endpoint answers to this session's host; the last argument becomes its options, without retries. */
static void ask(lua_State *L, const struct api_product *product, const char *group, const char *name,
                int arguments)
{
    int first = lua_gettop(L) - arguments + 1;
    luaL_checkstack(L, LUA_MINSTACK, "values");
    api_default_client(L, product);
    lua_insert(L, first);
    if (!lua_istable(L, -1)) {
        lua_createtable(L, 0, 1);
        arguments++;
    }
    lua_pushinteger(L, 0);
    lua_setfield(L, -2, "retries");
    /* As a binding's own look-up: VAULT_WRAP_TTL would have a token made of each answer. */
    if (!api_try(L, first, api_find(product, group, name), arguments, NULL))
        lua_error(L);
    lua_pop(L, 1);
    lua_replace(L, first);
    lua_settop(L, first);
}

/* [-0, +0, v] Vault's lists are {data = {keys = [...]}}; its mounts {data = {...}} or the object itself. */
static void enter_data(lua_State *L)
{
    if (!lua_istable(L, -1) || lua_getfield(L, -1, "data") != LUA_TTABLE)
        return;
    if (lua_getfield(L, -1, "keys") != LUA_TTABLE)
        lua_pop(L, 1);
}

/* The part of a Vault path up to its last slash, as it is listed: version 2 of the KV engine lists below metadata/. */
static void offer_vault_paths(lua_State *L, const char *prefix)
{
    const char *slash = strrchr(prefix, '/');
    if (!slash) {
        ask(L, &vault_product, "sys", "list_mounts", 0);
        enter_data(L);
        offer_all(L, "", NULL);
        return;
    }
    const char *before = lua_pushlstring(L, prefix, (size_t)(slash + 1 - prefix));
    const char *listed = luaL_gsub(L, before, "/data/", "/metadata/");
    lua_pushlstring(L, listed, strlen(listed) - 1);
    ask(L, &vault_product, "logical", "list", 1);
    enter_data(L);
    offer_all(L, before, NULL);
}

/* Keys of Consul's KV store, a level at a time. */
static void offer_keys(lua_State *L, const char *prefix)
{
    const char *slash = strrchr(prefix, '/');
    lua_pushlstring(L, prefix, slash ? (size_t)(slash + 1 - prefix) : 0);
    lua_createtable(L, 0, 3);
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "keys");
    lua_pushliteral(L, "/");
    lua_setfield(L, -2, "separator");
    ask(L, &consul_product, "kv", "read_key", 2);
    for (lua_Integer i = 1; lua_istable(L, -1) && lua_geti(L, -1, i) == LUA_TSTRING; i++, lua_pop(L, 1))
        offer(L, "", lua_tostring(L, -1));
}

/* "agent" of the group "agent", "auth.token" of "auth/token", "" of those that are functions of the module itself. */
static bool is_group(const struct api_product *product, const struct api_row *row, const char *group,
                     size_t length)
{
    if (product->top && strcmp(row->group, product->top) == 0 && length == 0)
        return true;
    if (strlen(row->group) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        char written = row->group[i] == '/' ? '.' : row->group[i] == '-' ? '_' : row->group[i];
        if (written != group[i])
            return false;
    }
    return true;
}

static const struct api_row *row_of_call(const struct api_product *product, const char *call)
{
    const char *name = strrchr(call, '.'), *group = call;
    size_t length = name ? (size_t)(name - group) : 0;
    name = name ? name + 1 : call;
    for (const struct api_row *row = product->rows; row->group; row++)
        if (strcmp(row->name, name) == 0 && is_group(product, row, group, length))
            return row;
    return NULL;
}

/* The name of the path parameter of that number: "{mount=secret}" is an option. False: there is none. */
static bool parameter_at(const struct api_row *row, lua_Integer number, char *name, size_t size)
{
    for (const char *at = row->path; (at = strchr(at, '{')); at++) {
        size_t length = strcspn(at + 1, "}");
        if (memchr(at + 1, '=', length) || --number > 0)
            continue;
        if (length >= size)
            return false;
        memcpy(name, at + 1, length);
        name[length] = '\0';
        return true;
    }
    return false;
}

static void offer_from_server(lua_State *L, const struct api_product *product, const char *call)
{
    char name[64];
    const struct api_row *row = row_of_call(product, call);
    const char *option = lua_tostring(L, OPTION), *prefix = lua_tostring(L, PREFIX);
    if (!row || (!option && !parameter_at(row, lua_tointeger(L, ARGUMENT), name, sizeof name)))
        return;
    const char *wanted = option ? option : name;
    if (product == &vault_product && !option && strcmp(name, "path") == 0 &&
        strcmp(row->group, "logical") == 0)
        offer_vault_paths(L, prefix);
    else if (product == &consul_product && !option && strcmp(name, "key") == 0)
        offer_keys(L, prefix);
    else
        for (const struct source *source = sources; source->product; source++)
            if (source->product == product && strcmp(source->parameter, wanted) == 0 &&
                (!source->within || strstr(row->path, source->within))) {
                ask(L, product, source->group, source->name, 0);
                if (product == &vault_product)
                    enter_data(L);
                offer_all(L, "", source->field);
                return;
            }
}

/* ---- the host ---- */

/* [-0, +0, v] Each line that a command prints on the session's host. */
static void offer_lines(lua_State *L, const char *const *argv)
{
    struct host *host = host_current(runtime_of(L));
    struct host_command command = {.argv = argv, .timeout_ms = 10000};
    struct buffer output = {0};
    struct failure failure;
    if (!host_check(host, &command, &output, &failure)) {
        buffer_free(&output);
        failure_raise(L, &failure);
    }
    const char *text = lua_pushlstring(L, buffer_text(&output), output.length);
    buffer_free(&output);
    while (*text) {
        size_t length = strcspn(text, "\n");
        lua_pushlstring(L, text, length);
        if (length)
            offer(L, "", lua_tostring(L, -1));
        lua_pop(L, 1);
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
}

static void offer_units(lua_State *L)
{
    static const char script[] =
        "{ systemctl list-units --all --plain --no-legend --no-pager; "
        "systemctl list-unit-files --plain --no-legend --no-pager; } | cut -d ' ' -f 1 | sort -u";
    offer_lines(L, (const char *const[]){"sh", "-c", script, NULL});
}

static void offer_packages(lua_State *L)
{
    const char *prefix = lua_tostring(L, PREFIX);
    if (*prefix && *prefix != '-') /* all of them would be tens of thousands */
        offer_lines(L, (const char *const[]){"apt-cache", "pkgnames", prefix, NULL});
}

/* Of another host; the session itself looks at this machine's. */
static void offer_files(lua_State *L)
{
    struct runtime *runtime = runtime_of(L);
    static const char script[] = "for path in \"$1\"*; do [ ! -d \"$path\" ] || path=$path/; "
                                 "[ ! -e \"$path\" ] && [ ! -L \"$path\" ] || printf '%s\\n' \"$path\"; done";
    if (host_current(runtime) != runtime->local)
        offer_lines(L, (const char *const[]){"sh", "-c", script, "sh", lua_tostring(L, PREFIX), NULL});
}

static void offer_hosts(lua_State *L)
{
    inventory_file_push(L, "hosts");
    offer_all(L, "", NULL);
    offer(L, "", "local");
}

/* ---- which it is ---- */

int live_values(lua_State *L)
{
    static const struct {
        const char *begin;
        const struct api_product *product;
        void (*offer)(lua_State *L);
    } modules[] = {
        {"consul.", &consul_product, NULL}, {"nomad.", &nomad_product, NULL},
        {"vault.", &vault_product, NULL},   {"systemd.", NULL, offer_units},
        {"apt.", NULL, offer_packages},     {"file.", NULL, offer_files},
    };
    const char *call = luaL_checkstring(L, CALL);
    lua_settop(L, LIST);
    if (strcmp(call, "host") == 0)
        offer_hosts(L);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        size_t length = strlen(modules[i].begin);
        if (strncmp(call, modules[i].begin, length) != 0)
            continue;
        if (modules[i].product)
            offer_from_server(L, modules[i].product, call + length);
        else if (lua_isnil(L, OPTION) && lua_tointeger(L, ARGUMENT) == 1)
            modules[i].offer(L);
    }
    return 0;
}
