"""Purpose: the endpoints of nodes, of what runs on them, of namespaces and of the servers themselves."""

import re

import about
import allocation
from node import stub
from release import at_least
from request import NOTHING, Refused, by_id, full_id, id_prefix
from settings import read_cas


def both(function):
    return {"PUT": function, "POST": function}


# --- nodes ------------------------------------------------------------------------------------

def list_nodes(request):
    request.need_area("node", "read")
    prefix = id_prefix("node", request.prefix)
    return request.read(lambda: [stub(node) for node in by_id(request.cluster.nodes, prefix)], "nodes")


def one_node(request, node_id):
    request.need_area("node", "read")
    full_id("node", node_id)
    return request.read(lambda: request.cluster.find(node_id), "nodes", index_of=lambda node: node["ModifyIndex"])


def node_allocations(request, node_id):
    request.need_area("node", "read")
    full_id("node", node_id)
    return request.read(lambda: [allocation.shown(one) for one in request.cluster.scheduler.on_node(node_id)
                                 if request.may.namespace(one["Namespace"], "read-job")], "allocs")


def changed_node(request, index, evals, node_index, **more):
    request.index = index
    return {"EvalCreateIndex": request.cluster.index if evals else 0, "EvalIDs": evals or None, "Index": index,
            "NodeModifyIndex": node_index, **more}


def node_eligibility(request, node_id):
    told = request.json()
    request.need_area("node", "write")
    if told.get("Eligibility") not in ("eligible", "ineligible"):
        raise Refused(500, f'invalid scheduling eligibility "{told.get("Eligibility", "")}"')
    index, evals = request.cluster.eligibility(full_id("node", node_id), told["Eligibility"])
    return changed_node(request, index, evals, 0)


def node_drain(request, node_id):
    told = request.json()
    request.need_area("node", "write")
    spec = told.get("DrainSpec")
    spec = spec and {"Deadline": spec.get("Deadline") or 0, "IgnoreSystemJobs": bool(spec.get("IgnoreSystemJobs"))}
    index, evals = request.cluster.drain(full_id("node", node_id), spec, bool(told.get("MarkEligible")), told.get("Meta"))
    return changed_node(request, index, evals, index)


def node_purge(request, node_id):
    request.need_area("node", "write")
    index, evals = request.cluster.purge(full_id("node", node_id))
    return changed_node(request, index, evals, index, **heartbeat(request))


def heartbeat(request):
    """What an answer to a client's heartbeat would hold, which other answers have too."""
    address = leader(request)
    server = {"Datacenter": request.agent.settings.datacenter, "RPCAdvertiseAddr": address, "RPCMajorVersion": 1,
              "RPCMinorVersion": 1}
    return {"HeartbeatTTL": 0, "Features": 0, "KnownLeader": False, "LastContact": 0, "LeaderRPCAddr": address,
            "NumNodes": len(request.cluster.nodes), "Servers": [server]}


def node_evaluate(request, node_id):
    request.need_area("node", "write")
    node = request.cluster.find(full_id("node", node_id), error=lambda text: Refused(500, text))
    evals = request.cluster.scheduler.evaluate_node(node)
    return changed_node(request, request.cluster.index if evals else 0, evals, 0, **heartbeat(request))


# --- what runs --------------------------------------------------------------------------------

def listing(table, rows_of, show=dict, what=None):
    """All of a namespace, by the beginning of their ids."""
    def answer(request):
        request.need_namespace("read-job")
        prefix = id_prefix(what, request.prefix)
        return request.read(lambda: [show(row) for row in by_id(rows_of(request), prefix)
                                     if request.namespace in ("*", row["Namespace"])], table)
    return answer


def one_of(table, rows_of, what, show=dict, index_key="ModifyIndex"):
    def answer(request, key):
        request.need_namespace("read-job")
        full_id(what, key)
        return request.read(lambda: show(request.cluster.scheduler.get(rows_of(request), key, what)), table,
                            index_of=lambda row: row[index_key])
    return answer


def one_allocation(request, key):
    full_id("alloc", key)
    found = request.read(lambda: request.cluster.scheduler.get(request.cluster.scheduler.allocs, key, "alloc"), "allocs",
                         index_of=lambda row: row["ModifyIndex"])
    request.need_namespace("read-job", space=found["Namespace"])
    return allocation.shown(found)


def stop_allocation(request, key):
    full_id("alloc", key)
    made = request.cluster.scheduler.stop(key)
    request.index = made["Index"]
    return made


