"""Purpose: what a server makes of a job before it keeps it: defaults, what groups and tasks inherit, implied
constraints, and the form in which the job is kept and shown."""

import copy
import re

from jobtypes import STRUCTS, empty, zero

SECOND, MINUTE, HOUR = 10 ** 9, 60 * 10 ** 9, 3600 * 10 ** 9
UPDATE = {"Stagger": 30 * SECOND, "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": 10 * SECOND,
          "HealthyDeadline": 5 * MINUTE, "ProgressDeadline": 10 * MINUTE, "AutoRevert": False, "Canary": 0,
          "AutoPromote": False}
MIGRATE = {"MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": 10 * SECOND, "HealthyDeadline": 5 * MINUTE}
NO_RESCHEDULE = {"Attempts": 0, "Interval": 0, "Delay": 0, "DelayFunction": "", "MaxDelay": 0, "Unlimited": False}
RESCHEDULE = {"service": {**NO_RESCHEDULE, "Delay": 30 * SECOND, "DelayFunction": "exponential", "MaxDelay": HOUR,
                          "Unlimited": True},
              "batch": {**NO_RESCHEDULE, "Attempts": 1, "Interval": 24 * HOUR, "Delay": 5 * SECOND,
                        "DelayFunction": "constant"}}
RESTART = {"service": {"Delay": 15 * SECOND, "Attempts": 2, "Interval": 30 * MINUTE, "Mode": "fail"},
           "batch": {"Delay": 15 * SECOND, "Attempts": 3, "Interval": 24 * HOUR, "Mode": "fail"}}
JOB = {"ID": "", "ParentID": "", "Namespace": "default", "Priority": 50, "Stop": False, "Region": "global",
       "Type": "service", "AllAtOnce": False, "ConsulToken": "", "ConsulNamespace": "", "VaultToken": "",
       "VaultNamespace": "", "NomadTokenID": "", "Status": "", "StatusDescription": "", "Stable": False, "Version": 0,
       "CreateIndex": 0, "ModifyIndex": 0, "JobModifyIndex": 0}
TEMPLATE = {"SourcePath": "", "DestPath": "", "EmbeddedTmpl": "", "ChangeMode": "restart", "Splay": 5 * SECOND,
            "Perms": "0644", "LeftDelim": "{{", "RightDelim": "}}", "Envvars": False, "VaultGrace": 0}


def fill(struct, defaults):
    for key, value in defaults.items():
        if struct.get(key) is None:
            struct[key] = copy.copy(value)
    return struct


def merged(under, over):
    """A copy of UNDER with what OVER says."""
    return {**under, **{key: value for key, value in over.items() if value is not None}}


def is_empty(strategy):
    return not any(strategy.values())


# --- defaults, as the API's own library fills them in --------------------------------------------------

def canonicalize(job):
    fill(job, {**JOB, "Name": job["ID"] or ""})
    if job["Periodic"]:
        fill(job["Periodic"], {"Enabled": True, "Spec": "", "SpecType": "cron", "ProhibitOverlap": False})
        job["Periodic"]["TimeZone"] = job["Periodic"]["TimeZone"] or "UTC"
    if job["Update"] or job["Type"] == "service":
        job["Update"] = fill(job["Update"] or {}, UPDATE)
    for group in job["TaskGroups"] or []:
        canonicalize_group(group, job)
    weigh(job)
    return job


def weigh(holder):
    for one in (holder.get("Spreads") or []) + (holder.get("Affinities") or []):
        fill(one, {"Weight": 50})


def canonicalize_group(group, job):
    kind, scaling = job["Type"], group["Scaling"]
    fill(group, {"Name": "", "Count": scaling["Min"] if scaling and scaling["Min"] is not None else 1,
                 "EphemeralDisk": {}, "Consul": {"Namespace": ""}})
    if scaling:
        fill(scaling, {"Enabled": True, "Min": group["Count"]})
        scaling["Type"] = scaling["Type"] or "horizontal"
    fill(group["EphemeralDisk"], {"Sticky": False, "Migrate": False, "SizeMB": 300})
    group["Consul"]["Namespace"] = group["Consul"]["Namespace"] or job["ConsulNamespace"]
    if job["Update"] and (group["Update"] or not is_empty(job["Update"])):
        group["Update"] = merged(job["Update"], group["Update"] or {})
    if group["Update"]:
        fill(group["Update"], UPDATE)
    inherit(group, "ReschedulePolicy", job["Reschedule"], RESCHEDULE.get(kind, NO_RESCHEDULE), kind != "system")
    inherit(group, "Migrate", job["Migrate"], MIGRATE, kind == "service")
    group["RestartPolicy"] = merged(RESTART["service" if kind in ("service", "system") else "batch"],
                                    group["RestartPolicy"] or {})
    for task in group["Tasks"] or []:
        canonicalize_task(task, group, job)
    weigh(group)
    for service in group["Services"] or []:
        canonicalize_service(service, f"{job['Name']}-{group['Name']}")


