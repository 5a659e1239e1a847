"""Purpose: what differs between two jobs, as plans and versions show it: fields as text, objects, groups, tasks."""

import copy
import json

from jobtypes import STRUCTS, is_map

FIRST = {"Edited": 0, "Added": 1, "Deleted": 2, "None": 3}


# --- fields -----------------------------------------------------------------------------------------------

def text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "nil" if value is None else str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def flat(struct, value, leave_out=()):
    """The fields of a struct that are no struct and no list, as text; a map's by NAME[KEY]."""
    found = {}
    for field in STRUCTS[struct] + EXTRA.get(struct, []) if value is not None else ():
        one = value.get(field.name)
        if is_map(field.type) and not field.struct and "interface" not in field.type and "[][" not in field.type:
            found |= {f"{field.name}[{key}]": text(item) for key, item in (one or {}).items() if isinstance(item, str)}
        elif field.type.lstrip("*") in ("string", "bool", "int", "int8", "int64", "uint8", "uint64", "time.Duration"):
            if field.name in value and field.name not in leave_out and not isinstance(one, (dict, list)) and one is not None:
                found[field.name] = text(one)
    return found


class Plain:
    """A field that only a server's own struct has."""

    def __init__(self, name):
        self.name, self.type, self.struct = name, "string", None


EXTRA = {"Service": [Plain("Namespace")]}


def flat_config(value, prefix=""):
    """A task's config, a header: all that is in it."""
    if isinstance(value, dict):
        found = {}
        for key, one in value.items():
            found |= flat_config(one, f"{prefix}[{key}]" if prefix else key)
        return found
    if isinstance(value, list):
        found = {}
        for number, one in enumerate(value):
            found |= flat_config(one, f"{prefix}[{number}]")
        return found
    return {prefix: text(value)}


def field(old, new, name):
    kind = "None" if old == new else "Added" if not old else "Deleted" if not new else "Edited"
    return {"Annotations": None, "Name": name, "Type": kind, "Old": old, "New": new}


def fields(old, new, always):
    """ALWAYS: also those that are the same."""
    made = [field(old.get(name, ""), new.get(name, ""), name) for name in old.keys() | new.keys()
            if always or old.get(name, "") != new.get(name, "")]
    return sorted(made, key=lambda one: (one["Name"], one["Old"], one["New"])) or None


# --- objects ----------------------------------------------------------------------------------------------

def thing(name, kind, told, objects=None):
    return {"Name": name, "Type": kind, "Fields": told, "Objects": objects or None}


def presence(old, new):
    return "Added" if not old else "Deleted" if not new else "Edited"


def block(name, struct, old, new, leave_out=()):
    """A block of plain fields; none where they are the same."""
    told = fields(flat(struct, old, leave_out), flat(struct, new, leave_out), True)
    kinds = {one["Type"] for one in told or ()} - {"None"}
    if not kinds:
        return []
    return [thing(name, kinds.pop() if len(kinds) == 1 else "Edited", told)]


def whole(name, struct, old, new, parts=lambda old, new: [], leave_out=()):
    """A block that may have blocks in it."""
    if old == new:
        return []
    inner = parts(old or {}, new or {})
    return [thing(name, presence(old, new), fields(flat(struct, old, leave_out), flat(struct, new, leave_out), True), inner)]


def of_set(name, struct, old, new):
    """Blocks that have no name: those that only one side has."""
    gone = [one for one in old or [] if one not in (new or [])]
    come = [one for one in new or [] if one not in (old or [])]
    made = [block(name, struct, one, None) for one in unique(gone)] + [block(name, struct, None, one) for one in unique(come)]
    return ordered([one for found in made for one in found])


def unique(values):
    return list({json.dumps(one, sort_keys=True): one for one in values}.values())


def ordered(objects):
    def key(one):
        told = [(item["Name"], item["Old"], item["New"]) for item in one["Fields"] or []]
        return one["Name"], FIRST[one["Type"]], len(told), len(one["Objects"] or []), told
    return sorted(objects, key=key)


def names(name, old, new):
    """A list of texts whose order means nothing."""
    old, new = set(old or []), set(new or [])
    told = [field(one if one in old else "", one if one in new else "", name) for one in old | new]
    told.sort(key=lambda one: (one["Name"], one["Old"], one["New"]))
    kind = "Edited" if old - new and new - old else "Added" if new - old else "Deleted" if old - new else "None"
    return [thing(name, kind, told)] if told else []


def by_name(name_of, old, new, one):
    """ONE(old, new) of all that have the same name."""
    olds, news = ({name_of(item): item for item in items or []} for items in (old, new))
    found = [one(olds.get(name), news.get(name)) for name in list(olds) + [name for name in news if name not in olds]]
    return [item for items in found for item in items]


