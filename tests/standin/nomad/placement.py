"""Purpose: where an allocation may go: which nodes fit, and why others do not, as a plan tells it."""

import re

METRIC = {"AllocationTime": 1000, "ClassExhausted": None, "ClassFiltered": None, "CoalescedFailures": 0,
          "ConstraintFiltered": None, "DimensionExhausted": None, "NodesAvailable": None, "NodesEvaluated": 0,
          "NodesExhausted": 0, "NodesFiltered": 0, "QuotaExhausted": None, "ResourcesExhausted": None, "ScoreMetaData": None,
          "Scores": None}
NO_RESOURCES = {"CPU": 0, "Cores": 0, "Devices": None, "DiskMB": 0, "IOPS": 0, "MemoryMB": 0, "MemoryMaxMB": 0, "Networks": None}


def is_ready(node):
    return node["Status"] == "ready" and node["SchedulingEligibility"] == "eligible" and not node["Drain"]


def value_of(node, target):
    """What ${attr.x} and the like stand for on a node; a target that is no reference is itself."""
    found = re.fullmatch(r"\$\{(.+)\}", target)
    if not found:
        return target
    name = found[1]
    known = {"node.unique.id": node["ID"], "node.datacenter": node["Datacenter"], "node.unique.name": node["Name"],
             "node.class": node["NodeClass"]}
    if name in known:
        return known[name]
    for start, table in (("attr.", node["Attributes"]), ("meta.", node["Meta"])):
        if name.startswith(start):
            return table.get(name.removeprefix(start))
    return None


def number(text):
    return [int(part) for part in re.findall(r"\d+", text or "")[:3]]


def version_fits(value, wanted):
    for operator, told in re.findall(r"(>=|<=|!=|>|<|=|~>)?\s*([\d.]+)", wanted):
        one, other = number(value), number(told)
        good = {">=": one >= other, "<=": one <= other, "!=": one != other, ">": one > other, "<": one < other,
                "~>": one >= other and one[:max(len(other) - 1, 1)] == other[:max(len(other) - 1, 1)]}
        if not good.get(operator or "=", one == other):
            return False
    return True


def fits(node, constraint):
    operand, left = constraint["Operand"], value_of(node, constraint["LTarget"])
    right = value_of(node, constraint["RTarget"])
    if operand in ("distinct_hosts", "distinct_property"):
        return True
    if operand in ("is_set", "is_not_set"):
        return (left is not None) == (operand == "is_set")
    if operand in ("!=", "not"):
        return left != right
    if left is None or right is None:
        return False
    if operand in ("version", "semver"):
        return version_fits(left, right)
    if operand == "regexp":
        return re.search(right, left) is not None
    if operand.startswith("set_contains"):
        have, wanted = ({part.strip() for part in side.split(",")} for side in (left, right))
        return bool(have & wanted) if operand == "set_contains_any" else wanted <= have
    return {"=": left == right, "==": left == right, "is": left == right, "<": left < right, "<=": left <= right,
            ">": left > right, ">=": left >= right}.get(operand, False)


def obstacle(node, job, group):
    """Why a node is filtered; None when it is not."""
    for constraint in (job["Constraints"] or []):
        if not fits(node, constraint):
            return describe(constraint)
    if any(not (node["Drivers"].get(task["Driver"]) or {}).get("Healthy") for task in group["Tasks"]):
        return "missing drivers"
    for holder in [group] + group["Tasks"]:
        for constraint in holder["Constraints"] or []:
            if not fits(node, constraint):
                return describe(constraint)
    have = node["HostVolumes"] or {}
    if any(volume["Type"] == "host" and volume["Source"] not in have for volume in (group["Volumes"] or {}).values()):
        return "missing compatible host volumes"
    return None


def describe(constraint):
    return f"{constraint['LTarget']} {constraint['Operand']} {constraint['RTarget']}"


def asked(group):
    return {"cpu": sum(task["Resources"]["CPU"] for task in group["Tasks"]),
            "memory": sum(task["Resources"]["MemoryMB"] for task in group["Tasks"]),
            "disk": group["EphemeralDisk"]["SizeMB"]}


def room(node, allocs):
    """What of a node no allocation has taken."""
    all_of_it, kept = node["NodeResources"], node["ReservedResources"]
    free = {"cpu": all_of_it["Cpu"]["CpuShares"] - kept["Cpu"]["CpuShares"],
            "memory": all_of_it["Memory"]["MemoryMB"] - kept["Memory"]["MemoryMB"],
            "disk": all_of_it["Disk"]["DiskMB"] - kept["Disk"]["DiskMB"]}
    for alloc in allocs:
        taken = alloc["Resources"]
        for name, key in (("cpu", "CPU"), ("memory", "MemoryMB"), ("disk", "DiskMB")):
            free[name] -= taken[key]
    return free


def choose(nodes, job, group, taken):
    """(node or None, metric, {class: does it fit}); TAKEN(node id) gives the allocations there."""
    metric = {**METRIC, "NodesAvailable": {name: sum(is_ready(node) and node["Datacenter"] == name for node in nodes)
                                           for name in job["Datacenters"]}}
    classes, best = {}, None
    for node in nodes:
        if not is_ready(node) or node["Datacenter"] not in job["Datacenters"]:
            continue
        metric["NodesEvaluated"] += 1
        reason = obstacle(node, job, group)
        classes[node["ComputedClass"]] = reason is None
        if reason:
            metric["NodesFiltered"] += 1
            metric["ConstraintFiltered"] = count(metric["ConstraintFiltered"], reason)
            continue
        free, wanted = room(node, taken(node["ID"])), asked(group)
        short = next((name for name in ("cpu", "memory", "disk") if wanted[name] > free[name]), None)
        if short:
            metric["NodesExhausted"] += 1
            metric["DimensionExhausted"] = count(metric["DimensionExhausted"], short)
            metric["ResourcesExhausted"] = exhausted(group, short)
        elif not best or free["cpu"] > best[1]:
            best = node, free["cpu"]
    return best and best[0], metric, classes


def count(table, key):
    return {**(table or {}), key: (table or {}).get(key, 0) + 1}


def exhausted(group, short):
    key = {"cpu": "CPU", "memory": "MemoryMB"}.get(short)
    return {task["Name"]: {**NO_RESOURCES, key: task["Resources"][key]} for task in group["Tasks"]} if key else None
