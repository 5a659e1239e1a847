"""Purpose: access control: policies and what they allow, tokens, the bootstrap. Where it is off nobody asks."""

import fnmatch
import json
import re
import time

import hcl
from namespaces import hash_of
from node import now, whole_seconds
from store import Failed, NotFound, new_id

READ = ["list-jobs", "read-job", "csi-list-volume", "csi-read-volume", "read-job-scaling", "list-scaling-policies",
        "read-scaling-policy"]
WRITE = READ + ["scale-job", "submit-job", "dispatch-job", "read-logs", "read-fs", "alloc-exec", "alloc-lifecycle",
                "csi-mount-volume", "csi-write-volume", "submit-recommendation"]
POLICIES = {"deny": ["deny"], "read": READ, "write": WRITE,
            "scale": ["list-scaling-policies", "read-scaling-policy", "read-job-scaling", "scale-job"]}
CAPABILITIES = set(WRITE) | {"deny", "alloc-node-exec", "csi-register-plugin", "sentinel-override"}
VOLUMES = {"deny": ["deny"], "read": ["mount-readonly"], "write": ["mount-readonly", "mount-readwrite"]}
AREAS = ("agent", "node", "operator", "quota", "plugin")
ONE_TIME = 600.0


class Denied(Failed):
    def __init__(self):
        super().__init__("Permission denied", 403)


# --- policies ---------------------------------------------------------------------------------------------

class BadRules(Exception):
    pass


def parse(rules):
    """Rules as /v1/acl/policy/NAME tells them, their short forms written out."""
    try:
        told = hcl.parse(rules)
    except hcl.Error as error:
        raise BadRules(f"Failed to parse ACL Policy: {error}") from error
    if rules and not any(told.get(key) for key in ("namespace", "host_volume", *AREAS)):
        raise BadRules(f"Invalid policy: {rules}")
    made = {"Namespaces": [namespace(name, body) for name, body in (told.get("namespace") or {}).items()] or None,
            "HostVolumes": [host_volume(name, body) for name, body in (told.get("host_volume") or {}).items()] or None}
    for area in AREAS:
        made[area.title()] = area_of(area, told[area]) if area in told else None
    return {**made, "Raw": rules}


def go_struct(title, name, body):
    listed = body.get("capabilities")
    texts = "nil" if listed is None else "{" + ", ".join(json.dumps(one) for one in listed) + "}"
    return (f'&acl.{title}{{Name:"{name}", Policy:"{body.get("policy", "")}", '
            f"Capabilities:[]string{'(nil)' if listed is None else texts}}}")


def namespace(name, body):
    shown = go_struct("NamespacePolicy", name, body)
    if not re.fullmatch(r"[a-zA-Z0-9-*]{1,128}", name):
        raise BadRules(f"Invalid namespace name: {shown}")
    policy, own = body.get("policy", ""), body.get("capabilities") or []
    if policy and policy not in POLICIES:
        raise BadRules(f"Invalid namespace policy: {shown}")
    for one in own:
        if one not in CAPABILITIES:
            raise BadRules(f"Invalid namespace capability '{one}': {shown}")
    made = {"Name": name, "Policy": policy, "Capabilities": own + POLICIES.get(policy, []) or None}
    variables = (body.get("variables") or {}).get("path")
    return made | ({"Variables": {path: rule.get("capabilities") or [] for path, rule in variables.items()}} if variables else {})


def host_volume(name, body):
    policy, own = body.get("policy", ""), body.get("capabilities") or []
    if policy and policy not in POLICIES:
        raise BadRules(f"Invalid host volume policy: {go_struct('HostVolumePolicy', name, body)}")
    return {"Name": name, "Policy": policy, "Capabilities": own + VOLUMES.get(policy, []) or None}


def area_of(area, body):
    policy = body.get("policy", "")
    valid = ("deny", "read", "list") if area == "plugin" else ("deny", "read", "write", "scale")
    if policy not in valid:
        raise BadRules(f'Invalid {area} policy: &acl.{area.title()}Policy{{Policy:"{policy}"}}')
    return {"Policy": policy}