def network(old, new):
    return whole("Network", "NetworkResource", old, new, network_parts, ("Device", "CIDR", "IP"))


def network_parts(old, new):
    found = ports("Static Port", old.get("ReservedPorts"), new.get("ReservedPorts"), ())
    found += ports("Dynamic Port", old.get("DynamicPorts"), new.get("DynamicPorts"), ("Value",))
    before, after = old.get("DNS"), new.get("DNS")
    if before != after:
        sides = [{key: ",".join(value) for key, value in (side or {}).items() if value} for side in (before, after)]
        found.append(thing("DNS", presence(before, after), fields(*sides, True)))
    return found


def ports(name, old, new, leave_out):
    return ordered(by_name(lambda one: one["Label"], old, new,
                           lambda before, after: block(name, "Port", before, after, leave_out)))


def networks(old, new):
    gone = [one for one in old or [] if one not in (new or [])]
    come = [one for one in new or [] if one not in (old or [])]
    made = [network(one, None) for one in gone] + [network(None, one) for one in come]
    return ordered([one for found in made for one in found])


def services(old, new):
    return ordered(by_name(lambda one: one["Name"], old, new,
                           lambda before, after: whole("Service", "Service", before, after, service_parts)))


def service_parts(old, new):
    found = names("CanaryTags", old.get("CanaryTags"), new.get("CanaryTags"))
    found += names("Tags", old.get("Tags"), new.get("Tags"))
    return found + ordered(by_name(lambda one: one["Name"], old.get("Checks"), new.get("Checks"), check))


def check(old, new):
    return whole("Check", "ServiceCheck", old, new, check_parts)


def check_parts(old, new):
    found, before, after = [], old.get("Header"), new.get("Header")
    if before != after:
        found.append(thing("Header", presence(before, after), fields(flat_config(before or {}), flat_config(after or {}), True)))
    return found + whole("CheckRestart", "CheckRestart", old.get("CheckRestart"), new.get("CheckRestart"))


def volumes(old, new):
    olds, news = old or {}, new or {}
    found = [whole("Volume", "VolumeRequest", olds.get(name), news.get(name), volume_parts)
             for name in list(olds) + [name for name in news if name not in olds]]
    return [one for items in found for one in items]


def volume_parts(old, new):
    return whole("MountOptions", "CSIMountOptions", old.get("MountOptions"), new.get("MountOptions"))


def resources(old, new):
    return whole("Resources", "Resources", old, new, lambda one, other: networks(one.get("Networks"), other.get("Networks")) +
                 ordered(by_name(lambda item: item["Name"], one.get("Devices"), other.get("Devices"),
                                 lambda a, b: whole("Device", "RequestedDevice", a, b))))


def config(old, new):
    if (old or None) == (new or None):
        return []
    return [thing("Config", presence(old, new), fields(flat_config(old or {}), flat_config(new or {}), True))]


# --- tasks, groups, the job -------------------------------------------------------------------------------

TASK_BLOCKS = [("LogConfig", "LogConfig"), ("DispatchPayload", "DispatchPayloadConfig")]
GROUP_BLOCKS = [("RestartPolicy", "RestartPolicy", ()), ("ReschedulePolicy", "ReschedulePolicy", ()),
                ("EphemeralDisk", "EphemeralDisk", ()), ("Consul", "Consul", ()), ("Update", "UpdateStrategy", ("Stagger",))]


def side(value, key):
    return (value or {}).get(key)


def kind_of(old, new):
    return "Added" if old is None else "Deleted" if new is None else "None" if old == new else "Edited"


def task_diff(old, new):
    objects = of_set("Constraint", "Constraint", side(old, "Constraints"), side(new, "Constraints"))
    objects += of_set("Affinity", "Affinity", side(old, "Affinities"), side(new, "Affinities"))
    objects += config(side(old, "Config"), side(new, "Config"))
    objects += resources(side(old, "Resources"), side(new, "Resources"))
    for key, struct in TASK_BLOCKS:
        objects += block(key, struct, side(old, key), side(new, key))
    objects += of_set("Artifact", "TaskArtifact", side(old, "Artifacts"), side(new, "Artifacts"))
    objects += services(side(old, "Services"), side(new, "Services"))
    objects += whole("Vault", "Vault", side(old, "Vault"), side(new, "Vault"),
                     lambda one, other: names("Policies", one.get("Policies"), other.get("Policies")))
    objects += of_set("Template", "Template", side(old, "Templates"), side(new, "Templates"))
    return [{"Annotations": None, "Name": (old or new)["Name"], "Type": kind_of(old, new), "Objects": objects or None,
             "Fields": fields(flat("Task", old, ("Name",)), flat("Task", new, ("Name",)), False)}]


