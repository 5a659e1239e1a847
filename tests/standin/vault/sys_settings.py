"""Purpose: sys's settings: what is kept, told back and forgotten, and has no further effect here."""

import random

import duration
import hcl
from backend import Answer, Path, keys, strings
from failure import Fault, refuse
from fields import Field

ALLOWED_HEADERS = ["Content-Type", "X-Requested-With", "X-Vault-AWS-IAM-Server-ID", "X-Vault-MFA",
                   "X-Vault-No-Request-Forwarding", "X-Vault-Wrap-Format", "X-Vault-Wrap-TTL",
                   "X-Vault-Policy-Override", "Authorization", "X-Vault-Token"]
EXEMPT = [f"/v1/sys/{one}" for one in ("generate-recovery-token/attempt", "generate-recovery-token/update",
                                       "generate-root/attempt", "generate-root/update", "health", "seal-status",
                                       "unseal")]
SANITIZED = {
    "api_addr": "", "cache_size": 0, "cluster_addr": "", "cluster_cipher_suites": "", "cluster_name": "",
    "default_lease_ttl": 0, "default_max_request_duration": 0, "disable_cache": False, "disable_clustering": False,
    "disable_indexing": False, "disable_mlock": True, "disable_performance_standby": False,
    "disable_printable_check": False, "disable_sealwrap": False, "disable_sentinel_trace": False,
    "enable_response_header_hostname": False, "enable_response_header_raft_node_id": False, "enable_ui": True,
    "listeners": [{"config": {"address": "127.0.0.1:8200", "proxy_protocol_authorized_addrs": "127.0.0.1:8200",
                              "proxy_protocol_behavior": "allow_authorized", "tls_disable": True}, "type": "tcp"}],
    "log_format": "unspecified", "log_level": "", "max_lease_ttl": 0, "pid_file": "", "plugin_directory": "",
    "raw_storage_endpoint": False, "seals": [{"disabled": False, "type": "shamir"}],
    "storage": {"cluster_addr": "", "disable_clustering": False, "redirect_addr": "", "type": "inmem"},
    "telemetry": {}}


class Settings:
    def __init__(self):
        self.cors, self.passwords, self.quotas, self.headers = None, {}, {}, {}
        self.quota = {"enable_rate_limit_audit_logging": False, "enable_rate_limit_response_headers": False,
                      "rate_limit_exempt_paths": EXEMPT}
        self.rotation = {"enabled": True, "interval": 0, "max_operations": 3865470566}

    def paths(self):
        quota = {"enable_rate_limit_audit_logging": Field("bool"), "enable_rate_limit_response_headers": Field("bool"),
                 "rate_limit_exempt_paths": Field("strings")}
        rate = {**strings("name", "type", "path"), "rate": Field("float"), "interval": Field("seconds"),
                "block_interval": Field("seconds")}
        header = {**strings("header"), "values": Field("strings"), **strings("multivalue", kind="bool")}
        return [
            Path("config/cors", {"read": self.read_cors, "update": self.write_cors, "delete": self.delete_cors},
                 {"enable": Field("bool"), "allowed_origins": Field("words"), "allowed_headers": Field("words")}),
            Path("config/state/sanitized", {"read": lambda request, given: Answer(SANITIZED)}),
            Path("config/ui/headers/", {"list": lambda request, given: keys(sorted(self.headers))}),
            Path("config/ui/headers/{header+}", {"read": self.read_header, "update": self.write_header,
                                                 "delete": self.delete_header}, header),
            Path("policies/password/{name}/generate", {"read": self.generate}, strings("name")),
            Path("policies/password/{name+}", {"read": self.read_password, "update": self.write_password,
                                               "delete": self.delete_password}, strings("name", "policy")),
            Path("quotas/config", {"read": lambda request, given: Answer(self.quota), "update": self.write_quota}, quota),
            Path("quotas/rate-limit/?", {"list": lambda request, given: keys(sorted(self.quotas))}),
            Path("quotas/rate-limit/{name}", {"read": self.read_rate, "update": self.write_rate,
                                              "delete": self.delete_rate}, rate),
            Path("rotate/config", {"read": lambda request, given: Answer(self.rotation), "update": self.write_rotation},
                 {"max_operations": Field("int64"), "interval": Field("seconds"), "enabled": Field("bool")})]

    # --- cross-origin requests and headers --------------------------------------------------------

    def read_cors(self, request, given):
        return Answer({"enabled": True, **self.cors} if self.cors else {"enabled": False})

    def write_cors(self, request, given):
        if not given["allowed_origins"]:
            refuse("at least one origin or the wildcard must be provided")
        self.cors = {"allowed_origins": given["allowed_origins"],
                     "allowed_headers": ALLOWED_HEADERS + given["allowed_headers"]}

    def delete_cors(self, request, given):
        self.cors = None

    def read_header(self, request, given):
        values = self.headers.get(given["header"].lower())
        if values is None:
            return None
        return Answer({"values": values} if given["multivalue"] else {"value": values[0]})

    def write_header(self, request, given):
        self.headers[given["header"].lower()] = given["values"] or refuse("header values must be set")
        return Answer()

    def delete_header(self, request, given):
        self.headers.pop(given["header"].lower(), None)

    # --- policies for passwords ------------------------------------------------------------------

    def password(self, given):
        if given["name"] not in self.passwords:
            raise Fault("policy does not exist", 404)
        return self.passwords[given["name"]]

    def read_password(self, request, given):
        return Answer({"policy": self.password(given)[0]})

    def write_password(self, request, given):
        text = given["policy"]
        if not text:
            raise Fault("missing policy", 400)
        try:
            items = hcl.parse(text)
        except hcl.Error as error:
            raise Fault(f"invalid password policy: unable to decode: {error}", 400) from None
        letters = "".join(inner.value for item in items if item.keys[0] == "rule"
                          for inner in item.value if inner.keys[0] == "charset")
        length = next((int(item.value) for item in items if item.keys[0] == "length"), 0)
        if not letters:
            raise Fault("invalid password policy: 1 error occurred:\n\t* no charset specified\n\n", 400)
        self.passwords[given["name"]] = (text, letters, length)

    def delete_password(self, request, given):
        self.passwords.pop(given["name"], None)

    def generate(self, request, given):
        _, letters, length = self.password(given)
        return Answer({"password": "".join(random.choices(letters, k=length))})

    # --- quotas and rotation ---------------------------------------------------------------------

    def write_quota(self, request, given):
        self.quota = {**self.quota, "rate_limit_exempt_paths": []}
        for name in self.quota:
            if given.has(name):
                self.quota[name] = given[name]

    def read_rate(self, request, given):
        found = self.quotas.get(given["name"])
        return Answer(found) if found else None

    def write_rate(self, request, given):
        if given["rate"] <= 0:
            refuse("'rate' is invalid")
        self.quotas[given["name"]] = {"block_interval": given["block_interval"], "interval": given["interval"] or 1,
                                      "name": given["name"], "path": given["path"], "rate": given["rate"],
                                      "type": "rate-limit"}

    def delete_rate(self, request, given):
        self.quotas.pop(given["name"], None)

    def write_rotation(self, request, given):
        if given.has("interval"):
            self.rotation["interval"] = duration.go(given["interval"]) if given["interval"] else 0
        for name in ("max_operations", "enabled"):
            if given.has(name):
                self.rotation[name] = given[name]
