"""Purpose: the endpoints of jobs."""

import allocation
import job_hcl
import jobspec
import jobtypes
from request import Refused


def key_of(request, job_id):
    return request.namespace, job_id


def asked_region(request, job):
    """The region that a job is for; there is only ours."""
    region = request.query.get("region") or job["Region"] or request.agent.settings.region
    if region not in ("global", request.agent.settings.region):
        raise Refused(500, "No path to region")


def read_job(request, name):
    """(the job of a request, all that it says)"""
    told = request.json()
    try:
        return jobtypes.read_job(told, name), told
    except jobtypes.Refused as error:
        raise Refused(400, str(error)) from error


def list_jobs(request):
    space, jobs = request.query.get("namespace") or "default", request.cluster.jobs
    if space != "*":
        request.need_namespace("list-jobs")
    return request.read(lambda: [jobs.stub(job) for key, job in sorted(jobs.rows.items()) if key[1].startswith(request.prefix)
                                 and (key[0] == space or space == "*" and request.may.namespace(key[0], "list-jobs"))],
                        "jobs", "job_summary")


def register(request, job_id=""):
    job, told = read_job(request, "JobRegisterRequest")
    if job is None:
        raise Refused(400, "Job must be specified")
    if job["ID"] is None:
        raise Refused(400, "Job ID hasn't been provided")
    if job_id and job["ID"] != job_id:
        raise Refused(400, "Job ID does not match name")
    if job["Type"] == "system" and any(group["Scaling"] for group in job["TaskGroups"] or []):
        raise Refused(400, "Task groups with job type system do not support scaling stanzas")
    asked_region(request, job)
    job, warnings = request.cluster.jobs.admit(jobspec.canonicalize(job))
    request.need_namespace("submit-job", space=job["Namespace"])
    enforce = (told.get("JobModifyIndex") or 0) if told.get("EnforceIndex") else None
    made = request.cluster.jobs.register(job, accessor_of(request), enforce, bool(told.get("PreserveCounts")))
    return answer(request, made | {"Warnings": warnings})


def accessor_of(request):
    token = request.cluster.tokens and request.cluster.tokens.by_secret(request.token)
    return token["AccessorID"] if token else ""


def answer(request, made, leader=False):
    request.index = made["Index"]
    return {"KnownLeader": leader, "LastContact": 0, **made}


def read_one(request, job_id):
    request.need_namespace("read-job")
    return request.read(lambda: request.cluster.jobs.find(key_of(request, job_id)), "jobs",
                        index_of=lambda job: job["ModifyIndex"])


def stop(request, job_id):
    purge = request.flag("purge")
    request.flag("global")
    request.need_namespace("submit-job")
    return answer(request, request.cluster.jobs.deregister(key_of(request, job_id), purge))


def versions(request, job_id):
    diffs = request.flag("diffs")
    request.need_namespace("read-job")
    return request.read(lambda: request.cluster.jobs.versions(key_of(request, job_id), diffs), "job_version",
                        index_of=lambda told: told["Index"])


def summary(request, job_id):
    request.need_namespace("read-job")

    def find():
        request.cluster.jobs.find(key_of(request, job_id))
        return request.cluster.jobs.summaries[key_of(request, job_id)]
    return request.read(find, "job_summary", index_of=lambda told: told["ModifyIndex"])


def evaluations(request, job_id):
    request.need_namespace("read-job")
    return request.read(lambda: request.cluster.scheduler.evals_of(key_of(request, job_id)), "evals")


def allocations(request, job_id):
    request.need_namespace("read-job")
    return request.read(lambda: [allocation.stub(one) for one in request.cluster.scheduler.allocs_of(key_of(request, job_id))],
                        "allocs")


def deployments(request, job_id):
    request.need_namespace("read-job")
    return request.read(lambda: request.cluster.scheduler.deployments_of(key_of(request, job_id)), "deployment")


def deployment(request, job_id):
    request.need_namespace("read-job")
    return request.read(lambda: request.cluster.scheduler.latest_deployment(key_of(request, job_id)), "deployment")


def scale_status(request, job_id):
    request.need_namespace("read-job", "read-job-scaling")
    return request.read(lambda: request.cluster.jobs.scale_status(key_of(request, job_id)), "jobs", "scaling_event", "allocs")


def scale(request, job_id):
    told = request.json()
    if (told.get("Target") or {}).get("Job", job_id) != job_id:
        raise Refused(400, "job ID in payload did not match URL")
    request.need_namespace("scale-job", "submit-job")
    return answer(request, request.cluster.jobs.scale(key_of(request, job_id), told) | {"Warnings": ""}, leader=True)


