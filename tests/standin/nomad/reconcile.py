"""Purpose: what is to be done so that a job runs as it is registered: which allocations to stop, to update in place,
to replace and to place, group by group."""

import re

import placement

NOT_NEEDED = "alloc not needed due to job update"
REPLACED = "alloc is being updated due to job update"
MIGRATED = "alloc is being migrated"
LOST = "alloc is lost since its node is down"
TAINTED = "alloc not needed as node is tainted"
COUNTS = ("Ignore", "Place", "Migrate", "Stop", "InPlaceUpdate", "DestructiveUpdate", "Canary", "Preemptions")


class Work:
    def __init__(self):
        self.wanted = {}    # {group: counts}, as a plan tells them
        self.stop = []      # (allocation, why, status that its client cannot tell any more)
        self.update = []    # allocations whose tasks go on under the new job
        self.place = []     # (group, name, node, metric, allocation that it replaces)
        self.failures, self.queued, self.classes = {}, {}, {}
        self.deployed = {}  # {group: how many allocations a new deployment is of}

    @property
    def changes(self):
        return bool(self.stop or self.update or self.place)


def reconcile(scheduler, key, job):
    work = Work()
    allocs = scheduler.allocs_of(key)
    groups = {group["Name"]: group for group in job["TaskGroups"]} if job and not job["Stop"] else {}
    for name in (job and [group["Name"] for group in job["TaskGroups"]]) or ():
        work.queued[name] = 0
    if groups and job["Type"] == "system":
        for group in groups.values():
            everywhere(scheduler, job, group, allocs, work)
    else:
        for name, group in groups.items():
            Group(scheduler, job, group, [one for one in allocs if one["TaskGroup"] == name], work).run()
    gone = [one for one in allocs if one["TaskGroup"] not in groups and not scheduler.is_over(one)]
    for alloc in gone:
        counts(work, alloc["TaskGroup"])["Stop"] += 1
        work.stop.append((alloc, NOT_NEEDED, None))
    return work


def counts(work, name):
    return work.wanted.setdefault(name, dict.fromkeys(COUNTS, 0))


def number_of(alloc):
    return int(re.search(r"\[(\d+)\]$", alloc["Name"])[1])


class Group:
    """One group of a service or batch job."""

    def __init__(self, scheduler, job, group, allocs, work):
        self.scheduler, self.job, self.group, self.work = scheduler, job, group, work
        self.all, self.counts = allocs, counts(work, group["Name"])
        self.stopping = []
        self.nodes = scheduler.cluster.nodes

    def run(self):
        stay, leave, lost = self.sort_out()
        stay = self.stop_surplus(stay, len(leave) + len(lost))
        kept, in_place, replaced = self.compare(stay)
        names = self.missing_names(stay + leave + lost)
        current = self.scheduler.current_deployment((self.job["Namespace"], self.job["ID"]), self.job)
        limit = self.limit(stay, replaced, leave, current)
        self.deployment(len(names) + len(in_place) + len(replaced), current, bool(in_place or replaced))
        self.counts["InPlaceUpdate"] += len(in_place)
        self.work.update += in_place
        for name in names:
            self.place(name, None)
        for alloc in lost:
            self.counts["Stop"] += 1
            self.work.stop.append((alloc, LOST, "lost"))
            self.place(alloc["Name"], alloc)
        now = sorted(replaced, key=number_of)[:max(limit - min(len(names), limit), 0)]
        self.counts["DestructiveUpdate"] += len(now)
        self.counts["Ignore"] += len(kept) + len(replaced) - len(now)
        for alloc in now:
            self.replace(alloc, REPLACED)
        self.counts["Migrate"] += len(leave)
        for alloc in leave:
            self.replace(alloc, MIGRATED)

    def sort_out(self):
        """Those that stay, have to leave their node, are lost with it. A batch job's that are done are done."""
        stay, leave, lost = [], [], []
        for alloc in self.all:
            node = self.nodes.get(alloc["NodeID"])
            if self.job["Type"] == "batch" and alloc["ClientStatus"] == "complete" and alloc["DesiredStatus"] == "run":
                if alloc["Job"]["Version"] == self.job["Version"] and alloc["Job"]["CreateIndex"] == self.job["CreateIndex"]:
                    stay.append(alloc)
                else:
                    self.counts["Ignore"] += 1
            elif self.scheduler.is_over(alloc):
                continue
            elif not node or node["Status"] == "down":
                lost.append(alloc)
            elif (alloc.get("DesiredTransition") or {}).get("Migrate"):
                leave.append(alloc)
            else:
                stay.append(alloc)
        return stay, leave, lost

    def stop_surplus(self, stay, others):
        surplus = max(len(stay) + others - self.group["Count"], 0)
        stay = sorted(stay, key=number_of)
        for alloc in stay[len(stay) - surplus:]:
            self.counts["Stop"] += 1
            self.work.stop.append((alloc, NOT_NEEDED, None))
            self.stopping.append(alloc)
        return stay[:len(stay) - surplus]

    def compare(self, stay):
        kept, in_place, replaced = [], [], []
        for alloc in stay:
            if alloc["Job"]["JobModifyIndex"] == self.job["JobModifyIndex"] or alloc["Job"]["Version"] == self.job["Version"]:
                kept.append(alloc)
            elif alloc["ClientStatus"] == "complete":
                kept.append(alloc)
            else:
                (replaced if tasks_changed(alloc["Job"], self.job, self.group["Name"]) else in_place).append(alloc)
        return kept, in_place, replaced

    def missing_names(self, have):
        taken = {number_of(alloc) for alloc in have}
        free = [number for number in range(self.group["Count"]) if number not in taken]
        short = max(self.group["Count"] - len(have), 0)
        return [f"{self.job['ID']}.{self.group['Name']}[{number}]" for number in free[:short]]

    def limit(self, stay, replaced, leave, current):
        """How many may be replaced at a time."""
        update = self.group["Update"]
        if not update or not update["MaxParallel"] or not (replaced or leave):
            return self.group["Count"]
        waiting = [one for one in stay if current and one.get("DeploymentID") == current["ID"] and not one["DeploymentStatus"]]
        return max(update["MaxParallel"] - len(waiting), 0)

    def deployment(self, total, current, updating):
        ran = any(one["Job"]["Version"] == self.job["Version"] and one["Job"]["CreateIndex"] == self.job["CreateIndex"]
                  for one in self.all)
        update = self.group["Update"]
        if self.job["Type"] == "service" and update and update["MaxParallel"] and not current and total and (updating or not ran):
            self.work.deployed[self.group["Name"]] = total

    def replace(self, alloc, why):
        self.stopping.append(alloc)
        if self.place(alloc["Name"], alloc, counted=False):
            self.work.stop.append((alloc, why, None))
        elif why == MIGRATED:
            self.work.stop.append((alloc, why, None))

    def place(self, name, previous, counted=True):
        self.counts["Place"] += counted
        node, metric, classes = placement.choose(list(self.nodes.values()), self.job, self.group, self.taken)
        if node:
            self.work.place.append((self.group, name, node, metric, previous))
            return True
        self.work.classes |= classes
        self.work.queued[self.group["Name"]] += 1
        failed = self.work.failures.setdefault(self.group["Name"], {**metric, "CoalescedFailures": -1})
        failed["CoalescedFailures"] += 1
        return False

    def taken(self, node_id):
        """What is on a node, and what this work will put there."""
        there = [one for one in self.scheduler.taken(node_id) if one not in self.stopping]
        planned = [{"Resources": needs(group)} for group, _, node, _, _ in self.work.place if node["ID"] == node_id]
        return there + planned


