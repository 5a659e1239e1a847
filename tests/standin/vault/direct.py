"""Purpose: the paths of sys that are answered before tokens and rights are looked at: state of the seal, health,
leader, root tokens and key shares."""

import base64
import time
import uuid

from backend import Path, strings
from failure import Failure, listed, refuse, unsupported_operation
from fields import Field, read_bool
from gojson import Ordered, loads
from tokens import Token


class Asked:
    """One such request."""

    def __init__(self, core, method, raw, token, query):
        self.core, self.seal, self.method, self.token, self.query = core, core.seal, method, token, query
        self.raw = raw.decode(errors="replace")

    def allow(self, *methods):
        if self.method not in methods:
            raise Failure(405)

    def json(self):
        """The body; names are taken in any case."""
        if not self.raw.strip():
            return {}
        try:
            value = loads(self.raw)
        except ValueError:
            first = self.raw.strip()[0]
            refuse("failed to parse JSON input: unexpected EOF" if first in "{[" else
                   f"failed to parse JSON input: invalid character '{first}' looking for beginning of value")
        return {key.lower(): one for key, one in value.items()} if isinstance(value, dict) else {}

    def must_be_active(self, text="node is not active"):
        if self.seal.sealed:
            raise Failure(503, text)


def cluster(asked):
    return {} if asked.seal.sealed else {"cluster_name": asked.seal.cluster_name, "cluster_id": asked.seal.cluster_id}


def status_of_seal(asked):
    found = Ordered(type="shamir", initialized=True, sealed=asked.seal.sealed, t=1, n=1, progress=0, nonce="",
                    version=asked.core.version, migration=False)
    return Ordered({**found, **cluster(asked), "recovery_seal": False, "storage_type": "inmem"})


def seal_status(asked):
    asked.allow("GET")
    return 200, status_of_seal(asked)


def code(asked, name, otherwise):
    text = asked.query.get(name)
    if text is None:
        return otherwise
    if not text.isdigit():
        raise Failure(400)
    return int(text)


def health(asked):
    asked.allow("GET", "HEAD")
    codes = {"active": code(asked, "activecode", 200), "sealed": code(asked, "sealedcode", 503)}
    sealed = asked.seal.sealed
    replication = "unknown" if sealed else "disabled"
    found = Ordered(initialized=True, sealed=sealed, standby=sealed, performance_standby=False,
                    replication_performance_mode=replication, replication_dr_mode=replication,
                    server_time_utc=int(time.time()), version=asked.core.version)
    return codes["sealed" if sealed else "active"], Ordered({**found, **cluster(asked)})


def leader(asked):
    asked.allow("GET")
    return 200, Ordered(ha_enabled=False, is_self=False, active_time="0001-01-01T00:00:00Z", leader_address="",
                        leader_cluster_address="", performance_standby=False, performance_standby_last_remote_wal=0)


def init(asked):
    asked.allow("GET", "PUT", "POST")
    if asked.method == "GET":
        return 200, {"initialized": True}
    return refuse("Vault is already initialized")


def seal(asked):
    asked.allow("PUT", "POST")
    with asked.core.lock:
        if not asked.seal.sealed:
            check_sudo(asked, "sys/seal")
            asked.seal.sealed = True
    return 204, None


def check_sudo(asked, path):
    token = asked.core.tokens.find(asked.token)
    if not asked.token:
        raise Failure(500, "missing client token")
    if not token:
        raise Failure(403, "permission denied")
    rights = asked.core.rights(token)
    rule = rights.root or rights.find(path, False)
    if not rule or not rights.root and not {"update", "sudo"} <= rule.capabilities:
        raise Failure(403, listed("permission denied"))


def step_down(asked):
    asked.allow("PUT", "POST")
    if not asked.seal.sealed:
        check_sudo(asked, "sys/step-down")
    return 204, None


def unseal(asked):
    asked.allow("PUT", "POST")
    told = asked.json()
    if read_bool(told.get("reset")):
        if not asked.seal.sealed:
            refuse("vault is unsealed")
        return 200, status_of_seal(asked)
    if not told.get("key"):
        refuse("'key' must be specified in request body as JSON, or 'reset' set to true")
    with asked.core.lock:
        asked.seal.unseal(told["key"])
    return 200, status_of_seal(asked)


def root_status(asked, otp="", encoded="", nonce=""):
    root, complete = asked.seal.root, bool(encoded)
    return Ordered(nonce=root["nonce"] if root else nonce, started=bool(root) or complete, progress=int(complete),
                   required=1, complete=complete, encoded_token=encoded, encoded_root_token=encoded,
                   pgp_fingerprint="", otp=otp, otp_length=0 if complete else 26)