# --- what a token may do ----------------------------------------------------------------------------------

class Everything:
    """A management token, or a cluster without access control."""

    management = True

    def namespace(self, *_):
        return True

    def any_of_namespace(self, _):
        return True

    def area(self, *_):
        return True

    def variable(self, *_):
        return True


class Allowed:
    management = False

    def __init__(self, policies):
        self.spaces, self.variables, self.areas = {}, {}, dict.fromkeys(AREAS, "")
        for policy in policies:
            for told in policy["Namespaces"] or ():
                self.add(told)
            for area in AREAS:
                if policy[area.title()]:
                    self.areas[area] = strongest(self.areas[area], policy[area.title()]["Policy"])

    def add(self, told):
        have = self.spaces.setdefault(told["Name"], set())
        self.variables.setdefault(told["Name"], {}).update(told.get("Variables") or {})
        if "deny" in have:
            return
        if "deny" in (told["Capabilities"] or ()):
            have.clear()
            have.add("deny")
        else:
            have.update(told["Capabilities"] or ())

    def matching(self, space):
        if space in self.spaces:
            return space
        globs = [name for name in self.spaces if "*" in name and fnmatch.fnmatchcase(space, name)]
        return min(globs, key=lambda name: len(space) - len(name) + name.count("*"), default=None)

    def namespace(self, space, *capabilities):
        """Any of the capabilities."""
        name = self.matching(space)
        return name is not None and any(one in self.spaces[name] for one in capabilities)

    def any_of_namespace(self, space):
        name = self.matching(space)
        return name is not None and bool(self.spaces[name]) and "deny" not in self.spaces[name]

    def area(self, area, want):
        have = self.areas[area]
        return have == "write" or have == want or (want == "list" and have == "read")

    def variable(self, space, path, capability):
        name = self.matching(space)
        found = [rule for glob, rule in self.variables.get(name, {}).items() if fnmatch.fnmatchcase(path, glob)]
        return any(capability in rule or "write" in rule and capability in ("list", "read") for rule in found)


def strongest(one, other):
    return next((word for word in ("deny", "write", "read", "list") if word in (one, other)), one or other)


# --- tokens -----------------------------------------------------------------------------------------------

SECRETS = ("SecretID",)


def stub(token):
    return {key: value for key, value in token.items() if key not in SECRETS}


