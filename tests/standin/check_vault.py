"""Purpose: hold the stand-in for Vault, or a real vault, against exchanges recorded with a real one, replayed in
their order: status, headers, and every value of the answer that is not of the moment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from ports import free_ports
from tap import ask, report, until

HERE = os.path.dirname(os.path.realpath(__file__))
RECORDINGS = os.path.join(os.path.dirname(HERE), "recordings")
ROOT = "the-root-token-of-a-check"
# Names whose values are made anew each time; what stood in the recording stands for what is answered now.
MADE = {"request_id", "accessor", "uuid", "client_token", "id", "token", "nonce", "otp", "secret_id", "role_id",
        "secret_id_accessor", "cluster_id", "cluster_name", "entity_id", "canonical_id", "mount_accessor", "lease_id",
        "wrapped_accessor", "random_bytes", "hash", "encoded_token", "encoded_root_token"}
NAMED = re.compile(r"entity_[0-9a-f]{8}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
MADE_NAME = re.compile(r"[A-Za-z0-9]{24}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|h?[0-9a-f]{40,64}")
MOMENTS = {"creation_time", "server_time_utc", "last_renewal_time", "encryptions"}
# Answers about the machine: only their first names are compared.
SHALLOW = ("/v1/sys/host-info", "/v1/sys/metrics", "/v1/sys/config/state/sanitized", "/v1/sys/internal/counters")


class Server:
    def __init__(self, program, folder):
        self.port = free_ports(1)[0]
        self.log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            program + ["server", "-dev", f"-dev-root-token-id={ROOT}", f"-dev-listen-address=127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={**os.environ, "HOME": folder})

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def key(self):
        return re.search("Unseal Key: (.*)", self.said())[1]

    def ready(self):
        return until(lambda: self.process.poll() is not None or "Root Token:" in self.said()
                     and ask(self.port, "GET", "/v1/sys/health")[0] == 200) and self.process.poll() is None

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.close()
        return code


# --- comparing ---------------------------------------------------------------------------------------

class Replay:
    """Recorded exchanges made again. KNOWN: what of the recording stands for what here."""

    def __init__(self, port, key, real):
        self.port, self.real, self.known = port, real, {"VAULT_ROOT_TOKEN": ROOT, "VAULT_UNSEAL_KEY": key}

    def here(self, value):
        """A recorded request's part with what stands for it here."""
        text = json.dumps(value)
        for old in sorted(self.known, key=len, reverse=True):
            text = text.replace(old, self.known[old])
        return json.loads(text)

    def exchange(self, row):
        headers = {key: self.here(value) for key, value in row["request_headers"].items()}
        body = row["request"]
        status, got, text = ask(self.port, row["method"], self.here(row["path"]), self.here(body), headers)
        found = [] if status == row["status"] else [f"status {row['status']} recorded, {status} answered: {text[:300]}"]
        for name, value in row["response_headers"].items():
            if got.get(name) != value:
                found.append(f"{name}: {value} recorded, {got.get(name)} answered")
        if not found:
            found = self.compare(row, text)
        return "\n".join(found)

    def compare(self, row, text):
        recorded = row["response"]
        if recorded is None or isinstance(recorded, str):
            return [] if (recorded or "") == text or self.real else [f"{recorded!r} recorded, {text!r} answered"]
        got = json.loads(text)
        if "help=" in row["path"]:
            recorded, got = undescribed(recorded), undescribed(got)
        if row["path"].startswith(SHALLOW):
            names = {"data": set(recorded.get("data") or recorded) - set(got.get("data") or got)}
            return [f"{names} not answered"] if names["data"] and not self.real else []
        if "Vault is sealed" in str(recorded.get("errors", "")):  # said by whatever noticed first
            return [] if "Vault is sealed" in text else [f"{recorded} recorded, {text} answered"]
        return self.differences(recorded, got, "$")

    def differences(self, recorded, got, where):
        name = re.sub(r"\[\]$", "", where).rsplit(".", 1)[-1]
        if isinstance(recorded, dict) and isinstance(got, dict):
            recorded = {self.here(key): value for key, value in recorded.items()}
            found = [f"{where}.{key}: not answered" for key in sorted(recorded.keys() - got.keys())]
            # A real one of another version may know more.
            found += [] if self.real else [f"{where}.{key}: not in the recording" for key in got.keys() - recorded.keys()]
            return found + [line for key in recorded.keys() & got.keys()
                            for line in self.differences(recorded[key], got[key], f"{where}.{key}")]
        if isinstance(recorded, list) and isinstance(got, list) and len(recorded) == len(got):
            if name == "keys":  # some in the order of chance
                strange = [one for one in {*self.here(recorded)} ^ {*got} if not MADE_NAME.fullmatch(one)]
                return [] if not strange else [f"{where}: {strange} on one side only"]
            return [line for one, other in zip(recorded, got) for line in self.differences(one, other, where + "[]")]
        if type(recorded) is type(got) and self.same(name, recorded, got):
            return []
        return [f"{where}: {json.dumps(recorded)} recorded, {json.dumps(got)} answered"]

    def same(self, name, recorded, got):
        if isinstance(recorded, str):
            if TIME.fullmatch(recorded):
                return bool(TIME.fullmatch(got))
            if recorded and got and (name in MADE or NAMED.fullmatch(recorded)):
                if len(recorded) >= 8 and recorded != got:
                    self.known.setdefault(recorded, got)
                return (recorded in self.known and self.known[recorded] == got) or recorded == got
            return self.here(recorded) == got
        if name in MOMENTS:
            return True
        if name in ("ttl", "lease_duration") and recorded:
            return abs(recorded - got) <= 60
        return recorded == got


