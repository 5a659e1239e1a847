"""Purpose: the types of a job as Nomad's API has them: field, Go type, name in a job file. What is read from
JSON or from a job file is checked against them and filled up with Go's zero values."""

import re

# One struct a paragraph; a field is NAME TYPE FILE_NAME, "-" where a job file has none, "label" for a block's label.
TEXT = """
Job: Region *string region; Namespace *string namespace; ID *string id; Name *string name; Type *string type;
 Priority *int priority; AllAtOnce *bool all_at_once; Datacenters []string datacenters;
 Constraints []*Constraint constraint; Affinities []*Affinity affinity; TaskGroups []*TaskGroup group;
 Update *UpdateStrategy update; Multiregion *Multiregion multiregion; Spreads []*Spread spread;
 Periodic *PeriodicConfig periodic; ParameterizedJob *ParameterizedJobConfig parameterized;
 Reschedule *ReschedulePolicy reschedule; Migrate *MigrateStrategy migrate; Meta map[string]string meta;
 ConsulToken *string consul_token; VaultToken *string vault_token; Stop *bool -; ParentID *string -;
 Dispatched bool -; Payload []byte -; ConsulNamespace *string -; VaultNamespace *string -; NomadTokenID *string -;
 Status *string -; StatusDescription *string -; Stable *bool -; Version *uint64 -; SubmitTime *int64 -;
 CreateIndex *uint64 -; ModifyIndex *uint64 -; JobModifyIndex *uint64 -

TaskGroup: Name *string label; Count *int count; Constraints []*Constraint constraint; Affinities []*Affinity affinity;
 Tasks []*Task task; Spreads []*Spread spread; Volumes map[string]*VolumeRequest volume;
 RestartPolicy *RestartPolicy restart; ReschedulePolicy *ReschedulePolicy reschedule;
 EphemeralDisk *EphemeralDisk ephemeral_disk; Update *UpdateStrategy update; Migrate *MigrateStrategy migrate;
 Networks []*NetworkResource network; Meta map[string]string meta; Services []*Service service;
 ShutdownDelay *time.Duration shutdown_delay; StopAfterClientDisconnect *time.Duration stop_after_client_disconnect;
 Scaling *ScalingPolicy scaling; Consul *Consul consul

Task: Name string label; Driver string driver; User string user; Lifecycle *TaskLifecycle lifecycle;
 Config map[string]interface{} config; Constraints []*Constraint constraint; Affinities []*Affinity affinity;
 Env map[string]string env; Services []*Service service; Resources *Resources resources;
 RestartPolicy *RestartPolicy restart; Meta map[string]string meta; KillTimeout *time.Duration kill_timeout;
 LogConfig *LogConfig logs; Artifacts []*TaskArtifact artifact; Vault *Vault vault; Templates []*Template template;
 DispatchPayload *DispatchPayloadConfig dispatch_payload; VolumeMounts []*VolumeMount volume_mount;
 CSIPluginConfig *TaskCSIPluginConfig csi_plugin; Leader bool leader; ShutdownDelay time.Duration shutdown_delay;
 KillSignal string kill_signal; Kind string kind; ScalingPolicies []*ScalingPolicy scaling

Resources: CPU *int cpu; Cores *int cores; MemoryMB *int memory; MemoryMaxMB *int memory_max; DiskMB *int disk;
 Networks []*NetworkResource network; Devices []*RequestedDevice device; IOPS *int iops

NetworkResource: Mode string mode; Device string device; CIDR string cidr; IP string ip; DNS *DNSConfig dns;
 ReservedPorts []Port reserved_ports; DynamicPorts []Port port; MBits *int mbits

DNSConfig: Servers []string servers; Searches []string searches; Options []string options
Port: Label string label; Value int static; To int to; HostNetwork string host_network
RequestedDevice: Name string label; Count *uint64 count; Constraints []*Constraint constraint; Affinities []*Affinity affinity
Constraint: LTarget string attribute; RTarget string value; Operand string operator
Affinity: LTarget string attribute; RTarget string value; Operand string operator; Weight *int8 weight
Spread: Attribute string attribute; Weight *int8 weight; SpreadTarget []*SpreadTarget target
SpreadTarget: Value string label; Percent uint8 percent

UpdateStrategy: Stagger *time.Duration stagger; MaxParallel *int max_parallel; HealthCheck *string health_check;
 MinHealthyTime *time.Duration min_healthy_time; HealthyDeadline *time.Duration healthy_deadline;
 ProgressDeadline *time.Duration progress_deadline; Canary *int canary; AutoRevert *bool auto_revert;
 AutoPromote *bool auto_promote

MigrateStrategy: MaxParallel *int max_parallel; HealthCheck *string health_check;
 MinHealthyTime *time.Duration min_healthy_time; HealthyDeadline *time.Duration healthy_deadline

ReschedulePolicy: Attempts *int attempts; Interval *time.Duration interval; Delay *time.Duration delay;
 DelayFunction *string delay_function; MaxDelay *time.Duration max_delay; Unlimited *bool unlimited

RestartPolicy: Interval *time.Duration interval; Attempts *int attempts; Delay *time.Duration delay; Mode *string mode
EphemeralDisk: Sticky *bool sticky; Migrate *bool migrate; SizeMB *int size

PeriodicConfig: Enabled *bool enabled; Spec *string cron; SpecType *string -; ProhibitOverlap *bool prohibit_overlap;
 TimeZone *string time_zone

ParameterizedJobConfig: Payload string payload; MetaRequired []string meta_required; MetaOptional []string meta_optional

VolumeRequest: Name string label; Type string type; Source string source; ReadOnly bool read_only;
 AccessMode string access_mode; AttachmentMode string attachment_mode; MountOptions *CSIMountOptions mount_options;
 PerAlloc bool per_alloc

CSIMountOptions: FSType string fs_type; MountFlags []string mount_flags

VolumeMount: Volume *string volume; Destination *string destination; ReadOnly *bool read_only;
 PropagationMode *string propagation_mode

LogConfig: MaxFiles *int max_files; MaxFileSizeMB *int max_file_size
DispatchPayloadConfig: File string file
TaskLifecycle: Hook string hook; Sidecar bool sidecar

TaskArtifact: GetterSource *string source; GetterOptions map[string]string options; GetterHeaders map[string]string headers;
 GetterMode *string mode; RelativeDest *string destination

Template: SourcePath *string source; DestPath *string destination; EmbeddedTmpl *string data;
 ChangeMode *string change_mode; ChangeSignal *string change_signal; Splay *time.Duration splay; Perms *string perms;
 LeftDelim *string left_delimiter; RightDelim *string right_delimiter; Envvars *bool env;
 VaultGrace *time.Duration vault_grace

Vault: Policies []string policies; Namespace *string namespace; Env *bool env; ChangeMode *string change_mode;
 ChangeSignal *string change_signal

TaskCSIPluginConfig: ID string id; Type string type; MountDir string mount_dir

Service: Id string id; Name string name; Tags []string tags; CanaryTags []string canary_tags;
 EnableTagOverride bool enable_tag_override; PortLabel string port; AddressMode string address_mode;
 Checks []ServiceCheck check; CheckRestart *CheckRestart check_restart; Connect *ConsulConnect connect;
 Meta map[string]string meta; CanaryMeta map[string]string canary_meta; TaskName string task; OnUpdate string on_update

ServiceCheck: Id string id; Name string name; Type string type; Command string command; Args []string args;
 Path string path; Protocol string protocol; PortLabel string port; Expose bool expose;
 AddressMode string address_mode; Interval time.Duration interval; Timeout time.Duration timeout;
 InitialStatus string initial_status; TLSSkipVerify bool tls_skip_verify; Header map[string][]string header;
 Method string method; CheckRestart *CheckRestart check_restart; GRPCService string grpc_service;
 GRPCUseTLS bool grpc_use_tls; TaskName string task; SuccessBeforePassing int success_before_passing;
 FailuresBeforeCritical int failures_before_critical; Body string body; OnUpdate string on_update

CheckRestart: Limit int limit; Grace *time.Duration grace; IgnoreWarnings bool ignore_warnings
Consul: Namespace string namespace

ScalingPolicy: Min *int64 min; Max *int64 max; Policy map[string]interface{} policy; Enabled *bool enabled;
 Type string type; ID string -; Namespace string -; Target map[string]string -; CreateIndex uint64 -; ModifyIndex uint64 -

ConsulConnect: Native bool native; Gateway interface{} gateway; SidecarService interface{} sidecar_service;
 SidecarTask interface{} sidecar_task

Multiregion: Strategy interface{} strategy; Regions []interface{} region
"""
INTEGERS = {"int", "int8", "int64", "uint8", "uint64", "time.Duration"}


