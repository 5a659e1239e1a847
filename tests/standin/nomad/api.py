"""Purpose: the HTTP API: which function answers where, here or on a server, and the answer's status, headers and
bytes as the real one sends them."""

import contextlib
import http.server
import json
import re
import ssl
import sys
import time
import traceback
import urllib.parse

import about
import api_acl
import api_cluster
import api_jobs
import events
from client import NoServer
from request import NOTHING, TEXT, Refused, Request, full_id
from store import Failed, NotFound
from variables import Conflict


# --- what every agent answers itself ----------------------------------------------------------------------

def agent_self(request):
    request.need_area("agent", "read")
    return about.agent_self(request.agent)


def agent_servers(request):
    request.need_area("agent", "read")
    return request.agent.client.servers if request.agent.client else [api_cluster.leader(request)]


def need_debug(request, want):
    if not request.cluster or not request.cluster.tokens:  # only with enable_debug
        raise Refused(403, "Permission denied")
    request.need_area("agent", want)


def agent_host(request):
    """Of the agent that is asked as it is; of one that is named, with its name."""
    need_debug(request, "read")
    data, server = about.host_data(), request.query.get("server_id")
    if "node_id" in request.query:
        return {"AgentID": full_id("node", request.query["node_id"]), "HostData": data}
    if not server:
        return data
    name = about.member(request.agent)["Name"]
    if server not in ("leader", name, request.agent.server_id):
        raise Refused(500, f"unknown Nomad server {server}")
    return {"AgentID": name, "HostData": data}


def command_line(request):
    need_debug(request, "write")
    return "\0".join(["nomad", *sys.argv[1:]]).encode()


def client_stats(request):
    request.need_area("node", "read")
    return about.client_stats(request.agent)


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


def unknown_allocation(request, allocation):
    raise Refused(404, f'Unknown allocation "{allocation}"')


def rpc_register(request):
    return request.cluster.register(request.json())


def rpc_heartbeat(request):
    told = request.json()
    return request.cluster.heartbeat(told["ID"], told["Status"])


# Path, {method: function}.
HERE = [
    (r"agent/self", {"GET": agent_self}),
    (r"agent/servers", {"GET": agent_servers}),
    (r"agent/health", {"GET": agent_health}),
    (r"agent/host", {"GET": agent_host}),
    (r"agent/pprof/cmdline", {"GET": command_line}),
    (r"metrics", {"GET": lambda request: about.metrics(request.agent)}),
    (r"client/stats", {"GET": client_stats}),
    (r"client/gc", {"GET": lambda request: NOTHING}),
    (r"client/allocation/([^/]+)/stats", {"GET": unknown_allocation}),
    (r"client/fs/\w+/([^/]+)", {"GET": unknown_allocation}),
]
SERVER = api_jobs.ROUTES + api_acl.ROUTES + api_cluster.ROUTES
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
        return methods.get("otherwise", 405), {"Content-Type": TEXT}, b"Invalid method"
    try:
        # A change is whole before another one begins; a blocking query lets go of the lock while it waits.
        with request.cluster.changed if request.cluster else contextlib.nullcontext():
            request.check()
            value = methods[request.method](request, *arguments)
            text = value if isinstance(value, bytes) else shown(request, value)
    except Refused as refused:
        return refused.status, {"Content-Type": refused.content_type}, str(refused).encode()
    except Failed as failed:
        return failed.status, {"Content-Type": TEXT}, str(failed).encode()
    except NotFound as error:
        return 404, {**index_headers(request), "Content-Type": TEXT}, str(error).encode()
    except Conflict as conflict:
        request.index = conflict.found["ModifyIndex"]
        return 409, {**index_headers(request), "Content-Type": "application/json"}, shown(request, conflict.found)
    except api_cluster.NoContent:
        return 204, index_headers(request), b""
    if isinstance(value, bytes):
        return 200, {**index_headers(request), **({"Content-Type": TEXT} if value else {})}, value
    return 200, {**index_headers(request), "Content-Type": "application/json"}, text


def shown(request, value):
    if "pretty" in request.query and request.query["pretty"] != "0":
        return json.dumps(value, indent=4).encode() + b"\n"
    return json.dumps(value, separators=(",", ":")).encode()


def index_headers(request):
    if request.index is None:
        return {}
    headers = {"X-Nomad-Index": str(request.index)}
    if request.known_leader is not None:
        headers |= {"X-Nomad-Knownleader": str(request.known_leader).lower(), "X-Nomad-Lastcontact": "0"}
    return headers


def hand_on(request):
    try:
        status, headers, body = request.agent.client.forward(request.method, request.target, request.body, request.token)
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
        request = Request(self.agent, self.command, self.path, body, self.headers.get("X-Nomad-Token", ""))
        try:
            if request.path == "/v1/event/stream" and request.cluster and request.method == "GET":
                return self.stream(request)
            status, headers, text = answer(request)
        except Exception:  # a fault of the stand-in: say it to the caller and in the journal
            traceback.print_exc()
            status, headers, text = 500, {"Content-Type": TEXT}, b"the stand-in failed, see its log"
        return self.send(status, headers, text)

    def send(self, status, headers, text):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def stream(self, request):
        """Lines until the caller goes away."""
        queries = urllib.parse.parse_qs(urllib.parse.urlsplit(request.target).query).get("topic", [])
        try:
            lines = events.stream(request, queries)
        except Refused as refused:
            return self.send(refused.status, {"Content-Type": refused.content_type}, str(refused).encode())
        self.close_connection = True
        self.send_response(200)
        for name, value in (("Cache-Control", "no-cache"), ("Content-Type", "application/json"),
                            ("Transfer-Encoding", "chunked")):
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            for line in lines:
                self.wfile.write(f"{len(line.encode()):x}\r\n{line}\r\n".encode())
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = reply

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
