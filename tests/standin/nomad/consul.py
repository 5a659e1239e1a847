"""Purpose: keep the agent's services in the local Consul agent, in the shape in which a real Nomad
registers them, and take them away at the end."""

import base64
import hashlib
import json
import os
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request

import log

NO_PROXY = urllib.request.ProxyHandler({})


def service(role, name, tag, where, check):
    """A service with its one check. The ids are a hash of what they stand for, so they change with the address."""
    address, port = where
    told = f"{role}{name}{address}:{port}{tag}".encode()
    service_id = f"_nomad-{role}-{base64.b32encode(hashlib.sha1(told).digest()).decode().lower()}"
    check_id = f"_nomad-check-{hashlib.sha1((service_id + check['Name']).encode()).hexdigest()}"
    return {"ID": service_id, "Name": name, "Tags": [tag], "Address": address, "Port": port,
            "Meta": {"external-source": "nomad"}, "EnableTagOverride": False}, \
           {"ID": check_id, "ServiceID": service_id, "Interval": "10s", **check}


def health_check(settings, where, kind):
    scheme = "https" if settings.tls.get("http") else "http"
    return {"Name": f"Nomad {kind.title()} HTTP Check", "Timeout": "5s",
            "HTTP": f"{scheme}://{where[0]}:{where[1]}/v1/agent/health?type={kind}",
            "TLSSkipVerify": bool(settings.tls.get("verify_https_client"))}


def services(settings):
    http = settings.advertise("http")
    listed = []
    if settings.is_client:
        name = settings.consul.get("client_service_name", "nomad-client")
        listed.append(service("client", name, "http", http, health_check(settings, http, "client")))
    if settings.is_server:
        name = settings.consul.get("server_service_name", "nomad")
        listed.append(service("server", name, "http", http, health_check(settings, http, "server")))
        for tag, title in (("rpc", "RPC"), ("serf", "Serf")):
            where = settings.advertise(tag)
            check = {"Name": f"Nomad Server {title} Check", "TCP": f"{where[0]}:{where[1]}", "Timeout": "2s"}
            listed.append(service("server", name, tag, where, check))
    return listed


class Consul:
    def __init__(self, settings):
        told = settings.consul
        self.wanted = services(settings) if told.get("auto_advertise", True) else []
        self.token = told.get("token") or os.environ.get("CONSUL_HTTP_TOKEN", "")
        scheme = "https" if told.get("ssl") else "http"
        self.base = f"{scheme}://{told.get('address', '127.0.0.1:8500').removeprefix('http://').removeprefix('https://')}/v1/"
        handlers = [NO_PROXY]
        if told.get("ssl"):
            context = ssl.create_default_context(cafile=told.get("ca_file"))
            if told.get("cert_file"):
                context.load_cert_chain(told["cert_file"], told.get("key_file"))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self.opener = urllib.request.build_opener(*handlers)
        self.lock = threading.Lock()
        self.over = False

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        if self.token:
            request.add_header("X-Consul-Token", self.token)
        try:
            with self.opener.open(request, timeout=5) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip()
            raise OSError(f"Unexpected response code: {error.code} ({said})") from error
        return json.loads(text) if text.strip() else None

    def put_missing(self):
        have_services, have_checks = self.call("GET", "agent/services"), self.call("GET", "agent/checks")
        for told, check in self.wanted:
            if told["ID"] not in have_services:
                self.call("PUT", "agent/service/register", told)
            if check["ID"] not in have_checks or told["ID"] not in have_services:
                self.call("PUT", "agent/check/register", check)

    def keep(self, stop):
        """Until the end: what is missing is put back, so a Consul that forgot is told again."""
        failed = False
        while self.wanted and not stop.is_set():
            try:
                with self.lock:
                    if not self.over:
                        self.put_missing()
                if failed:
                    log.info("consul.sync", "successfully updated services in Consul")
                failed = False
            except (OSError, ValueError) as error:
                if not failed:
                    log.warn("consul.sync", "failed to update services in Consul", error=reason(error))
                failed = True
            stop.wait(1 if failed else 5)

    def leave(self):
        with self.lock:
            self.over = True
            for told, _ in self.wanted:
                try:
                    self.call("PUT", "agent/service/deregister/" + urllib.parse.quote(told["ID"], safe=""))
                except (OSError, ValueError) as error:
                    log.error("consul.sync", "error deregistering agent service", service_id=told["ID"], error=reason(error))
                    return

    def servers(self):
        """The servers that Consul knows: for a client that was told none."""
        found = self.call("GET", "catalog/service/nomad?tag=rpc") or []
        return [f"{row['ServiceAddress'] or row['Address']}:{row['ServicePort']}" for row in found]


def reason(error):
    return getattr(error, "reason", None) or error
