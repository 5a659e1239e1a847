"""Purpose: sys: its paths that are few and small: what is told about the server and the caller, audit devices,
wrapping, tools; the larger groups are in modules of their own."""

import base64
import binascii
import hashlib
import os

import direct
import duration
import openapi
import sys_leases
import sys_mounts
import sys_policies
import sys_settings
import wrapping
from backend import Answer, Backend, Path, keys, strings
from failure import Failure, Fault, refuse
from fields import Field
from gojson import dumps
from policy import is_pattern

PLUGINS = {"auth": ["approle", "userpass"], "database": [], "secret": ["kv"]}
HASHES = {"sha2-224": "sha224", "sha2-256": "sha256", "sha2-384": "sha384", "sha2-512": "sha512"}


class System(Backend):
    sudo = ("auth/*", "remount", "audit", "audit/*", "raw", "raw/*", "rotate", "config/cors", "config/auditing/*",
            "config/ui/headers/*", "plugins/catalog/*", "revoke-prefix/*", "revoke-force/*", "leases/revoke-prefix/*",
            "leases/revoke-force/*", "leases/lookup/*", "leases")
    open = ("wrapping/lookup", "wrapping/pubkey", "replication/status", "internal/specs/openapi",
            "internal/ui/mounts", "internal/ui/mounts/*", "internal/ui/namespaces", "init", "seal-status", "unseal",
            "leader", "health", "generate-root/attempt", "generate-root/update", "rekey/init", "rekey/update",
            "rekey/verify")

    def __init__(self, core):
        super().__init__()
        self.core, self.audits, self.headers, self.started = core, {}, {}, duration.now()
        one = strings("token")
        self.paths = sys_mounts.paths() + sys_policies.paths() + sys_leases.paths() + \
            sys_settings.Settings().paths() + direct.documented() + [
            Path("audit-hash/{path+}", {"update": self.hash_audit}, strings("path", "input")),
            Path("audit", {"read": self.list_audits}),
            Path("audit/{path+}", {"update": self.enable_audit, "delete": self.disable_audit},
                 {**strings("path", "type", "description"), "options": Field("pairs"),
                  "local": Field("bool", default=False)}),
            Path("config/auditing/request-headers/{header+}",
                 {"read": self.read_header, "update": self.write_header, "delete": self.delete_header},
                 {**strings("header"), "hmac": Field("bool")}),
            Path("config/auditing/request-headers", {"read": self.list_headers}),
            Path("wrapping/wrap", {"update": wrapping.put}),
            Path("wrapping/unwrap", {"update": wrapping.unwrap}, one),
            Path("wrapping/lookup", {"update": wrapping.look_up, "read": wrapping.look_up}, one),
            Path("wrapping/rewrap", {"update": wrapping.rewrap}, one),
            Path("key-status", {"read": self.key_status}),
            Path("rotate", {"update": self.rotate}),
            Path("rekey/backup", {"read": self.no_backup, "delete": lambda request, given: None}),
            Path("replication/status", {"read": lambda request, given: Answer({"mode": "disabled"})}),
            Path("internal/specs/openapi", {"read": self.specification}, strings("context", undocumented=True)),
            Path("internal/ui/mounts", {"read": self.visible}),
            Path("internal/ui/mounts/{path+}", {"read": self.visible_one}, strings("path")),
            Path("internal/ui/resultant-acl", {"read": self.resultant}, hidden=True),
            Path("internal/counters/tokens", {"read": self.count_tokens}, hidden=True),
            Path("internal/counters/entities", {"read": self.count_entities}, hidden=True),
            Path("metrics", {"read": self.metrics}, strings("format", query=True)),
            Path("plugins/catalog/(?P<type>auth|database|secret)/?", {"list": self.plugins}, strings("type"),
                 names=["plugins/catalog/{type}"]),
            Path("plugins/catalog/(?P<type>auth|database|secret)/{name+}", {"read": self.plugin},
                 strings("type", "name"), names=[]),
            Path("plugins/catalog/{name+}", {"read": self.plugin}, strings("name"), names=[]),
            Path("raw/{path*}", dict.fromkeys(("read", "list"), lambda request, given: None), strings("path"), names=[]),
            Path("host-info", {"read": self.host_info}),
            Path("tools/random(/{urlbytes+})?", {"update": self.random},
                 {**strings("urlbytes"), "bytes": Field("int", default="32"),
                  **strings("format", default="base64")}, names=["tools/random/{urlbytes}", "tools/random"]),
            Path("tools/hash(/{urlalgorithm+})?", {"update": self.hash},
                 {**strings("input", "urlalgorithm"), **strings("algorithm", default="sha2-256"),
                  **strings("format", default="hex")}, names=["tools/hash/{urlalgorithm}", "tools/hash"])]

    # --- about the server ------------------------------------------------------------------------

    def key_status(self, request, given):
        return Answer({"term": 1, "install_time": duration.stamp(self.started), "encryptions": 62})

    def rotate(self, request, given):
        return None

    def no_backup(self, request, given):
        refuse("no backed-up keys found")

    def metrics(self, request, given):
        if given["format"] == "prometheus":
            text, kind = "# HELP vault_core_unsealed vault_core_unsealed\n# TYPE vault_core_unsealed gauge\n" \
                "vault_core_unsealed 1\n", "text/plain; version=0.0.4; charset=utf-8"
        else:
            gauge = {"Name": "vault.core.unsealed", "Value": 1, "Labels": {"cluster": self.core.seal.cluster_name}}
            sample = {"Name": "vault.core.handle_request", "Count": 1, "Rate": 0.1, "Sum": 1, "Min": 1, "Max": 1,
                      "Mean": 1, "Stddev": 0, "Labels": {}}
            text, kind = dumps({"Timestamp": "2021-07-28 00:00:00 +0000 UTC", "Gauges": [gauge], "Points": [],
                                "Counters": [{**sample, "Name": "vault.audit.log_request_failure"}],
                                "Samples": [sample]}), "text/plain; charset=utf-8"
        answer = Answer(raw=text)
        answer.content = kind
        return answer

    def host_info(self, request, given):
        return Answer({"timestamp": duration.stamp(), "cpu": [], "cpu_times": [], "disk": [],
                       "host": {"hostname": "stand-in", "uptime": 1, "os": "linux", "platform": "debian"},
                       "memory": {"total": 1 << 30, "available": 1 << 29, "used": 1 << 29}})

    def specification(self, request, given):
        return Answer(raw=dumps(openapi.document(self.shown(request), given["context"])))

    def count_tokens(self, request, given):
        return Answer({"counters": {"service_tokens": {"total": len(self.core.tokens.by_accessor)}}})

    def count_entities(self, request, given):
        return Answer({"counters": {"entities": {"total": len(self.core.identity.entities)}}})

    def plugins(self, request, given):
        return keys(PLUGINS[given["type"]])

    def plugin(self, request, given):
        known = any(given["name"] in names for names in PLUGINS.values())
        return Answer({"args": None, "builtin": True, "command": "", "name": given["name"], "sha256": ""}) if known \
            else None

    # --- about the caller ------------------------------------------------------------------------

    def allowed(self, request, mount):
        """Is there anything under the mount that the caller may touch?"""
        rights, path = self.core.rights(request.token), mount.path.removeprefix("auth/")
        if rights.root:
            return True
        for rule in rights.rules.values():
            head = rule.path.split("+")[0].removesuffix("*") if is_pattern(rule.path) else rule.path
            near = head.startswith(path) or is_pattern(rule.path) and path.startswith(head)
            if near and "deny" not in rule.capabilities and rule.capabilities:
                return True
        return False

    def shown(self, request):
        """The mounts that the caller may know of."""
        if request.client_token and not request.token:
            raise Failure(403, "permission denied")
        return [one for one in self.core.mounts
                if one.listing == "unauth" or request.token and self.allowed(request, one)]

    def visible(self, request, given):
        found = {"auth": {}, "secret": {}}
        for one in self.shown(request):
            told = one.told() if request.token else {key: one.told()[key] for key in ("type", "description", "options")}
            found["auth" if one.is_auth else "secret"][one.path.removeprefix("auth/")] = told
        return Answer(found)

    def visible_one(self, request, given):
        path = sys_mounts.whole(given["path"])
        if not request.client_token:
            raise Fault("missing client token", 400)
        if not request.token:
            raise Failure(403, "permission denied")
        mount = self.core.mounted(path)
        if not mount or not self.allowed(request, mount):
            raise Failure(403, "preflight capability check returned 403, please ensure client's policies grant access "
                               f'to path "{path}"')
        return Answer({**mount.told(), "path": mount.path.removeprefix("auth/")})

    def resultant(self, request, given):
        rights = self.core.rights(request.token)
        if rights.root:
            return Answer({"root": True})
        found = {"root": False, "exact_paths": {}, "glob_paths": {}}
        for rule in rights.rules.values():
            if "+" in rule.path:
                continue
            group = "glob_paths" if rule.path.endswith("*") else "exact_paths"
            found[group][rule.path.removesuffix("*")] = rule.told()
        return Answer(found)

    # --- audit -----------------------------------------------------------------------------------

    def list_audits(self, request, given):
        return Answer(dict(self.audits))

    def enable_audit(self, request, given):
        path = sys_mounts.whole(given["path"])
        if given["type"] not in ("file", "socket", "syslog"):
            refuse(f'unknown backend type: "{given["type"]}"')
        if path in self.audits:
            refuse("path already in use")
        if given["type"] == "file" and not given["options"].get("file_path"):
            refuse("file_path is required")
        self.audits[path] = {"path": path, "type": given["type"], "description": given["description"],
                             "options": given["options"], "local": given["local"]}

    def disable_audit(self, request, given):
        self.audits.pop(sys_mounts.whole(given["path"]), None)

    def hash_audit(self, request, given):
        if not given["input"]:
            refuse('the "input" parameter is empty')
        path = sys_mounts.whole(given["path"])
        if path not in self.audits:
            refuse(f'unknown audit backend "{path}"')
        return Answer({"hash": "hmac-sha256:" + hashlib.sha256((path + given["input"]).encode()).hexdigest()})

    def list_headers(self, request, given):
        return Answer({"headers": {key: {"hmac": value} for key, value in self.headers.items()}})

    def read_header(self, request, given):
        name = given["header"].lower()
        if name not in self.headers:
            refuse("Could not find header in config")
        return Answer({given["header"]: {"hmac": self.headers[name]}})

    def write_header(self, request, given):
        self.headers[given["header"].lower()] = given["hmac"]

    def delete_header(self, request, given):
        self.headers.pop(given["header"].lower(), None)

    # --- tools -----------------------------------------------------------------------------------

    def random(self, request, given):
        text = given["urlbytes"]
        if text and not text.isdigit():
            refuse(f'error parsing url-set byte count: strconv.Atoi: parsing "{text}": invalid syntax')
        count = int(text) if text else given["bytes"]
        if count < 1:
            refuse('"bytes" cannot be less than 1')
        return Answer({"random_bytes": encoded(os.urandom(count), given["format"])})

    def hash(self, request, given):
        try:
            data = base64.b64decode(given["input"], validate=True)
        except (ValueError, binascii.Error):
            refuse("unable to decode input as base64: illegal base64 data at input byte 0")
        name = given["urlalgorithm"] or given["algorithm"]
        if name not in HASHES:
            refuse(f"unsupported algorithm {name}")
        return Answer({"sum": encoded(hashlib.new(HASHES[name], data).digest(), given["format"])})


def encoded(data, form):
    if form not in ("hex", "base64"):
        refuse(f'unsupported encoding format "{form}"; must be "hex" or "base64"')
    return data.hex() if form == "hex" else base64.b64encode(data).decode()