def plan(request, job_id):
    job, told = read_job(request, "JobPlanRequest")
    if job is None:
        raise Refused(400, "Job must be specified")
    if job["ID"] is None:
        raise Refused(400, "Job must have a valid ID")
    if job["ID"] != job_id:
        raise Refused(400, "Job ID does not match")
    asked_region(request, job)
    job, warnings = request.cluster.jobs.admit(jobspec.canonicalize(job))
    request.need_namespace("submit-job", space=job["Namespace"])
    made = request.cluster.jobs.plan(job, bool(told.get("Diff")))
    request.index = made["Index"]
    return made | {"Warnings": warnings}


def validate(request):
    from job_check import complaints, together, warnings
    job, _ = read_job(request, "JobValidateRequest")
    if job is None:
        raise Refused(400, "Job must be specified")
    job = jobspec.stored(jobspec.canonicalize(job), None)
    request.need_namespace("read-job", space=job["Namespace"])
    found = complaints(job)
    return {"DriverConfigValidated": True, "Error": together(found) if found else "", "ValidationErrors": found or None,
            "Warnings": warnings(job, request.cluster.operator.scheduler["MemoryOversubscriptionEnabled"])}


def parse(request):
    told = request.json()
    if not told.get("JobHCL"):
        raise Refused(400, "Job spec is empty")
    try:
        job = job_hcl.parse(told["JobHCL"])
    except job_hcl.Error as error:
        raise Refused(400, str(error)) from error
    return job_hcl.shown(jobspec.canonicalize(job) if told.get("Canonicalize") else job)


def same_job(told, job_id, text):
    if told.get("JobID") != job_id:
        raise Refused(400, text)


def evaluate(request, job_id):
    if request.body:
        told = request.json()
        if not told.get("JobID"):
            raise Refused(400, "Job ID must be specified")
        same_job(told, job_id, "JobID not same as job name")
    request.need_namespace("read-job")
    return answer(request, request.cluster.jobs.evaluate(key_of(request, job_id)) | {"Warnings": ""})


def revert(request, job_id):
    told = request.json()
    if not told.get("JobID"):
        raise Refused(400, "JobID must be specified")
    same_job(told, job_id, "Job ID does not match")
    request.need_namespace("submit-job")
    made = request.cluster.jobs.revert(key_of(request, job_id), told.get("JobVersion") or 0, told.get("EnforcePriorVersion"),
                                       accessor_of(request))
    request.known_leader = False
    return answer(request, made | {"Warnings": ""})


def stable(request, job_id):
    told = request.json()
    if not told.get("JobID"):
        raise Refused(400, "JobID must be specified")
    same_job(told, job_id, "Job ID does not match")
    request.need_namespace("submit-job")
    key, version = key_of(request, job_id), told.get("JobVersion") or 0
    request.index = request.cluster.jobs.set_stable(key, version, bool(told.get("Stable")))
    return {"Index": request.index}


def dispatch(request, job_id):
    told = request.json()
    if told.get("JobID", job_id) != job_id:
        raise Refused(400, "Job ID does not match")
    request.need_namespace("dispatch-job")
    made = request.cluster.jobs.dispatch(key_of(request, job_id), told)
    request.index = made["Index"]
    return made


def force_periodic(request, job_id):
    request.need_namespace("dispatch-job", "submit-job")
    made = request.cluster.jobs.force_periodic(key_of(request, job_id))
    request.index = made["Index"]
    return made


def both(function):
    return {"PUT": function, "POST": function}


ROUTES = [
    (r"jobs", {"GET": list_jobs, **both(register)}),
    (r"jobs/parse", both(parse)),
    (r"validate/job", both(validate)),
    (r"job/(.+)/evaluate", both(evaluate)),
    (r"job/(.+)/allocations", {"GET": allocations}),
    (r"job/(.+)/evaluations", {"GET": evaluations}),
    (r"job/(.+)/periodic/force", both(force_periodic)),
    (r"job/(.+)/plan", both(plan)),
    (r"job/(.+)/summary", {"GET": summary}),
    (r"job/(.+)/dispatch", both(dispatch)),
    (r"job/(.+)/versions", {"GET": versions}),
    (r"job/(.+)/revert", both(revert)),
    (r"job/(.+)/deployments", {"GET": deployments}),
    (r"job/(.+)/deployment", {"GET": deployment}),
    (r"job/(.+)/stable", both(stable)),
    (r"job/(.+)/scale", {"GET": scale_status, **both(scale)}),
    (r"job/(.+)", {"GET": read_one, "DELETE": stop, **both(register)}),
]