def inherit(group, key, from_job, defaults, always):
    """A block of the group over the job's over the defaults; none where nobody has one, unless ALWAYS."""
    if from_job:
        group[key] = merged(from_job, group[key] or {})
    if group[key] or always:
        group[key] = fill(group[key] or {}, defaults)


def canonicalize_task(task, group, job):
    resources = fill_resources(task["Resources"] or empty("Resources"))
    fill(task, {"Resources": resources, "KillTimeout": 5 * SECOND, "LogConfig": {}})
    fill(task["LogConfig"], {"MaxFiles": 10, "MaxFileSizeMB": 10})
    for artifact in task["Artifacts"] or []:
        canonicalize_artifact(artifact)
    if task["Vault"]:
        fill(task["Vault"], {"Env": True, "Namespace": "", "ChangeMode": "restart", "ChangeSignal": "SIGHUP"})
    for template in task["Templates"] or []:
        fill(template, TEMPLATE)
        fill(template, {"ChangeSignal": "SIGHUP" if template["ChangeMode"] == "signal" else ""})
        template["ChangeSignal"] = template["ChangeSignal"].upper()
    for service in task["Services"] or []:
        canonicalize_service(service, f"{job['Name']}-{group['Name']}-{task['Name']}")
    weigh(task)
    for mount in task["VolumeMounts"] or []:
        fill(mount, {"PropagationMode": "private", "ReadOnly": False})
    if task["Lifecycle"] and not task["Lifecycle"]["Hook"]:
        task["Lifecycle"] = None
    if task["CSIPluginConfig"]:
        task["CSIPluginConfig"]["MountDir"] = task["CSIPluginConfig"]["MountDir"] or "/csi"
    task["RestartPolicy"] = merged(group["RestartPolicy"], task["RestartPolicy"] or {})


def fill_resources(resources):
    if resources["Cores"] is None:
        fill(resources, {"Cores": 0, "CPU": 100})
    fill(resources, {"CPU": 0, "MemoryMB": 300})
    for device in resources["Devices"] or []:
        fill(device, {"Count": 1})
        weigh(device)
    return resources


def canonicalize_artifact(artifact):
    fill(artifact, {"GetterMode": "any", "GetterSource": ""})
    for key in ("GetterOptions", "GetterHeaders"):
        artifact[key] = artifact[key] or None
    name = artifact["GetterSource"].rstrip("/").rpartition("/")[2] or "."
    fill(artifact, {"RelativeDest": f"local/{name}" if artifact["GetterMode"] == "file" else "local/"})


def canonicalize_service(service, name):
    for key, value in (("Name", name), ("AddressMode", "auto"), ("OnUpdate", "require_healthy")):
        service[key] = service[key] or value
    for check in service["Checks"] or []:
        restart, own = service["CheckRestart"], check["CheckRestart"]
        if restart:
            told = own or {"Limit": 0, "Grace": None, "IgnoreWarnings": False}
            own = {"Limit": told["Limit"] if told["Limit"] > 0 else restart["Limit"],
                   "Grace": restart["Grace"] if told["Grace"] is None else told["Grace"],
                   "IgnoreWarnings": told["IgnoreWarnings"] or restart["IgnoreWarnings"]}
        check["CheckRestart"] = fill(own, {"Grace": SECOND}) if own else None
        check["OnUpdate"] = check["OnUpdate"] or service["OnUpdate"]
        for key in ("SuccessBeforePassing", "FailuresBeforeCritical"):
            check[key] = max(check[key], 0)


# --- the form that is kept --------------------------------------------------------------------------------

DROPPED = {"Job": ("Reschedule", "Migrate"), "Service": ("Id", "CheckRestart"), "ServiceCheck": ("Id",),
           "ScalingPolicy": ("Namespace",)}
# Pointers that stay pointers, and lists and maps that are kept though they are empty.
STAY = {("TaskGroup", "ShutdownDelay"), ("TaskGroup", "StopAfterClientDisconnect"), ("ScalingPolicy", "Max")}
KEPT_EMPTY = {"Datacenters", "Policies", "SpreadTarget", "Servers", "Searches", "Options", "Policy", "MountFlags"}


def kept(struct, value):
    """A canonical job, or a part of it, as the server keeps it."""
    made = {}
    for field in STRUCTS[struct]:
        if field.name in DROPPED.get(struct, ()):
            continue
        one = value[field.name]
        if field.struct and one:
            one = kept_under(field, one)
        elif one is None and field.type[0] == "*" and not field.struct and (struct, field.name) not in STAY:
            one = zero(field.type[1:])
        elif not one and isinstance(one, (list, dict)) and field.name not in KEPT_EMPTY:
            one = None
        made[field.name] = one
    return made


