/* Lua module `nomad`: the table of Nomad's HTTP API, and where its agent is. */
#include "api.h"

#include "kinds.h"

#include "nomad_rows.h" /* made from nomad.tsv */

/* As https://developer.hashicorp.com/nomad/commands#environment-variables has them. */
static const struct api_variable environment[] = {
    {"NOMAD_ADDR", API_ADDRESS, NULL, NULL},
    {"NOMAD_TOKEN", API_TOKEN, NULL, NULL},
    {"NOMAD_HTTP_AUTH", API_AUTH, NULL, NULL},
    {"NOMAD_SKIP_VERIFY", API_SKIP_VERIFY, NULL, NULL},
    {"NOMAD_CACERT", API_CA, NULL, NULL},
    {"NOMAD_CAPATH", API_CA_PATH, NULL, NULL},
    {"NOMAD_CLIENT_CERT", API_CERT, NULL, NULL},
    {"NOMAD_CLIENT_KEY", API_KEY, NULL, NULL},
    {"NOMAD_TLS_SERVER_NAME", API_SERVER_NAME, NULL, NULL},
    {"NOMAD_REGION", API_QUERY, "region", NULL},
    {"NOMAD_NAMESPACE", API_QUERY, "namespace", NULL},
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

/* The agent of a client has no member. */
static const struct api_version versions[] = {
    {"agent", "read_agent_self", "member.Tags.build,config.Version.Version"},
    {"agent", "list_agent_members", "Members.*.Tags.role=nomad.build"},
    {0},
};

static const struct api_agent agent = {
    .folder = "/etc/nomad.d",
    .option = "nomad_addr",
    .address = {"addresses.http", "bind_addr"},
    .port = "ports.http",
    .tls = "tls.http",
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
    .agent = &agent,
    .unreachable = "is the agent running? systemctl status nomad",
    .environment = environment,
    .hints = hints,
    .present = nomad_present,
    .absent = nomad_absent,
    .kinds = nomad_kinds,
    .short_ids = short_ids,
    .versions = versions,
};

static void nomad_open(lua_State *L)
{
    api_open_module(L, &nomad_product);
}

static int nomad_call(lua_State *L)
{
    return api_call_module(L, &nomad_product);
}

int nomad_version(lua_State *L)
{
    return api_push_version(L, &nomad_product);
}

static const struct binding_function functions[] = {
    {"", nomad_call, "nomad{addr=, token=, ...} -> client",
     "Another client with the same functions: addr (\"http://host:port\", \"https://...\", "
     "\"unix:///path\"), token (\"\" = "
     "none), region, namespace, ca, ca_path, cert, key, server_name, verify, user, password, unix_socket. "
     "What is not given "
     "comes from the environment, as for the nomad command.",
     "local other = nomad{addr = \"http://127.0.0.1:4647\"}"},
    {"watch", api_watch, "nomad.watch(function, path parameters..., {options}) -> iterator",
     "Blocking queries in a loop: for answer, meta in nomad.watch(nomad.jobs.read_job, \"ci\", {wait = "
     "\"1m\"}) do ... end hands out the answer now, then each time "
     "it has changed; false while the thing is not there. An index that goes back begins anew.",
     "for nodes in nomad.watch(nomad.nodes.list_nodes, {wait = \"1s\"}) do break end"},
    {"present", nomad_present, "nomad.present(kind, name, data, {create=}) -> {changed=, before=, after=}",
     "What a kind of thing in Nomad shall be: moonbook api nomad.present lists the kinds. It is read and "
     "compared as the "
     "server would store it (durations by their length, lists without order as sets; what data does not name "
     "is left "
     "alone; a field that is json.null shall not be there; a job by the server's own plan) and written only "
     "where it "
     "differs, with compare-and-set where Nomad has it; then read again. A job that was stopped is started. "
     "Raises "
     "\"usage\" for kinds and fields that there are not, \"failed\" when the server stores something else, "
     "and what the "
     "endpoints raise.",
     "nomad.present(\"scheduler configuration\", {SchedulerAlgorithm = \"binpack\"})"},
    {"absent", nomad_absent, "nomad.absent(kind, name, {purge=}) -> {changed=, before=, after=}",
     "Removes the thing where there is one. A job is stopped; purge = true forgets it too.",
     "nomad.absent(\"job\", \"example\", {purge = true})"},
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
    .api = &nomad_product,
};
