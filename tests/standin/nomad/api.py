"""Purpose: the HTTP API: a table of endpoints, answered here or handed on to a server, with the status
codes, headers and texts of the real one."""

import http.server
import json
import re
import ssl
import time
import traceback
import urllib.parse

import about
from client import NoServer
from cluster import NotFound
from node import stub

TEXT = "text/plain; charset=utf-8"
NO_INDEX = None


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Request:
    def __init__(self, agent, method, target, body):
        self.agent, self.method, self.target, self.body = agent, method, target, body
        parts = urllib.parse.urlsplit(target)
        self.path = urllib.parse.unquote(parts.path)
        self.query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        self.arguments = ()
        # The index that the answer's headers tell: the server's whole one after a change.
        self.index = NO_INDEX
        self.known_leader = True

    @property
    def cluster(self):
        return self.agent.cluster

    def json(self):
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(400, json_complaint(self.body.decode(errors="replace"))) from None

    def table(self, name):
        """A read of table NAME, which may wait for a change of it."""
        if "index" in self.query:
            self.cluster.wait(name, int(self.query["index"] or 0), seconds(self.query.get("wait", "5m")))
        self.index = self.cluster.table_index(name)

    def wrote(self, index):
        self.index, self.known_leader = index, False


def json_complaint(text):
    bad = re.match(r'\s*\{\s*([^"}\s])', text)
    if bad:
        return f"invalid character '{bad[1]}' looking for beginning of object key string"
    return "unexpected end of JSON input" if not text.strip() else f"invalid character '{text.strip()[0]}' looking for beginning of value"


