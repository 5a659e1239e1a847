"""Purpose: the jobs of a server: registered, changed, stopped, and what is told of them."""

import copy
import datetime
import random
import time

import cron
import job_check
import job_diff
import jobspec
from store import Failed, NotFound, new_id

VERSIONS_KEPT = 6
EVENTS_KEPT = 20
COUNTS = ("Queued", "Complete", "Failed", "Running", "Starting", "Lost")
STUB = """CreateIndex Datacenters ID JobModifyIndex ModifyIndex Multiregion Name Namespace ParentID Priority Status
StatusDescription Stop SubmitTime Type""".split()


def spawns(job):
    """Periodic and parameterized jobs run nothing themselves."""
    return bool(job["Periodic"] or (job["ParameterizedJob"] and not job["Dispatched"]))


class Jobs:
    def __init__(self, cluster):
        self.cluster = cluster
        self.rows = {}        # (namespace, id): the job
        self.history = {}     # (namespace, id): its versions, the newest first
        self.summaries = {}
        self.scalings = {}    # (namespace, id): {group: events, the newest first}

    # --- reading ------------------------------------------------------------------------------------------

    def find(self, key, what="job not found"):
        if key not in self.rows:
            raise NotFound(what)
        return self.rows[key]

    def need(self, key):
        if key not in self.rows:
            raise Failed("job not found")
        return self.rows[key]

    def stub(self, job):
        made = {name: job[name] for name in STUB}
        return made | {"Periodic": bool(job["Periodic"]), "ParameterizedJob": bool(job["ParameterizedJob"] and
                                                                                  not job["Dispatched"]),
                       "JobSummary": self.summaries[job["Namespace"], job["ID"]]}

    def versions(self, key, diffs):
        found = self.history.get(key)
        if not found:
            raise NotFound("job versions not found")
        told = [job_diff.job_diff(old, new) for new, old in zip(found, found[1:])] if diffs and len(found) > 1 else None
        return {"Diffs": told, "Versions": found, "Index": found[0]["ModifyIndex"], "KnownLeader": True, "LastContact": 0}

    def scale_status(self, key):
        job, events = self.find(key), self.scalings.get(key, {})
        groups = {group["Name"]: {"Desired": group["Count"], "Events": events.get(group["Name"]), "Healthy": 0, "Placed": 0,
                                  "Running": 0, "Unhealthy": 0} for group in job["TaskGroups"]}
        for alloc in self.cluster.scheduler.live(key):
            told = groups.get(alloc["TaskGroup"])
            if told:
                told["Placed"] += 1
                told["Running"] += alloc["ClientStatus"] == "running"
                told["Healthy"] += bool((alloc["DeploymentStatus"] or {}).get("Healthy"))
        return {"JobID": job["ID"], "Namespace": job["Namespace"], "JobCreateIndex": job["CreateIndex"],
                "JobModifyIndex": job["ModifyIndex"], "JobStopped": job["Stop"], "TaskGroups": groups}

    # --- registering --------------------------------------------------------------------------------------

    def admit(self, told):
        """The job as it would be kept, and the warnings."""
        job = jobspec.stored(told, self.cluster.region)
        job_check.admit(job)
        return job, job_check.warnings(job, self.cluster.operator.scheduler["MemoryOversubscriptionEnabled"])

    def register(self, job, token="", enforce=None, preserve_counts=False):
        key = job["Namespace"], job["ID"]
        known = self.rows.get(key)
        job["NomadTokenID"] = token
        self.enforce(known, enforce)
        self.check_transition(known, job)
        self.name_scalings(known, job)
        if any(task["Vault"] for group in job["TaskGroups"] for task in group["Tasks"]):
            raise Failed("Vault not enabled and Vault policies requested")
        job["VaultToken"] = job["ConsulToken"] = ""
        if known and preserve_counts:
            counts = {group["Name"]: group["Count"] for group in known["TaskGroups"]}
            for group in job["TaskGroups"]:
                group["Count"] = counts.get(group["Name"], group["Count"])
        if job["Namespace"] not in self.cluster.namespaces.rows:
            raise Failed(f'job "{job["ID"]}" is in nonexistent namespace "{job["Namespace"]}"')
        if known and jobspec.same_spec(known, job):
            index = None if spawns(job) else self.cluster.touch("evals")
            eval_id = None if spawns(job) else self.cluster.scheduler.evaluate(key, "job-register")
            return {"EvalCreateIndex": index or 0, "EvalID": eval_id or "", "Index": index or 0,
                    "JobModifyIndex": known["JobModifyIndex"]}
        job["SubmitTime"] = time.time_ns()
        index = self.put(job)
        eval_id = None if spawns(job) else self.cluster.scheduler.evaluate(key, "job-register", kind="JobRegistered")
        return {"EvalCreateIndex": index if eval_id else 0, "EvalID": eval_id or "", "Index": index, "JobModifyIndex": index}

    def enforce(self, known, wanted):
        if wanted is None:
            return
        start = f"Enforcing job modify index {wanted}: "
        if known and wanted == 0:
            raise Failed(start + "job already exists")
        if known and wanted != known["JobModifyIndex"]:
            raise Failed(f"{start}job exists with conflicting job modify index: {known['JobModifyIndex']}")
        if not known and wanted != 0:
            raise Failed(start + "job does not exist")

    def check_transition(self, old, new):
        if not old:
            return
        if old["Type"] != new["Type"]:
            raise Failed(f'cannot update job from type "{old["Type"]}" to "{new["Type"]}"')
        for key, word in (("Periodic", "periodic"), ("ParameterizedJob", "parameterized")):
            if old[key] and not new[key]:
                raise Failed(f"cannot update {word} job to being non-{word}")
            if new[key] and not old[key]:
                raise Failed(f"cannot update non-{word} job to being {word}")

    def name_scalings(self, known, job):
        ids = {group["Name"]: group["Scaling"]["ID"] for group in (known or job)["TaskGroups"] if known and group["Scaling"]}
        for group in job["TaskGroups"]:
            if group["Scaling"]:
                group["Scaling"]["ID"] = ids.get(group["Name"]) or new_id()

    def put(self, job, same_version=False):
        """Keeps it, under a new index."""
        key = job["Namespace"], job["ID"]
        known = self.rows.get(key)
        index = self.cluster.touch("jobs", "job_version", "job_summary", "evals")
        versions = self.history.setdefault(key, [])
        job |= {"CreateIndex": known["CreateIndex"] if known else index, "ModifyIndex": index, "JobModifyIndex": index,
                "Version": known["Version"] + 1 if known else 0,
                "Status": known["Status"] if known else "running" if spawns(job) or job["Type"] == "system" else "pending"}
        self.index_scalings(known, job)
        self.rows[key] = job
        versions.insert(0, job)
        del versions[VERSIONS_KEPT:]
        self.summarize(key, known is None)
        self.settle(key)
        self.cluster.tell("Job", "JobRegistered", job["ID"], job, job["Namespace"])
        return index

    def index_scalings(self, known, job):
        indexes = {group["Name"]: group["Scaling"]["CreateIndex"] for group in (known or job)["TaskGroups"] if group["Scaling"]}
        for group in job["TaskGroups"]:
            if group["Scaling"]:
                group["Scaling"] |= {"CreateIndex": indexes.get(group["Name"]) or self.cluster.index,
                                     "ModifyIndex": self.cluster.index}

    def summarize(self, key, fresh=False):
        job = self.rows[key]
        if fresh:
            self.summaries[key] = {"JobID": key[1], "Namespace": key[0], "Summary": {}, "CreateIndex": self.cluster.index,
                                   "ModifyIndex": self.cluster.index, "Children": {"Pending": 0, "Running": 0, "Dead": 0}}
        groups = self.summaries[key]["Summary"]
        for group in job["TaskGroups"]:
            groups.setdefault(group["Name"], dict.fromkeys(COUNTS, 0))

    def settle(self, key):
        """The status that follows from its evaluations and allocations, and the numbers of its summary."""
        job = self.rows.get(key)
        if not job:
            return
        self.count(key)
        status = self.status(key, job)
        if status != job["Status"]:
            job["Status"], job["ModifyIndex"] = status, self.cluster.index
            self.cluster.tables["jobs"] = self.cluster.index
        parent = self.rows.get((key[0], job["ParentID"]))
        if parent:
            self.count_children(parent)

    def status(self, key, job):
        if spawns(job) or job["Type"] == "system":
            return "dead" if job["Stop"] else "running"
        scheduler = self.cluster.scheduler
        allocs, evals = scheduler.allocs_of(key), scheduler.evals_of(key)
        if any(not scheduler.is_over(alloc) for alloc in allocs):
            return "running"
        if not evals and not allocs or any(one["Status"] in ("pending", "blocked") for one in evals):
            return "pending"
        return "dead"

    def count(self, key):
        summary = self.summaries[key]
        groups = {name: {**dict.fromkeys(COUNTS, 0), "Queued": told["Queued"]} for name, told in summary["Summary"].items()}
        names = {"running": "Running", "complete": "Complete", "failed": "Failed", "pending": "Starting", "lost": "Lost"}
        for alloc in self.cluster.scheduler.allocs_of(key):
            if alloc["TaskGroup"] in groups and alloc["Job"]["CreateIndex"] == self.rows[key]["CreateIndex"]:
                groups[alloc["TaskGroup"]][names[alloc["ClientStatus"]]] += 1
        if groups != summary["Summary"]:
            summary |= {"Summary": groups, "ModifyIndex": self.cluster.index}
            self.cluster.tables["job_summary"] = self.cluster.index

    def count_children(self, parent):
        key = parent["Namespace"], parent["ID"]
        told = dict.fromkeys(("Pending", "Running", "Dead"), 0)
        for job in self.rows.values():
            if (job["Namespace"], job["ParentID"]) == key:
                told[job["Status"].title()] += 1
        self.summaries[key] |= {"Children": told, "ModifyIndex": self.cluster.index}
        self.cluster.tables["job_summary"] = self.cluster.index

    # --- other changes ------------------------------------------------------------------------------------

    def deregister(self, key, purge):
        job = self.rows.get(key)
        quiet = bool(job and spawns(job))
        index = self.cluster.touch("jobs", "evals", "job_summary")
        if job and purge:
            del self.rows[key], self.history[key], self.summaries[key]
            self.scalings.pop(key, None)
            parent = self.rows.get((key[0], job["ParentID"]))
            if parent:
                self.count_children(parent)
        elif job:
            job = {**copy.deepcopy(job), "Stop": True}
            index = self.put(job)
        eval_id = None if quiet else self.cluster.scheduler.evaluate(key, "job-deregister", kind="JobDeregistered")
        return {"EvalCreateIndex": index, "EvalID": eval_id or "", "Index": index, "JobModifyIndex": index,
                "VolumeEvalID": "", "VolumeEvalIndex": 0}

    def at_version(self, key, version):
        found = next((one for one in self.history.get(key, ()) if one["Version"] == version), None)
        if not found:
            raise Failed(f'job "{key[1]}" in namespace "{key[0]}" at version {version} not found')
        return found

    def revert(self, key, version, prior, token):
        job = self.rows.get(key)
        if not job:
            raise Failed(f'job "{key[1]}" not found')
        if version == job["Version"]:
            raise Failed("can't revert to current version")
        old = copy.deepcopy(self.at_version(key, version))
        if prior is not None and prior != job["Version"]:
            raise Failed(f"Current job has version {job['Version']}; enforcing version {prior}")
        return self.register(old, token, None if prior is None else job["JobModifyIndex"])

    def set_stable(self, key, version, stable):
        self.at_version(key, version)["Stable"] = stable
        return self.cluster.touch("jobs", "job_version")

    def evaluate(self, key):
        job = self.need(key)
        if spawns(job):
            raise Failed(f"can't evaluate {'periodic' if job['Periodic'] else 'parameterized'} job")
        index = self.cluster.touch("evals")
        eval_id = self.cluster.scheduler.evaluate(key, "job-register")
        return {"EvalCreateIndex": index, "EvalID": eval_id, "Index": index, "JobModifyIndex": job["ModifyIndex"]}

    def scale(self, key, told):
        count, group_name = told.get("Count"), (told.get("Target") or {}).get("Group")
        self.check_scale(told, group_name)
        if key not in self.rows:
            raise Failed(f'job "{key[1]}" not found', 404)
        job = copy.deepcopy(self.rows[key])
        group = next((one for one in job["TaskGroups"] if one["Name"] == group_name), None)
        if not group:
            raise Failed(f'task group "{group_name}" specified for scaling does not exist in job', 400)
        event = {"Count": count, "Error": bool(told.get("Error")), "EvalID": None, "Message": told.get("Message") or "",
                 "Meta": told.get("Meta"), "PreviousCount": group["Count"], "Time": time.time_ns()}
        made = {"EvalCreateIndex": 0, "EvalID": "", "JobModifyIndex": job["ModifyIndex"]}
        if count is not None:
            made |= self.scale_to(key, job, group, count, event)
            event["EvalID"] = made["EvalID"] or None
        return {**made, "Index": self.note_scaling(key, group_name, event)}

    def check_scale(self, told, group):
        count = told.get("Count")
        if not group:
            raise Failed("missing task group name for scaling action", 400)
        if count is not None and told.get("Error"):
            raise Failed("scaling action should not contain count if error is true", 400)
        if count is not None and count < 0:
            raise Failed("scaling action count can't be negative", 400)

    def scale_to(self, key, job, group, count, event):
        policy = group["Scaling"]
        if policy and count < policy["Min"]:
            raise Failed(f"group count was less than scaling policy minimum: {count} < {policy['Min']}", 400)
        if policy and policy["Max"] < count:
            raise Failed(f"group count was greater than scaling policy maximum: {count} > {policy['Max']}", 400)
        group["Count"] = count
        deployment = self.cluster.scheduler.latest_deployment(key)
        if deployment and deployment["Status"] == "running" and deployment["JobCreateIndex"] == job["CreateIndex"]:
            # The recorded server shows the count that it refuses from then on: it changes the job it has before it looks.
            self.rows[key]["TaskGroups"] = job["TaskGroups"]
            self.note_scaling(key, group["Name"], {
                **event, "Count": None, "Error": True, "Message": "job scaling blocked due to active deployment",
                "Meta": {"OriginalMessage": event["Message"], "OriginalCount": count, "OriginalMeta": event["Meta"]}})
            raise Failed("job scaling blocked due to active deployment", 400)
        index = self.put(job)
        if spawns(job):
            return {"JobModifyIndex": index}
        eval_index = self.cluster.touch("evals")
        eval_id = self.cluster.scheduler.evaluate(key, "job-scaling", priority=50)
        return {"JobModifyIndex": index, "EvalCreateIndex": eval_index, "EvalID": eval_id}

    def note_scaling(self, key, group, event):
        index = self.cluster.touch("scaling_event")
        events = self.scalings.setdefault(key, {}).setdefault(group, [])
        events.insert(0, {**event, "CreateIndex": index})
        del events[EVENTS_KEPT:]
        return index

    # --- jobs that make jobs ------------------------------------------------------------------------------

    def child(self, parent, name, **more):
        job = copy.deepcopy(parent)
        job |= {"ID": name, "Name": name, "ParentID": parent["ID"], "Stable": False, "SubmitTime": time.time_ns(), **more}
        return self.put(job), (job["Namespace"], name)

    def dispatch(self, key, told):
        parent = self.rows.get(key)
        if not parent:
            raise Failed("parameterized job not found")
        if not parent["ParameterizedJob"] or parent["Dispatched"]:
            raise Failed(f'Specified job "{key[1]}" is not a parameterized job')
        if parent["Stop"]:
            raise Failed(f'Specified job "{key[1]}" is stopped')
        meta, wanted = told.get("Meta") or {}, parent["ParameterizedJob"]
        required, optional = wanted["MetaRequired"] or [], wanted["MetaOptional"] or []
        self.check_dispatch(told.get("Payload"), wanted["Payload"], meta, required, optional)
        name = f"{parent['ID']}/dispatch-{int(time.time())}-{random.getrandbits(32):08x}"
        index, child = self.child(parent, name, Dispatched=True, Payload=told.get("Payload"), Status="pending",
                                  Meta={**(parent["Meta"] or {}), **meta} or None)
        made = {"DispatchedJobID": name, "JobCreateIndex": index, "Index": index, "EvalCreateIndex": 0, "EvalID": ""}
        if not parent["Periodic"]:
            made["EvalCreateIndex"] = made["Index"] = self.cluster.touch("evals")
            made["EvalID"] = self.cluster.scheduler.evaluate(child, "job-register")
        return made

    def check_dispatch(self, payload, wanted, meta, required, optional):
        if wanted == "required" and not payload:
            raise Failed("Payload is not provided but required by parameterized job")
        if wanted == "forbidden" and payload:
            raise Failed("Payload provided but forbidden by parameterized job")
        odd = sorted(set(meta) - set(required) - set(optional))
        if odd:
            raise Failed(f"Dispatch request included unpermitted metadata keys: [{' '.join(odd)}]")
        lacking = [name for name in required if name not in meta]
        if lacking:
            raise Failed(f"Dispatch did not provide required meta keys: [{' '.join(lacking)}]")

    def force_periodic(self, key):
        parent = self.need(key)
        if not parent["Periodic"]:
            raise Failed("can't force launch non-periodic job")
        index, child = self.child(parent, f"{parent['ID']}/periodic-{int(time.time())}", Periodic=None, Status="pending")
        return {"EvalCreateIndex": index, "EvalID": self.cluster.scheduler.evaluate(child, "periodic-job"), "Index": index}

    # --- planning -----------------------------------------------------------------------------------------

    def plan(self, job, diff):
        key = job["Namespace"], job["ID"]
        old = self.rows.get(key)
        self.name_scalings(old, job)
        changed = not old or not jobspec.same_spec(old, job)
        index = old["JobModifyIndex"] if old else 0
        planned = {**job, "CreateIndex": old["CreateIndex"] if old else 100, "Version": old["Version"] + changed if old else 0,
                   "JobModifyIndex": index + 1 if old else 100}
        annotations, failures, evals = self.cluster.scheduler.plan(planned)
        told = job_diff.annotate(job_diff.job_diff(old, job), annotations) if diff else None
        launch = None
        if job["Periodic"] and job["Periodic"]["Enabled"]:
            launch = cron.next_time(job["Periodic"]["Spec"], datetime.datetime.now(datetime.timezone.utc))
        return {"Annotations": {"DesiredTGUpdates": annotations, "PreemptedAllocs": None}, "CreatedEvals": evals, "Diff": told,
                "FailedTGAllocs": failures, "Index": index, "JobModifyIndex": index,
                "NextPeriodicLaunch": launch and launch.strftime("%Y-%m-%dT%H:%M:%SZ")}
