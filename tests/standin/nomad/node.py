"""Purpose: this machine as a Nomad node: its id, which lasts, and the record that a client registers
with its servers, in the shape that a real server shows."""

import datetime
import os
import platform
import shutil
import socket
import uuid

from release import VERSION


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def whole_seconds(later=0):
    made = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=later)
    return made.strftime("%Y-%m-%dT%H:%M:%SZ")


def lasting_id(folder, name):
    """An id kept in FOLDER, made there when it is the first time."""
    os.makedirs(folder, mode=0o711, exist_ok=True)
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        made = str(uuid.uuid4())
        with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(made)
        return made


def memory_bytes():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def driver(name, detected):
    return {"Attributes": {f"driver.{name}": "true"} if detected else None, "Detected": detected,
            "HealthDescription": "Healthy" if detected else "", "Healthy": detected, "UpdateTime": now()}


def describe(settings, node_id):
    """The whole node, as /v1/node/ID shows it."""
    address, port = settings.advertise("http")
    reserved = settings.client.get("reserved") or {}
    return {
        "Attributes": attributes(settings, address, port),
        "CSIControllerPlugins": None, "CSINodePlugins": None,
        "ComputedClass": f"v1:{uuid.UUID(node_id).int % 2 ** 63}", "CreateIndex": 0,
        "Datacenter": settings.datacenter, "Drain": False, "DrainStrategy": None,
        "Drivers": {"docker": driver("docker", False), "exec": driver("exec", True),
                    "raw_exec": driver("raw_exec", True)},
        "Events": [], "HTTPAddr": f"{address}:{port}", "HostVolumes": host_volumes(settings),
        "ID": node_id, "LastDrain": None, "Links": {"consul": f"{settings.datacenter}.{settings.name}"},
        "Meta": {key: str(value) for key, value in (settings.client.get("meta") or {}).items()},
        "ModifyIndex": 0, "Name": settings.name, "NodeClass": settings.client.get("node_class", ""),
        **resources(settings, address, reserved),
        "SchedulingEligibility": "eligible", "SecretID": "", "Status": "initializing",
        "StatusDescription": "", "StatusUpdatedAt": 0,
        "TLSEnabled": bool(settings.tls.get("http")),
    }


def attributes(settings, address, port):
    disk = shutil.disk_usage(settings.data_dir)
    return {
        "cpu.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "cpu.numcores": str(os.cpu_count()), "cpu.totalcompute": str(2000 * os.cpu_count()),
        "kernel.name": "linux", "kernel.version": platform.release(), "os.name": "debian",
        "memory.totalbytes": str(memory_bytes()), "nomad.version": VERSION,
        "nomad.advertise.address": f"{address}:{port}", "unique.hostname": socket.gethostname(),
        "unique.network.ip-address": address, "unique.storage.bytestotal": str(disk.total),
        "unique.storage.bytesfree": str(disk.free), "consul.datacenter": settings.datacenter,
    }


def host_volumes(settings):
    volumes = settings.client.get("host_volume") or {}
    return {name: {"Name": name, "Path": volume.get("path", ""), "ReadOnly": bool(volume.get("read_only"))}
            for name, volume in volumes.items()} or None


def resources(settings, address, reserved):
    cpu, memory = 2000 * os.cpu_count(), memory_bytes() >> 20
    disk = shutil.disk_usage(settings.data_dir).free >> 20
    network = {"CIDR": f"{address}/32", "DNS": None, "Device": "host0", "DynamicPorts": None, "IP": address,
               "MBits": 1000, "Mode": "host", "ReservedPorts": None}
    told = {"CPU": reserved.get("cpu", 0), "MemoryMB": reserved.get("memory", 0), "DiskMB": reserved.get("disk", 0)}
    rest = {"Cores": 0, "Devices": None, "IOPS": 0, "MemoryMaxMB": 0}
    return {
        "NodeResources": {
            "Cpu": {"CpuShares": cpu, "ReservableCpuCores": list(range(os.cpu_count())),
                    "TotalCpuCores": os.cpu_count()},
            "Devices": None, "Disk": {"DiskMB": disk}, "Memory": {"MemoryMB": memory}, "Networks": [network],
            "NodeNetworks": [{"Addresses": [{"Address": address, "Alias": "default", "Family": "ipv4", "Gateway": "",
                                             "ReservedPorts": ""}],
                              "Device": "host0", "MacAddress": "", "Mode": "host", "Speed": 1000}]},
        "Reserved": {**told, **rest, "Networks": None},
        "ReservedResources": {
            "Cpu": {"CpuShares": told["CPU"], "ReservedCpuCores": None}, "Disk": {"DiskMB": told["DiskMB"]},
            "Memory": {"MemoryMB": told["MemoryMB"]},
            "Networks": {"ReservedHostPorts": reserved.get("reserved_ports", "")}},
        "Resources": {"CPU": cpu, "DiskMB": disk, "MemoryMB": memory, **rest, "Networks": [network]},
    }


STUB = """CreateIndex Datacenter Drain Drivers HostVolumes ID LastDrain ModifyIndex Name NodeClass
SchedulingEligibility Status StatusDescription""".split()


def stub(node):
    """The node as a row of /v1/nodes."""
    return {"Address": node["HTTPAddr"].rpartition(":")[0], **{key: node[key] for key in STUB},
            "Version": node["Attributes"]["nomad.version"]}