def seconds(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not found:
        raise Refused(400, "Invalid wait time")
    return min(float(found[1]) * units[found[2]], 600)


# --- nodes ------------------------------------------------------------------------------------

def list_nodes(request):
    request.table("nodes")
    prefix = request.query.get("prefix", "")
    with request.cluster.changed:
        return [stub(node) for key, node in sorted(request.cluster.nodes.items()) if key.startswith(prefix)]


def full_id(what, value):
    if len(value) != 36:
        raise Refused(500, f"{what} lookup failed: index error: UUID must be 36 characters")
    return value


def one_node(request, node_id):
    full_id("node", node_id)
    request.table("nodes")
    return request.cluster.find(node_id)


def node_allocations(request, node_id):
    request.table("allocs")
    return []


def node_eligibility(request, node_id):
    told = request.json()
    if told.get("Eligibility") not in ("eligible", "ineligible"):
        raise Refused(400, f'invalid scheduling eligibility "{told.get("Eligibility", "")}"')
    index = request.cluster.eligibility(full_id("node", node_id), told["Eligibility"])
    request.wrote(index)
    return {"EvalCreateIndex": 0, "EvalIDs": None, "Index": index, "NodeModifyIndex": 0}


def node_drain(request, node_id):
    told = request.json()
    index = request.cluster.drain(full_id("node", node_id), told.get("DrainSpec"), told.get("MarkEligible"))
    request.wrote(index)
    return {"EvalCreateIndex": 0, "EvalIDs": None, "Index": index, "NodeModifyIndex": index}


def node_purge(request, node_id):
    index = request.cluster.purge(full_id("node", node_id))
    request.wrote(index)
    return {"EvalCreateIndex": 0, "EvalIDs": None, "HeartbeatTTL": 0, "Index": index, "NodeModifyIndex": index}


# --- what runs: nothing does ------------------------------------------------------------------

def empty(table):
    def listing(request):
        request.table(table)
        return []
    return listing


def missing(what, text, is_uuid=True):
    def lookup(request, key, *_):
        if is_uuid:
            full_id(what, key)
        request.table(what)
        raise NotFound(text)
    return lookup


def put_job(request):
    job = request.json().get("Job")
    if not job:
        raise Refused(400, "Job must be specified" if job is None else "Job ID hasn't been provided")
    raise Refused(500, "the stand-in runs no jobs")


def delete_job(request, job_id):
    with request.cluster.changed:
        index = request.cluster.touch("jobs")
    request.wrote(index)
    return {"EvalCreateIndex": index, "EvalID": about.made_id(f"{job_id}{index}"), "Index": index,
            "JobModifyIndex": index, "KnownLeader": False, "LastContact": 0, "VolumeEvalID": "", "VolumeEvalIndex": 0}


def search(request):
    told = request.json()
    kinds = [told["Context"]] if told.get("Context") not in (None, "", "all") else ["jobs", "nodes"]
    request.table("nodes")
    found = {kind: None for kind in kinds}
    if "nodes" in kinds:
        found["nodes"] = [key for key in request.cluster.nodes if key.startswith(told.get("Prefix", ""))] or None
    return {"Index": request.index, "KnownLeader": True, "LastContact": 0, "Matches": found,
            "Truncations": {kind: False for kind in kinds}}


# --- agents and servers -----------------------------------------------------------------------

def leader(request):
    return "%s:%s" % request.agent.settings.advertise("rpc")


def agent_servers(request):
    return request.agent.client.servers if request.agent.client else [leader(request)]


def agent_health(request):
    agent, kind, told = request.agent, request.query.get("type"), {}
    if kind in (None, "client") and agent.client:
        beat = agent.client.last_beat
        fine = beat is not None and time.monotonic() - beat < 30
        told["client"] = {"message": "ok" if fine else "no known servers", "ok": fine}
    if kind in (None, "server") and agent.cluster:
        told["server"] = {"message": "ok", "ok": True}
    if kind and kind not in told:
        told[kind] = {"message": f"{kind} not enabled", "ok": False}
    if not all(part["ok"] for part in told.values()):
        raise Refused(500, json.dumps(told, separators=(",", ":")))
    return told


def acl_off(request, *_):
    raise Refused(400, "ACL support disabled")


def old_raft(request):
    raise Refused(500, "all servers must have raft_protocol set to 3 or higher to use this endpoint")


def scheduler(request):
    request.table("scheduler")
    return about.scheduler(request.index)


def namespaces(request):
    request.table("namespaces")
    return about.NAMESPACES


def nothing(request):
    return b""


def rpc_register(request):
    return request.cluster.register(request.json())


def rpc_heartbeat(request):
    told = request.json()
    return request.cluster.heartbeat(told["ID"], told["Status"])


# Path, {method: function}; HERE is answered by every agent itself, the rest by a server.
HERE = [
    (r"agent/self", {"GET": lambda request: about.agent_self(request.agent)}),
    (r"agent/servers", {"GET": agent_servers}),
    (r"agent/health", {"GET": agent_health}),
    (r"metrics", {"GET": lambda request: about.metrics(request.agent)}),
    (r"client/stats", {"GET": lambda request: about.client_stats(request.agent)}),
]
SERVER = [
    (r"status/leader", {"GET": leader}),
    (r"status/peers", {"GET": lambda request: [leader(request)]}),
    (r"regions", {"GET": lambda request: [request.agent.settings.region]}),
    (r"agent/members", {"GET": lambda request: about.members(request.agent)}),
    (r"nodes", {"GET": list_nodes}),
    (r"node/([^/]+)", {"GET": one_node}),
    (r"node/([^/]+)/allocations", {"GET": node_allocations}),
    (r"node/([^/]+)/eligibility", {"POST": node_eligibility, "PUT": node_eligibility}),
    (r"node/([^/]+)/drain", {"POST": node_drain, "PUT": node_drain}),
    (r"node/([^/]+)/purge", {"POST": node_purge, "PUT": node_purge}),
    (r"jobs", {"GET": empty("jobs"), "PUT": put_job, "POST": put_job}),
    (r"job/([^/]+)", {"GET": missing("job", "job not found", False), "DELETE": delete_job}),
    (r"evaluations", {"GET": empty("evals")}),
    (r"evaluation/([^/]+)", {"GET": missing("eval", "eval not found")}),
    (r"allocations", {"GET": empty("allocs")}),
    (r"allocation/([^/]+)", {"GET": missing("alloc", "alloc not found")}),
    (r"deployments", {"GET": empty("deployment")}),
    (r"deployment/([^/]+)", {"GET": missing("deployment", "deployment not found")}),
    (r"namespaces", {"GET": namespaces}),
    (r"plugins", {"GET": empty("csi_plugins")}),
    (r"volumes", {"GET": empty("csi_volumes")}),
    (r"scaling/policies", {"GET": empty("scaling_policy")}),
    (r"search", {"POST": search, "PUT": search}),
    (r"system/gc", {"PUT": nothing, "POST": nothing}),
    (r"acl/(?:policies|tokens|token/.+|policy/.+|roles)", {"GET": acl_off, "PUT": acl_off, "POST": acl_off, "DELETE": acl_off}),
    (r"operator/raft/configuration", {"GET": lambda request: about.raft(request.agent)}),
    (r"operator/autopilot/configuration", {"GET": lambda request: about.AUTOPILOT}),
    (r"operator/autopilot/health", {"GET": old_raft}),
    (r"operator/scheduler/configuration", {"GET": scheduler}),
]
RPC = [
    (r"register", {"POST": rpc_register}),
    (r"heartbeat", {"POST": rpc_heartbeat}),
]


def find(rows, path):
    for pattern, methods in rows:
        match = re.fullmatch(pattern, path)
        if match:
            return methods, match.groups()
    return None, ()


def answer(request):
    """(status, headers, body) for one request."""
    rows = [("/v1/", HERE)] + ([("/v1/", SERVER), ("/rpc/", RPC)] if request.cluster else [])
    for start, table in rows:
        methods, arguments = find(table, request.path.removeprefix(start)) if request.path.startswith(start) else (None, ())
        if methods is not None:
            return call(request, methods, arguments)
    if not request.cluster and request.path.startswith("/v1/") and find(SERVER, request.path[4:])[0] is not None:
        return hand_on(request)
    return 404, {}, b""


def call(request, methods, arguments):
    if request.method not in methods:
        return 405, {"Content-Type": TEXT}, b"Invalid method"
    try:
        value = methods[request.method](request, *arguments)
    except Refused as refused:
        return refused.status, {"Content-Type": TEXT}, str(refused).encode()
    except NotFound as error:
        return 404, {**index_headers(request), "Content-Type": TEXT}, str(error).encode()
    if value == b"":
        return 200, {}, b""
    return 200, {**index_headers(request), "Content-Type": "application/json"}, \
        json.dumps(value, separators=(",", ":")).encode()


def index_headers(request):
    if request.index is NO_INDEX:
        return {}
    headers = {"X-Nomad-Index": str(request.index)}
    if request.known_leader:
        headers |= {"X-Nomad-Knownleader": "true", "X-Nomad-Lastcontact": "0"}
    return headers


def hand_on(request):
    try:
        status, headers, body = request.agent.client.forward(request.method, request.target, request.body)
    except NoServer as error:
        return 500, {"Content-Type": TEXT}, str(error).encode()
    kept = {key: value for key, value in headers.items() if key == "Content-Type" or key.startswith("X-Nomad-")}
    return status, kept, body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as Go's servers: a second answer on a connection is not held back for 40 ms
    agent = None

    def reply(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, headers, text = answer(Request(self.agent, self.command, self.path, body))
        except Exception:  # a fault of the stand-in: say it to the caller and in the journal
            traceback.print_exc()
            status, headers, text = 500, {"Content-Type": TEXT}, b"the stand-in failed, see its log"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = reply

    def log_message(self, *_):
        """Requests are not logged: Nomad does so at its debug level only."""


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """Somebody who only connects, or leaves early, is no error."""


def serve(agent, where, tls):
    try:
        listener = Listener(where, type("Bound", (Handler,), {"agent": agent}))
    except OSError as error:
        raise OSError(f"failed to start HTTP listener: listen tcp {where[0]}:{where[1]}: bind: "
                      f"{(error.strerror or '').lower()}") from error
    if tls.get("http"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls["cert_file"], tls["key_file"])
        if tls.get("ca_file"):
            context.load_verify_locations(tls["ca_file"])
        if tls.get("verify_https_client"):
            context.verify_mode = ssl.CERT_REQUIRED
        listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    return listener
