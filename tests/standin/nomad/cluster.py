"""Purpose: what a server knows: its nodes, its jobs, its namespaces, tokens and settings. All in memory: after a
restart the clients register again, as they do when a server forgot them."""

import time

from acl import Tokens
from jobs import Jobs
from namespaces import Namespaces
from node import now, whole_seconds
from scheduler import Scheduler
from settings import Operator
from store import Failed, NotFound, Store
from variables import Pools, Variables

TTL = 10.0


class Cluster(Store):
    def __init__(self, region="global", acls=False):
        super().__init__()
        self.region = region
        self.nodes = {}
        self.seen = {}
        with self.changed:
            self.furnish(acls)

    def furnish(self, acls):
        """What a server has from the start."""
        self.namespaces = Namespaces(self)
        self.operator = Operator(self)
        self.tokens = Tokens(self) if acls else None
        self.jobs = Jobs(self)
        self.scheduler = Scheduler(self)
        self.variables = Variables(self)
        self.pools = Pools(self)

    def find(self, node_id, error=NotFound):
        if node_id not in self.nodes:
            raise error("node not found")
        return self.nodes[node_id]

    def event(self, node, message, subsystem="Cluster"):
        index = self.touch("nodes")
        node["ModifyIndex"] = index
        node["Events"].append({"CreateIndex": index, "Details": None, "Message": message,
                               "Subsystem": subsystem, "Timestamp": now()})

    # --- what clients say ---------------------------------------------------------------------

    def register(self, told):
        with self.changed:
            known = self.nodes.get(told["ID"])
            if known:
                for kept in ("CreateIndex", "Events", "LastDrain", "SchedulingEligibility"):
                    told[kept] = known[kept]
            self.nodes[told["ID"]] = told
            self.seen[told["ID"]] = time.monotonic()
            self.event(told, "Node re-registered" if known else "Node registered")
            if not known:
                told["CreateIndex"] = told["ModifyIndex"]
            self.tell("Node", "NodeRegistration", told["ID"], told)
            return self.index

    def heartbeat(self, node_id, status):
        with self.changed:
            node = self.find(node_id)
            self.seen[node_id] = time.monotonic()
            if node["Status"] != status:
                self.set_status(node, status, "Node reregistered by heartbeat" if node["Status"] == "down" else None)
            return self.index

    def set_status(self, node, status, message):
        node["Status"] = status
        node["StatusUpdatedAt"] = int(time.time())
        if message:
            self.event(node, message)
        else:
            node["ModifyIndex"] = self.touch("nodes")
        self.scheduler.evaluate_node(node)

    def watch(self, stop):
        """Nodes whose heartbeats stop are down; and what clients would tell of their tasks happens."""
        while not stop.wait(0.1):
            with self.changed:
                for node_id, node in self.nodes.items():
                    if node["Status"] != "down" and time.monotonic() - self.seen[node_id] > TTL:
                        self.set_status(node, "down", "Node heartbeat missed")
                self.scheduler.tick()

    # --- what operators say -------------------------------------------------------------------

    def eligibility(self, node_id, value):
        """The answer's index and evaluations; no index where nothing was to change."""
        node = self.find(node_id, Failed)
        if value == node["SchedulingEligibility"]:
            return 0, []
        if value == "eligible" and node["DrainStrategy"]:
            raise Failed("can not set node's scheduling eligibility to eligible while it is draining")
        node["SchedulingEligibility"] = value
        self.event(node, f"Node marked as {value} for scheduling")
        self.tell("Node", "NodeDrain", node_id, node)
        return self.index, self.scheduler.evaluate_node(node) if value == "eligible" else []

    def drain(self, node_id, spec, mark_eligible, meta):
        node = self.find(node_id, Failed)
        if spec:
            node["SchedulingEligibility"] = "ineligible"
            node["Drain"] = True
            node["DrainStrategy"] = {**spec, "ForceDeadline": whole_seconds(spec["Deadline"] / 1e9),
                                     "StartedAt": whole_seconds()}
            self.event(node, "Node drain strategy set", "Drain")
            node["LastDrain"] = {"AccessorID": "", "Meta": meta, "StartedAt": whole_seconds(), "Status": "draining",
                                 "UpdatedAt": whole_seconds()}
        else:
            was_draining, node["Drain"], node["DrainStrategy"] = node["Drain"], False, None
            if mark_eligible:
                node["SchedulingEligibility"] = "eligible"
            if was_draining:
                node["LastDrain"] |= {"Status": "canceled", "UpdatedAt": whole_seconds()}
                self.event(node, "Node drain disabled", "Drain")
            else:
                node["ModifyIndex"] = self.touch("nodes")
        index = self.index
        self.tell("Node", "NodeDrain", node_id, node)
        if spec:
            self.scheduler.drain(node)
        return index, self.scheduler.evaluate_node(node) if mark_eligible and not spec else []

    def drained(self, node):
        """The last allocation has left."""
        node["Drain"], node["DrainStrategy"] = False, None
        node["LastDrain"] |= {"Status": "complete", "UpdatedAt": whole_seconds()}
        self.event(node, "Node drain complete", "Drain")
        self.tell("Node", "NodeDrain", node["ID"], node)

    def purge(self, node_id):
        node = self.find(node_id, Failed)
        del self.nodes[node_id], self.seen[node_id]
        index = self.touch("nodes")
        self.tell("Node", "NodeDeregistration", node_id, node)
        return index, self.scheduler.evaluate_node(node)
