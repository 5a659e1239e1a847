"""Purpose: evaluations, and what they come to: allocations placed and stopped, deployments. No task really runs:
what a client would tell of it is told a moment later. Canaries and rescheduling are not done: nothing ever fails."""

import copy
import datetime
import time

import allocation
from node import now
from reconcile import reconcile
from store import NotFound, Failed, new_id

OVER = ("complete", "failed", "lost")


def later(nanoseconds):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(microseconds=nanoseconds // 1000)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class Scheduler:
    def __init__(self, cluster):
        self.cluster = cluster
        self.evals, self.allocs, self.deployments = {}, {}, {}
        self.running_since = {}
        self.room_changed = False

    # --- reading ------------------------------------------------------------------------------------------

    def get(self, table, key, what):
        if key not in table:
            raise NotFound(f"{what} not found")
        return table[key]

    def evals_of(self, key):
        return [one for one in self.evals.values() if (one["Namespace"], one["JobID"]) == key]

    def allocs_of(self, key):
        return [one for one in self.allocs.values() if (one["Namespace"], one["JobID"]) == key]

    def deployments_of(self, key):
        return [one for one in self.deployments.values() if (one["Namespace"], one["JobID"]) == key]

    def latest_deployment(self, key):
        return max(self.deployments_of(key), key=lambda one: one["CreateIndex"], default=None)

    def is_over(self, alloc):
        return alloc["ClientStatus"] in OVER or alloc["DesiredStatus"] != "run"

    def live(self, key):
        return [one for one in self.allocs_of(key) if not self.is_over(one)]

    def on_node(self, node_id):
        return [one for one in self.allocs.values() if one["NodeID"] == node_id]

    def taken(self, node_id):
        return [one for one in self.on_node(node_id) if one["ClientStatus"] not in OVER]

    # --- evaluations --------------------------------------------------------------------------------------

    def new_eval(self, key, job, trigger, **more):
        moment = time.time_ns()
        made = {"ID": new_id(), "Namespace": key[0], "JobID": key[1], "TriggeredBy": trigger, "Status": "pending",
                "Priority": job["Priority"] if job and trigger != "job-deregister" else 50,
                "Type": job["Type"] if job and trigger != "job-deregister" else "service",
                "CreateIndex": self.cluster.index, "ModifyIndex": self.cluster.index, "CreateTime": moment,
                "ModifyTime": moment}
        return made | more

    def evaluate(self, key, trigger, kind="EvaluationUpdated", **more):
        """Makes one under the present index and works it off; its id."""
        job = self.cluster.jobs.rows.get(key)
        index = job["JobModifyIndex"] if job and trigger not in ("node-update", "node-drain") else self.cluster.index
        made = self.new_eval(key, job, trigger, JobModifyIndex=index, **more)
        if trigger.startswith("node-"):
            del made["JobModifyIndex"]
        self.evals[made["ID"]] = made
        self.tell(made, kind)
        self.process(made)
        return made["ID"]

    def tell(self, evaluation, kind):
        filters = [evaluation["JobID"], evaluation.get("DeploymentID", "")]
        self.cluster.tell("Evaluation", kind, evaluation["ID"], evaluation, evaluation["Namespace"], filters)

    def process(self, evaluation):
        key = evaluation["Namespace"], evaluation["JobID"]
        job = self.cluster.jobs.rows.get(key)
        evaluation["SnapshotIndex"] = self.cluster.index
        work = reconcile(self, key, job)
        if work.failures:
            self.block(evaluation, work)
        deployment = self.deploy(key, job, work)
        if work.changes:
            self.cluster.touch("allocs", "deployment", "evals", "job_summary")
            self.apply(job, work, evaluation, deployment)
        self.complete(evaluation, key, job, work, deployment)
        self.cluster.jobs.settle(key)

    def block(self, evaluation, work):
        """What could not be placed waits in an evaluation of its own."""
        for other in self.evals_of((evaluation["Namespace"], evaluation["JobID"])):
            if other["Status"] == "blocked" and other is not evaluation:
                self.cancel_blocked(other, f'existing blocked evaluation exists for job "{evaluation["JobID"]}"')
        self.cluster.touch("evals")
        made = self.blocked(evaluation, work)
        made |= {"CreateIndex": self.cluster.index, "ModifyIndex": self.cluster.index,
                 "SnapshotIndex": evaluation["SnapshotIndex"]}
        self.evals[made["ID"]] = made
        evaluation["BlockedEval"] = made["ID"]
        self.tell(made, "EvaluationUpdated")

    def blocked(self, evaluation, work):
        moment = time.time_ns()
        made = {"ID": new_id(), "PreviousEval": evaluation["ID"], "Status": "blocked", "TriggeredBy": "queued-allocs",
                "StatusDescription": "created to place remaining allocations", "FailedTGAllocs": work.failures,
                "CreateTime": moment, "ModifyTime": moment}
        made |= {name: evaluation[name] for name in ("JobID", "JobModifyIndex", "Namespace", "Priority", "Type")
                 if name in evaluation}
        return made | ({"ClassEligibility": work.classes} if work.classes else {})

    def cancel_blocked(self, evaluation, why):
        evaluation |= {"Status": "canceled", "StatusDescription": why, "ModifyIndex": self.cluster.index,
                       "ModifyTime": time.time_ns()}

    def complete(self, evaluation, key, job, work, deployment):
        index = self.cluster.touch("evals")
        evaluation |= {"Status": "complete", "ModifyIndex": index, "ModifyTime": time.time_ns()}
        evaluation.pop("StatusDescription", None)
        if work.failures:
            evaluation["FailedTGAllocs"] = work.failures
        if job:
            evaluation["QueuedAllocations"] = work.queued
            self.queue(key, work.queued)
        if deployment:
            evaluation["DeploymentID"] = deployment["ID"]
        if not work.failures:
            for other in self.evals_of(key):
                if other["Status"] == "blocked":
                    self.cancel_blocked(other, f'evaluation "{other["ID"]}" successful')
        self.tell(evaluation, "EvaluationUpdated")

    def queue(self, key, queued):
        summary = self.cluster.jobs.summaries[key]
        groups = {name: {**told, "Queued": queued.get(name, 0)} for name, told in summary["Summary"].items()}
        if groups != summary["Summary"]:
            summary |= {"Summary": groups, "ModifyIndex": self.cluster.index}
            self.cluster.tables["job_summary"] = self.cluster.index

    def plan(self, job):
        """A dry run: (wanted changes by group, failures, evaluations that would be made)."""
        key = job["Namespace"], job["ID"]
        work = reconcile(self, key, job)
        evaluation = self.new_eval(key, job, "job-register")
        known = self.cluster.jobs.rows.get(key)
        if known and job["Version"] != known["Version"]:
            evaluation["JobModifyIndex"] = job["JobModifyIndex"]
        return work.wanted, work.failures or None, [self.blocked(evaluation, work)] if work.failures else None

    # --- deployments --------------------------------------------------------------------------------------

    def own_deployment(self, key, job):
        """The one of the job as it is."""
        found = self.latest_deployment(key)
        if found and job and found["JobVersion"] == job["Version"] and found["JobCreateIndex"] == job["CreateIndex"]:
            return found
        return None

    def current_deployment(self, key, job):
        """The same, unless it is over."""
        found = self.own_deployment(key, job)
        return found if found and found["Status"] == "running" else None

    def deploy(self, key, job, work):
        """Ends a deployment that is not wanted any more, makes the one that is; the one that counts now."""
        active = next((one for one in self.deployments_of(key) if one["Status"] == "running"), None)
        current = self.current_deployment(key, job)
        if active and (not job or job["Stop"]):
            self.end_deployment(active, "cancelled", "Cancelled because job is stopped")
            return active
        if active and active is not current:
            self.end_deployment(active, "cancelled", "Cancelled due to newer version of job")
        if current or not work.deployed:
            return self.own_deployment(key, job)
        index = self.cluster.touch("deployment")
        groups = {group["Name"]: self.deployment_group(group, work.deployed[group["Name"]])
                  for group in job["TaskGroups"] if group["Name"] in work.deployed}
        made = {"ID": new_id(), "Namespace": key[0], "JobID": key[1], "JobVersion": job["Version"],
                "JobModifyIndex": job["ModifyIndex"], "JobSpecModifyIndex": job["JobModifyIndex"],
                "JobCreateIndex": job["CreateIndex"], "IsMultiregion": False, "TaskGroups": groups, "Status": "running",
                "StatusDescription": "Deployment is running", "CreateIndex": index, "ModifyIndex": index}
        self.deployments[made["ID"]] = made
        self.tell_deployment(made)
        return made

    def deployment_group(self, group, total):
        update = group["Update"]
        return {"AutoPromote": update["AutoPromote"], "AutoRevert": update["AutoRevert"], "DesiredCanaries": 0,
                "DesiredTotal": total, "HealthyAllocs": 0, "PlacedAllocs": 0, "PlacedCanaries": None,
                "ProgressDeadline": update["ProgressDeadline"], "Promoted": False, "RequireProgressBy": None,
                "UnhealthyAllocs": 0}

    def tell_deployment(self, deployment):
        self.cluster.tell("Deployment", "DeploymentStatusUpdate", deployment["ID"], deployment, deployment["Namespace"],
                          [deployment["JobID"]])

    def end_deployment(self, deployment, status, why):
        index = self.cluster.touch("deployment")
        deployment |= {"Status": status, "StatusDescription": why, "ModifyIndex": index}
        self.tell_deployment(deployment)

    def fail_deployment(self, deployment_id):
        deployment = self.deployments.get(deployment_id)
        if not deployment:
            raise Failed("deployment not found")
        if deployment["Status"] != "running":
            raise Failed("can't fail terminal deployment")
        self.end_deployment(deployment, "failed", "Deployment marked as failed")
        index = self.cluster.index
        key = deployment["Namespace"], deployment["JobID"]
        return {"DeploymentModifyIndex": index, "EvalCreateIndex": index, "Index": index, "RevertedJobVersion": None,
                "EvalID": self.evaluate(key, "deployment-watcher")}

    # --- allocations --------------------------------------------------------------------------------------

    def apply(self, job, work, evaluation, deployment):
        index = self.cluster.index
        for alloc, why, status in work.stop:
            alloc |= {"DesiredStatus": "stop", "DesiredDescription": why, "ModifyIndex": index, "ModifyTime": time.time_ns()}
            if status:
                alloc["ClientStatus"] = status
            self.tell_alloc(alloc, "PlanResult")
        for alloc in work.update:
            alloc |= {"Job": copy.deepcopy(job), "ModifyIndex": index, "AllocModifyIndex": index, "EvalID": evaluation["ID"]}
            self.join(alloc, deployment)
            self.tell_alloc(alloc, "PlanResult")
        for group, name, node, metric, previous in work.place:
            alloc = allocation.make(job, group, name, node, metric, evaluation["ID"], index)
            self.allocs[alloc["ID"]] = alloc
            if previous:
                alloc["PreviousAllocation"], previous["NextAllocation"] = previous["ID"], alloc["ID"]
            self.join(alloc, deployment)
            self.tell_alloc(alloc, "PlanResult")

    def join(self, alloc, deployment):
        """The allocation is one of the deployment's now; its health is to be seen again."""
        group = deployment and deployment["TaskGroups"].get(alloc["TaskGroup"])
        if not group:
            return
        alloc |= {"DeploymentID": deployment["ID"], "DeploymentStatus": None}
        self.running_since[alloc["ID"]] = time.monotonic()
        if deployment["Status"] != "running":
            return
        group["PlacedAllocs"] += 1
        group["RequireProgressBy"] = group["RequireProgressBy"] or later(group["ProgressDeadline"])
        deployment["ModifyIndex"] = self.cluster.index

    def tell_alloc(self, alloc, kind="AllocationUpdated"):
        self.cluster.tell("Allocation", kind, alloc["ID"], alloc, alloc["Namespace"],
                          [alloc["JobID"], alloc.get("DeploymentID", "")])

    def stop(self, alloc_id):
        """Stopped by an operator: another one takes its place."""
        if alloc_id not in self.allocs:
            raise Failed("allocation not found", 404)
        alloc = self.allocs[alloc_id]
        index = self.cluster.touch("allocs", "evals")
        alloc["DesiredTransition"] = {"ForceReschedule": None, "Migrate": True, "Reschedule": None}
        eval_id = self.evaluate((alloc["Namespace"], alloc["JobID"]), "alloc-stop")
        return {"EvalID": eval_id, "Index": index}

    # --- nodes --------------------------------------------------------------------------------------------

    def evaluate_node(self, node):
        """An evaluation of each job that a change of the node concerns; their ids."""
        self.room_changed = True
        keys = {(one["Namespace"], one["JobID"]) for one in self.on_node(node["ID"])}
        keys |= {key for key, job in self.cluster.jobs.rows.items() if job["Type"] == "system"}
        if not keys:
            return []
        index = self.cluster.touch("evals")
        return [self.evaluate(key, "node-update", NodeID=node["ID"], NodeModifyIndex=index) for key in sorted(keys)]

    def drain(self, node):
        keys = set()
        leaving = ("service",) if node["DrainStrategy"]["IgnoreSystemJobs"] else ("service", "system")
        for alloc in self.on_node(node["ID"]):
            if not self.is_over(alloc) and alloc["Job"]["Type"] in leaving:
                alloc["DesiredTransition"] = {"ForceReschedule": None, "Migrate": True, "Reschedule": None}
                keys.add((alloc["Namespace"], alloc["JobID"]))
        for key in sorted(keys):
            self.cluster.touch("allocs", "evals")
            self.evaluate(key, "node-drain")

    def is_empty(self, node):
        """Has a draining node nothing left that has to leave?"""
        stays = node["DrainStrategy"]["IgnoreSystemJobs"]
        return not any(one["ClientStatus"] not in OVER and not (stays and one["Job"]["Type"] == "system")
                       for one in self.on_node(node["ID"]))

    # --- what time brings ---------------------------------------------------------------------------------

    def tick(self):
        for alloc in list(self.allocs.values()):
            self.advance(alloc)
        for deployment in list(self.deployments.values()):
            if deployment["Status"] == "running":
                self.advance_deployment(deployment)
        for node in self.cluster.nodes.values():
            if node["Drain"] and self.is_empty(node):
                self.cluster.drained(node)
        if self.room_changed:
            self.room_changed = False
            for evaluation in list(self.evals.values()):
                self.unblock(evaluation)

    def advance(self, alloc):
        status = alloc["ClientStatus"]
        if status in OVER or self.cluster.nodes.get(alloc["NodeID"], {}).get("Status") == "down":
            return
        if alloc["DesiredStatus"] != "run":
            self.report(alloc, "complete", "All tasks have completed")
            allocation.kill(alloc)
            self.room_changed = True
        elif status == "pending":
            self.report(alloc, "running", "Tasks are running")
            allocation.start(alloc)
            self.running_since[alloc["ID"]] = time.monotonic()
        elif alloc["Job"]["Type"] == "batch":
            self.report(alloc, "complete", "All tasks have completed")
            allocation.finish(alloc)
            self.room_changed = True
        elif self.is_healthy_now(alloc):
            self.set_health(alloc)
        else:
            return
        self.cluster.jobs.settle((alloc["Namespace"], alloc["JobID"]))
        self.tell_alloc(alloc)

    def report(self, alloc, status, description):
        index = self.cluster.touch("allocs")
        alloc |= {"ClientStatus": status, "ClientDescription": description, "ModifyIndex": index,
                  "ModifyTime": time.time_ns()}

    def is_healthy_now(self, alloc):
        group = next((one for one in alloc["Job"]["TaskGroups"] if one["Name"] == alloc["TaskGroup"]), None)
        if not group or not group["Update"] or not alloc.get("DeploymentID") or alloc["DeploymentStatus"]:
            return False
        return time.monotonic() - self.running_since[alloc["ID"]] >= group["Update"]["MinHealthyTime"] / 1e9

    def set_health(self, alloc):
        index = self.cluster.touch("allocs", "deployment")
        alloc |= {"DeploymentStatus": {"Canary": False, "Healthy": True, "ModifyIndex": index, "Timestamp": now()},
                  "ModifyIndex": index, "ModifyTime": time.time_ns()}
        deployment = self.deployments.get(alloc["DeploymentID"])
        if not deployment or deployment["Status"] != "running":
            return
        group = deployment["TaskGroups"][alloc["TaskGroup"]]
        group["HealthyAllocs"] += 1
        group["RequireProgressBy"] = later(group["ProgressDeadline"])
        deployment["ModifyIndex"] = index

    def advance_deployment(self, deployment):
        key = deployment["Namespace"], deployment["JobID"]
        job = self.cluster.jobs.rows.get(key)
        groups = deployment["TaskGroups"].values()
        placed = all(group["HealthyAllocs"] >= group["PlacedAllocs"] for group in groups)
        if job and placed and any(0 < group["PlacedAllocs"] < group["DesiredTotal"] for group in groups):
            if reconcile(self, key, job).changes:
                self.cluster.touch("evals")
                self.evaluate(key, "deployment-watcher")
        elif all(group["HealthyAllocs"] >= group["DesiredTotal"] for group in groups):
            self.end_deployment(deployment, "successful", "Deployment completed successfully")
            if job and job["Version"] == deployment["JobVersion"]:
                job |= {"Stable": True, "ModifyIndex": self.cluster.index}
                self.cluster.tables["jobs"] = self.cluster.index

    def unblock(self, evaluation):
        """A blocked evaluation for which there is room now is worked off."""
        key = evaluation["Namespace"], evaluation["JobID"]
        job = self.cluster.jobs.rows.get(key)
        if evaluation["Status"] == "blocked" and job and reconcile(self, key, job).place:
            self.cluster.touch("evals")
            evaluation.pop("FailedTGAllocs", None)
            self.process(evaluation)

    # --- garbage ------------------------------------------------------------------------------------------

    def collect(self):
        """What is over is forgotten: jobs that are dead, their evaluations and allocations, nodes that are down."""
        cluster = self.cluster
        cluster.touch("evals", "allocs", "jobs", "deployment", "nodes")
        dead = [key for key, job in cluster.jobs.rows.items()
                if job["Status"] == "dead" and (job["Stop"] or job["Type"] == "batch")]
        for key in dead:
            del cluster.jobs.rows[key], cluster.jobs.history[key], cluster.jobs.summaries[key]
            cluster.jobs.scalings.pop(key, None)
        gone = {name for name, one in self.allocs.items() if one["ClientStatus"] in OVER}
        self.allocs = {name: one for name, one in self.allocs.items() if name not in gone}
        self.evals = {name: one for name, one in self.evals.items() if one["Status"] in ("pending", "blocked")}
        self.deployments = {name: one for name, one in self.deployments.items() if one["Status"] == "running"}
        for node_id in [name for name, node in cluster.nodes.items() if node["Status"] == "down"]:
            if not self.on_node(node_id):
                del cluster.nodes[node_id], cluster.seen[node_id]


