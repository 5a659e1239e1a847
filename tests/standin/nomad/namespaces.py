"""Purpose: the namespaces of a server."""

import base64
import hashlib
import re

from release import at_least
from store import Failed, NotFound


def hash_of(*texts):
    """What a server tells two versions of a thing apart by."""
    return base64.b64encode(hashlib.blake2b("".join(texts).encode(), digest_size=32).digest()).decode()


class Namespaces:
    def __init__(self, cluster):
        self.cluster = cluster
        self.rows = {}
        self.put({"Name": "default", "Description": "Default shared namespace"})

    def list(self, prefix=""):
        return [row for name, row in sorted(self.rows.items()) if name.startswith(prefix)]

    def read(self, name):
        if name not in self.rows:
            raise NotFound("Namespace not found")
        return self.rows[name]

    def upsert(self, told):
        name, description = told.get("Name") or "", told.get("Description") or ""
        complaint = None
        if not re.fullmatch(r"[a-zA-Z0-9-]{1,128}", name):
            complaint = f'invalid name "{name}". Must match regex ^[a-zA-Z0-9-]{{1,128}}$'
        elif len(description) > 256:
            complaint = "description longer than 256"
        if complaint:
            raise Failed(f'Invalid namespace "{name}": 1 error occurred:\n\t* {complaint}\n\n')
        self.cluster.touch("namespaces")
        return self.put(told)

    def put(self, told):
        known = self.rows.get(told["Name"], {"CreateIndex": self.cluster.index})
        row = {"Name": told["Name"], "Description": told.get("Description") or "", "Quota": told.get("Quota") or "",
               "CreateIndex": known["CreateIndex"], "ModifyIndex": self.cluster.index}
        row["Hash"] = hash_of(row["Name"], row["Description"], row["Quota"])
        if at_least(1, 3):  # https://developer.hashicorp.com/nomad/api-docs/namespaces
            row |= {"Meta": told.get("Meta"), "Capabilities": told.get("Capabilities")}
        if at_least(1, 6):
            row["NodePoolConfiguration"] = told.get("NodePoolConfiguration")
        self.cluster.tables["namespaces"] = self.cluster.index
        self.rows[row["Name"]] = row
        return self.cluster.index

    def delete(self, name):
        if name == "default":
            raise Failed("can not delete default namespace")
        if any(job["Status"] != "dead" for (space, _), job in self.cluster.jobs.rows.items() if space == name):
            raise Failed(f'1 error occurred:\n\t* namespace "{name}" has non-terminal jobs in regions: '
                         f'[{self.cluster.region}]\n\n')
        self.rows.pop(name, None)
        return self.cluster.touch("namespaces")
