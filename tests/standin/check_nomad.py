"""Purpose: hold the stand-in for Nomad, or a real nomad, against exchanges recorded with a real one: status, headers,
what the answer holds, texts of errors; and its entries in Consul."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from agents import RECORDED, SERVER, STANDIN, Agent, Consul, recording_agent, version_of
from exchanges import Replay, decoded, differences, envelope, read_rows
from tap import ask, report, until

RECORDINGS = os.path.join("..", "recordings")


class Subject:
    """What is held to the recordings: a real nomad, or the stand-in."""

    def __init__(self, program):
        self.real = bool(program)
        self.command = [program] if program else STANDIN
        self.version = version_of(self.command)

    def is_before(self, *version):
        return tuple(int(part) for part in self.version.split(".")[:2]) < version


def skip(text, why):
    report(True, f"{text} # SKIP {why}")


# --- exchanges --------------------------------------------------------------------------------------

def compare(row, answer, real):
    """A recorded exchange by its shape."""
    found, text = envelope(row, answer), answer[2]
    recorded_type = row["response_headers"].get("Content-Type")
    if recorded_type == "application/json":
        found += differences(decoded(row["response"]), json.loads(text), real) if not found else []
    elif recorded_type and text != row["response"] and not real:
        found.append(f"{row['response']!r} recorded, {text!r} answered")
    return "\n".join(found)


def check_exchanges(nomad, agent, node_id):
    recorded_id = "d9c41bdc-af26-51cf-b7ee-1ef11455c84b"
    for row in read_rows("recordings", "nomad-1.1.2.jsonl"):
        text = json.dumps(row).replace(recorded_id, node_id).replace(recorded_id[:8], node_id[:8])
        row = json.loads(text)
        note = compare(row, ask(agent.ports[0], row["method"], row["path"], row["request"]), nomad.real)
        report(not note, f"{row['method']} {row['path'].replace(node_id, 'ID')} answers {row['status']} as recorded", note)


def check_replay(nomad, folder, consul, name, acls):
    """All that was asked of a server in one go, asked again."""
    if nomad.version != RECORDED:
        skip(name, f"recorded with {RECORDED}, this is {nomad.version}")
        return
    agent = recording_agent(nomad.command, os.path.join(folder, name), consul, acls)
    try:
        report(until(agent.leader, 60) and (acls or until(lambda: agent.node("lab"), 60)), f"{name}: the server leads",
               agent.said())
        replay = Replay(agent.ports[0], 20, ("/v1/jobs/parse",))
        for row in read_rows(RECORDINGS, name):
            found = replay.compare(row)
            report(not found, f"{row['method']} {row['path']} answers {row['status']} as recorded", "\n".join(found))
        if not acls:
            check_waiting(agent)
            check_events(agent)
            # Tasks would outlive a real agent.
            until(lambda: all(one["ClientStatus"] != "running" for one in agent.get("/v1/allocations")))
    finally:
        agent.leave()


JOB = {"ID": "late", "Datacenters": ["dc9"],
       "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]}]}


def check_waiting(agent):
    """A blocking query answers when there is something new, and not before."""
    port = agent.ports[0]
    index = ask(port, "GET", "/v1/jobs")[1]["X-Nomad-Index"]
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(ask(port, "GET", f"/v1/jobs?index={index}&wait=20s")))
    waiting.start()
    waiting.join(0.5)
    early = list(answers)
    ask(port, "PUT", "/v1/jobs", {"Job": JOB})
    waiting.join(20)
    report(not early and answers and int(answers[0][1]["X-Nomad-Index"]) > int(index) and "late" in answers[0][2],
           "a blocking query waits for a job and then has it", answers)


def check_events(agent):
    """The stream of events begins with an empty object and tells what is done meanwhile."""
    stream = http.client.HTTPConnection("127.0.0.1", agent.ports[0], timeout=20)
    stream.request("GET", f"/v1/event/stream?topic=Job&topic=Node&index={2 ** 31}")
    answer = stream.getresponse()
    first = answer.readline()
    ask(agent.ports[0], "DELETE", "/v1/job/late?purge=true")
    stream.close()
    report(answer.status == 200 and answer.getheader("Content-Type") == "application/json" and first == b"{}\n",
           "the stream of events begins", first)
    stream = http.client.HTTPConnection("127.0.0.1", agent.ports[0], timeout=20)
    stream.request("GET", "/v1/event/stream?topic=Job:soon")
    answer = stream.getresponse()
    answer.readline()
    ask(agent.ports[0], "PUT", "/v1/jobs", {"Job": {**JOB, "ID": "soon"}})
    told = next(event for line in answer if line.strip() != b"{}" for event in json.loads(line)["Events"])
    report((told["Topic"], told["Type"], told["Key"], told["Payload"]["Job"]["ID"]) == ("Job", "JobRegistered", "soon", "soon"),
           "and tells of a job that is registered", told)
    stream.close()
    ask(agent.ports[0], "DELETE", "/v1/job/soon?purge=true")


# --- what newer versions have -----------------------------------------------------------------------

# Nobody recorded this: it is what the documentation of Nomad 1.6 says, and a real one that is new enough is held to it too.
NEWER = [
    ("GET", "/v1/vars", None, 200, []),
    ("GET", "/v1/var/ci/token", None, 404, "variable not found"),
    ("PUT", "/v1/var/ci/token", {"Items": {}}, 400, "variable missing required Items object"),
    ("PUT", "/v1/var/ci/token", {"Items": {"a": "1"}}, 200, {"Path": "ci/token", "Namespace": "default", "Items": {"a": "1"}}),
    ("PUT", "/v1/var/ci/token?cas=0", {"Items": {"a": "2"}}, 409, {"Path": "ci/token", "Items": {"a": "1"}}),
    ("GET", "/v1/var/ci/token", None, 200, {"Items": {"a": "1"}}),
    ("GET", "/v1/vars?prefix=ci", None, 200, [{"Path": "ci/token"}]),
    ("PUT", "/v1/var/none?cas=7", {"Items": {"a": "2"}}, 409, {"ModifyIndex": 0}),
    ("PUT", "/v1/var/a%20b", {"Items": {"a": "2"}}, 500, 'invalid path "a b"'),
    ("DELETE", "/v1/var/ci/token?cas=1", None, 409, {"Path": "ci/token"}),
    ("DELETE", "/v1/var/ci/token", None, 204, None),
    ("GET", "/v1/var/ci/token", None, 404, "variable not found"),
    ("GET", "/v1/node/pools", None, 200, [{"Name": "all"}, {"Name": "default"}]),
    ("GET", "/v1/node/pool/gpu", None, 404, "node pool not found"),
    ("POST", "/v1/node/pools", {"Name": "gpu", "Description": "with cards", "Meta": {"a": "b"}}, 200, None),
    ("GET", "/v1/node/pool/gpu", None, 200, {"Name": "gpu", "Description": "with cards", "Meta": {"a": "b"}}),
    ("GET", "/v1/node/pool/gpu/nodes", None, 200, []),
    ("GET", "/v1/node/pool/gpu/jobs", None, 200, []),
    ("POST", "/v1/node/pool/gpu", {"Name": "other"}, 400, "Node pool name does not match request path"),
    ("POST", "/v1/node/pools", {"Name": "all"}, 400, 'modifying node pool "all" is not allowed'),
    ("DELETE", "/v1/node/pool/gpu", None, 200, None),
    ("GET", "/v1/node/pool/gpu", None, 404, "node pool not found"),
]


def has(wanted, got):
    """Is all that is wanted there?"""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(has(value, got.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(wanted) == len(got) and all(map(has, wanted, got))
    return wanted == got


def check_newer(nomad, folder, consul):
    if nomad.real and nomad.is_before(1, 6):
        skip("variables and node pools", f"{nomad.version} has none")
        return
    command = nomad.command if nomad.real else ["env", "NOMAD_STANDIN_VERSION=1.6.0", *nomad.command]
    agent = Agent(command, folder, "newer", consul, SERVER)
    try:
        report(until(agent.leader, 60), "a newer server leads", agent.said())
        for method, path, body, status, wanted in NEWER:
            got, _, text = ask(agent.ports[0], method, path, body)
            answer = json.loads(text) if text[:1] in ("{", "[") else text or None
            report(got == status and has(wanted, answer), f"{method} {path} answers {status} as documented", f"{got} {text}")
    finally:
        agent.end(signal.SIGINT)


# --- in Consul --------------------------------------------------------------------------------------

def entry(one):
    """What of a service must be as recorded; a registration says Name where a listing says Service."""
    return one.get("Name") or one.get("Service"), tuple(one["Tags"]), one["Meta"]["external-source"]


def check_consul(consul):
    recorded = read_rows("recordings", "consul-1.8.7.jsonl")
    services, checks = recorded[0]["response"], recorded[1]["response"]
    wanted = sorted(entry(one) for one in services.values())
    report(until(lambda: sorted(entry(one) for one in consul.services.values()) == wanted),
           "Consul has the recorded services with their tags", consul.services)
    report(all(re.fullmatch("_nomad-(client|server)-[a-z2-7]{32,52}", key) for key in consul.services),
           "the services' ids are a role and a hash in base32", list(consul.services))
    names = sorted(one["Name"] for one in checks.values())
    report(until(lambda: sorted(one["Name"] for one in consul.checks.values()) == names),
           "Consul has the recorded checks", consul.checks)
    kinds = {one["Name"]: one["Type"] for one in checks.values()}
    report(all(one.get(kinds[one["Name"]].upper()) for one in consul.checks.values()), "each check is of the recorded kind")


# --- what else a test relies on ----------------------------------------------------------------------

def check_refusal(nomad, folder, consul, name, text, expected):
    agent = Agent(nomad.command, folder, name, consul, text)
    try:
        code = agent.process.wait(60)
    except subprocess.TimeoutExpired:
        code = None
    report(code == 1 and (nomad.real or expected in agent.said()), f"{name} is refused with 1 and says why", agent.said())
    agent.end()


def check_refusals(nomad, folder, consul):
    check_refusal(nomad, folder, consul, "a syntax error", "client {\n  enabled = = true\n}\n", "failed to decode HCL file")
    check_refusal(nomad, folder, consul, "an unknown key", 'client {\n enabled = true\n}\nadvertise_addr = "1.2.3.4"\n',
                  "unexpected keys advertise_addr")
    check_refusal(nomad, folder, consul, "neither server nor client", "", "Must specify either server, client")


def check_client(nomad, folder, consul, server):
    """A client of its own: its way to the server, its id, its end."""
    client = Agent(nomad.command, folder, "c1", consul, 'client {\n  enabled = true\n'
                   f'  servers = ["127.0.0.1:{server.ports[1]}"]\n}}\n')
    try:
        node = until(lambda: server.node("c1"))
        report(node, "a client becomes ready on its server", client.said())
        report(until(lambda: client.node("c1")), "the client hands a server's question on to the server")
        report(ask(client.ports[0], "GET", "/v1/node/" + "0" * 8)[0] == 500, "and the server's refusals back")
        report(until(lambda: any(one["Port"] == client.ports[0] for one in consul.services.values())), "it is in Consul")
        code = client.end(signal.SIGINT)
        report(code == 1 and not any(one["Port"] == client.ports[0] for one in consul.services.values()),
               "an interrupt ends it with 1, as Nomad, and its service leaves Consul", code)
        client.start()
        again = until(lambda: (server.get("/v1/agent/health"), client.node("c1"))[1])
        report(again and node and again["ID"] == node["ID"], "started again it is the same node", again)
        client.end()
        report(until(lambda: server.node("c1", "down"), 120), "killed, it is down when its heartbeats stop")
    finally:
        client.end()


def check(program=None):
    """All of it; PROGRAM: a real one's path."""
    nomad = Subject(program)
    folder, consul = tempfile.mkdtemp(prefix="standin-check."), Consul()
    server = Agent(nomad.command, folder, "lab", consul, SERVER + "client {\n  enabled = true\n}\n")
    try:
        # A client that is told no server asks Consul for one; here it is told of itself.
        consul.catalog.append({"Address": "127.0.0.1", "ServiceAddress": "127.0.0.1", "ServicePort": server.ports[1]})
        node = until(lambda: server.node("lab"), 60)
        report(node, "server and client in one become ready", server.said())
        if node:
            check_consul(consul)
            check_exchanges(nomad, server, node["ID"])
            check_client(nomad, folder, consul, server)
        server.end()
        check_refusals(nomad, folder, consul)
        check_replay(nomad, folder, Consul(), "nomad-1.1.2-more.jsonl", acls=False)
        check_replay(nomad, folder, Consul(), "nomad-1.1.2-acl.jsonl", acls=True)
        check_newer(nomad, folder, Consul())
    finally:
        server.end()
        shutil.rmtree(folder)