def kept_under(field, value):
    if isinstance(value, list):
        return [kept(field.struct, one) for one in value]
    if field.type.startswith("map["):
        return {key: kept(field.struct, one) for key, one in value.items()}
    return kept(field.struct, value)


def stored(job, region="global"):
    """The job that a server keeps, made of a canonical one."""
    made = kept("Job", job)
    update = job["Update"] or {}
    made["Update"] = kept("UpdateStrategy", empty("UpdateStrategy"))
    if update.get("MaxParallel"):
        made["Update"] |= {"Stagger": update["Stagger"], "MaxParallel": update["MaxParallel"]}
    for key, value in (("Status", ""), ("StatusDescription", ""), ("Stable", False), ("Version", 0), ("SubmitTime", 0),
                       ("CreateIndex", 0), ("ModifyIndex", 0), ("JobModifyIndex", 0), ("ParentID", ""),
                       ("NomadTokenID", ""), ("ConsulNamespace", ""), ("Dispatched", False)):
        made[key] = value
    if region:
        made["Region"] = region
    if made["ParameterizedJob"] and not made["ParameterizedJob"]["Payload"]:
        made["ParameterizedJob"]["Payload"] = "optional"
    for group in made["TaskGroups"] or []:
        settle_group(made, group)
    imply_constraints(made)
    return made


def settle_group(job, group):
    for volume in list((group["Volumes"] or {}).items()):
        if volume[1]["Type"] not in ("host", "csi"):
            del group["Volumes"][volume[0]]
    if group["Scaling"]:
        settle_scaling(group["Scaling"], {"Namespace": job["Namespace"], "Job": job["ID"], "Group": group["Name"]})
    for service in group["Services"] or []:
        settle_service(service, job, group["Name"], "group")
    for network in group["Networks"] or []:
        settle_network(network)
    for task in group["Tasks"] or []:
        task["KillTimeout"] = task["KillTimeout"] or 5 * SECOND
        task["Resources"]["DiskMB"] = 0
        for network in task["Resources"]["Networks"] or []:
            settle_network(network)
        for service in task["Services"] or []:
            settle_service(service, job, group["Name"], task["Name"])
            for check in service["Checks"] or []:
                check["TaskName"] = ""
        if task["Vault"]:
            task["Vault"]["Namespace"] = task["Vault"]["Namespace"] or job["VaultNamespace"]
            task["Vault"]["ChangeSignal"] = task["Vault"]["ChangeSignal"].upper()


def settle_network(network):
    network["Device"] = ""
    for port in (network["DynamicPorts"] or []) + (network["ReservedPorts"] or []):
        port["HostNetwork"] = port["HostNetwork"] or "default"


def settle_scaling(policy, target):
    policy |= {"Target": target, "CreateIndex": 0, "ModifyIndex": 0}
    policy["Max"] = -1 if policy["Max"] is None else policy["Max"]


def settle_service(service, job, group, task):
    words = {"JOB": job["Name"], "TASKGROUP": group, "TASK": task, "BASE": f"{job['Name']}-{group}-{task}"}
    service["Name"] = re.sub(r"\$\{(\w+)\}", lambda found: words.get(found[1], found[0]), service["Name"])
    service["Namespace"] = "default"
    for check in service["Checks"] or []:
        check["Name"] = check["Name"] or f'service: "{service["Name"]}" check'


def imply_constraints(job):
    """Groups that use Vault or signals may only go where there are some."""
    for group in job["TaskGroups"] or []:
        tasks = group["Tasks"] or []
        if any(task["Vault"] and task["Vault"]["Policies"] for task in tasks):
            imply(group, {"LTarget": "${attr.vault.version}", "RTarget": ">= 0.6.1", "Operand": "semver"}, by_target=True)
        signals = {signal for task in tasks for signal in signals_of(task)}
        if signals:
            imply(group, {"LTarget": "${attr.os.signals}", "RTarget": ",".join(sorted(signals)), "Operand": "set_contains"})


def signals_of(task):
    if task["Vault"] and task["Vault"]["ChangeMode"] == "signal":
        yield task["Vault"]["ChangeSignal"]
    if task["KillSignal"]:
        yield task["KillSignal"]
    for template in task["Templates"] or []:
        if template["ChangeMode"] == "signal":
            yield template["ChangeSignal"]


def imply(group, constraint, by_target=False):
    present = group["Constraints"] or []
    if constraint in present or (by_target and any(one["LTarget"] == constraint["LTarget"] for one in present)):
        return
    group["Constraints"] = present + [constraint]


IGNORED = ("Status", "StatusDescription", "Stable", "Version", "CreateIndex", "ModifyIndex", "JobModifyIndex", "SubmitTime")


def same_spec(one, other):
    """Is there nothing that an operator would call a change?"""
    return all(one[key] == other[key] for key in one if key not in IGNORED)
