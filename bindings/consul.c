/* Lua module `consul`: the table of Consul's HTTP API, and where its agent is. */
#include "api.h"

#include "fields.h"
#include "kinds.h"

#include <string.h>

#include "consul_rows.h" /* made from consul.tsv */

/* As https://developer.hashicorp.com/consul/commands#environment-variables has them. */
static const struct api_variable environment[] = {
    {"CONSUL_HTTP_ADDR", API_ADDRESS, NULL, NULL},
    {"CONSUL_HTTP_TOKEN", API_TOKEN, NULL, NULL},
    {"CONSUL_HTTP_TOKEN_FILE", API_TOKEN_FILE, NULL, NULL}, /* the variable itself wins */
    {"CONSUL_HTTP_AUTH", API_AUTH, NULL, NULL},
    {"CONSUL_HTTP_SSL", API_TLS, NULL, NULL},
    {"CONSUL_HTTP_SSL_VERIFY", API_VERIFY, NULL, NULL},
    {"CONSUL_CACERT", API_CA, NULL, NULL},
    {"CONSUL_CAPATH", API_CA_PATH, NULL, NULL},
    {"CONSUL_CLIENT_CERT", API_CERT, NULL, NULL},
    {"CONSUL_CLIENT_KEY", API_KEY, NULL, NULL},
    {"CONSUL_TLS_SERVER_NAME", API_SERVER_NAME, NULL, NULL},
    {"CONSUL_NAMESPACE", API_QUERY, "ns", NULL},
    {"CONSUL_PARTITION", API_QUERY, "partition", NULL},
    {0},
};

static const struct api_hint hints[] = {
    {"Unknown service",
     "another agent registered it: consul.catalog.list_service_nodes names the node; ask its agent"},
    {"No cluster leader",
     "the servers have elected no leader: look at consul.status.list_peers and their logs"},
    {"No path to datacenter", "consul.catalog.list_datacenters lists the datacenters there are"},
    {"rpc error getting client", "the agent reaches no server: look at its log, journalctl -u consul"},
    {"ACL support disabled", "ACLs are off in this cluster: no token is needed"},
    {"Coordinate support disabled", "disable_coordinates in the agents' configuration turns them off"},
    {"UUID must be 36 characters", "ids are given whole; what has a name has a function for it too, such as "
                                   "consul.acl.read_acl_policy_by_name"},
    {0},
};

/* A key goes back to its value and flags; what cannot be text cannot go back. */
static bool undo_key(lua_State *L, const struct api_write *write, int found, struct json_text *json)
{
    if (strcmp(write->row->path, "/v1/kv/{key}") != 0)
        return false;
    if (!fields_is_nothing(L, found) && !consul_push_key(L, found))
        return true;
    json_open_object(json);
    json_key(json, "op");
    json_string(json, fields_is_nothing(L, found) ? "consul.absent" : "consul.present");
    json_key(json, "addr");
    json_string(json, write->client->base);
    json_key(json, "kind");
    json_string(json, "kv");
    json_key(json, "name");
    json_string(json, lua_tostring(L, 1));
    if (!fields_is_nothing(L, found)) {
        json_key(json, "data");
        json_raw(json, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    json_close_object(json);
    return true;
}

/* agent/self wants agent:read; members are shown to whoever may read nodes. Both without a token where ACLs are off. */
static const struct api_version versions[] = {
    {"agent", "read_agent_self", "Config.Version"},
    {"agent", "list_agent_members", "*.Tags.role=consul.build"},
    {0},
};

static const struct api_agent agent = {
    .folder = "/etc/consul.d",
    .option = "consul_addr",
    .address = {"addresses.http", "client_addr"},
    .tls_address = "addresses.https",
    .port = "ports.http",
    .tls_port = "ports.https",
};

const struct api_product consul_product = {
    .name = "consul",
    .title = "Consul",
    .rows = rows,
    .query = "dc,ns,partition,stale,consistent,cached",
    .flags = "recurse,raw,keys,stale,consistent,cached,wan,passing,replace-existing-checks",
    .slashes = "key",
    .token_header = "X-Consul-Token",
    .index_header = "X-Consul-Index",
    .endpoint_header = "Vary",
    .address = "127.0.0.1:8500",
    .port = "8500",
    .agent = &agent,
    .unreachable = "is the agent running? systemctl status consul",
    .environment = environment,
    .hints = hints,
    .present = consul_present,
    .absent = consul_absent,
    .kinds = consul_kinds,
    .undo = undo_key,
    .permissions = consul_permissions,
    .is_missing = consul_is_missing,
    .found_nothing = consul_found_nothing,
    .versions = versions,
};

static void consul_open(lua_State *L)
{
    api_open_module(L, &consul_product);
}

static int consul_call(lua_State *L)
{
    return api_call_module(L, &consul_product);
}

int consul_version(lua_State *L)
{
    return api_push_version(L, &consul_product);
}

static const struct binding_function functions[] = {
    {"", consul_call, "consul{addr=, token=, ...} -> client",
     "Another client with the same functions: addr (\"host:port\", \"https://host:port/prefix\", "
     "\"unix:///path\"), token "
     "(\"\" = none), ns, partition, ca, ca_path, cert, key, server_name, verify, user, password, "
     "unix_socket. What is not "
     "given comes from the environment, as for the consul command.",
     "local other = consul{addr = \"127.0.0.1:8501\"}"},
    {"watch", api_watch, "consul.watch(function, path parameters..., {options}) -> iterator",
     "Blocking queries in a loop: for answer, meta in consul.watch(consul.health.list_service_instances, "
     "\"web\", {wait = \"1m\"}) do ... end hands out the answer now, then each time "
     "it has changed; false while the thing is not there. An index that goes back begins anew.",
     "for answer in consul.watch(consul.kv.read_key, \"example/key\", {wait = \"1s\"}) do break end"},
    {"present", consul_present, "consul.present(kind, name, data, {create=}) -> {changed=, before=, after=}",
     "What a kind of thing in Consul shall be: moonbook api consul.present lists the kinds. It is read and "
     "compared as the "
     "server would store it (durations by their length, lists without order as sets; what data does not name "
     "is left "
     "alone; a field that is json.null shall not be there) and written only where it differs, with "
     "compare-and-set where "
     "Consul has it; then read again. create = {...}: fields that are sent when it is made and never "
     "compared. Raises "
     "\"usage\" for kinds and fields that there are not and for fields that cannot be read back, \"failed\" "
     "when "
     "somebody else was faster or the server stores something else, and what the endpoints raise.",
     "consul.present(\"kv\", \"example/key\", {Value = \"1\", Flags = 2})"},
    {"absent", consul_absent, "consul.absent(kind, name) -> {changed=, before=, after=}",
     "Removes the thing where there is one. The journal keeps what it was, unless that holds secrets.",
     "consul.absent(\"kv\", \"example/key\")"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module consul_module = {
    .name = "consul",
    .about =
        "Consul's HTTP API: consul.group.name(path parameters..., {options}) -> answer, {index=, "
        "status=, headers=}. Where nothing is found because the token may not see it, a warning says so, "
        "once for each function.",
    .functions = functions,
    .open = consul_open,
    .api = &consul_product,
};
