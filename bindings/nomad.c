/* Lua module `nomad`: the table of Nomad's HTTP API, and where its agent is.
 *
 * Rows are those of the API's documentation; a row that is missing here is added as one more line. */
#include "api.h"

static const struct api_row rows[] = {
    {"jobs", "list_jobs", "GET", "/v1/jobs", "prefix,next_token,per_page,filter,reverse,meta", "", "json",
     API_READ, "", true, "0.1.0", "List jobs, optionally filtered, paged and with meta included."},
    {"jobs", "read_job", "GET", "/v1/job/{job_id}", "", "", "json", API_READ, "", true, "0.1.0",
     "Read one job's full specification and status."},
    {"jobs", "list_job_allocations", "GET", "/v1/job/{job_id}/allocations", "all", "", "json", API_READ, "",
     true, "0.1.0", "Allocations that belong to a job."},
    {"jobs", "read_job_summary", "GET", "/v1/job/{job_id}/summary", "", "", "json", API_READ, "", true,
     "0.4.1", "Allocation counts by state for each task group of a job."},
    {"nodes", "list_nodes", "GET", "/v1/nodes", "prefix,next_token,per_page,filter,reverse,resources,os", "",
     "json", API_READ, "", true, "0.1.0", "List client nodes known to the servers."},
    {"nodes", "read_node", "GET", "/v1/node/{node_id}", "", "", "json", API_READ, "", true, "0.1.0",
     "Read one client node."},
    {"nodes", "list_node_allocations", "GET", "/v1/node/{node_id}/allocations", "", "", "json", API_READ, "",
     true, "0.1.0", "Allocations placed on a node."},
    {"nodes", "evaluate_node", "POST", "/v1/node/{node_id}/evaluate", "", "", "json", API_CREATES, "", false,
     "0.1.0", "Create evaluations for every job on a node."},
    {"nodes", "drain_node", "POST", "/v1/node/{node_id}/drain", "", "DrainSpec,MarkEligible,Meta", "json",
     API_CHANGE, "", false, "0.1.0", "Start, change or cancel draining of a node."},
    {"nodes", "set_node_eligibility", "POST", "/v1/node/{node_id}/eligibility", "", "Eligibility*", "json",
     API_CHANGE, "", false, "0.8.0", "Make a node eligible or ineligible for scheduling."},
    {"nodes", "purge_node", "POST", "/v1/node/{node_id}/purge", "", "", "json", API_CHANGE, "", false,
     "0.7.0", "Remove a node from the cluster state."},
    {"allocs", "list_allocations", "GET", "/v1/allocations",
     "prefix,next_token,per_page,filter,reverse,resources,task_states", "", "json", API_READ, "", true,
     "0.1.0", "List allocations in a namespace."},
    {"allocs", "read_allocation", "GET", "/v1/allocation/{alloc_id}", "", "", "json", API_READ, "", true,
     "0.1.0", "Read one allocation with its job and task states."},
    {"evaluations", "read_evaluation", "GET", "/v1/evaluation/{eval_id}", "related", "", "json", API_READ, "",
     true, "0.1.0", "Read one evaluation."},
    {"agent", "read_agent_self", "GET", "/v1/agent/self", "", "", "json", API_READ, "", false, "0.1.0",
     "Configuration, member data and stats of the local agent."},
    {"agent", "list_agent_members", "GET", "/v1/agent/members", "", "", "json", API_READ, "", false, "0.1.0",
     "Gossip members known to the servers."},
    {"agent", "list_agent_servers", "GET", "/v1/agent/servers", "", "", "json", API_READ, "", false, "0.1.0",
     "Servers that a client agent talks to."},
    {"agent", "read_agent_health", "GET", "/v1/agent/health", "type", "", "json", API_READ, "500", false,
     "0.7.0", "Health of the local agent's client and server parts."},
    {"status", "read_leader", "GET", "/v1/status/leader", "", "", "json", API_READ, "", false, "0.1.0",
     "Address of the region's leader."},
    {"status", "list_peers", "GET", "/v1/status/peers", "", "", "json", API_READ, "", false, "0.1.0",
     "Raft peers of the region."},
    {"regions", "list_regions", "GET", "/v1/regions", "", "", "json", API_READ, "", false, "0.2.1",
     "Names of all known regions."},
    {0},
};

/* As https://developer.hashicorp.com/nomad/commands#environment-variables has them. */
static const struct api_variable environment[] = {
    {"NOMAD_ADDR", API_ADDRESS, NULL},
    {"NOMAD_TOKEN", API_TOKEN, NULL},
    {"NOMAD_HTTP_AUTH", API_AUTH, NULL},
    {"NOMAD_SKIP_VERIFY", API_SKIP_VERIFY, NULL},
    {"NOMAD_CACERT", API_CA, NULL},
    {"NOMAD_CAPATH", API_CA_PATH, NULL},
    {"NOMAD_CLIENT_CERT", API_CERT, NULL},
    {"NOMAD_CLIENT_KEY", API_KEY, NULL},
    {"NOMAD_TLS_SERVER_NAME", API_SERVER_NAME, NULL},
    {"NOMAD_REGION", API_QUERY, "region"},
    {"NOMAD_NAMESPACE", API_QUERY, "namespace"},
    {0},
};

static const struct api_hint hints[] = {
    {"ACL support disabled",
     "ACLs are off in this cluster: no token is needed, and there are no policies to ask for"},
    {"No cluster leader",
     "the servers have elected no leader: look at nomad.status.list_peers and their logs"},
    {"No path to region", "nomad.regions.list_regions lists the regions there are"},
    {"UUID must be 36 characters", "give the whole id"},
    {"http on https", "the agent speaks https: write https:// in NOMAD_ADDR"},
    {0},
};

/* Nomad wants whole ids; its command line and people use the first eight digits. */
static const struct api_short_id short_ids[] = {
    {"node_id", "/v1/nodes", "node"},
    {"alloc_id", "/v1/allocations", "allocation"},
    {"eval_id", "/v1/evaluations", "evaluation"},
    {"deployment_id", "/v1/deployments", "deployment"},
    {0},
};

const struct api_product nomad_product = {
    .name = "nomad",
    .title = "Nomad",
    .rows = rows,
    .query = "region,namespace,stale",
    .flags = "stale",
    .slashes = "var_path",
    .token_header = "X-Nomad-Token",
    .index_header = "X-Nomad-Index",
    .address = "http://127.0.0.1:4646",
    .port = "4646",
    .unreachable = "is the agent running? systemctl status nomad",
    .environment = environment,
    .hints = hints,
    .short_ids = short_ids,
};

static void nomad_open(lua_State *L)
{
    api_open_module(L, &nomad_product);
}

static int nomad_call(lua_State *L)
{
    return api_call_module(L, &nomad_product);
}

static const struct binding_function functions[] = {
    {"", nomad_call, "nomad{addr=, token=, ...} -> client",
     "Another client with the same functions: addr (\"http://host:port\", \"https://...\", "
     "\"unix:///path\"), token (\"\" = "
     "none), region, namespace, ca, ca_path, cert, key, server_name, verify, user, password, unix_socket. "
     "What is not given "
     "comes from the environment, as for the nomad command.",
     "local other = nomad{addr = \"http://127.0.0.1:4647\"}"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct binding_module nomad_module = {
    .name = "nomad",
    .about = "Nomad's HTTP API: nomad.group.name(path parameters..., {options}) -> answer, {index=, status=, "
             "headers=}. "
             "The beginning of a node's, allocation's, evaluation's or deployment's id will do where it is "
             "unique.",
    .functions = functions,
    .open = nomad_open,
};
