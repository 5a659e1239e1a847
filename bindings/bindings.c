/* Opens the modules: the one list of what Lua is given. */
#include "bindings.h"

#include "api.h"
#include "binding.h"
#include "host_value.h"
#include "inventory.h"
#include "live_values.h"
#include "reference.h"
#include "secret_source.h"

#include <string.h>

extern const struct binding_module apt_module, consul_module, duration_module, file_module, fleet_module,
    guard_module, hcl_module, host_module, http_module, json_module, nomad_module, secret_module, size_module,
    step_module, systemd_module, vault_module, wait_module, lock_module;

static const struct binding_module *const modules[] = {
    &guard_module,  &step_module,     &wait_module,    &lock_module,   &fleet_module, &host_module,
    &file_module,   &apt_module,      &systemd_module, &http_module,   &hcl_module,   &json_module,
    &secret_module, &duration_module, &size_module,    &consul_module, &nomad_module, &vault_module,
    NULL,
};

static const struct product products[] = {
    {"consul", "Consul", consul_version},
    {"nomad", "Nomad", nomad_version},
    {"vault", "Vault", vault_version},
    {NULL, NULL, NULL},
};

static const struct secret_store stores[] = {
    {"vault", vault_secret},
    {NULL, NULL},
};

static const struct inventory_source inventory[] = {
    {"consul", "SERVICE", consul_hosts},
    {"nomad", "FIELD=VALUE,...", nomad_hosts},
    {NULL, NULL, NULL},
};

/* [-1, +0, e] A function named "" is what calling the module does. */
static void make_callable(lua_State *L, int module, lua_CFunction call)
{
    if (!lua_getmetatable(L, module)) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, -1);
        lua_setmetatable(L, module);
    }
    lua_pushcfunction(L, call);
    lua_setfield(L, -2, "__call");
    lua_pop(L, 1);
}

static void open_module(lua_State *L, const struct binding_module *module)
{
    if (strcmp(module->name, "_G") == 0)
        lua_pushglobaltable(L);
    else
        lua_newtable(L);
    int table = lua_gettop(L);
    for (const struct binding_function *function = module->functions; function->name; function++) {
        if (!*function->name) {
            make_callable(L, table, function->call);
            continue;
        }
        lua_pushcfunction(L, function->call);
        lua_setfield(L, table, function->name);
    }
    if (module->open)
        module->open(L);
    lua_settop(L, table);
    if (strcmp(module->name, "_G") != 0)
        lua_setglobal(L, module->name);
    else
        lua_pop(L, 1);
}

void bindings_open(lua_State *L)
{
    runtime_of(L)->modules = modules;
    runtime_of(L)->reference = reference_push;
    runtime_of(L)->products = products;
    runtime_of(L)->inventory = inventory;
    runtime_of(L)->stores = stores;
    runtime_of(L)->describe_host = host_describe;
    runtime_of(L)->live_values = live_values;
    for (size_t i = 0; modules[i]; i++)
        open_module(L, modules[i]);
}
