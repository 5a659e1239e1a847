"""Purpose: exchanges recorded with Nomad, and how near an answer is to the recorded one: its shape, or all of it but what no
two servers have in common (ids, indexes, times, ports, the machine)."""

import json
import os
import re

from agents import HERE
from tap import ask, until

# Maps whose keys are names that somebody chose, not part of the shape.
FREE = {"Attributes", "Drivers", "Meta", "Labels", "HostVolumes", "Tags", "stats", "Links", "Options", "KeyLoader"}
# Answers that are about the machine.
ABOUT_MACHINE = ("/v1/agent/self", "/v1/agent/members", "/v1/metrics", "/v1/client/stats")
# Of nodes and allocations what is the machine's.
MACHINES = {"Attributes", "ComputedClass", "Drivers", "HTTPAddr", "Links", "NodeResources", "Resources", "Reserved",
            "ReservedResources", "ScoreMetaData", "AllocationTime", "ClassEligibility", "EvalIDs"}
TIMES = {"CreateTime", "ModifyTime", "SubmitTime", "Time", "StatusUpdatedAt", "Timestamp"}
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
# What a server makes up: ids, names of dispatched and periodic jobs.
MADE_UP = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:dispatch|periodic)-\d{10}(?:-[0-9a-f]{8})?")
NO_ID = "00000000-0000-0000-0000-000000000000"


