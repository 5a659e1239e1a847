/* Lua module `consul`: the table of Consul's HTTP API, and where its agent is.
 *
 * Rows are those of the API's documentation; a row that is missing here is added as one more line. */
#include "api.h"

static const struct api_row rows[] = {
    {"agent", "read_agent_self", "GET", "/v1/agent/self", "", "", "json", API_READ, "", false, "0.1.0",
     "Configuration, coordinates and member data of the local agent."},
    {"agent", "read_agent_host", "GET", "/v1/agent/host", "", "", "json", API_READ, "", false, "1.4.0",
     "Memory, CPU, disk and OS data of the agent's host."},
    {"agent", "list_agent_members", "GET", "/v1/agent/members", "wan,segment,filter", "", "json", API_READ,
     "", false, "0.1.0", "Gossip members that the local agent sees."},
    {"agent", "reload_agent", "PUT", "/v1/agent/reload", "", "", "none", API_CHANGE, "", false, "0.7.2",
     "Reload the local agent's configuration files."},
    {"agent", "list_agent_checks", "GET", "/v1/agent/checks", "filter", "", "json", API_READ, "", false,
     "0.1.0", "Checks registered with the local agent."},
    {"agent", "list_agent_services", "GET", "/v1/agent/services", "filter", "", "json", API_READ, "", false,
     "0.1.0", "Services registered with the local agent."},
    {"agent", "read_agent_service", "GET", "/v1/agent/service/{service_id}", "hash", "", "json", API_READ, "",
     true, "1.3.0", "One local service; blocks on hash, not on index."},
    {"agent", "read_service_health_by_name", "GET", "/v1/agent/health/service/name/{service_name}", "format",
     "", "json", API_READ, "429,503", false, "1.4.0",
     "Local health of a service name, also as HTTP status; may be text."},
    {"agent", "read_service_health_by_id", "GET", "/v1/agent/health/service/id/{service_id}", "format", "",
     "json", API_READ, "429,503", false, "1.4.0",
     "Local health of one service instance, also as HTTP status."},
    {"agent", "register_service", "PUT", "/v1/agent/service/register", "replace-existing-checks",
     "Name*,ID,Tags,Address,TaggedAddresses,Meta,Namespace,Port,SocketPath,Kind,Proxy,Connect,Check,Checks,"
     "EnableTagOverride,Weights,Locality",
     "none", API_CHANGE, "", false, "0.1.0", "Add a service, with optional checks, to the local agent."},
    {"agent", "deregister_service", "PUT", "/v1/agent/service/deregister/{service_id}", "", "", "none",
     API_CHANGE, "", false, "0.1.0", "Remove a service from the local agent."},
    {"agent", "maintain_service", "PUT", "/v1/agent/service/maintenance/{service_id}", "enable,reason", "",
     "none", API_CHANGE, "", false, "0.5.0", "Turn service maintenance mode on or off (enable is required)."},
    {"catalog", "register_entity", "PUT", "/v1/catalog/register", "",
     "Node*,Address*,ID,Datacenter,TaggedAddresses,NodeMeta,Service,Check,Checks,SkipNodeUpdate,Namespace",
     "json", API_CHANGE, "", false, "0.1.0", "Write a node, service or check straight into the catalog."},
    {"catalog", "deregister_entity", "PUT", "/v1/catalog/deregister", "",
     "Node*,Datacenter,CheckID,ServiceID,Namespace", "json", API_CHANGE, "", false, "0.1.0",
     "Remove a node, service or check from the catalog."},
    {"catalog", "list_datacenters", "GET", "/v1/catalog/datacenters", "", "", "json", API_READ, "", false,
     "0.1.0", "Known datacenters, nearest first."},
    {"catalog", "list_nodes", "GET", "/v1/catalog/nodes", "near,node-meta,filter", "", "json", API_READ, "",
     true, "0.1.0", "Nodes registered in a datacenter."},
    {"catalog", "list_services", "GET", "/v1/catalog/services", "node-meta,filter", "", "json", API_READ, "",
     true, "0.1.0", "Service names in a datacenter with their tags."},
    {"catalog", "list_service_nodes", "GET", "/v1/catalog/service/{service_name}",
     "tag,near,node-meta,filter,merge-central-config", "", "json", API_READ, "", true, "0.1.0",
     "Nodes that provide a service."},
    {"catalog", "read_node_services", "GET", "/v1/catalog/node/{node_name}", "filter,merge-central-config",
     "", "json", API_READ, "", true, "0.1.0", "A node and a map of its services."},
    {"catalog", "list_node_services", "GET", "/v1/catalog/node-services/{node_name}",
     "filter,merge-central-config", "", "json", API_READ, "", true, "1.7.0",
     "A node and a list of its services."},
    {"health", "list_node_checks", "GET", "/v1/health/node/{node}", "filter", "", "json", API_READ, "", true,
     "0.1.0", "Checks of a node."},
    {"health", "list_service_checks", "GET", "/v1/health/checks/{service}", "near,node-meta,filter", "",
     "json", API_READ, "", true, "0.1.0", "Checks of a service."},
    {"health", "list_service_instances", "GET", "/v1/health/service/{service}",
     "near,tag,node-meta,passing,filter,peer,sg,merge-central-config", "", "json", API_READ, "", true,
     "0.1.0", "Instances of a service with node and checks."},
    {"health", "list_checks_in_state", "GET", "/v1/health/state/{state}", "near,node-meta,filter", "", "json",
     API_READ, "", true, "0.1.0", "Checks in a state: any, passing, warning or critical."},
    {"kv", "read_key", "GET", "/v1/kv/{key}", "recurse,raw,keys,separator", "", "json", API_READ, "", true,
     "0.1.0", "Read a key or a prefix; raw gives the bare value."},
    {"kv", "put_key", "PUT", "/v1/kv/{key}", "flags,cas,acquire,release", "raw", "json", API_CHANGE, "",
     false, "0.1.0", "Write a key; the body is the value, the reply true or false."},
    {"kv", "delete_key", "DELETE", "/v1/kv/{key}", "recurse,cas", "", "json", API_CHANGE, "", false, "0.1.0",
     "Delete a key or every key under a prefix."},
    {"status", "read_leader", "GET", "/v1/status/leader", "", "", "json", API_READ, "", false, "0.1.0",
     "Raft leader's address, as a JSON string."},
    {"status", "list_peers", "GET", "/v1/status/peers", "", "", "json", API_READ, "", false, "0.1.0",
     "Raft peers' addresses."},
    {0},
};

