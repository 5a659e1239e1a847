"""Purpose: what an agent and a server tell about themselves: the answers that are mostly constant."""

import contextlib
import copy
import json
import os
import re
import shutil
import time

from release import VERSION


def member(agent):
    settings = agent.settings
    rpc, serf = settings.advertise("rpc"), settings.advertise("serf")
    return {"Addr": serf[0], "DelegateCur": 4, "DelegateMax": 5, "DelegateMin": 2,
            "Name": f"{settings.name}.{settings.region}", "Port": serf[1], "ProtocolCur": 2, "ProtocolMax": 5,
            "ProtocolMin": 1, "Status": "alive",
            "Tags": {"port": str(rpc[1]), "expect": str(settings.server.get("bootstrap_expect", 1)),
                     "dc": settings.datacenter, "raft_vsn": "2", "build": VERSION, "bootstrap": "1", "role": "nomad",
                     "region": settings.region, "vsn": "1", "id": agent.server_id, "mvn": "1", "rpc_addr": rpc[0]}}


def members(agent):
    settings = agent.settings
    return {"Members": [member(agent)], "ServerDC": settings.datacenter, "ServerName": settings.name,
            "ServerRegion": settings.region}


def raft(agent):
    address = "%s:%s" % agent.settings.advertise("rpc")
    return {"Index": 0, "Servers": [{"Address": address, "ID": address, "Leader": True,
                                     "Node": f"{agent.settings.name}.{agent.settings.region}", "RaftProtocol": "2",
                                     "Voter": True}]}


def client_stats(agent):
    disk = shutil.disk_usage(agent.settings.data_dir)
    pages = {name: os.sysconf("SC_PAGE_SIZE") * os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES")}
    total, free = pages["SC_PHYS_PAGES"], pages["SC_AVPHYS_PAGES"]
    space = {"Available": disk.free, "InodesUsedPercent": 0.0, "Size": disk.total, "Used": disk.used,
             "UsedPercent": 100.0 * disk.used / disk.total}
    return {"AllocDirStats": {"Device": "", "Mountpoint": "", **space},
            "CPU": [{"CPU": f"cpu{number}", "Idle": 90.0, "System": 5.0, "Total": 10.0, "User": 5.0}
                    for number in range(os.cpu_count())],
            "CPUTicksConsumed": 400.0, "DeviceStats": None,
            "DiskStats": [{"Device": "/dev/root", "Mountpoint": "/", **space}],
            "Memory": {"Available": free, "Free": free, "Total": total, "Used": total - free},
            "Timestamp": time.time_ns(), "Uptime": int(time.monotonic())}


def contents(path):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def host_data():
    """The environment is all there, but for what looks like a token."""
    disk, system = shutil.disk_usage("/"), os.uname()
    environment = {name: "<redacted>" if re.search("TOKEN|SECRET|^AWS_ACCESS_KEY_ID$", name) else value
                   for name, value in os.environ.items()}
    return {"Disk": {"/": {"DiskMB": disk.total >> 20, "UsedMB": disk.used >> 20}}, "Environment": environment,
            "Hosts": contents("/etc/hosts"),
            "Network": [{"address": "127.0.0.1", "host": "127.0.0.1", "string": "127.0.0.1/8", "type": "IPv4"}],
            "OS": f"{system.sysname} {system.nodename} {system.release} {system.version} {system.machine}",
            "ResolvConf": contents("/etc/resolv.conf")}


def metrics(agent):
    row = {"Labels": {"host": agent.settings.name}}
    return {"Counters": [{"Count": 1, **row, "Max": 1.0, "Mean": 1.0, "Min": 1.0, "Name": "nomad.nomad.rpc.request",
                          "Rate": 0.1, "Stddev": 0.0, "Sum": 1.0}],
            "Gauges": [{**row, "Name": "nomad.runtime.num_goroutines", "Value": 1}], "Points": [],
            "Samples": [{"Count": 1, **row, "Max": 1.0, "Mean": 1.0, "Min": 1.0, "Name": "nomad.runtime.gc_pause_ns",
                         "Rate": 0.1, "Stddev": 0.0, "Sum": 1.0}],
            "Timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime())}


def agent_self(agent):
    told = {"config": agent_configuration(agent.settings), "member": None, "stats": {"runtime": {
        "arch": "amd64", "cpu_count": str(os.cpu_count()), "goroutines": "1", "kernel.name": "linux",
        "max_procs": str(os.cpu_count()), "version": "stand-in"}}}
    if agent.cluster:
        told["member"] = member(agent)
        told["stats"]["nomad"] = {"bootstrap": "true", "known_regions": "1", "leader": "true", "server": "true",
                                  "leader_addr": "%s:%s" % agent.settings.advertise("rpc")}
        told["stats"]["raft"] = {"state": "Leader", "num_peers": "0", "last_log_index": str(agent.cluster.index)}
    else:
        told["member"] = {"Addr": None, "DelegateCur": 0, "DelegateMax": 0, "DelegateMin": 0, "Name": "", "Port": 0,
                          "ProtocolCur": 0, "ProtocolMax": 0, "ProtocolMin": 0, "Status": "none", "Tags": None}
    if agent.client:
        told["stats"]["client"] = {"node_id": agent.node_id, "known_servers": ",".join(agent.client.servers),
                                   "num_allocations": "0", "heartbeat_ttl": "10s", "last_heartbeat": "1s"}
    return told


def agent_configuration(settings):
    config = copy.deepcopy(CONFIGURATION)
    for kind, title in (("http", "HTTP"), ("rpc", "RPC"), ("serf", "Serf")):
        config["Addresses"][title] = settings.listen(kind)[0]
        config["AdvertiseAddrs"][title] = "%s:%s" % settings.advertise(kind)
        config["Ports"][title] = settings.listen(kind)[1]
    config |= {"BindAddr": settings.bind, "DataDir": settings.data_dir, "Datacenter": settings.datacenter,
               "NodeName": settings.name, "Region": settings.region}
    config["Client"] |= {"Enabled": settings.is_client, "Servers": settings.client.get("servers"),
                         "NodeClass": settings.client.get("node_class", "")}
    config["Server"] |= {"Enabled": settings.is_server}
    config["Consul"]["Addr"] = settings.consul.get("address", "127.0.0.1:8500")
    config["TLSConfig"] |= {"EnableHTTP": bool(settings.tls.get("http")), "EnableRPC": bool(settings.tls.get("rpc")),
                            "CAFile": settings.tls.get("ca_file", ""), "CertFile": settings.tls.get("cert_file", ""),
                            "KeyFile": settings.tls.get("key_file", "")}
    config["Version"]["Version"] = VERSION
    config["ACL"]["Enabled"] = settings.acls
    return config


def constant(name):
    """A file of ours, also when all of it is one zip archive."""
    return json.loads(__loader__.get_data(os.path.join(os.path.dirname(__file__), name)))


# A real agent's answer, with defaults where that one was configured.
CONFIGURATION = constant("agent.json")
