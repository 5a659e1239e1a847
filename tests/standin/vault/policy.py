"""Purpose: policies: read from HCL or JSON, put together to what a token may do, and asked."""

import json
import re

import duration
import hcl
from failure import listed

CAPABILITIES = ("create", "read", "update", "delete", "list", "sudo")
OLD = {"deny": ["deny"], "read": ["read", "list"], "write": ["create", "read", "update", "delete", "list"],
       "sudo": list(CAPABILITIES)}
KEYS = ("comment", "policy", "capabilities", "allowed_parameters", "denied_parameters", "required_parameters",
        "min_wrapping_ttl", "max_wrapping_ttl", "mfa_methods", "control_group")
NEEDED = {"read": "read", "list": "list", "update": "update", "create": "create", "delete": "delete"}


class Error(Exception):
    pass


class Rule:
    """What is allowed on a path; PATH keeps its '+' segments, and its last '*' where it has such."""

    def __init__(self, path):
        self.path, self.capabilities = path, set()
        self.allowed, self.denied, self.required = None, None, []
        self.shortest = self.longest = 0

    def merged(self, other):
        if "deny" in self.capabilities:
            return self
        if "deny" in other.capabilities:
            return other
        both = Rule(self.path)
        both.capabilities = self.capabilities | other.capabilities
        both.allowed, both.denied = parameters(self.allowed, other.allowed), parameters(self.denied, other.denied)
        both.required = sorted({*self.required, *other.required})
        both.shortest = min(filter(None, (self.shortest, other.shortest)), default=0)
        both.longest = min(filter(None, (self.longest, other.longest)), default=0)
        return both

    def told(self):
        """As the caller's rights are listed."""
        optional = {"min_wrapping_ttl": int(self.shortest), "max_wrapping_ttl": int(self.longest),
                    "allowed_parameters": self.allowed, "denied_parameters": self.denied,
                    "required_parameters": self.required}
        return {"capabilities": sorted(self.capabilities) or ["deny"]} | \
            {name: value for name, value in optional.items() if value}


def parameters(one, other):
    """Two maps of allowed or denied parameters put together; an empty list stands for every value."""
    if not one or not other:
        return one or other
    return {key: ([] if [] in (one.get(key), other.get(key)) else other.get(key, []) + one.get(key, []))
            for key in {**one, **other}}


# --- reading ---------------------------------------------------------------------------------------

def parse(text):
    """The rules of a policy's text. Raises Error."""
    try:
        items = from_json(json.loads(text)) if text.lstrip().startswith("{") else hcl.parse(text)
    except ValueError:
        return []
    except hcl.Error as error:
        raise Error(str(error)) from None
    faults = [f'invalid key "{item.keys[0]}" on line 0' for item in items if item.keys[0] not in ("name", "path")]
    if faults:
        raise Error(listed(*faults))
    return [rule_of(item) for item in items if item.keys[0] == "path"]


def from_json(value):
    """The items that the JSON form of a policy stands for."""
    if not isinstance(value, dict):
        return []
    found = []
    for key, inside in value.items():
        labelled = isinstance(inside, dict) and key == "path"
        for label, body in (inside.items() if labelled else [(None, inside)]):
            names = [key] if label is None else [key, label]
            found.append(hcl.Item(names, from_json(body) if isinstance(body, dict) else body, 0, 0))
    return found


def rule_of(item):
    key = item.keys[1] if len(item.keys) > 1 else "path"
    if not isinstance(item.value, list) or any(not isinstance(one, hcl.Item) for one in item.value):
        raise Error(f'path "{key}": cannot check HCL keys of type *ast.LiteralType')
    values = {one.keys[0]: one for one in item.value}
    faults = [f'path "{key}": invalid key "{one.keys[0]}" on line {one.line}' for one in item.value
              if one.keys[0] not in KEYS]
    if faults:
        raise Error(listed(*faults))
    rule = Rule(key.removeprefix("/"))
    if "+*" in rule.path:
        raise Error(f"path \"{rule.path}\": invalid use of wildcards ('+*' is forbidden)")
    rule.capabilities = capabilities(key, values)
    if "deny" not in rule.capabilities:
        details(rule, values)
    return rule


def capabilities(key, values):
    named = []
    if "policy" in values:
        if values["policy"].value not in OLD:
            raise Error(f'path "{key}": invalid policy "{values["policy"].value}"')
        named += OLD[values["policy"].value]
    if "capabilities" in values:
        one = values["capabilities"]
        if not isinstance(one.value, list):
            raise Error(f'path "{key}": At {one.line}:{one.column}: unknown slice type: *ast.LiteralType')
        named += one.value
    for word in named:
        if word == "deny":
            return {"deny"}
        if word not in CAPABILITIES:
            raise Error(f'path "{key}": invalid capability "{word}"')
    return set(named)


