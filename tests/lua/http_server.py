#!/usr/bin/env python3
"""A server for tests, on loopback, with the port it prints: what well-behaved and hostile servers answer.

Paths: /echo /headers /status/CODE /slow/SECONDS /busy/NAME/COUNT (429 COUNT times, then 200) /redirect/CODE?to=URL
/loop /big/BYTES /short (closes in mid-body) /leave (closes after a whole answer, without saying so) /vanish (a kept connection is closed instead of an answer) /reset /garbage /spaces (no end) /json /deep /store/... (GET PUT DELETE)
/seen (what came in, as JSON lines; the tests ask it whether a secret went somewhere) /empty404.
/v1/... answers a little of what Consul and Nomad answer, in their words (as recorded from Consul 1.8 and Nomad 1.1).
With --tls CERT KEY it speaks https, with --client-ca FILE it wants a client certificate. --replay=FILE answers what is in a file of recorded
exchanges (tests/lua/recordings) as it was answered then: a request that was made several times as the first time or, after
/turn/LINE, as in that line of the file.
"""
import base64
import collections
import json
import socket
import ssl
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def key(method, path):
    """Equal for equal requests: the order of parameters does not count, and PUT is POST for these servers but Consul."""
    path, _, query = path.partition("?")
    query = sorted(urllib.parse.unquote(query).replace("000ms", "s").split("&"))
    return "PUT" if method == "POST" else method, urllib.parse.unquote(path), "&".join(query)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its headers
    seen = []
    connections = []
    kept = asked = False  # of this connection: was something asked before
    busy = collections.Counter()
    sent = collections.Counter()
    store = {}

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="text/plain", headers=()):
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length).decode("utf-8", "surrogateescape")
        self.kept, self.asked = self.asked, True
        if not self.kept:
            self.connections.append(self.client_address)
        if url.path != "/seen":
            self.seen.append({"method": self.command, "path": self.path, "body": self.body,
                              "headers": {k.lower(): v for k, v in self.headers.items()}})
        recorded = self.server.recorded.get(key(self.command, self.path))
        if recorded:
            self.replay(next((e for e in recorded if e["line"] == self.server.turn), recorded[0]))
            return
        name, _, rest = url.path[1:].partition("/")
        method = getattr(self, "at_" + name, None)
        method(rest) if method else self.any()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_LIST = do_PATCH = handle_any

    def any(self):
        self.answer(404, "404 page not found")

    def replay(self, exchange):
        response, headers = exchange["response"], exchange["response_headers"]
        if response is None:
            body = b""
        elif isinstance(response, str):
            body = response.encode()
        elif isinstance(response, dict) and set(response) == {"base64"}:
            body = base64.b64decode(response["base64"])
        else:
            body = json.dumps(response).encode()
        self.answer(exchange["status"], body, headers.get("Content-Type"),
                    [h for h in headers.items() if h[0] not in ("Content-Type", "Content-Length")])

    def at_echo(self, _):
        self.answer(200, json.dumps(self.seen[-1]), "application/json")

    def at_seen(self, _):
        self.answer(200, json.dumps({"requests": self.seen, "connections": len(self.connections), "sent": self.sent}),
                    "application/json")

    def at_turn(self, line):  # of what is replayed, the line that is meant next
        self.server.turn = int(line)
        self.answer(200)

    def at_status(self, code):
        self.answer(int(code), "status " + code)

    def at_slow(self, seconds):
        time.sleep(float(seconds))
        self.answer(200, "late")

    def at_busy(self, rest):
        name, count = rest.split("/")
        self.busy[name] += 1
        if self.busy[name] <= int(count):
            self.answer(429, "busy", headers=[("Retry-After", self.query.get("after", "0"))])
        else:
            self.answer(200, str(self.busy[name]))

    def at_redirect(self, code):
        self.answer(int(code), "elsewhere", headers=[("Location", self.query["to"])])

    def at_loop(self, _):
        self.answer(302, "", headers=[("Location", "/loop")])

    def at_big(self, size):
        self.answer(200, b"x" * int(size))

    def at_short(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def at_leave(self, _):
        self.answer(200, "left")
        self.close_connection = True

    def at_vanish(self, _):
        if self.kept:
            self.close_connection = True
        else:
            self.answer(200, "there")

    def at_reset(self, _):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True

    def at_garbage(self, _):
        self.wfile.write(b"220 mail ready\r\n")
        self.close_connection = True

    def at_spaces(self, _):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(b" " * 65536)
        except OSError:
            pass

    def at_json(self, _):
        self.answer(200, '{"number": 1600000000000000001, "list": [], "none": null}', "application/json")

    def at_broken(self, _):
        self.answer(200, '{"number": ', "application/json")

    def at_deep(self, _):
        self.answer(200, "[" * 100000, "application/json")

    def at_empty404(self, _):
        self.answer(404, "", None)

    def at_store(self, key):
        if self.command == "PUT":
            self.store[key] = self.body
            self.answer(200, "true", "application/json")
        elif self.command == "DELETE":
            self.store.pop(key, None)
            self.answer(200, "true", "application/json")
        elif key in self.store:
            self.answer(200, self.store[key])
        else:
            self.answer(404, "not found")

    # Consul and Nomad

    nodes = [{"ID": "d9c41bdc-af26-51cf-b7ee-1ef11455c84b", "Name": "builder1"},
             {"ID": "d9c41bde-0000-51cf-b7ee-1ef11455c84b", "Name": "builder2"},
             {"ID": "77777777-af26-51cf-b7ee-1ef11455c84b", "Name": "builder3"}]

    def value(self, value, index=7, status=200):
        self.answer(status, json.dumps(value), "application/json",
                    [("X-Consul-Index", str(index)), ("X-Nomad-Index", str(index))])

    def at_v1(self, rest):
        rest = urllib.parse.unquote(rest)
        if rest == "sys/leader":
            self.value({"ha_enabled": True, "is_self": False, "leader_address": self.store.get("leader", "")})
            return
        if "redirect" in self.store and rest != "sys/leader":  # a standby
            self.answer(307, "", None, [("Location", self.store["redirect"] + self.path)])
            return
        if self.vault(rest) or self.stream(rest):
            return
        head, _, tail = rest.partition("/")
        plain = {"status/leader": "127.0.0.1:8300", "status/peers": ["127.0.0.1:8300"], "catalog/nodes": None,
                 "catalog/services": {"web": []}, "regions": ["global"]}
        if rest in plain:
            self.value(plain[rest])
        elif rest.startswith("catalog/service/"):  # as Consul from 1.11 on; the name tells whether all is shown
            self.answer(200, "[]", "application/json", [("X-Consul-Index", "7"), ("X-Consul-Default-ACL-Policy", "deny")] +
                        [("X-Consul-Results-Filtered-By-ACLs", "true")] * rest.endswith("hidden"))
        elif rest == "internal/acl/authorize":
            blind = self.headers.get("X-Consul-Token") == "sees-no-nodes"
            self.value([{**asked, "Allow": not blind or asked["Resource"] != "node"} for asked in json.loads(self.body)])
        elif head == "kv":
            self.consul_key(tail)
        elif rest == "agent/services":
            token = self.headers.get("X-Consul-Token")
            if token in ("good-token", "sees-no-nodes"):
                self.value({})
            else:
                self.answer(403, "ACL not found" if token else "Permission denied")
        elif rest.startswith("agent/service/deregister/"):
            name = rest[len("agent/service/deregister/"):]
            if name == "NOPE":
                self.answer(500, 'Unknown service {"NOPE" {}}')
            else:
                self.answer(200, "", None)
        elif rest == "agent/service/register":
            self.answer(200, "", None)
        elif rest == "agent/health":
            self.value({"server": {"ok": False, "message": "no leader"}}, status=500)
        elif rest.startswith("agent/health/service/id/"):
            self.value({"AggregatedStatus": "critical"}, status=503)
        elif rest == "nodes":
            self.value([n for n in self.nodes if n["ID"].startswith(self.query.get("prefix", ""))])
        elif head == "node":
            found = [n for n in self.nodes if n["ID"] == tail.split("/")[0]]
            if found:
                self.value(found[0])
            else:
                self.answer(404, "node not found", headers=[("X-Nomad-Index", "9")])
        elif head == "jobs":
            self.answer(400, "ACL support disabled")
        else:
            self.answer(404, "", None)

    def vault(self, rest):
        token = self.headers.get("X-Vault-Token")
        if rest == "auth/token/lookup-self":
            if token:
                self.value({"data": {"id": token, "display_name": "me", "ttl": 60}})
            else:
                self.answer(403, '{"errors":["permission denied"]}', "application/json")
        elif rest == "sys/policies/acl/refused":
            self.answer(403, '{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}', "application/json")
        elif rest == "pki/issue/web":  # format=pem_bundle: the key stands in front of the certificate
            self.value({"data": {"certificate": "-----BEGIN RSA PRIVATE KEY-----\nMII", "private_key": "MII",
                                 "serial_number": "39:dd"}})
        elif rest == "database/config/ci":
            self.value({"data": {"plugin_name": "influxdb-database-plugin",
                                 "connection_details": {"pem_bundle": "-----BEGIN RSA PRIVATE KEY-----\nMII"}}})
        elif rest == "database/creds/ci":
            self.value({"lease_id": "database/creds/ci/1", "data": {"username": "v-ci", "password": "p4ssw0rd-of-ci"}})
        elif "X-Vault-Request" in self.headers and rest.startswith("kv") and self.command in ("POST", "DELETE"):
            self.answer(204, "", None)
        elif rest in ("kv/a", "team/kv/a"):
            self.value({"data": {"password": "hunter2-and-more", "pin": 123456, "short": "ab", "none": "", "on": True,
                                 "list": ["one-of-two", "two-of-two"]}})
        elif rest == "identity/entity/name/me":
            self.value({"data": {"name": "me"}})
        elif rest.startswith("gone/"):
            self.answer(404, '{"errors":["no handler for route \\"%s\\". route entry not found."]}' % rest, "application/json")
        elif rest == "identity/lookup/entity":
            self.answer(204, "", None)
        elif rest.startswith("secret/data/deleted"):
            self.answer(404, '{"data":{"data":null,"metadata":{"version":2,"destroyed":false}}}', "application/json")
        elif rest.startswith("secret/data/none"):
            self.answer(404, '{"errors":[]}\n', "application/json")
        elif rest == "sys/health":
            self.value({"sealed": True}, status=503)
        elif rest == "sys/key-status":
            self.answer(503, '{"errors":["error performing token check: Vault is sealed"]}', "application/json")
        elif rest == "auth/token/create":
            self.value({"auth": {"client_token": "s.new-token-for-you", "accessor": "acc-1"}})
        elif rest == "sys/generate-root/attempt":
            self.value({"nonce": "n", "otp": "one-time-pass", "encoded_token": ""})
        elif rest == "operator/keyring":
            self.value([{"WAN": False, "Keys": {"Z29zc2lwLWtleS1vZi10aGlz": 1}}])
        elif rest == "var/taken" and self.command != "GET":  # somebody else was faster
            self.value({"Path": "taken", "Items": {"key": "somebody-elses-secret"}, "ModifyIndex": 14}, status=409)
        elif rest.startswith("var/"):
            self.value({"Path": rest[4:], "Items": {"db_password": "nomad-kept-secret"}})
        else:
            return False
        return True

    # Streams: no length, in pieces that end where they like. agent/monitor?loglevel=endless writes until it is stopped.

    def begin(self, kind="application/json"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.close_connection = True

    def pieces(self, text, size=7):
        for at in range(0, len(text), size):
            self.wfile.write(text[at:at + size].encode())
            self.wfile.flush()

    def stream(self, rest):
        level = self.query.get("loglevel")
        if rest == "agent/monitor" and level == "endless":
            self.begin("text/plain")
            try:
                while True:
                    self.sent["monitor"] += self.wfile.write(b"a line of the log, of some length\n" * 1000)
            except OSError:
                self.sent["closed"] += 1
        elif rest == "agent/monitor" and level == "silent":
            self.begin("text/plain")
            self.wfile.write(b"one\n")
            time.sleep(60)
        elif rest == "agent/monitor" and level == "broken":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"one\ntw")
            self.close_connection = True
        elif rest == "agent/monitor" and level in ("wide", "object"):  # never ends a line, or an object
            self.begin("text/plain")
            try:
                self.wfile.write(b"{" if level == "object" else b"")
                while True:
                    self.wfile.write(b'"aaaaaaaaaaaaaaaa"' * 4000)
            except OSError:
                pass
        elif rest == "agent/monitor" and level == "garbage":
            self.begin()
            self.pieces('{"a": 1} {"a": }')
        elif rest == "agent/monitor" and level == "deep":
            self.begin()
            self.pieces('{"a":' * 5000 + "1" + "}" * 5000, 1000)
        elif rest == "agent/monitor" and level == "none":
            self.answer(403, "Permission denied")
        elif rest == "agent/monitor":
            self.begin("text/plain")
            self.pieces("2026 [INFO] one\r\n2026 [WARN] {two}\n\nlast")
        elif rest.startswith("client/fs/logs/"):
            self.begin()
            if "plain" in self.query:
                self.pieces('{"a": "line of the program\'s own"}\nsecond\n')
            else:
                for part in ("first li", 'ne\nsecond {\\"line\n', "third"):
                    data = base64.b64encode(part.encode()).decode()
                    self.pieces(json.dumps({"File": "x.0", "Offset": 3, "Data": data}))
                    self.pieces("{}")
                self.pieces(json.dumps({"FileEvent": "file deleted"}))
        elif rest == "catalog/service/watched":  # changes at 5 and 9; then its server is restored from a snapshot
            index = int(self.query.get("index", 0))
            after = {0: 5, 5: 5, 9: 3, 3: 4}[index]
            if index == 5 and self.busy["watched"]:
                after = 9
            self.busy["watched"] += index == 5
            self.value([{"ServiceID": "at-%d" % after}], index=after)
        elif rest == "catalog/service/gone":
            self.answer(404, "", None, [("X-Consul-Index", "8")])
        elif rest == "event/stream":
            self.begin()
            self.pieces('{"Index":1,"Events":[{"Key":"a \\"}{ b"}]}\n{}\n{"Index":2,"Events":[]}\n')
        elif rest in ("snapshot", "operator/snapshot") and self.command == "GET":
            self.begin("application/x-gzip")
            for _ in range(800):
                self.wfile.write(b"s" * 100000)
        elif rest == "snapshot":
            self.answer(200, "", None)
        else:
            return False
        return True

    def consul_key(self, key):
        found = {k: v for k, v in self.store.items() if k.startswith(key)} if "recurse" in self.query else \
            {k: v for k, v in self.store.items() if k == key}
        if self.command == "PUT" and key.startswith("taken/"):  # somebody else is always faster
            self.value("cas" not in self.query)
        elif self.command == "PUT":
            self.store[key] = self.body + ("?" if key.startswith("changed/") else "")  # stores something else
            self.value(True)
        elif self.command == "DELETE":
            for k in found:
                del self.store[k]
            self.value(True)
        elif not found:
            self.answer(404, "", None, [("X-Consul-Index", "1")])
        elif "raw" in self.query:
            self.answer(200, self.store[key], None)
        else:
            self.value([{"Key": k, "Value": base64.b64encode(v.encode()).decode(), "Flags": 2 ** 64 - 1}
                        for k, v in found.items()])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    recorded = {}
    turn = 0

    def handle_error(self, *_):
        pass


def main():
    server = Server(("127.0.0.1", 0), Handler)
    arguments = sys.argv[1:]
    for argument in arguments:
        if argument.startswith("--replay="):
            with open(argument[9:], encoding="utf-8") as lines:
                for line, exchange in enumerate(map(json.loads, lines), 1):
                    exchange["line"] = line
                    server.recorded.setdefault(key(exchange["method"], exchange["path"]), []).append(exchange)
    if "--tls" in arguments:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        at = arguments.index("--tls")
        context.load_cert_chain(arguments[at + 1], arguments[at + 2])
        if "--client-ca" in arguments:
            context.load_verify_locations(arguments[arguments.index("--client-ca") + 1])
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