def eval_allocations(request, key):
    request.need_namespace("read-job")
    return request.read(lambda: [allocation.stub(one) for one in request.cluster.scheduler.allocs.values()
                                 if one["EvalID"] == key], "allocs")


def deployment_allocations(request, key):
    request.need_namespace("read-job")
    return request.read(lambda: [allocation.stub(one) for one in request.cluster.scheduler.allocs.values()
                                 if one.get("DeploymentID") == key], "allocs")


def fail_deployment(request, key):
    request.need_namespace("submit-job")
    made = request.cluster.scheduler.fail_deployment(full_id("deployment", key))
    request.index = made["Index"]
    return made


# --- namespaces -------------------------------------------------------------------------------

def list_namespaces(request):
    return request.read(lambda: [row for row in request.cluster.namespaces.list(request.prefix)
                                 if request.may.any_of_namespace(row["Name"])], "namespaces")


def one_namespace(request, name):
    request.need(request.may.any_of_namespace(name))
    return request.read(lambda: request.cluster.namespaces.read(name), "namespaces", index_of=lambda row: row["ModifyIndex"])


def put_namespace(request, name=""):
    told = request.json(status=500)
    if name and told.get("Name") != name:
        raise Refused(400, "Namespace name does not match request path")
    request.need_management()
    return request.wrote(request.cluster.namespaces.upsert(told))


def delete_namespace(request, name):
    request.need_management()
    return request.wrote(request.cluster.namespaces.delete(name))


# --- search -----------------------------------------------------------------------------------

CONTEXTS = ["allocs", "jobs", "nodes", "evals", "deployment", "plugins", "volumes", "scaling_policy", "namespaces"]
TABLES = {"allocs": "allocs", "jobs": "jobs", "nodes": "nodes", "evals": "evals", "deployment": "deployment",
          "namespaces": "namespaces"}
BY_ID = ("allocs", "nodes", "evals", "deployment")


def search_contexts(request):
    told = request.json()
    context = told.get("Context") or ""
    check_search(request, context)
    if context != "all" and context not in CONTEXTS:
        raise Refused(500, f"context must be one of [{' '.join(CONTEXTS)}] or 'all' for all contexts; got \"{context}\"")
    return told, [one for one in (CONTEXTS if context == "all" else [context]) if may_search(request, one)]


def check_search(request, context):
    """A context that the token may not see is refused; of all contexts it sees what it may."""
    space = request.namespace
    request.need(any((request.may.area("node", "read"), request.may.any_of_namespace(space))))
    if context in ("allocs", "jobs", "evals", "deployment"):
        request.need_namespace("read-job")
    elif context == "nodes":
        request.need_area("node", "read")
    elif context == "namespaces":
        request.need(request.may.any_of_namespace(space))


def may_search(request, context):
    if context == "nodes":
        return request.may.area("node", "read")
    if context == "namespaces":
        return request.may.any_of_namespace(request.namespace)
    return request.may.namespace(request.namespace, "read-job")


def searched(request):
    """{context: ids}"""
    cluster, space = request.cluster, request.namespace
    runs = cluster.scheduler

    def mine(rows):
        return [key for key, row in sorted(rows.items()) if space in ("*", row["Namespace"])]
    return {"jobs": [key[1] for key in sorted(cluster.jobs.rows) if space in ("*", key[0])], "nodes": sorted(cluster.nodes),
            "evals": mine(runs.evals), "allocs": mine(runs.allocs), "deployment": mine(runs.deployments),
            "namespaces": sorted(name for name in cluster.namespaces.rows if request.may.any_of_namespace(name))}


def search_answer(request, contexts, looked, matches):
    request.known_leader = True
    request.index = max([request.cluster.table_index(TABLES[one]) for one in contexts if one in TABLES], default=0)
    return {"Index": request.index, "KnownLeader": True, "LastContact": 0, "Matches": matches,
            "Truncations": {one: False for one in looked}}


def search(request):
    told, contexts = search_contexts(request)
    prefix, rows = told.get("Prefix") or "", searched(request)
    # No id begins with what is no hexadecimal digit, so nobody looks there.
    looked = [one for one in contexts if one not in BY_ID or re.fullmatch(r"[0-9a-fA-F-]*", prefix)]
    return search_answer(request, contexts, looked, {one: [key for key in rows.get(one, ()) if key.startswith(prefix)] or None
                                                     for one in looked})


