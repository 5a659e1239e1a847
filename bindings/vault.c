/* Lua module `vault`: the table of Vault's HTTP API, and where its server is. */
#include "api.h"

#include "kinds.h"
#include "secret.h"

#include <stdlib.h>
#include <string.h>

#include "vault_rows.h" /* made from vault.tsv */

/* As https://developer.hashicorp.com/vault/docs/commands#environment-variables has them; of two addresses the later
 * counts. */
static const struct api_variable environment[] = {
    {"VAULT_ADDR", API_ADDRESS, NULL, NULL},
    {"VAULT_AGENT_ADDR", API_ADDRESS, NULL, NULL},
    {"VAULT_TOKEN", API_TOKEN, NULL, NULL},
    {"VAULT_CACERT", API_CA, NULL, NULL},
    {"VAULT_CAPATH", API_CA_PATH, NULL, NULL},
    {"VAULT_CLIENT_CERT", API_CERT, NULL, NULL},
    {"VAULT_CLIENT_KEY", API_KEY, NULL, NULL},
    {"VAULT_TLS_SERVER_NAME", API_SERVER_NAME, NULL, NULL},
    {"VAULT_SKIP_VERIFY", API_SKIP_VERIFY, NULL, NULL},
    {"VAULT_CLIENT_TIMEOUT", API_TIMEOUT, NULL, NULL},
    {"VAULT_MAX_RETRIES", API_RETRIES, NULL, NULL},
    {"VAULT_NAMESPACE", API_HEADER, "X-Vault-Namespace", "namespace"},
    {"VAULT_WRAP_TTL", API_WRAPPING, "X-Vault-Wrap-TTL", "wrap_ttl"},
    {"VAULT_HEADERS", API_HEADERS, NULL, NULL},
    {0},
};

static const struct api_hint hints[] = {
    {"Vault is sealed", "unseal it: vault operator unseal, with enough of the key shares, on each server"},
    {"missing client token",
     "no token was set: set VAULT_TOKEN, log in with the vault command, or give token="},
    {"bad token", "the token is not known to the server: it was revoked or has expired"},
    {"no handler for route",
     "nothing is mounted there: vault.sys.list_mounts() and list_auth_methods() say what is"},
    {"invalid accessor", "no token has this accessor any more: it was revoked or has expired"},
    {"strconv.ParseInt", "this version takes durations as seconds only: 86400 for \"1d\""},
    {"local node not active",
     "the cluster has no active node: look at vault.sys.read_health() of each server"},
    {"check-and-set parameter", "read the secret again: somebody wrote it since; cas is its current version"},
    {"http request to an https server", "the server speaks https: write https:// in VAULT_ADDR"},
    {0},
};

/* A versioned secret goes back to its version, or its newest version comes back; nobody writes it down for that. */
static bool undo_version(lua_State *L, const struct api_write *write, int found, struct json_text *json)
{
    lua_Integer version = 0;
    bool removes = strcmp(write->row->method, "DELETE") == 0;
    if (!strstr(write->path, "/data/") || !lua_istable(L, found))
        return false;
    if (lua_getfield(L, found, "metadata") == LUA_TTABLE && lua_getfield(L, -1, "version") != LUA_TNIL) {
        size_t length;
        const char *text = secret_bytes(L, -1, &length); /* who reads by path finds all of it secret */
        version = text ? strtoll(text, NULL, 10) : lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (version <= 0)
        return false;
    json_open_object(json);
    json_key(json, "op");
    json_string(json, removes ? "vault.undelete" : "vault.rollback");
    json_key(json, "addr");
    json_string(json, write->client->base);
    json_key(json, "name");
    json_string(json, write->path + strlen("/v1/"));
    json_key(json, "version");
    json_integer(json, version);
    json_close_object(json);
    return true;
}

/* Both answer without a token, sealed or not. */
static const struct api_version versions[] = {
    {"sys", "read_health", "version"},
    {"sys", "read_seal_status", "version"},
    {0},
};

const struct api_product vault_product = {
    .name = "vault",
    .title = "Vault",
    .rows = rows,
    .query = "",
    .flags = "",
    .slashes = "path,prefix,lease_id",
    .trims = true,
    .top = "logical",
    .central = true,
    .secret = "auth.client_token,wrap_info.token",
    .token_header = "X-Vault-Token",
    .token_file = ".vault-token",
    .header = "X-Vault-Request",
    .leader = "/v1/sys/leader",
    .capability = "vault.sys.read_self_capabilities{paths = {\"%s\"}} says what the token may do there",
    .address = "https://127.0.0.1:8200",
    .port = "8200",
    .unreachable = "is the server running? systemctl status vault",
    .environment = environment,
    .hints = hints,
    .present = vault_present,
    .absent = vault_absent,
    .kinds = vault_kinds,
    .undo = undo_version,
    .versions = versions,
};

static void vault_open(lua_State *L)
{
    api_open_module(L, &vault_product);
}

static int vault_call(lua_State *L)
{
    return api_call_module(L, &vault_product);
}

int vault_version(lua_State *L)
{
    return api_push_version(L, &vault_product);
}

static const struct binding_function functions[] = {
    {"", vault_call, "vault{addr=, token=, ...} -> client",
     "Another client with the same functions: addr (\"https://host:port\", \"unix:///path\"), token (\"\" = "
     "none), "
     "namespace, wrap_ttl, ca, ca_path, cert, key, server_name, verify, user, password, unix_socket. What is "
     "not given "
     "comes from the environment and ~/.vault-token, as for the vault command.",
     "local other = vault{addr = \"https://127.0.0.1:8201\"}"},
    {"present", vault_present, "vault.present(path, data, {create=}) -> {changed=, before=, after=}",
     "What shall be at a path: data as for vault.write. It is read and compared as Vault would store it "
     "(\"1d\", \"24h\" "
     "and 86400 are one, lists are sets; what data does not name is left alone) and written only where it "
     "differs, "
     "durations as seconds, then read again. Secrets of KV version 2 go below data= and are written with "
     "compare-and-set. "
     "sys/auth/PATH, sys/mounts/PATH and sys/audit/PATH are what is mounted there; differences are tuned. "
     "create = {...}: "
     "fields that are sent when it is made and never compared, such as a password. Raises \"usage\" for "
     "fields that Vault "
     "does not know there or does not give back and for paths that make something when read, \"failed\" when "
     "the server "
     "stores something else, and what the endpoints raise.",
     "vault.present(\"auth/token/roles/example\", {orphan = true, token_period = \"1d\"})"},
    {"absent", vault_absent, "vault.absent(path) -> {changed=, before=, after=}",
     "Removes what is at the path, where there is something; of a KV version 2 the newest version, which "
     "undo brings back.",
     "vault.absent(\"auth/token/roles/example\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module vault_module = {
    .name = "vault",
    .about =
        "Vault's HTTP API: vault.group.name(path parameters..., {options}) -> answer, {status=, headers=}; "
        "vault.read, write, list, delete and patch take any path. What an engine keeps secret, and tokens, "
        "are "
        "secret values. An engine that is not mounted in the usual place: mount=.",
    .functions = functions,
    .open = vault_open,
    .api = &vault_product,
};
