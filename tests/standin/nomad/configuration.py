"""Purpose: the agent's configuration: files merged as Nomad merges them, defaults, addresses, and
the mistakes for which a real agent does not start."""

import json
import os
import re
import socket

import hcl

KNOWN = set("""acl addresses advertise audit autopilot bind_addr client consul consuls data_dir datacenter
disable_anonymous_signature disable_update_check enable_debug enable_syslog eventlog http_api_response_headers
keyring leave_on_interrupt leave_on_terminate limits log_file log_include_location log_json log_level
log_rotate_bytes log_rotate_duration log_rotate_max_files name plugin plugin_dir ports region reporting rpc
sentinel server syslog_facility telemetry tls ui vault""".split())
PORTS = {"http": 4646, "rpc": 4647, "serf": 4648}


class Error(Exception):
    pass


def load(paths):
    merged = {}
    for path in paths:
        try:
            found = load_path(path)
        except (OSError, Error) as error:
            raise Error(f"Error loading configuration from {path}: {describe(error)}") from error
        if not found:
            print(f"==> No configuration loaded from {path}", flush=True)
        hcl.merge(merged, found)
    return merged


def describe(error):
    if isinstance(error, OSError):
        return f"stat {error.filename}: {(error.strerror or '').lower()}"
    return str(error)


def load_path(path):
    if not os.path.isdir(path):
        return load_file(path)
    merged = {}
    for name in sorted(os.listdir(path)):
        file = os.path.join(path, name)
        if not name.endswith((".hcl", ".json")) or name.startswith((".", "#")) or os.path.isdir(file):
            continue
        try:
            hcl.merge(merged, load_file(file))
        except Error as error:
            raise Error(f"Error loading {file}: {error}") from error
    return merged


def load_file(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else hcl.parse(text)
    except (hcl.Error, ValueError) as error:
        raise Error(f"failed to decode HCL file {path}: {error}") from error
    unknown = sorted(set(found) - KNOWN)
    if unknown:
        raise Error(f"error parsing: unexpected keys {', '.join(unknown)}")
    return found


class Settings:
    """What the parts of the agent ask the configuration for."""

    def __init__(self, raw):
        self.raw = raw
        self.server = self.block("server")
        self.client = self.block("client")
        self.consul = self.block("consul")
        self.tls = self.block("tls")
        self.data_dir = raw.get("data_dir", "")
        self.name = raw.get("name") or socket.gethostname().split(".")[0]
        self.region = raw.get("region", "global")
        self.datacenter = raw.get("datacenter", "dc1")
        self.bind = computed(raw.get("bind_addr", "0.0.0.0"))
        self.is_server = bool(self.server.get("enabled"))
        self.is_client = bool(self.client.get("enabled"))
        self.acls = bool(self.block("acl").get("enabled"))

    def block(self, name):
        value = self.raw.get(name)
        return value if isinstance(value, dict) else {}

    def listen(self, what):
        """Where to listen: (address, port)."""
        address = computed(self.block("addresses").get(what)) or self.bind
        return address.split()[0], int(self.block("ports").get(what, PORTS[what]))

    def advertise(self, what):
        """What others are told: (address, port)."""
        address, port = self.listen(what)
        told = computed(self.block("advertise").get(what))
        if told:
            host, colon, number = told.rpartition(":")
            return (host, int(number)) if colon and number.isdigit() else (told, port)
        return (own_address() if address in ("0.0.0.0", "::") else address), port

    def check(self):
        if not self.is_server and not self.is_client:
            raise Error("Must specify either server, client or dev mode for the agent.")
        if not self.data_dir:
            raise Error('Must specify "data_dir" config option or "data-dir" CLI flag' if self.is_server else
                        "Must specify the state, alloc-dir, alloc-mounts-dir and plugin-dir if data-dir is omitted.")
        if not os.path.isabs(self.data_dir):
            raise Error(f'data-dir must be given as an absolute path: got {self.data_dir}')
        for name, volume in (self.client.get("host_volume") or {}).items():
            if not (isinstance(volume, dict) and volume.get("path")):
                raise Error(f"Missing path in host_volume config ({name})")


def computed(address):
    """Of what go-sockaddr computes, the templates that give one address; the host has one only."""
    found = re.fullmatch(r'{{\s*(\w+)[^}]*}}(:\d+)?', address or "")
    if not found:
        return address
    if found[1] not in ("GetPrivateIP", "GetInterfaceIP", "GetPublicIP"):
        raise Error(f'unable to parse address template {address}: the stand-in knows no function "{found[1]}"')
    return own_address() + (found[2] or "")


def own_address():
    """The address that leads out; asking for the way sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]
