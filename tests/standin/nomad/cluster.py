"""Purpose: what a server knows: its nodes, the index that every change raises, and who waits for it.
All in memory: after a restart the clients register again, as they do when a server forgot them."""

import threading
import time

from node import now

TTL = 10.0


class NotFound(Exception):
    pass


class Cluster:
    def __init__(self):
        self.changed = threading.Condition()
        self.index = 1
        self.tables = {}
        self.nodes = {}
        self.seen = {}

    def touch(self, table="nodes"):
        """A change: the caller holds the lock."""
        self.index += 1
        self.tables[table] = self.index
        self.changed.notify_all()
        return self.index

    def table_index(self, table):
        return self.tables.get(table, 1)

    def wait(self, table, index, seconds):
        """A blocking query: until TABLE is newer than INDEX, at most SECONDS."""
        end = time.monotonic() + seconds
        with self.changed:
            while self.table_index(table) <= index and time.monotonic() < end:
                self.changed.wait(end - time.monotonic())

    def find(self, node_id):
        if node_id not in self.nodes:
            raise NotFound("node not found")
        return self.nodes[node_id]

    def event(self, node, message, subsystem="Cluster"):
        index = self.touch()
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
            node["ModifyIndex"] = self.touch()

    def watch(self, stop):
        """Nodes whose heartbeats stop are down."""
        while not stop.wait(0.5):
            with self.changed:
                for node_id, node in self.nodes.items():
                    if node["Status"] != "down" and time.monotonic() - self.seen[node_id] > TTL:
                        self.set_status(node, "down", "Node heartbeat missed")

    # --- what operators say -------------------------------------------------------------------

    def eligibility(self, node_id, value):
        with self.changed:
            node = self.find(node_id)
            if node["SchedulingEligibility"] != value:
                node["SchedulingEligibility"] = value
                self.event(node, f"Node marked as {value} for scheduling")
            return self.index

    def drain(self, node_id, spec, mark_eligible):
        """Nothing runs here, so a drain is complete as soon as it is asked for."""
        with self.changed:
            node = self.find(node_id)
            if spec:
                node["SchedulingEligibility"] = "ineligible"
                self.event(node, "Node drain strategy set", "Drain")
                node["LastDrain"] = {"AccessorID": "", "Meta": None, "StartedAt": now(), "Status": "complete",
                                     "UpdatedAt": now()}
                self.event(node, "Node drain complete", "Drain")
            elif mark_eligible:
                node["SchedulingEligibility"] = "eligible"
                node["ModifyIndex"] = self.touch()
            return self.index

    def purge(self, node_id):
        with self.changed:
            self.find(node_id)
            del self.nodes[node_id], self.seen[node_id]
            return self.touch()
