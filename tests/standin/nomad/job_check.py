"""Purpose: the mistakes for which a server refuses a job, and what it warns of, in its words and its order."""

import re

import cron
from store import Failed

OPERATORS = ("=", "==", "is", "!=", "not", "<", "<=", ">", ">=")
SETS = ("set_contains", "set_contains_all", "set_contains_any")
SECOND = 10 ** 9
SERVICE_NAME = r"(?i:[a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])"


def together(complaints):
    """Go's list of errors as one text."""
    count = f"{len(complaints)} error{'s' if len(complaints) != 1 else ''}"
    return f"{count} occurred:\n\t* " + "\n\t* ".join(complaints) + "\n\n"


def admit(job):
    found = complaints(job)
    if found:
        raise Failed(together(found))


def inside(what, found):
    return [f"{what} validation failed: {together(found)}"] if found else []


def each(what, items, check):
    return [line for number, item in enumerate(items or [], 1) for line in inside(f"{what} {number}", check(item))]


def lines(*pairs):
    """The texts whose condition holds."""
    return [text for bad, text in pairs if bad]


def duration(value):
    """As Go prints one."""
    if value == 0:
        return "0s"
    hours, rest = divmod(value, 3600 * SECOND)
    minutes, rest = divmod(rest, 60 * SECOND)
    seconds = rest / SECOND
    text = f"{seconds:g}s"
    return (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + text


# --- the job ----------------------------------------------------------------------------------------------

def complaints(job):
    name, kind = job["ID"], job["Type"]
    found = lines((not name, "Missing job ID"), (" " in name, "Job ID contains a space"), (not job["Name"], "Missing job name"),
                  (not job["Namespace"], "Job must be in a namespace"), (kind == "", "Missing job type"))
    if kind not in ("", "core", "service", "batch", "system"):
        found.append(f'Invalid job type: "{kind}"')
    found += lines((not 1 <= job["Priority"] <= 100, "Job priority must be between [1, 100]"),
                   (not job["Datacenters"], "Missing job datacenters"))
    found += ["Job datacenter must be non-empty string" for one in job["Datacenters"] or [] if not one]
    found += lines((not job["TaskGroups"], "Missing job task groups"))
    found += placements(job, job)
    seen = {}
    for number, group in enumerate(job["TaskGroups"] or [], 1):
        if not group["Name"]:
            found.append(f"Job task group {number} missing name")
        elif group["Name"] in seen:
            found.append(f"Job task group {number} redefines '{group['Name']}' from group {seen[group['Name']]}")
        seen.setdefault(group["Name"], number)
        if kind == "system" and group["Count"] > 1:
            found.append(f"Job task group {group['Name']} has count {group['Count']}. "
                         "Count cannot exceed 1 with system scheduler")
    for group in job["TaskGroups"] or []:
        found += inside(f"Task group {group['Name']}", check_group(group, job))
    found += check_periodic(job) + check_parameterized(job)
    return found + lines((kind == "core", "job type cannot be core"),
                         (job["Payload"], "job can't be submitted with a payload, only dispatched"),
                         (job["Multiregion"], "Multiregion jobs require Nomad Enterprise"))


def check_periodic(job):
    periodic, found = job["Periodic"], []
    if not periodic or not periodic["Enabled"]:
        return []
    if job["Type"] != "batch":
        found.append('Periodic can only be used with "batch" scheduler')
    inner = lines((not periodic["Spec"], "Must specify a spec"))
    try:
        cron.parse(periodic["Spec"])
    except cron.Error as error:
        inner.append(f'Invalid cron spec "{periodic["Spec"]}": {error}')
    return found + ([together(inner)] if inner else [])


def check_parameterized(job):
    told = job["ParameterizedJob"]
    if not told or job["Dispatched"]:
        return []
    found = lines((job["Type"] != "batch", 'Parameterized job can only be used with "batch" scheduler'))
    if told["Payload"] not in ("optional", "required", "forbidden"):
        found.append(together([f'Unknown payload requirement: "{told["Payload"]}"']))
    return found


# --- placement --------------------------------------------------------------------------------------------

def placements(holder, job):
    """Constraints, affinities and, where there are any, spreads."""
    found, system = each("Constraint", holder["Constraints"], check_constraint), job["Type"] == "system"
    if system:
        found += lines((holder["Affinities"] is not None, "System jobs may not have an affinity stanza"))
    else:
        found += each("Affinity", holder["Affinities"], check_affinity)
    if "Spreads" in holder and holder is job:
        found += spreads(holder, system)
    return found


def spreads(holder, system):
    if system:
        return lines((holder["Spreads"] is not None, "System jobs may not have a spread stanza"))
    return each("Spread", holder["Spreads"], check_spread)


def check_constraint(one):
    operand, right = one["Operand"], one["RTarget"]
    found = lines((not operand, "Missing constraint operand"))
    if operand in SETS:
        found += lines((not right, "Set contains constraint requires an RTarget"))
    elif operand in OPERATORS:
        found += lines((not right, f'Operator "{operand}" requires an RTarget'))
    elif operand in ("is_set", "is_not_set"):
        found += lines((right, f'Operator "{operand}" does not support an RTarget'))
    elif operand == "version":
        found += [f"Version constraint is invalid: Malformed constraint: {part.strip()}" for part in right.split(",")
                  if not re.fullmatch(r"\s*(=|!=|>|<|>=|<=|~>)?\s*v?\d[\w.+-]*\s*", part)]
    elif operand == "regexp":
        found += bad_pattern(right)
    elif operand not in ("semver", "distinct_hosts", "distinct_property"):
        found.append(f'Unknown constraint type "{operand}"')
    return found + lines((not one["LTarget"] and operand != "distinct_hosts",
                          "No LTarget provided but is required by constraint"))


def bad_pattern(text):
    try:
        re.compile(text)
    except re.error as error:
        return [f"Regular expression failed to compile: {error}"]
    return []


def check_affinity(one):
    operand, right = one["Operand"], one["RTarget"]
    found = lines((not operand, "Missing affinity operand"))
    if operand in SETS:
        found += lines((not right, "Set contains operators require an RTarget"))
    elif operand in OPERATORS:
        found += lines((not right, f'Operator "{operand}" requires an RTarget'))
    elif operand == "regexp":
        found += bad_pattern(right)
    elif operand not in ("version", "semver"):
        found.append(f'Unknown affinity operator "{operand}"')
    return found + lines((not one["LTarget"], "No LTarget provided but is required"),
                         (one["Weight"] == 0, "Affinity weight cannot be zero"),
                         (abs(one["Weight"]) > 100, "Affinity weight must be within the range [-100,100]"))


def check_spread(one):
    targets = one["SpreadTarget"] or []
    total = sum(target["Percent"] for target in targets)
    return lines((not one["Attribute"], "Missing spread attribute"),
                 (not 0 < one["Weight"] <= 100, "Spread stanza must have a positive weight from 0 to 100"),
                 (total > 100, f"Sum of spread target percentages must not be greater than 100%; got {total}%"))


# --- groups -----------------------------------------------------------------------------------------------

def check_group(group, job):
    kind = job["Type"]
    found = lines((not group["Name"], "Missing task group name"), (group["Count"] < 0, "Task group count can't be negative"),
                  (not group["Tasks"], "Missing tasks for task group"))
    found += placements(group, job)
    found += wrapped(check_restart(group["RestartPolicy"]))
    found += spreads(group, kind == "system")
    if kind == "system":
        found += lines((group["ReschedulePolicy"], "System jobs should not have a reschedule policy"))
    else:
        found += wrapped(check_reschedule(group["ReschedulePolicy"]))
    size = group["EphemeralDisk"]["SizeMB"]
    found += lines((size < 10, f"minimum DiskMB value is 10; got {size}"))
    if group["Update"]:
        found += lines((kind not in ("service", "system"), f'Job type "{kind}" does not allow update block'))
        found += wrapped(check_update(group["Update"]))
    if group["Migrate"]:
        found += lines((kind != "service", f'Job type "{kind}" does not allow migrate block'))
    found += check_names(group["Tasks"] or [])
    for name, volume in (group["Volumes"] or {}).items():
        inner = lines((not volume["Source"], "volume has an empty source"))
        found += [f"Task group volume validation for {name} failed: {together(inner)}"] if inner else []
    found += inside("Task group network", check_ports(group))
    found += inside("Task group service", check_services(group["Services"]))
    found += inside("Task group scaling policy", check_scaling(group))
    for task in group["Tasks"] or []:
        found += check_mounts(task, group) + inside(f"Task {task['Name']}", check_task(task, group, job))
    return found


def wrapped(found):
    return [together(found)] if found else []


def check_names(tasks):
    found, seen = [], {}
    for number, task in enumerate(tasks, 1):
        if not task["Name"]:
            found.append(f"Task {number} missing name")
        elif task["Name"] in seen:
            found.append(f"Task {number} redefines '{task['Name']}' from task {seen[task['Name']]}")
        seen.setdefault(task["Name"], number)
    return found + lines((sum(task["Leader"] for task in tasks) > 1, "Only one task may be marked as leader"))


def check_restart(policy):
    attempts, interval, delay = policy["Attempts"], policy["Interval"], policy["Delay"]
    return lines((policy["Mode"] not in ("delay", "fail"), f'Unsupported restart mode: "{policy["Mode"]}"'),
                 (attempts == 0 and policy["Mode"] != "fail",
                  f'Restart policy "{policy["Mode"]}" with {attempts} attempts is ambiguous'),
                 (interval < 5 * SECOND, f"Interval can not be less than 5s (got {duration(interval)})"),
                 (attempts * delay > interval, f"Nomad can't restart the TaskGroup {attempts} times in an interval of "
                                               f"{duration(interval)} with a delay of {duration(delay)}"))


def check_reschedule(policy):
    if not policy or not (policy["Attempts"] > 0 or policy["Unlimited"]):
        return []
    attempts, interval, unlimited = policy["Attempts"], policy["Interval"], policy["Unlimited"]
    found = []
    if attempts > 0:
        found += lines((interval <= 0, "Interval must be a non zero value if Attempts > 0"),
                       (unlimited, f"Reschedule Policy with Attempts = {attempts}, Interval = {duration(interval)}, "
                                   f"and Unlimited = {str(unlimited).lower()} is ambiguous"),
                       (unlimited, "If Attempts >0, Unlimited cannot also be set to true"))
    found += lines((policy["Delay"] < 5 * SECOND, f"Delay cannot be less than 5s (got {duration(policy['Delay'])})"))
    if policy["DelayFunction"] not in ("constant", "exponential", "fibonacci"):
        found.append(f'Invalid delay function "{policy["DelayFunction"]}", must be one of '
                     '["constant" "exponential" "fibonacci"]')
    if policy["DelayFunction"] != "constant":
        found += lines((policy["MaxDelay"] < 5 * SECOND, f"Max Delay cannot be less than 5s (got {duration(policy['Delay'])})"),
                       (policy["MaxDelay"] < policy["Delay"],
                        f"Max Delay cannot be less than Delay {duration(policy['Delay'])} (got {duration(policy['MaxDelay'])})"))
    return found


def check_update(update):
    low, high, progress = update["MinHealthyTime"], update["HealthyDeadline"], update["ProgressDeadline"]
    return lines((update["HealthCheck"] not in ("checks", "task_states", "manual"),
                  f'Invalid health check given: "{update["HealthCheck"]}"'),
                 (update["MaxParallel"] < 0, f"Max parallel can not be less than zero: {update['MaxParallel']} < 0"),
                 (update["Canary"] < 0, f"Canary count can not be less than zero: {update['Canary']} < 0"),
                 (update["Canary"] == 0 and update["AutoPromote"], "Auto Promote requires a Canary count greater than zero"),
                 (low < 0, f"Minimum healthy time may not be less than zero: {duration(low)}"),
                 (high <= 0, f"Healthy deadline must be greater than zero: {duration(high)}"),
                 (progress < 0, f"Progress deadline must be zero or greater: {duration(progress)}"),
                 (low >= high, f"Minimum healthy time must be less than healthy deadline: {duration(low)} > {duration(high)}"),
                 (progress != 0 and high >= progress,
                  f"Healthy deadline must be less than progress deadline: {duration(high)} > {duration(progress)}"),
                 (update["Stagger"] <= 0, f"Stagger must be greater than zero: {duration(update['Stagger'])}"))


def check_ports(group):
    found, labels = [], {}
    networks = (group["Networks"] or []) + [one for task in group["Tasks"] or [] for one in task["Resources"]["Networks"] or []]
    for network in networks:
        for port in (network["ReservedPorts"] or []) + (network["DynamicPorts"] or []):
            if port["Label"] in labels:
                found.append(f"Port label {port['Label']} already in use by taskgroup network")
            labels[port["Label"]] = True
            if port["Value"] > 65535:
                found.append(f"Port {port['Label']} ({port['Value']}) cannot be greater than 65535")
    return found


def check_scaling(group):
    policy = group["Scaling"]
    if not policy:
        return []
    start = "Scaling policy invalid: "
    return lines((policy["Max"] < 0, start + "maximum count must be specified and non-negative"),
                 (0 <= policy["Max"] < policy["Min"], start + "maximum count must not be less than minimum count"),
                 (policy["Max"] < group["Count"],
                  start + "task group count must not be greater than maximum count in scaling policy"),
                 (group["Count"] < policy["Min"],
                  start + "task group count must not be less than minimum count in scaling policy"))


def check_mounts(task, group):
    found = []
    for number, mount in enumerate(task["VolumeMounts"] or []):
        if not mount["Volume"]:
            found.append(f"Task {task['Name']} has a volume mount ({number}) referencing an empty volume")
        elif mount["Volume"] not in (group["Volumes"] or {}):
            found.append(f"Task {task['Name']} has a volume mount ({number}) referencing undefined volume {mount['Volume']}")
    return found


# --- services ---------------------------------------------------------------------------------------------

def check_services(services):
    found, seen = [], set()
    for number, service in enumerate(services or []):
        inner = check_service(service)
        if inner:
            found.append(f"Service[{number}] {service['Name']} validation failed: {together(inner)}")
            continue
        if service["Name"] + service["PortLabel"] in seen:
            found.append(f"Service {service['Name']} is duplicate")
        seen.add(service["Name"] + service["PortLabel"])
    return found


def check_service(service):
    found, plain = [], re.sub(r"\$\{[\w.\[\]\"-]+\}", "ENV-VAR", service["Name"])
    if not re.fullmatch(SERVICE_NAME, plain):
        found.append("Service name must be valid per RFC 1123 and can contain only alphanumeric characters or dashes: "
                     f'"{service["Name"]}"')
    for check in service["Checks"] or []:
        if not service["PortLabel"] and not check["PortLabel"] and check["Type"] in ("grpc", "http", "tcp"):
            found.append(f"Check {check['Name']} invalid: check requires a port but neither check nor service "
                         f'"{service["Name"]}" have a port')
            continue
        why = check_check(check)
        found += [f"Check {check['Name']} invalid: {why}"] if why else []
    return found + lines((service["Connect"], "the stand-in does not know Consul Connect"))


def check_check(check):
    kind = check["Type"].lower()
    if kind not in ("grpc", "tcp", "http", "script"):
        return f'invalid type ("{check["Type"]}"), must be one of "http", "tcp", or "script" type'
    if kind == "http" and not check["Path"]:
        return "http type must have a valid http path"
    if kind == "script" and not check["Command"]:
        return "script type must have a valid script path"
    for key, low, text in (("Interval", 1, "interval ({}) cannot be lower than 1s"),
                           ("Timeout", 1, "timeout ({}) is lower than required minimum timeout 1s")):
        if check[key] == 0:
            return f"missing required value {key.lower()}. {key} cannot be less than 1s"
        if check[key] < low * SECOND:
            return text.format(duration(check[key]))
    return None


# --- tasks ------------------------------------------------------------------------------------------------

def check_task(task, group, job):
    found = lines((not task["Name"], "Missing task name"), ("/" in task["Name"] or "\\" in task["Name"],
                                                            "Task name cannot include slashes"),
                  (not task["Driver"], "Missing task driver"), (task["KillTimeout"] < 0, "KillTimeout must be a positive value"),
                  (task["ShutdownDelay"] < 0, "ShutdownDelay must be a positive value"))
    found += wrapped(check_resources(task["Resources"]))
    logs, disk = task["LogConfig"], group["EphemeralDisk"]["SizeMB"]
    found += wrapped(lines((logs["MaxFiles"] < 1, f"minimum number of files is 1; got {logs['MaxFiles']}"),
                           (logs["MaxFileSizeMB"] < 1, f"minimum file size is 1MB; got {logs['MaxFileSizeMB']}")))
    found += placements(task, job)
    found += wrapped(check_task_services(task, group))
    usage = logs["MaxFiles"] * logs["MaxFileSizeMB"]
    found += lines((disk <= usage, f"log storage ({usage} MB) must be less than requested disk capacity ({disk} MB)"))
    found += each("Artifact", task["Artifacts"], lambda one: lines((not one["GetterSource"], "source must be specified")))
    if task["Vault"]:
        found += inside("Vault", lines((not task["Vault"]["Policies"], "Policy list cannot be empty")))
    found += each("Template", task["Templates"], check_template)
    if task["Lifecycle"] and task["Lifecycle"]["Hook"] not in ("prestart", "poststart", "poststop"):
        found.append(f"Lifecycle validation failed: invalid hook: {task['Lifecycle']['Hook']}")
    return found


def check_resources(told):
    least = lines((told["CPU"] < 1 and not told["Cores"], f"minimum CPU value is 1; got {told['CPU']}"),
                  (told["MemoryMB"] < 10, f"minimum MemoryMB value is 10; got {told['MemoryMB']}"))
    found = lines((told["Cores"] > 0 and told["CPU"] > 0, "Task can only ask for 'cpu' or 'cores' resource, not both."))
    found += wrapped(least)
    small = told["MemoryMaxMB"] and told["MemoryMaxMB"] < told["MemoryMB"]
    return found + lines((small, f"MemoryMaxMB value ({told['MemoryMaxMB']}) should be larger than MemoryMB value "
                                 f"({told['MemoryMB']})"))


def check_task_services(task, group):
    networks = (group["Networks"] or [])[:1] + (task["Resources"]["Networks"] or [])
    labels = {port["Label"] for one in networks for port in (one["ReservedPorts"] or []) + (one["DynamicPorts"] or [])}
    found, ports = [], {}
    for number, service in enumerate(task["Services"] or []):
        inner = check_service(service)
        found += [f'service[{number}] "{service["Name"]}" validation failed: {together(inner)}'] if inner else []
        if service["PortLabel"]:
            ports.setdefault(service["PortLabel"], set()).add(service["Name"])
    return found + [f'port label "{label}" referenced by services {", ".join(sorted(ports[label]))} does not exist'
                    for label in sorted(ports) if label not in labels]


def check_template(one):
    mode = one["ChangeMode"]
    return lines((not one["SourcePath"] and not one["EmbeddedTmpl"],
                  "Must specify a source path or have an embedded template"),
                 (not one["DestPath"], "Must specify a destination for the template"),
                 (mode == "signal" and not one["ChangeSignal"], "Must specify signal value when change mode is signal"),
                 (mode == "signal" and one["Envvars"], "cannot use signals with env var templates"),
                 (mode not in ("noop", "restart", "signal"),
                  "Invalid change mode. Must be one of the following: noop, signal, restart"),
                 (one["Splay"] < 0, "Must specify positive splay value"))


# --- warnings ---------------------------------------------------------------------------------------------

def warnings(job, oversubscription):
    found = []
    for group in job["TaskGroups"] or []:
        inner = warn_group(group)
        found += [f'Group "{group["Name"]}" has warnings: {together(inner)}'] if inner else []
    promoting = [bool(group["Update"] and group["Update"]["AutoPromote"]) for group in job["TaskGroups"] or []]
    if any(promoting) and not all(promoting):
        found.append("auto_promote must be true for all groups to enable automatic promotion")
    for group in () if oversubscription else job["TaskGroups"] or []:
        for task in group["Tasks"] or []:
            if task["Resources"]["MemoryMaxMB"]:
                found.append(f'Memory oversubscription is not enabled; Task "{group["Name"]}.{task["Name"]}" memory_max value '
                             "will be ignored. Update the Scheduler Configuration to allow oversubscription.")
    return f"{len(found)} warning(s):\n\n" + "\n".join(f"* {one}" for one in found) if found else ""


def warn_group(group):
    found = []
    if group["Update"] and group["Update"]["MaxParallel"] > group["Count"]:
        found.append(f"Update max parallel count is greater than task group count ({group['Update']['MaxParallel']} > "
                     f"{group['Count']}). A destructive change would result in the simultaneous replacement of all allocations.")
    if group["Networks"] and group["Networks"][0]["MBits"]:
        found.append("mbits has been deprecated as of Nomad 0.12.0. Please remove mbits from the network block")
    for task in group["Tasks"] or []:
        inner = lines((task["Resources"]["IOPS"], "IOPS has been deprecated as of Nomad 0.9.0. "
                                                  "Please remove IOPS from resource stanza."),
                      (task["Resources"]["Networks"], "task network resources have been deprecated as of Nomad 0.12.0. "
                                                      "Please configure networking via group network block."))
        found += [together([f'Task "{task["Name"]}": {one}' for one in inner])] if inner else []
    return found