def group_diff(old, new):
    objects = of_set("Constraint", "Constraint", side(old, "Constraints"), side(new, "Constraints"))
    objects += of_set("Affinity", "Affinity", side(old, "Affinities"), side(new, "Affinities"))
    for key, struct, leave_out in GROUP_BLOCKS:
        objects += block(key, struct, side(old, key), side(new, key), leave_out)
    objects += networks(side(old, "Networks"), side(new, "Networks"))
    objects += services(side(old, "Services"), side(new, "Services"))
    objects += volumes(side(old, "Volumes"), side(new, "Volumes"))
    told = [flat("TaskGroup", old, ("Name",)), flat("TaskGroup", new, ("Name",))]
    if old is None or new is None:
        for one in told:  # pointers are told only of a group that is there before and after
            one.pop("ShutdownDelay", None)
            one.pop("StopAfterClientDisconnect", None)
    return [{"Name": (old or new)["Name"], "Type": kind_of(old, new), "Updates": None, "Objects": objects or None,
             "Fields": fields(*told, False),
             "Tasks": sorted(by_name(lambda one: one["Name"], side(old, "Tasks"), side(new, "Tasks"), task_diff),
                             key=lambda one: one["Name"]) or None}]


UNTOLD = ("ID", "Status", "StatusDescription", "Version", "Stable", "CreateIndex", "ModifyIndex", "JobModifyIndex",
          "SubmitTime", "NomadTokenID")


def job_diff(old, new):
    objects = [one for one in names("Datacenters", side(old, "Datacenters"), side(new, "Datacenters")) if one["Type"] != "None"]
    objects += of_set("Constraint", "Constraint", side(old, "Constraints"), side(new, "Constraints"))
    objects += of_set("Affinity", "Affinity", side(old, "Affinities"), side(new, "Affinities"))
    objects += block("Periodic", "PeriodicConfig", side(old, "Periodic"), side(new, "Periodic"))
    objects += whole("ParameterizedJob", "ParameterizedJobConfig", side(old, "ParameterizedJob"), side(new, "ParameterizedJob"),
                     lambda one, other: names("MetaOptional", one.get("MetaOptional"), other.get("MetaOptional")) +
                     names("MetaRequired", one.get("MetaRequired"), other.get("MetaRequired")))
    told = fields(flat("Job", old, UNTOLD), flat("Job", new, UNTOLD), False)
    groups = sorted(by_name(lambda one: one["Name"], side(old, "TaskGroups"), side(new, "TaskGroups"), group_diff),
                    key=lambda one: one["Name"])
    kind = "Added" if old is None else "Deleted" if new is None else \
        "Edited" if told or objects or any(one["Type"] != "None" for one in groups) else "None"
    return {"ID": (old or new)["ID"], "Type": kind, "Fields": told, "Objects": objects or None, "TaskGroups": groups or None}


# --- what a plan adds -------------------------------------------------------------------------------------

UPDATES = (("Ignore", "ignore"), ("Place", "create"), ("Migrate", "migrate"), ("Stop", "destroy"), ("Canary", "canary"),
           ("InPlaceUpdate", "in-place update"), ("DestructiveUpdate", "create/destroy update"))
IN_PLACE = ("LogConfig", "Service", "Constraint")


def annotate(diff, wanted):
    """WANTED: of each group's name how many allocations are to be placed, stopped and so on."""
    diff = copy.deepcopy(diff)
    for group in diff["TaskGroups"] or []:
        if group["Name"] in wanted:
            counts = wanted[group["Name"]]
            group["Updates"] = {name: counts[key] for key, name in UPDATES if counts[key]}
        for one in group["Fields"] or []:
            if one["Name"] == "Count":
                more = int(one["New"] or 0) - int(one["Old"] or 0)
                one["Annotations"] = [f"forces {'create' if more > 0 else 'destroy'}"]
        for task in group["Tasks"] or []:
            annotate_task(task, group)
    return diff


def annotate_task(task, group):
    if task["Type"] == "None":
        return
    if group["Type"] in ("Added", "Deleted"):
        task["Annotations"] = [f"forces {'create' if task['Type'] == 'Added' else 'destroy'}"]
        return
    destructive = any(one["Name"] != "KillTimeout" for one in task["Fields"] or []) or \
        any(one["Name"] not in IN_PLACE for one in task["Objects"] or [])
    task["Annotations"] = [f"forces {'create/destroy' if destructive else 'in-place'} update"]
