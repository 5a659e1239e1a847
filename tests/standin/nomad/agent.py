"""Purpose: the agent: start its parts, tell systemd, run until a signal, and clean up."""

import os
import queue
import signal
import socket
import threading

import api
import configuration
import log
import node
from client import Client
from cluster import Cluster
from consul import Consul
from release import VERSION

CAUGHT = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated", signal.SIGHUP: "hangup"}


class Agent:
    def __init__(self, settings):
        self.settings = settings
        self.stop = threading.Event()
        self.consul = Consul(settings)
        self.cluster = Cluster(settings.region, settings.acls) if settings.is_server else None
        self.client = None
        self.node_id = None
        self.listeners = []
        make_folder(settings.data_dir)
        if settings.is_client:
            self.node_id = node.lasting_id(os.path.join(settings.data_dir, "client"), "client-id")
            self.client = Client(settings, self.consul, node.describe(settings, self.node_id))
        self.server_id = node.lasting_id(os.path.join(settings.data_dir, "server"), "node-id") if self.cluster else ""

    def listen(self):
        """A server that is a client too reaches itself as any client would."""
        self.listeners.append(api.serve(self, self.settings.listen("http"), self.settings.tls))
        if self.cluster:
            self.listeners.append(api.serve(self, self.settings.listen("rpc"), {}))
            # Only there to be connected to: Consul's check of the serf port is a TCP one.
            self.listeners.append(api.serve(self, self.settings.listen("serf"), {}))

    def start(self):
        jobs = [self.consul.keep] + ([self.cluster.watch] if self.cluster else []) + \
               ([self.client.keep] if self.client else [])
        for job in jobs:
            threading.Thread(target=job, args=(self.stop,), daemon=True).start()
        for listener in self.listeners:
            threading.Thread(target=listener.serve_forever, daemon=True).start()
        if self.cluster:
            log.info("nomad", "cluster leadership acquired")
        if self.client:
            log.info("client", "started client", node_id=self.node_id)

    def shutdown(self):
        self.stop.set()
        self.consul.leave()
        log.info("agent", "requesting shutdown")
        log.info("agent", "shutdown complete")


def make_folder(path):
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise configuration.Error(f"mkdir {path}: {(error.strerror or '').lower()}") from error


def notify(state):
    """To systemd, when it started us with Type=notify."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + path[1:] if path.startswith("@") else path)
            channel.send(state.encode())


def announce(settings):
    rows = {"Advertise Addrs": "HTTP: %s:%s" % settings.advertise("http"), "Bind Addrs": "HTTP: [%s:%s]" % settings.listen("http"),
            "Client": str(settings.is_client).lower(),
            "Region": f"{settings.region} (DC: {settings.datacenter})", "Server": str(settings.is_server).lower(),
            "Version": VERSION}
    print("==> Nomad agent configuration:\n")
    for name, value in rows.items():
        print(f"    {name:>18}: {value}")
    print("\n==> Nomad agent started! Log data will stream in below:\n", flush=True)


def until_told(caught, settings):
    """Like Nomad: without leave_on_interrupt or leave_on_terminate it ends with 1."""
    while True:
        number = caught.get()
        print(f"==> Caught signal: {CAUGHT[number]}", flush=True)
        if number == signal.SIGHUP:
            notify("RELOADING=1")
            notify("READY=1")
            continue
        notify("STOPPING=1")
        leave = "leave_on_interrupt" if number == signal.SIGINT else "leave_on_terminate"
        if not settings.raw.get(leave):
            return 1
        print("==> Gracefully shutting down agent...", flush=True)
        return 0


def run(paths):
    # SimpleQueue may be used inside a signal handler, which an Event's lock may not.
    caught = queue.SimpleQueue()
    for number in CAUGHT:
        signal.signal(number, lambda number, _: caught.put(number))
    try:
        settings = configuration.Settings(configuration.load(paths))
        settings.check()
    except configuration.Error as error:
        print(f"==> {error}", flush=True)
        return 1
    print("==> Loaded configuration from " + ", ".join(paths) + "\n==> Starting Nomad agent...", flush=True)
    try:
        agent = Agent(settings)
        agent.listen()
    except (configuration.Error, OSError) as error:
        print(f"==> Error starting agent: {error}", flush=True)
        return 1
    announce(settings)
    agent.start()
    notify("READY=1")
    try:
        return until_told(caught, settings)
    finally:
        agent.shutdown()
