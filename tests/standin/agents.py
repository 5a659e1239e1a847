"""Purpose: Nomad agents to be asked, on loopback and on ports that are free: the stand-in or a real nomad, and a
Consul that only remembers what it was told."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading

from ports import free_ports
from tap import ask

HERE = os.path.dirname(os.path.realpath(__file__))
STANDIN = [sys.executable, os.path.join(HERE, "nomad")]
SERVER = "server {\n  enabled = true\n  bootstrap_expect = 1\n}\n"
RECORDED = "1.1.2"


def version_of(command):
    """The version that a program says it is, "1.1.2"."""
    said = subprocess.run(command + ["version"], capture_output=True, text=True, check=True, env=environment()).stdout
    return said.split()[1].lstrip("v")


def environment():
    """The stand-in is what was recorded, not the version that the lab has."""
    return {**os.environ, "NOMAD_STANDIN_VERSION": os.environ.get("NOMAD_STANDIN_VERSION", RECORDED)}


# --- a Consul agent that only remembers ------------------------------------------------------------

class Consul(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ConsulHandler)
        self.services, self.checks, self.catalog = {}, {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class ConsulHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"/v1/agent/services": self.server.services, "/v1/agent/checks": self.server.checks,
                 "/v1/catalog/service/nomad": self.server.catalog,
                 # A real Nomad asks what Consul it is before it registers anything.
                 "/v1/agent/self": {"Config": {"Version": "1.8.7", "Datacenter": "dc1", "Server": False},
                                    "DebugConfig": {}, "Member": {}, "Stats": {}}}
        self.answer(json.dumps(known.get(self.path.split("?")[0], [])))

    def do_PUT(self):
        told = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self.path.startswith("/v1/agent/service/register"):
            self.server.services[told["ID"]] = told
        elif self.path.startswith("/v1/agent/check/register"):
            self.server.checks[told["ID"]] = told
        elif self.path.startswith("/v1/agent/service/deregister/"):
            self.server.services.pop(self.path.split("/")[-1].split("?")[0], None)
        self.answer("")

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


# --- agents ----------------------------------------------------------------------------------------

class Agent:
    def __init__(self, command, folder, name, consul, blocks):
        self.command, self.ports = command, free_ports(3)
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder + "/config")
        with open(self.folder + "/config/nomad.hcl", "w", encoding="utf-8") as file:
            file.write(f'name = "{name}"\ndata_dir = "{self.folder}/data"\nbind_addr = "127.0.0.1"\n'
                       # A real one takes loopback for its address only when it is told to.
                       'advertise {\n  http = "127.0.0.1"\n  rpc  = "127.0.0.1"\n  serf = "127.0.0.1"\n}\n'
                       f'ports {{\n  http = {self.ports[0]}\n  rpc = {self.ports[1]}\n  serf = {self.ports[2]}\n}}\n'
                       f'consul {{\n  address = "127.0.0.1:{consul.port}"\n}}\n' + blocks.replace("RPC", str(self.ports[1])))
        self.start()

    def start(self):
        self.log = open(self.folder + "/log", "a+", encoding="utf-8")
        self.process = subprocess.Popen(self.command + ["agent", "-config", self.folder + "/config"], env=environment(),
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def get(self, path, headers=None):
        return json.loads(ask(self.ports[0], "GET", path, headers=headers)[2])

    def leader(self):
        """The leader's address, "" while there is none."""
        return ask(self.ports[0], "GET", "/v1/status/leader")[2].strip('"')

    def node(self, name, status="ready"):
        try:
            nodes = self.get("/v1/nodes")
        except ValueError:
            return None
        return next((one for one in nodes if one["Name"] == name and one["Status"] == status), None)

    def end(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def leave(self):
        """Ends it, and what a real agent leaves behind: the file systems that it made for its tasks' secrets."""
        self.end(signal.SIGINT)
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1] for line in file]
        for path in mounts:
            if path.startswith(self.folder + "/"):
                subprocess.run(["umount", path], check=False)

    def said(self):
        self.log.seek(0)
        return self.log.read()


def recording_agent(command, folder, consul, acls):
    """The server, and client, that the newer exchanges were recorded with."""
    return Agent(command, folder, "lab", consul, SERVER + 'client {\n  enabled = true\n  servers = ["127.0.0.1:RPC"]\n'
                 '  options {\n    "driver.allowlist" = "raw_exec,exec"\n  }\n}\n'
                 'plugin "raw_exec" {\n  config {\n    enabled = true\n  }\n}\n'
                 + ("acl {\n  enabled = true\n}\n" if acls else ""))