def read_rows(*path):
    with open(os.path.join(HERE, *path), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def decoded(response):
    """The recording kept an answer that is one JSON string as its text."""
    return json.loads(response) if isinstance(response, str) else response


def kind_of(value):
    return "number" if type(value) in (int, float) else type(value).__name__


def differences(recorded, got, more=False, where="$"):
    """What of the recorded shape the answer lacks or has otherwise. MORE: it may have more, as newer versions do."""
    if recorded is None or got is None:
        return []
    if kind_of(recorded) != kind_of(got):
        return [f"{where}: {kind_of(recorded)} recorded, {kind_of(got)} answered"]
    if isinstance(recorded, list):
        return [line for one in got for line in differences(recorded[0], one, more, where + "[]")] if recorded else []
    if not isinstance(recorded, dict) or where.rsplit(".", 1)[-1] in FREE:
        return []
    found = [f"{where}.{key}: not answered" for key in sorted(recorded.keys() - got.keys())]
    found += [] if more else [f"{where}.{key}: not in the recording" for key in sorted(got.keys() - recorded.keys())]
    for key in recorded.keys() & got.keys():
        found += differences(recorded[key], got[key], more, f"{where}.{key}")
    return found


def envelope(row, answer):
    """Status and headers."""
    status, headers, text = answer
    recorded_type = row["response_headers"].get("Content-Type")
    found = [] if status == row["status"] else [f"status {row['status']} recorded, {status} answered: {text[:200]}"]
    if headers.get("Content-Type") != recorded_type:
        found.append(f"content type {recorded_type} recorded, {headers.get('Content-Type')} answered")
    for name in row["response_headers"]:
        if name.startswith("X-Nomad-") and name not in headers:
            found.append(f"header {name} missing")
    return found


# --- all of it --------------------------------------------------------------------------------------

class Names:
    """Which made-up name of the recording stands for which of this server, and which index."""

    def __init__(self, other=None):
        self.known = dict(other.known) if other else {}
        self.indexes = dict(other.indexes) if other else {}

    def of(self, text):
        """The text with this server's names; what of an id only begins, as people write it, too."""
        for recorded, here in self.known.items():
            text = text.replace(recorded, here)
        for recorded, here in self.known.items():
            text = text.replace(recorded[:8], here[:8]) if re.match("[0-9a-f]{8}-", recorded) else text
        return re.sub(r'((?:\?cas=|"JobModifyIndex": ))(\d+)', self.index, text)

    def index(self, found):
        return found[1] + str(self.indexes.get(int(found[2]), found[2]))

    def same(self, recorded, got):
        one, other = MADE_UP.findall(recorded), MADE_UP.findall(got)
        if len(one) != len(other):
            return False
        for name, here in zip(one, other):
            if name == NO_ID or here == NO_ID:
                if name != here:
                    return False
            elif self.known.setdefault(name, here) != here:
                return False
        return plain(recorded) == plain(got)


def plain(text):
    text = re.sub(r"((?:modify|reset) index:? )[1-9]\d*", r"\1N", text)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", re.sub(MOMENT, "TIME", MADE_UP.sub("NAME", text)))


def unlike(recorded, got, names, where="$"):
    """What is not as recorded."""
    key = where.rsplit(".", 1)[-1].rstrip("[]")
    if where.endswith(".Job.Stable"):
        return []  # an allocation's copy of its job is of no fixed age
    if key in MACHINES and (key != "Resources" or where in ("$.Resources", "$[].Resources")):
        return []
    if isinstance(recorded, dict) and isinstance(got, dict):
        return unlike_maps(recorded, got, names, where)
    if isinstance(recorded, list) and isinstance(got, list):
        return unlike_lists(recorded, got, names, where)
    if type(recorded) in (int, float) and type(got) in (int, float) and (key in TIMES or key.endswith("Index")):
        good = bool(recorded) == bool(got) or ".Events[]" in where
        if key in ("ModifyIndex", "JobModifyIndex"):
            names.indexes[recorded] = got
    elif isinstance(recorded, str) and isinstance(got, str):
        good = names.same(recorded, got)
    else:
        good = type(recorded) is type(got) and recorded == got
    return [] if good else [f"{where}: {json.dumps(recorded)[:300]} recorded, {json.dumps(got)[:300]} answered"]


def unlike_maps(recorded, got, names, where):
    found = [f"{where}.{key}: not answered" for key in sorted(recorded.keys() - got.keys())]
    found += [f"{where}.{key}: not in the recording" for key in sorted(got.keys() - recorded.keys())]
    if where.rsplit(".", 1)[-1] == "Meta" and any(key.startswith("connect.") for key in recorded):
        return []  # a client's own
    for key in sorted(recorded.keys() & got.keys()):
        found += unlike(recorded[key], got[key], names, f"{where}.{key}")
    return found


def unlike_lists(recorded, got, names, where):
    """In any order: a server lists by id, which it made up, or as its maps come."""
    if len(recorded) != len(got):
        return [f"{where}: {len(recorded)} recorded, {len(got)} answered: {json.dumps(got)[:300]}"]
    left, found = list(got), []
    for one in recorded:
        for other in left:
            attempt = Names(names)
            if not unlike(one, other, attempt, where + "[]"):
                names.known, names.indexes = attempt.known, attempt.indexes
                left.remove(other)
                break
        else:
            nearest = min(left, key=lambda other: len(unlike(one, other, Names(names), where + "[]")))
            found += unlike(one, nearest, Names(names), where + "[]")
            left.remove(nearest)
    return found


class Replay:
    """Asks a server what was asked when the exchanges were recorded, in that order."""

    def __init__(self, port, patience, first_line_of=()):
        self.port, self.patience, self.names = port, patience, Names()
        # Paths whose complaints need to agree only in their first line.
        self.first_line_of = first_line_of

    def ask(self, row):
        row = json.loads(self.names.of(json.dumps({key: row[key] for key in ("method", "path", "request", "request_headers")})))
        return ask(self.port, row["method"], row["path"], row["request"], row["request_headers"])

    def compare(self, row):
        """What is not as recorded. A read is repeated: what it shows may only be on its way."""
        last = []

        def good():
            last[:] = self.judge(row, self.ask(row))
            return not last or row["method"] != "GET"
        until(good, self.patience)
        return last

    def judge(self, row, answer):
        found, text, recorded = envelope(row, answer), answer[2], row["response"]
        if found:
            return found
        attempt = Names(self.names)
        if row["response_headers"].get("Content-Type") == "application/json" and row["status"] < 300:
            got = json.loads(text)
            same_shape = row["path"].split("?")[0] in ABOUT_MACHINE
            found = differences(decoded(recorded), got) if same_shape else unlike(decoded(recorded), got, attempt)
        elif row["path"] in self.first_line_of:
            found = unlike(recorded.split("\n")[0], text.split("\n")[0], attempt)
        else:
            found = unlike(recorded or "", text, attempt)
        if not found:
            self.names = attempt
        return found