def needs(group):
    told = placement.asked(group)
    return {"CPU": told["cpu"], "MemoryMB": told["memory"], "DiskMB": told["disk"]}


def everywhere(scheduler, job, group, allocs, work):
    """One allocation of a system job's group on each node that fits."""
    here = {one["NodeID"]: one for one in allocs if one["TaskGroup"] == group["Name"] and not scheduler.is_over(one)}
    for node in scheduler.cluster.nodes.values():
        alloc = here.get(node["ID"])
        tainted = node["Drain"] and not node["DrainStrategy"]["IgnoreSystemJobs"]
        if alloc and (tainted or node["Status"] == "down"):
            counts(work, group["Name"])["Stop"] += 1
            work.stop.append((alloc, TAINTED, "lost" if node["Status"] == "down" else None))
        elif alloc and alloc["Job"]["Version"] == job["Version"]:
            counts(work, group["Name"])["Ignore"] += 1
        elif alloc and not tasks_changed(alloc["Job"], job, group["Name"]):
            counts(work, group["Name"])["InPlaceUpdate"] += 1
            work.update.append(alloc)
        elif placement.is_ready(node):
            start_there(scheduler, job, group, node, alloc, work)


def start_there(scheduler, job, group, node, alloc, work):
    found, metric, _ = placement.choose([node], job, group, lambda node_id: [one for one in scheduler.taken(node_id)
                                                                             if one is not alloc])
    if not found:
        if metric["NodesExhausted"]:
            work.failures[group["Name"]] = metric
            work.queued[group["Name"]] += 1
        return
    counts(work, group["Name"])["DestructiveUpdate" if alloc else "Place"] += 1
    if alloc:
        work.stop.append((alloc, REPLACED, None))
    work.place.append((group, f"{job['ID']}.{group['Name']}[0]", node, metric, alloc))


TASK = ("Driver", "User", "Config", "Env", "Artifacts", "Vault", "Templates")
RESOURCES = ("CPU", "Cores", "MemoryMB", "MemoryMaxMB", "Devices")


def find(items, name):
    return next((one for one in items or [] if one["Name"] == name), None)


def tasks_changed(old, new, name):
    """Do the tasks have to be started anew?"""
    one, other = find(old["TaskGroups"], name), find(new["TaskGroups"], name)
    if not one or len(one["Tasks"]) != len(other["Tasks"]):
        return True
    if any(one[key] != other[key] for key in ("EphemeralDisk", "Networks", "Affinities", "Spreads", "Consul")):
        return True
    if old["Affinities"] != new["Affinities"] or old["Spreads"] != new["Spreads"]:
        return True
    return any(task_changed(old, new, one, other, task, find(other["Tasks"], task["Name"])) for task in one["Tasks"])


def task_changed(old, new, group, other_group, task, other):
    if not other or any(task[key] != other[key] for key in TASK):
        return True
    metas = [{**(job["Meta"] or {}), **(holder["Meta"] or {}), **(each["Meta"] or {})}
             for job, holder, each in ((old, group, task), (new, other_group, other))]
    one, two = task["Resources"], other["Resources"]
    return metas[0] != metas[1] or one["Networks"] != two["Networks"] or any(one[key] != two[key] for key in RESOURCES)