def generate_root(asked):
    asked.allow("GET", "PUT", "POST", "DELETE")
    asked.must_be_active("Vault is sealed")
    if asked.method == "DELETE":
        asked.seal.root = None
        return 204, None
    otp = asked.seal.start_root() if asked.method != "GET" else ""
    return 200, root_status(asked, otp)


def update_root(asked):
    asked.allow("PUT", "POST")
    asked.must_be_active("Vault is sealed")
    told = asked.json()
    if not told.get("key"):
        refuse("'key' must be specified in request body as JSON")

    def make():
        token = asked.core.tokens.add(Token(["root"], "auth/token/root", display_name="root"))
        token.start(0)
        return token.id

    with asked.core.lock:
        encoded = asked.seal.update_root(told.get("nonce", ""), told["key"], make)
    return 200, root_status(asked, encoded=encoded, nonce=told.get("nonce", ""))


def rekey(asked):
    asked.allow("GET", "PUT", "POST", "DELETE")
    asked.must_be_active()
    if asked.method == "DELETE":
        asked.seal.rekey = None
        return 204, None
    if asked.method != "GET":
        told = asked.json()
        shares, threshold = int(told.get("secret_shares", 0)), int(told.get("secret_threshold", 0))
        if asked.seal.rekey:
            refuse("rekey already in progress")
        if shares < 1 or not 1 <= threshold <= shares:
            refuse("provided threshold greater than the total shares" if threshold > shares else
                   "secret threshold cannot be zero")
        asked.seal.rekey = (str(uuid.uuid4()), threshold, shares)
    nonce, threshold, shares = asked.seal.rekey or ("", 0, 0)
    return 200, Ordered(nonce=nonce, started=bool(asked.seal.rekey), t=threshold, n=shares, progress=0, required=1,
                        pgp_fingerprints=None, backup=False, verification_required=False)


def update_rekey(asked):
    asked.allow("PUT", "POST")
    asked.must_be_active()
    told = asked.json()
    if not told.get("key"):
        refuse("'key' must be specified in request body as JSON")
    if not asked.seal.rekey:
        refuse("no barrier rekey in progress")
    nonce, _, shares = asked.seal.rekey
    if told.get("nonce") != nonce:
        refuse(f"incorrect nonce supplied; nonce for this rekey operation is {nonce}")
    made = [base64.b64encode(uuid.uuid4().bytes + uuid.uuid4().bytes).decode() for _ in range(shares)]
    asked.seal.share, asked.seal.rekey = made[0], None
    return 200, Ordered(nonce=nonce, complete=True, keys=[base64.b64decode(one).hex() for one in made],
                        keys_base64=made, pgp_fingerprints=None, backup=False, verification_required=False)


def verify_rekey(asked):
    asked.must_be_active()
    return refuse("no rekey configuration found")


def flags(asked):
    asked.allow("GET")
    return 200, {"feature_flags": None}


PATHS = {"sys/seal-status": seal_status, "sys/health": health, "sys/leader": leader, "sys/init": init,
         "sys/seal": seal, "sys/unseal": unseal, "sys/step-down": step_down,
         "sys/generate-root/attempt": generate_root, "sys/generate-root/update": update_root,
         "sys/rekey/init": rekey, "sys/rekey/update": update_rekey, "sys/rekey/verify": verify_rekey,
         "sys/internal/ui/feature-flags": flags}

NONCE = strings("key", "nonce")
SHARES = {name: Field("int") for name in ("secret_shares", "secret_threshold")}
# As OpenAPI has them: what may be asked, and the fields; in front of them stands what is above.
DOCUMENTED = (
    ("init", "read update", {**SHARES, **strings("stored_shares", "recovery_shares", "recovery_threshold", kind="int"),
                             **strings("pgp_keys", "recovery_pgp_keys", kind="words"), **strings("root_token_pgp_key")}),
    ("seal", "update", {}), ("unseal", "update", {**strings("key"), "reset": Field("bool")}),
    ("seal-status", "read", {}), ("leader", "read", {}), ("step-down", "update", {}), ("health", "read", {}),
    ("generate-root(/attempt)?", "read update delete", strings("pgp_key")), ("generate-root/update", "update", NONCE),
    ("rekey/init", "read update delete", {**SHARES, "pgp_keys": Field("words"),
                                          **strings("backup", "require_verification", kind="bool")}),
    ("rekey/update", "update", NONCE), ("rekey/verify", "read update delete", NONCE),
    ("internal/ui/feature-flags", "read", {}))
ABOUT = {"generate-root(/attempt)?": {"names": ["generate-root/attempt", "generate-root"]},
         "health": {"responses": {"get": ["200", "429", "472", "501", "503"]}},
         "step-down": {"responses": {"post": ["204"]}}}


def documented():
    return [Path(pattern, dict.fromkeys(verbs.split(), lambda request, given: unsupported_operation()), fields,
                 **ABOUT.get(pattern, {})) for pattern, verbs, fields in DOCUMENTED]