class Refused(Exception):
    """A value of a type that does not fit, in the words of Go's decoder."""


class Field:
    def __init__(self, text):
        self.name, self.type, self.file_name = text.split()

    @property
    def struct(self):
        """The struct that the field holds, alone, in a list or in a map."""
        found = re.sub(r"^(\[\]|map\[string\])?\*?", "", self.type)
        return found if found in STRUCTS else None


STRUCTS = {}
for paragraph in re.split(r"\n(?=\w)", TEXT.strip()):
    title, _, fields = paragraph.partition(":")
    STRUCTS[title] = [Field(one) for one in fields.split(";")]


def is_map(go_type):
    return go_type.startswith("map[")


def is_list(go_type):
    return go_type.startswith("[]") and go_type != "[]byte"


def zero(go_type):
    """What a field holds that nobody named."""
    if go_type[0] == "*" or is_map(go_type) or go_type.startswith("[]") or go_type == "interface{}":
        return None
    return "" if go_type == "string" else False if go_type == "bool" else 0 if go_type in INTEGERS else empty(go_type)


def empty(struct):
    return {field.name: zero(field.type) for field in STRUCTS[struct]}


def go_name(go_type):
    """The type as Go's decoder names it: without the pointer, with the package."""
    bare = go_type.removeprefix("*")
    return re.sub(r"\b(%s)\b" % "|".join(STRUCTS), r"api.\1", bare)