def details(rule, values):
    def map_of(name):
        if name not in values:
            return None
        value = values[name].value
        return {one.keys[0].lower(): one.value for one in value} if isinstance(value, list) else \
            {key.lower(): one for key, one in value.items()}

    def seconds(name):
        try:
            return duration.seconds(str(values[name].value)) if name in values else 0
        except ValueError as error:
            raise Error(f"error parsing {name}: {error}") from None

    rule.allowed, rule.denied = map_of("allowed_parameters"), map_of("denied_parameters")
    rule.shortest, rule.longest = seconds("min_wrapping_ttl"), seconds("max_wrapping_ttl")
    if rule.shortest and rule.longest and rule.longest < rule.shortest:
        raise Error("max_wrapping_ttl cannot be less than min_wrapping_ttl")
    rule.required = list(values["required_parameters"].value) if "required_parameters" in values else []


# --- asking ----------------------------------------------------------------------------------------

class Rights:
    """What all of a token's policies together allow."""

    def __init__(self, rules, root=False):
        self.root, self.rules = root, {}
        for rule in rules:
            self.rules[rule.path] = self.rules[rule.path].merged(rule) if rule.path in self.rules else rule

    def find(self, path, listing):
        """The one rule that counts for PATH: the exact one, else the closest pattern."""
        names = [path] + ([path.removesuffix("/")] if listing else [])
        for name in names:
            if name in self.rules and not is_pattern(name):
                return self.rules[name]
        matching = [rule for rule in self.rules.values() if is_pattern(rule.path) and covers(rule.path, path)]
        return max(matching, key=lambda rule: closeness(rule.path), default=None)

    def capabilities(self, path):
        if self.root:
            return ["root"]
        rule = self.find(path, True)
        if not rule or "deny" in rule.capabilities or not rule.capabilities:
            return ["deny"]
        return sorted(rule.capabilities)

    def sudo(self, path):
        rule = None if self.root else self.find(path, False)
        return self.root or bool(rule and "sudo" in rule.capabilities)

    def allows(self, request):
        if self.root or request.operation == "help":  # any token may ask how a path is used
            return True
        rule = self.find(request.path, request.operation == "list")
        if not rule or NEEDED[request.operation] not in rule.capabilities:
            return False
        if rule.longest and not 0 < (request.wrap_ttl or 0) <= rule.longest:
            return False
        if rule.shortest and (request.wrap_ttl or 0) < rule.shortest:
            return False
        return request.operation in ("list", "delete") or fits(rule, request.data)


def fits(rule, data):
    """Are the parameters those that the rule lets through?"""
    if any(name.lower() not in data for name in rule.required):
        return False
    if not data:
        return True
    if rule.denied:
        if "*" in rule.denied:
            return False
        if any(key.lower() in rule.denied and among(value, rule.denied[key.lower()]) for key, value in data.items()):
            return False
    if not rule.allowed or list(rule.allowed) == ["*"]:
        return True
    for key, value in data.items():
        if key.lower() not in rule.allowed:
            if "*" not in rule.allowed:
                return False
        elif not among(value, rule.allowed[key.lower()]):
            return False
    return True


def among(value, choices):
    if not choices:
        return True
    for choice in choices:
        if isinstance(choice, str) and isinstance(value, str) and "*" in choice:
            if re.fullmatch(".*".join(map(re.escape, choice.split("*"))), value, re.DOTALL):
                return True
        elif str(choice) == str(value):
            return True
    return False


def is_pattern(path):
    return path.endswith("*") or path == "+" or "/+" in path or path.startswith("+/")


def covers(pattern, path):
    prefix = pattern.endswith("*")
    wanted, given = pattern.removesuffix("*").split("/"), path.split("/")
    if "+" not in wanted:
        return path.startswith(pattern[:-1])
    if len(given) < len(wanted) or (len(given) != len(wanted) and not prefix):
        return False
    for index, part in enumerate(wanted):
        last = prefix and index == len(wanted) - 1
        if part != "+" and part != given[index] and not (last and given[index].startswith(part)):
            return False
    return True


def closeness(pattern):
    """Of several patterns the greatest counts: the first wildcard late, no prefix, few wildcards, long."""
    prefix, bare = pattern.endswith("*"), pattern.removesuffix("*")
    plus = [index for index, part in enumerate(bare.split("/")) if part == "+"]
    first = re.search(r"(?:^|/)\+", bare)
    where = first.end() - 1 if first else len(bare)
    return where, not prefix, -len(plus), len(bare), bare