class Tokens:
    def __init__(self, cluster):
        self.cluster = cluster
        self.policies, self.rows, self.one_time = {}, {}, {}
        self.reset_index = 0

    def by_secret(self, secret):
        return next((one for one in self.rows.values() if one["SecretID"] == secret), None)

    def resolve(self, secret):
        """What a request's token may do."""
        if not secret:
            return self.allowed(["anonymous"])
        if len(secret) != 36:
            raise Failed("acl token lookup failed: index error: UUID must be 36 characters")
        token = self.by_secret(secret)
        if not token:
            raise Failed("ACL token not found", 403)
        return Everything() if token["Type"] == "management" else self.allowed(token["Policies"] or [])

    def allowed(self, names):
        return Allowed([parse(self.policies[name]["Rules"]) for name in names if name in self.policies])

    def bootstrap(self):
        if self.reset_index:
            raise Failed(f"ACL bootstrap already done (reset index: {self.reset_index})", 400)
        token = self.keep({"Name": "Bootstrap Token", "Type": "management", "Global": True})
        self.reset_index = self.cluster.index
        return token

    def keep(self, told, known=None):
        index = self.cluster.touch("acl_token")
        made = {"AccessorID": new_id(), "SecretID": new_id(), "CreateIndex": index, "CreateTime": now()}
        made |= known or {}
        made |= {"Name": told.get("Name") or "", "Type": told["Type"], "Policies": told.get("Policies"),
                 "Global": bool(told.get("Global")), "ModifyIndex": index}
        made["Hash"] = hash_of(made["Name"], made["Type"], *(made["Policies"] or []), "global" if made["Global"] else "local")
        self.rows[made["AccessorID"]] = made
        self.cluster.tell("ACLToken", "ACLTokenUpserted", made["AccessorID"], stub(made))
        return made

    def upsert(self, told):
        """A new one, or where an accessor is named, that one changed."""
        accessor, policies, kind = told.get("AccessorID") or "", told.get("Policies"), told.get("Type") or ""
        complaint = self.complaint(told, kind, policies)
        if complaint:
            raise Failed(f"token 0 invalid: 1 error occurred:\n\t* {complaint}\n\n", 400)
        known = self.rows.get(accessor)
        if accessor and not known:
            raise Failed(f"cannot find token {accessor}", 404)
        if known and known["Global"] != bool(told.get("Global")):
            raise Failed(f"cannot toggle global mode of {accessor}", 400)
        return self.keep(told, known)

    def complaint(self, told, kind, policies):
        if len(told.get("Name") or "") > 256:
            return "token name too long"
        if kind not in ("client", "management"):
            return "token type must be client or management"
        if kind == "client" and not policies:
            return "client token missing policies"
        return "management token cannot be associated with policies" if kind == "management" and policies else None

    def read(self, accessor):
        if len(accessor) != 36:
            raise Failed("acl token lookup failed: index error: UUID must be 36 characters")
        if accessor not in self.rows:
            raise NotFound("ACL token not found")
        return self.rows[accessor]

    def delete(self, accessor):
        if accessor not in self.rows:
            raise Failed(f"Cannot delete nonexistent tokens: {accessor}", 400)
        token = self.rows.pop(accessor)
        index = self.cluster.touch("acl_token")
        self.cluster.tell("ACLToken", "ACLTokenDeleted", accessor, stub(token))
        return index

    # --- for once -----------------------------------------------------------------------------------------

    def make_one_time(self, secret):
        token = self.by_secret(secret)
        if not secret:
            raise Failed("acl token lookup failed: missing secret id")
        if not token:
            raise Failed("ACL token not found", 403)
        index = self.cluster.touch("one_time_token")
        made = {"AccessorID": token["AccessorID"], "OneTimeSecretID": new_id(), "CreateIndex": index, "ModifyIndex": index,
                "ExpiresAt": whole_seconds(ONE_TIME)}
        self.one_time[made["OneTimeSecretID"]] = made, time.monotonic() + ONE_TIME
        return {"Index": index, "OneTimeToken": made}

    def exchange(self, secret):
        made, end = self.one_time.pop(secret, (None, 0))
        token = made and self.rows.get(made["AccessorID"])
        if not token or time.monotonic() > end:
            raise Denied
        return {"Index": self.cluster.touch("one_time_token"), "Token": token}

    # --- policies -----------------------------------------------------------------------------------------

    def put_policy(self, told):
        name, description, rules = (told.get(key) or "" for key in ("Name", "Description", "Rules"))
        complaint = None
        if not re.fullmatch(r"[a-zA-Z0-9-]{1,128}", name):
            complaint = f"invalid name '{name}'"
        try:
            parse(rules)
        except BadRules as error:
            complaint = complaint or f"failed to parse rules: {error}"
        if len(description) > 256:
            complaint = complaint or "description longer than 256"
        if complaint:
            raise Failed(f"policy 0 invalid: 1 error occurred:\n\t* {complaint}\n\n", 404)
        index = self.cluster.touch("acl_policy")
        known = self.policies.get(name)
        self.policies[name] = {"Name": name, "Description": description, "Rules": rules, "ModifyIndex": index,
                               "Hash": hash_of(name, description, rules),
                               "CreateIndex": known["CreateIndex"] if known else index}
        self.cluster.tell("ACLPolicy", "ACLPolicyUpserted", name, self.policies[name])
        return index

    def delete_policy(self, name):
        index = self.cluster.touch("acl_policy")
        gone = self.policies.pop(name, None)
        if gone:
            self.cluster.tell("ACLPolicy", "ACLPolicyDeleted", name, gone)
        return index