def kind_of(value):
    if isinstance(value, bool):
        return "bool"
    return {str: "string", int: "number", float: "number", list: "array", dict: "object"}[type(value)]


def mistake(value, go_type, struct, path):
    what = kind_of(value) + (f" {value}" if isinstance(value, float) and go_type.lstrip("*") in INTEGERS else "")
    raise Refused(f"json: cannot unmarshal {what} into Go struct field {struct}.{path} of type {go_name(go_type)}")


def read(go_type, value, struct, path):
    """A decoded JSON value as a value of that type; STRUCT and PATH say where, for a complaint."""
    if value is None:
        return zero(go_type)
    bare = go_type.removeprefix("*")
    if bare in STRUCTS:
        return read_struct(bare, value, struct, path, go_type)
    if is_list(bare):
        if not isinstance(value, list):
            mistake(value, bare, struct, path)
        return [read(bare[2:], one, struct, path) for one in value]
    if is_map(bare):
        if not isinstance(value, dict):
            mistake(value, bare, struct, path)
        return {key: read(bare[len("map[string]"):], one, struct, path) for key, one in value.items()}
    if bare == "interface{}":
        return loose(value)
    wanted = {"string": "string", "bool": "bool", "[]byte": "string"}.get(bare, "number" if bare in INTEGERS else None)
    if wanted and (kind_of(value) != wanted or (wanted == "number" and isinstance(value, float))):
        mistake(value, bare, struct, path)
    return value


def loose(value):
    """A value of no declared type: every number is a float to Go's decoder, and is shown as one."""
    if isinstance(value, dict):
        return {key: loose(one) for key, one in value.items()}
    if isinstance(value, list):
        return [loose(one) for one in value]
    return float(value) if type(value) is int else value


def read_struct(title, value, struct, path, go_type):
    if not isinstance(value, dict):
        mistake(value, go_type, struct, path)
    made, known = empty(title), {field.name.lower(): field for field in STRUCTS[title]}
    for key, one in value.items():
        field = known.get(key.lower())
        if field:
            made[field.name] = read(field.type, one, title, f"{path}.{field.name}")
    return made


def read_job(told, request):
    """The job of a request, whose type is named for a complaint; None where there is none."""
    if not isinstance(told, dict):
        raise Refused(f"json: cannot unmarshal {kind_of(told)} into Go value of type api.{request}")
    value = next((one for key, one in told.items() if key.lower() == "job"), None)
    return None if value is None else read("*Job", value, request, "Job")
