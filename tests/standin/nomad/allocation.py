"""Purpose: one allocation: the record, and what its client tells of its tasks."""

import copy
import time

import placement
from node import now
from store import new_id

EVENT = {"DiskLimit": 0, "DownloadError": "", "DriverError": "", "DriverMessage": "", "ExitCode": 0, "FailedSibling": "",
         "FailsTask": False, "GenericSource": "", "KillError": "", "KillReason": "", "KillTimeout": 0, "Message": "",
         "RestartReason": "", "SetupError": "", "Signal": 0, "StartDelay": 0, "TaskSignal": "", "TaskSignalReason": "",
         "ValidationError": "", "VaultError": ""}
NO_TRANSITION = {"ForceReschedule": None, "Migrate": None, "Reschedule": None}
STUB = """ClientDescription ClientStatus CreateIndex CreateTime DeploymentStatus DesiredStatus EvalID ID JobID ModifyIndex
ModifyTime Name Namespace NodeID NodeName TaskGroup TaskStates""".split()
# Left out of an answer when there is nothing in them.
OPTIONAL = ("DesiredDescription", "DesiredTransition", "NextAllocation", "PreviousAllocation", "DeploymentID",
            "DeploymentStatus", "TaskStates", "NetworkStatus", "ClientDescription")


def resources(told):
    return {**placement.NO_RESOURCES, **{key: told[key] for key in ("CPU", "Cores", "MemoryMB", "MemoryMaxMB")}}


def make(job, group, name, node, metric, eval_id, index):
    moment, disk = time.time_ns(), group["EphemeralDisk"]["SizeMB"]
    tasks = {task["Name"]: task["Resources"] for task in group["Tasks"]}
    whole = {**placement.NO_RESOURCES, "DiskMB": disk, **{key: sum(one[key] for one in tasks.values()) for key in
                                                          ("CPU", "Cores", "MemoryMB")}}
    whole["MemoryMaxMB"] = sum(one["MemoryMaxMB"] or one["MemoryMB"] for one in tasks.values())
    score = {"NodeID": node["ID"], "NormScore": 0.5, "Scores": {"binpack": 0.5}}
    shared = {"DiskMB": disk, "Networks": None, "Ports": None}
    return {"ID": new_id(), "Namespace": job["Namespace"], "EvalID": eval_id, "Name": name, "NodeID": node["ID"],
            "NodeName": node["Name"], "JobID": job["ID"], "Job": copy.deepcopy(job), "TaskGroup": group["Name"],
            "Resources": whole, "SharedResources": {**placement.NO_RESOURCES, "DiskMB": disk},
            "TaskResources": {key: resources(told) for key, told in tasks.items()},
            "AllocatedResources": {"Shared": shared,
                                   "TaskLifecycles": {task["Name"]: task["Lifecycle"] for task in group["Tasks"]},
                                   "Tasks": {key: allocated(told) for key, told in tasks.items()}},
            "Metrics": {**metric, "ScoreMetaData": [score]}, "DesiredStatus": "run", "DesiredDescription": "",
            "DesiredTransition": NO_TRANSITION, "ClientStatus": "pending", "ClientDescription": "", "TaskStates": None,
            "DeploymentStatus": None, "CreateIndex": index, "ModifyIndex": index, "AllocModifyIndex": index,
            "CreateTime": moment, "ModifyTime": moment}


def allocated(told):
    return {"Cpu": {"CpuShares": told["CPU"], "ReservedCores": None}, "Devices": None, "Networks": None,
            "Memory": {"MemoryMB": told["MemoryMB"], "MemoryMaxMB": told["MemoryMaxMB"]}}


# --- what the client tells --------------------------------------------------------------------------------

def event(kind, display, details=None, **more):
    return {**EVENT, "Type": kind, "Time": time.time_ns(), "DisplayMessage": display, "Details": details or {}, **more}


def start(alloc):
    setup = "Building Task Directory"
    alloc["NetworkStatus"] = {"Address": "", "DNS": None, "InterfaceName": ""}
    alloc["TaskStates"] = {name: {
        "Events": [event("Received", "Task received by client"), event("Task Setup", setup, {"message": setup}, Message=setup),
                   event("Started", "Task started by client")],
        "Failed": False, "FinishedAt": None, "LastRestart": None, "Restarts": 0, "StartedAt": now(), "State": "running",
        "TaskHandle": None} for name in alloc["TaskResources"]}


def end(alloc, events):
    for name, state in (alloc["TaskStates"] or {}).items():
        state["Events"] += events(name)
        state |= {"State": "dead", "FinishedAt": now()}


def terminated(code, signal):
    text = f"Exit Code: {code}" + (f", Signal: {signal}" if signal else "")
    details = {"exit_code": str(code), "signal": str(signal), "oom_killed": "false"}
    return event("Terminated", text, details, ExitCode=code, Signal=signal)


def finish(alloc):
    end(alloc, lambda name: [terminated(0, 0)])


def kill(alloc):
    group = next(one for one in alloc["Job"]["TaskGroups"] if one["Name"] == alloc["TaskGroup"])
    waits = {task["Name"]: task["KillTimeout"] for task in group["Tasks"]}

    def events(name):
        seconds = f"{waits[name] // 10 ** 9}s"
        return [event("Killing", f"Sent interrupt. Waiting {seconds} before force killing", {"kill_timeout": seconds},
                      KillTimeout=waits[name]), terminated(130, 2), event("Killed", "Task successfully killed")]
    end(alloc, events)


# --- how it is shown --------------------------------------------------------------------------------------

def shown(alloc):
    return {key: value for key, value in alloc.items()
            if key not in OPTIONAL or value and value != NO_TRANSITION}


def stub(alloc):
    made = {key: alloc[key] for key in (*STUB, "DesiredDescription", "DesiredTransition")}
    return made | {"FollowupEvalID": "", "JobType": alloc["Job"]["Type"], "JobVersion": alloc["Job"]["Version"],
                   "PreemptedAllocations": None, "PreemptedByAllocation": "", "RescheduleTracker": None}