def search_fuzzy(request):
    told, contexts = search_contexts(request)
    text, cluster = told.get("Text") or "", request.cluster
    if len(text) < 2:
        raise Refused(500, f"fuzzy search query must be at least 2 characters, got {len(text)}")
    found = {"jobs": [(job["Name"], [key[0], key[1]]) for key, job in sorted(cluster.jobs.rows.items())],
             "nodes": [(node["Name"], [node["ID"]]) for node in cluster.nodes.values()],
             "namespaces": [(name, []) for name in cluster.namespaces.rows]}
    contexts = [one for one in contexts if one in found]
    matches = {one: [{"ID": name, "Scope": scope} if scope else {"ID": name} for name, scope in found[one]
                     if text.lower() in name.lower()] for one in contexts}
    return search_answer(request, contexts, contexts, {one: rows for one, rows in matches.items() if rows})


# --- servers ----------------------------------------------------------------------------------

def leader(request):
    return "%s:%s" % request.agent.settings.advertise("rpc")


def members(request):
    request.need_area("node", "read")
    return about.members(request.agent)


def raft(request):
    request.need_area("operator", "read")
    return about.raft(request.agent)


def raft_peer(request):
    request.need_area("operator", "write")
    for name in ("id", "address"):
        if name in request.query:
            raise Refused(500, f'{name} "{request.query[name]}" was not found in the Raft configuration')
    raise Refused(400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")


def read_autopilot(request):
    request.need_area("operator", "read")
    return request.cluster.operator.autopilot


def put_autopilot(request):
    told, cas = request.json(before="Error parsing autopilot config: "), read_cas(request)
    request.need_area("operator", "write")
    return request.cluster.operator.put_autopilot(told, cas)


def autopilot_health(request):
    request.need_area("operator", "read")
    raise Refused(500, "all servers must have raft_protocol set to 3 or higher to use this endpoint")


def read_scheduler(request):
    request.need_area("operator", "read")
    return request.read(request.cluster.operator.read_scheduler, "scheduler_config", index_of=lambda told: told["Index"])


def put_scheduler(request):
    told = request.json(before="Error parsing scheduler config: ")
    request.need_area("operator", "write")
    made = request.cluster.operator.put_scheduler(told, read_cas(request))
    request.index = made["Index"]
    return made


def collect_garbage(request):
    request.need_management()
    request.cluster.scheduler.collect()
    return NOTHING


def reconcile_summaries(request):
    request.need_management()
    return NOTHING


def force_leave(request):
    request.need_area("agent", "write")
    if not request.query.get("node"):
        raise Refused(400, "missing node to force leave")
    return NOTHING


def join(request):
    request.need_area("agent", "write")
    if not request.query.get("address"):
        raise Refused(400, "missing address to join")
    return {"error": "", "num_joined": 0}


def empty(table, *capabilities, asks=None):
    """A listing of what there is none of; ASKS: the parameter without which nothing is looked for."""
    def answer(request):
        if asks and asks not in request.query:
            return []
        request.need_namespace(*capabilities)
        return request.read(list, table)
    return answer


# --- variables and node pools, where the version has them ---------------------------------------

def list_variables(request):
    return request.read(lambda: request.cluster.variables.list(request.namespace, request.prefix, request.may.variable),
                        "variables")


def variable_cas(request):
    text = request.query.get("cas")
    if text and not text.isdigit():
        raise Refused(400, f'can not parse cas: strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text) if text else None


def read_variable(request, path):
    request.need(request.may.variable(request.namespace, path, "read"))
    return request.read(lambda: request.cluster.variables.read((request.namespace, path)), "variables",
                        index_of=lambda row: row["ModifyIndex"])


def put_variable(request, path):
    told = request.json()
    if not told.get("Items"):
        raise Refused(400, "variable missing required Items object")
    key = told.get("Namespace") or request.namespace, path
    request.need(request.may.variable(*key, "write"))
    made = request.cluster.variables.put(key, told["Items"], variable_cas(request))
    request.index = made["ModifyIndex"]
    return made


def delete_variable(request, path):
    request.need(request.may.variable(request.namespace, path, "destroy"))
    request.index = request.cluster.variables.delete((request.namespace, path), variable_cas(request))
    raise NoContent


class NoContent(Exception):
    """204"""


def list_pools(request):
    return request.read(lambda: by_id(request.cluster.pools.rows, request.prefix), "node_pools")


def one_pool(request, name):
    return request.read(lambda: request.cluster.pools.read(name), "node_pools", index_of=lambda row: row["ModifyIndex"])


def put_pool(request, name=""):
    told = request.json()
    if name and told.get("Name") != name:
        raise Refused(400, "Node pool name does not match request path")
    request.need_management()
    return request.wrote(request.cluster.pools.upsert(told))


def delete_pool(request, name):
    request.need_management()
    return request.wrote(request.cluster.pools.delete(name))


def pool_nodes(request, name):
    def find():
        pools = request.cluster.pools
        pools.read(name)
        return [stub(node) for node in by_id(request.cluster.nodes) if pools.holds(name, node)]
    return request.read(find, "nodes", "node_pools")


def pool_jobs(request, name):
    def find():
        request.cluster.pools.read(name)
        jobs = request.cluster.jobs
        return [jobs.stub(job) for _, job in sorted(jobs.rows.items()) if (job.get("NodePool") or "default") == name]
    return request.read(find, "jobs", "node_pools")


NEWER = [
    ((1, 4), r"vars", {"GET": list_variables}),
    ((1, 4), r"var/(.+)", {"GET": read_variable, **both(put_variable), "DELETE": delete_variable}),
    ((1, 6), r"node/pools", {"GET": list_pools, **both(put_pool)}),
    ((1, 6), r"node/pool/([^/]+)/nodes", {"GET": pool_nodes}),
    ((1, 6), r"node/pool/([^/]+)/jobs", {"GET": pool_jobs}),
    ((1, 6), r"node/pool/([^/]+)", {"GET": one_pool, **both(put_pool), "DELETE": delete_pool}),
]


def evals(request):
    return request.cluster.scheduler.evals


def allocs(request):
    return request.cluster.scheduler.allocs


def deployments(request):
    return request.cluster.scheduler.deployments


ROUTES = [(pattern, methods) for since, pattern, methods in NEWER if at_least(*since)] + [
    (r"status/leader", {"GET": leader}),
    (r"status/peers", {"GET": lambda request: [leader(request)]}),
    (r"regions", {"GET": lambda request: [request.agent.settings.region]}),
    (r"agent/members", {"GET": members}),
    (r"agent/force-leave", both(force_leave)),
    (r"agent/join", both(join)),
    (r"nodes", {"GET": list_nodes}),
    (r"node/(.+)/evaluate", both(node_evaluate)),
    (r"node/(.+)/allocations", {"GET": node_allocations}),
    (r"node/(.+)/eligibility", both(node_eligibility)),
    (r"node/(.+)/drain", both(node_drain)),
    (r"node/(.+)/purge", both(node_purge)),
    (r"node/(.+)", {"GET": one_node}),
    (r"evaluations", {"GET": listing("evals", evals, what="eval")}),
    (r"evaluation/(.+)/allocations", {"GET": eval_allocations}),
    (r"evaluation/(.+)", {"GET": one_of("evals", evals, "eval")}),
    (r"allocations", {"GET": listing("allocs", allocs, allocation.stub, "alloc")}),
    (r"allocation/(.+)/stop", both(stop_allocation)),
    (r"allocation/(.+)", {"GET": one_allocation}),
    (r"deployments", {"GET": listing("deployment", deployments, what="deployment")}),
    (r"deployment/allocations/(.+)", {"GET": deployment_allocations}),
    (r"deployment/fail/(.+)", both(fail_deployment)),
    (r"deployment/(.+)", {"GET": one_of("deployment", deployments, "deployment")}),
    (r"namespaces", {"GET": list_namespaces}),
    (r"namespace", both(put_namespace)),
    (r"namespace/(.+)", {"GET": one_namespace, **both(put_namespace), "DELETE": delete_namespace}),
    (r"plugins", {"GET": empty("csi_plugins", "csi-list-volume", asks="type")}),
    (r"volumes", {"GET": empty("csi_volumes", "csi-list-volume", asks="type")}),
    (r"scaling/policies", {"GET": empty("scaling_policy", "list-scaling-policies")}),
    (r"search", both(search)),
    (r"search/fuzzy", both(search_fuzzy)),
    (r"system/gc", both(collect_garbage)),
    (r"system/reconcile/summaries", both(reconcile_summaries)),
    (r"operator/raft/configuration", {"GET": raft}),
    (r"operator/raft/peer", {"DELETE": raft_peer}),
    (r"operator/autopilot/configuration", {"GET": read_autopilot, "PUT": put_autopilot, "otherwise": 404}),
    (r"operator/autopilot/health", {"GET": autopilot_health}),
    (r"operator/scheduler/configuration", {"GET": read_scheduler, **both(put_scheduler)}),
]
