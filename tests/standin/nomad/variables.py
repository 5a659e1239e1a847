"""Purpose: what newer servers have and the recorded one has not: variables (1.4) and node pools (1.6). No server of
such a version was at hand to record: this follows their API documentation and error texts, developer.hashicorp.com
/nomad/api-docs/variables and /nomad/api-docs/node-pools as of 1.6. Locks on variables (1.7) are not there."""

import re
import time

from namespaces import hash_of
from store import Failed, NotFound

META = ("Namespace", "Path", "CreateIndex", "ModifyIndex", "CreateTime", "ModifyTime")
MOST = 64 << 10


class Conflict(Exception):
    """409 with what is there instead of what the caller thought."""

    def __init__(self, found):
        super().__init__("conflict")
        self.found = found


class Variables:
    def __init__(self, cluster):
        self.cluster = cluster
        self.rows = {}

    def list(self, space, prefix, allowed):
        return [{name: row[name] for name in META} for key, row in sorted(self.rows.items())
                if space in ("*", key[0]) and key[1].startswith(prefix) and allowed(*key, "list")]

    def read(self, key):
        if key not in self.rows:
            raise NotFound("variable not found")
        return self.rows[key]

    def check_cas(self, key, cas):
        known = self.rows.get(key)
        if cas is not None and cas != (known["ModifyIndex"] if known else 0):
            nothing = {**dict.fromkeys(META, 0), "Namespace": key[0], "Path": key[1], "Items": None}
            raise Conflict(known or nothing)

    def put(self, key, items, cas):
        if not re.fullmatch(r"[a-zA-Z0-9-_~/]{1,128}", key[1]):
            raise Failed(f'invalid path "{key[1]}"')
        if key[1].split("/")[0] == "nomad" and not re.match(r"nomad/(jobs(/|$)|job-templates/[^/]+$)", key[1]):
            raise Failed('only paths at "nomad/jobs" or "nomad/job-templates" and below are valid paths under the top-level '
                         '"nomad" directory')
        if sum(len(name) + len(value) for name, value in items.items()) > MOST:
            raise Failed("variables are limited to 64KiB in total size")
        self.check_cas(key, cas)
        known, moment = self.rows.get(key, {}), time.time_ns()
        index = self.cluster.touch("variables")
        self.rows[key] = {"Namespace": key[0], "Path": key[1], "Items": items, "CreateIndex": known.get("CreateIndex", index),
                          "CreateTime": known.get("CreateTime", moment), "ModifyIndex": index, "ModifyTime": moment}
        return self.rows[key]

    def delete(self, key, cas):
        self.check_cas(key, cas)
        self.rows.pop(key, None)
        return self.cluster.touch("variables")


BUILT_IN = {"all": "Node pool with all nodes in the cluster.", "default": "Default node pool."}


class Pools:
    def __init__(self, cluster):
        self.cluster = cluster
        self.rows = {}
        for name, description in BUILT_IN.items():
            self.keep({"Name": name, "Description": description})

    def keep(self, told):
        name, index = told["Name"], self.cluster.index
        settings = told.get("SchedulerConfiguration")
        meta = told.get("Meta") or None
        known = self.rows.get(name)
        self.rows[name] = {"Name": name, "Description": told.get("Description") or "", "Meta": meta,
                           "SchedulerConfiguration": settings, "ModifyIndex": index,
                           "CreateIndex": known["CreateIndex"] if known else index,
                           "Hash": hash_of(name, told.get("Description") or "", (settings or {}).get("SchedulerAlgorithm") or "",
                                           *(key + value for key, value in sorted((meta or {}).items())))}

    def read(self, name):
        if name not in self.rows:
            raise NotFound("node pool not found")
        return self.rows[name]

    def upsert(self, told):
        name = told.get("Name") or ""
        if not re.fullmatch(r"[a-zA-Z0-9-_]{1,128}", name):
            raise Failed(f'invalid node pool "{name}": 1 error occurred:\n\t* invalid name "{name}", must match regex '
                         "^[a-zA-Z0-9-_]{1,128}$\n\n", 400)
        if name in BUILT_IN:
            raise Failed(f'modifying node pool "{name}" is not allowed', 400)
        index = self.cluster.touch("node_pools")
        self.keep(told)
        return index

    def delete(self, name):
        if name not in self.rows:
            raise Failed(f'node pool "{name}" not found')
        if name in BUILT_IN:
            raise Failed(f'node pool "{name}" has nodes in regions: [{self.cluster.region}]')
        del self.rows[name]
        return self.cluster.touch("node_pools")

    def holds(self, name, node):
        return name == "all" or (node.get("NodePool") or "default") == name