/* As https://developer.hashicorp.com/consul/commands#environment-variables has them. */
static const struct api_variable environment[] = {
    {"CONSUL_HTTP_ADDR", API_ADDRESS, NULL},
    {"CONSUL_HTTP_TOKEN", API_TOKEN, NULL},
    {"CONSUL_HTTP_TOKEN_FILE", API_TOKEN_FILE, NULL}, /* the variable itself wins */
    {"CONSUL_HTTP_AUTH", API_AUTH, NULL},
    {"CONSUL_HTTP_SSL", API_TLS, NULL},
    {"CONSUL_HTTP_SSL_VERIFY", API_VERIFY, NULL},
    {"CONSUL_CACERT", API_CA, NULL},
    {"CONSUL_CAPATH", API_CA_PATH, NULL},
    {"CONSUL_CLIENT_CERT", API_CERT, NULL},
    {"CONSUL_CLIENT_KEY", API_KEY, NULL},
    {"CONSUL_TLS_SERVER_NAME", API_SERVER_NAME, NULL},
    {"CONSUL_NAMESPACE", API_QUERY, "ns"},
    {"CONSUL_PARTITION", API_QUERY, "partition"},
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
    {0},
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
    .address = "127.0.0.1:8500",
    .port = "8500",
    .unreachable = "is the agent running? systemctl status consul",
    .environment = environment,
    .hints = hints,
};

static void consul_open(lua_State *L)
{
    api_open_module(L, &consul_product);
}

static int consul_call(lua_State *L)
{
    return api_call_module(L, &consul_product);
}

static const struct binding_function functions[] = {
    {"", consul_call, "consul{addr=, token=, ...} -> client",
     "Another client with the same functions: addr (\"host:port\", \"https://host:port/prefix\", "
     "\"unix:///path\"), token "
     "(\"\" = none), ns, partition, ca, ca_path, cert, key, server_name, verify, user, password, "
     "unix_socket. What is not "
     "given comes from the environment, as for the consul command.",
     "local other = consul{addr = \"127.0.0.1:8501\"}"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module consul_module = {
    .name = "consul",
    .about = "Consul's HTTP API: consul.group.name(path parameters..., {options}) -> answer, {index=, "
             "status=, headers=}.",
    .functions = functions,
    .open = consul_open,
};
