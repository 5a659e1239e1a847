"""Purpose: what operators set for the whole cluster: the scheduler's and autopilot's configuration."""

import json
import re

from release import at_least
from store import Failed

SWITCHES = ("SystemSchedulerEnabled", "BatchSchedulerEnabled", "ServiceSchedulerEnabled")
AUTOPILOT = {"LastContactThreshold": "200ms", "ServerStabilizationTime": "10s", "CleanupDeadServers": True,
             "MaxTrailingLogs": 250, "MinQuorum": 0, "EnableRedundancyZones": False, "DisableUpgradeMigration": False,
             "EnableCustomUpgrades": False}
NOTHING = {**{key: type(value)() for key, value in AUTOPILOT.items()}, "LastContactThreshold": "0s",
           "ServerStabilizationTime": "0s"}


def read_cas(request):
    if "cas" not in request.query:
        return None
    if not request.query["cas"].isdigit():
        raise Failed(f'Error parsing cas value: strconv.ParseUint: parsing "{request.query["cas"]}": invalid syntax', 400)
    return int(request.query["cas"])


class Operator:
    def __init__(self, cluster):
        self.cluster = cluster
        self.scheduler = {"SchedulerAlgorithm": "binpack", "MemoryOversubscriptionEnabled": False,
                          "PreemptionConfig": {key: key == SWITCHES[0] for key in SWITCHES}}
        self.autopilot = dict(AUTOPILOT)
        for settings in (self.autopilot, self.scheduler):
            index = cluster.touch("scheduler_config")
            settings |= {"CreateIndex": index, "ModifyIndex": index}

    def read_scheduler(self):
        return {"Index": self.scheduler["ModifyIndex"], "KnownLeader": True, "LastContact": 0,
                "SchedulerConfig": self.scheduler}

    def put_scheduler(self, told, cas):
        """Whole: what is not named is off."""
        algorithm = told.get("SchedulerAlgorithm") or ""
        if algorithm not in ("", "binpack", "spread"):
            raise Failed(f"invalid scheduler algorithm: {algorithm}", 400)
        index = self.cluster.touch("scheduler_config")
        if cas is not None and cas != self.scheduler["ModifyIndex"]:
            return {"Index": index, "Updated": False}
        preempt = told.get("PreemptionConfig") or {}
        made = {"SchedulerAlgorithm": algorithm or "binpack",
                "MemoryOversubscriptionEnabled": bool(told.get("MemoryOversubscriptionEnabled")),
                "PreemptionConfig": {key: bool(preempt.get(key)) for key in SWITCHES}}
        for key, since in (("RejectJobRegistration", (1, 2)), ("PauseEvalBroker", (1, 3))):
            if at_least(*since):
                made[key] = bool(told.get(key))
        self.scheduler = {**made, "CreateIndex": self.scheduler["CreateIndex"], "ModifyIndex": index}
        return {"Index": index, "Updated": True}

    def put_autopilot(self, told, cas):
        made = dict(NOTHING)
        for key, value in told.items():
            if key not in NOTHING:
                continue
            if key in ("LastContactThreshold", "ServerStabilizationTime"):
                if not isinstance(value, str):
                    raise Failed("Error parsing autopilot config: json: cannot unmarshal number into Go struct field "
                                 f".{key} of type string", 400)
                if not re.fullmatch(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+", value):
                    raise Failed(f"Error parsing autopilot config: time: invalid duration {json.dumps(value)}", 400)
            made[key] = value
        index = self.cluster.touch("autopilot_config")
        if cas is not None and cas != self.autopilot["ModifyIndex"]:
            return False
        self.autopilot = {**made, "CreateIndex": self.autopilot["CreateIndex"], "ModifyIndex": index}
        return True