# --- what is checked ---------------------------------------------------------------------------------

def rows(name):
    with open(os.path.join(RECORDINGS, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def prepare(port):
    """What was there already when the first recording began."""
    headers = {"X-Vault-Token": ROOT}
    for path, body in (
            ("sys/policies/acl/nomad", {"policy": 'path "secret/*" { capabilities = ["read"] }'}),
            ("sys/policies/acl/nomad-server", {"policy": 'path "auth/token/*" { capabilities = ["update"] }'}),
            ("auth/token/roles/nomad-server", {"allowed_policies": "default,nomad,nomad-server", "orphan": True}),
            ("auth/token/roles/nomad", {"allowed_policies": "default,nomad", "orphan": True, "token_period": 86400}),
            ("sys/auth/token/tune", {"default_lease_ttl": "3155760000s", "max_lease_ttl": "3155760000s"}),
            ("auth/token/create/nomad", {}), ("auth/token/create/nomad-server", {}),
            ("secret/data/ci", {"data": {"token": "first"}})):
        ask(port, "PUT", "/v1/" + path, body, headers)


def replay(program, real, name, before=None):
    folder = tempfile.mkdtemp(prefix="standin-check.")
    server = Server(program, folder)
    try:
        report(server.ready(), f"vault is ready for {name}", server.said())
        if before:
            before(server.port)
        replayed = Replay(server.port, server.key(), real)
        for row in rows(name):
            note = replayed.exchange(row)
            report(not note, f"{row['method']} {row['path']} answers {row['status']} as recorded", note)
    finally:
        code = server.end()
        shutil.rmtree(folder)
    report(code == 0, "told to end, it ends with 0", code)


def check_openapi(program, real):
    """The document of what is mounted has the types of the recorded one."""
    folder = tempfile.mkdtemp(prefix="standin-check.")
    server = Server(program, folder)
    try:
        server.ready()
        headers = {"X-Vault-Token": ROOT}
        for path, kind in (("mounts/kv", "kv"), ("auth/userpass", "userpass"), ("auth/approle", "approle")):
            ask(server.port, "POST", "/v1/sys/" + path, {"type": kind}, headers)
        _, _, text = ask(server.port, "GET", "/v1/sys/internal/specs/openapi", headers=headers)
    finally:
        server.end()
        shutil.rmtree(folder)
    with open(os.path.join(RECORDINGS, "vault-1.8-openapi.json"), encoding="utf-8") as file:
        recorded = json.load(file)["paths"]
    got = undescribed(json.loads(text))["paths"]
    missing = sorted(recorded.keys() ^ got.keys()) if not real else sorted(recorded.keys() - got.keys())
    report(not missing, f"OpenAPI has the {len(recorded)} recorded paths", missing)
    different = [path for path in recorded.keys() & got.keys() if recorded[path] != got[path]]
    report(not different or real, "and their fields have the recorded types", different)


def undescribed(value):
    """Without what is prose."""
    if isinstance(value, dict):
        return {key: undescribed(one) for key, one in value.items()
                if key not in ("description", "summary", "help") or not isinstance(one, str)}
    return [undescribed(one) for one in value] if isinstance(value, list) else value


def check_expiry(program):
    """What a recording cannot wait for: a token that ends, and takes its children along."""
    folder = tempfile.mkdtemp(prefix="standin-check.")
    server = Server(program, folder)
    try:
        server.ready()

        def made(token, body):
            _, _, text = ask(server.port, "POST", "/v1/auth/token/create", body, {"X-Vault-Token": token})
            return json.loads(text)["auth"]["client_token"]

        def known(token):
            return ask(server.port, "GET", "/v1/auth/token/lookup-self", headers={"X-Vault-Token": token})[0] == 200

        parent = made(ROOT, {"policies": ["root"], "ttl": "1h"})
        child = made(parent, {"policies": ["default"], "ttl": "1h"})
        orphan = made(parent, {"policies": ["default"], "ttl": "1h", "no_parent": True})
        report(known(parent) and known(child), "a token and its child are known")
        ask(server.port, "POST", "/v1/auth/token/renew-self", {"increment": 1}, {"X-Vault-Token": parent})
        report(until(lambda: not known(parent) and not known(child)),
               "renewed for one second it ends, and its child with it")
        report(known(orphan), "an orphan of it does not")
    finally:
        server.end()
        shutil.rmtree(folder)


def check(program=None):
    """All of it; PROGRAM: a real one's path."""
    command = [program] if program else [sys.executable, os.path.join(HERE, "vault")]
    said = subprocess.run(command + ["version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    report(said.returncode == 0 and re.match(r"Vault v\d+\.\d+\.\d+", said.stdout), "it tells its version", said)
    replay(command, bool(program), "vault-1.8.jsonl", prepare)
    replay(command, bool(program), "vault-1.8-more.jsonl")
    check_openapi(command, bool(program))
    check_expiry(command)
