"""Purpose: a client's life with its servers: register, become ready, send heartbeats, register again
when the server forgot it. The way to a server is HTTP on its RPC port, not Nomad's own protocol."""

import json
import time
import urllib.error
import urllib.request

import log

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
BEAT = 2.0


class NoServer(Exception):
    pass


class Client:
    def __init__(self, settings, consul, node):
        self.settings, self.consul, self.node = settings, consul, node
        self.servers = self.configured()
        self.last_beat = None

    def configured(self):
        told = list(self.settings.client.get("servers") or [])
        told += (self.settings.client.get("server_join") or {}).get("retry_join") or []
        return [server if server.rpartition(":")[2].isdigit() and ":" in server else f"{server}:4647" for server in told]

    def discover(self):
        if not self.servers and self.settings.consul.get("client_auto_join", True):
            try:
                self.servers = self.consul.servers()
            except (OSError, ValueError) as error:
                log.error("client", "error discovering nomad servers", error=error)

    def forward(self, method, path, body=b"", token="", timeout=630):
        """One request to the first server that answers: (status, headers, body)."""
        failure = "no servers"
        for server in list(self.servers):
            request = urllib.request.Request(f"http://{server}{path}", data=body or None, method=method,
                                             headers={"X-Nomad-Token": token} if token else {})
            try:
                with NO_PROXY.open(request, timeout=timeout) as answer:
                    return answer.status, answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.headers, error.read()
            except OSError as error:
                failure = f"rpc error: failed to get conn: dial tcp {server}: {getattr(error, 'reason', error)}"
        raise NoServer(failure)

    def say(self, what, body):
        status, _, text = self.forward("POST", f"/rpc/{what}", json.dumps(body).encode(), timeout=5)
        if status != 200:
            raise NoServer(text.decode(errors="replace").strip())

    def keep(self, stop):
        registered = False
        while not stop.is_set():
            self.discover()
            try:
                if not registered:
                    self.say("register", self.node)
                    log.info("client", "node registration complete")
                    registered = True
                self.say("heartbeat", {"ID": self.node["ID"], "Status": "ready"})
                self.last_beat = time.monotonic()
                stop.wait(BEAT)
            except NoServer as error:
                what = "error heartbeating. retrying" if registered else "error registering"
                log.error("client", what, error=error)
                registered = registered and "not found" not in str(error)
                stop.wait(1)
