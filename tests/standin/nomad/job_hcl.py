"""Purpose: read job files, as /v1/jobs/parse does: blocks and attributes, strings with references to variables
and locals. What else the language has (functions, conditions, dynamic blocks) is refused, and says so."""

import re

import hcl
from jobtypes import STRUCTS, empty, is_list, is_map

FILE = "input.hcl"
UNITS = {"ns": 1, "us": 10 ** 3, "µs": 10 ** 3, "ms": 10 ** 6, "s": 10 ** 9, "m": 60 * 10 ** 9, "h": 3600 * 10 ** 9}
# Parts of these exist only as soon as their block does.
PRESET = {"Template": {"ChangeMode": "restart", "Splay": 5 * 10 ** 9, "Perms": "0644"},
          "Vault": {"ChangeMode": "restart", "Env": True}}
OPERATORS = ("version", "semver", "regexp", "set_contains", "set_contains_all", "set_contains_any", "distinct_property")


class Error(Exception):
    pass


class Token:
    def __init__(self, kind, text, line, column):
        self.kind, self.text, self.line, self.column = kind, text, line, column

    def where(self):
        return f"{FILE}:{self.line},{self.column}-{self.column + max(len(self.text), 0 if self.kind == 'end' else 1)}"


class Block:
    """A body: attributes {name: (token, value)} and blocks [(type token, labels, Block)]."""

    def __init__(self):
        self.attributes, self.blocks = {}, []


class Reader:
    def __init__(self, text):
        try:
            self.tokens = [Token(*one) for one in hcl.tokens(text)]
        except hcl.Error as error:
            raise Error(f"{FILE}: {error}") from error
        self.at = 0

    @property
    def token(self):
        return self.tokens[self.at]

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def is_sign(self, sign):
        return self.token.kind == "sign" and self.token.text == sign

    def skip_newlines(self):
        while self.token.kind == "newline":
            self.at += 1

    def body(self, end):
        block = Block()
        while True:
            self.skip_newlines()
            if self.token.kind == "end" or (end == "}" and self.is_sign("}")):
                if end == "}" and self.token.kind == "end":
                    raise Error(f"{self.token.where()}: Argument or block definition required; "
                                "An argument or block definition is required here.")
                self.at += end == "}"
                return block
            self.item(block)

    def item(self, block):
        name = self.take()
        if name.kind == "string":
            raise Error(f"{FILE}:{name.line},{name.column}-{name.column + 1}: Invalid argument name; "
                        "Argument names must not be quoted.")
        if name.kind != "name":
            raise Error(f"{name.where()}: Argument or block definition required; "
                        "An argument or block definition is required here.")
        if self.is_sign("="):
            self.take()
            block.attributes[name.text] = (name, self.expression())
            return
        labels = []
        while self.token.kind in ("string", "name"):
            one = self.take()
            labels.append(hcl.unquote(one.text) if one.kind == "string" else one.text)
        if not self.is_sign("{"):
            raise Error(f"{name.where()}: Argument or block definition required; An argument or block definition is "
                        'required here. To set an argument, use the equals sign "=" to introduce the argument value.')
        self.take()
        block.blocks.append((name, labels, self.body("}")))

    def expression(self):
        """(token, value): a plain value, or a Reference to a variable or a local."""
        token = self.take()
        value = {"string": lambda: hcl.unquote(token.text), "heredoc": lambda: token.text,
                 "number": lambda: float(token.text) if "." in token.text else int(token.text)}.get(token.kind)
        if value:
            return token, value()
        if token.kind == "name":
            known = {"true": True, "false": False, "null": None}
            return token, known[token.text] if token.text in known else Reference(token)
        if token.text == "[":
            return token, self.items("]", self.expression)
        if token.text == "{":
            return token, dict(self.items("}", self.pair))
        raise Error(f"{token.where()}: Invalid expression; "
                    "Expected the start of an expression, but found an invalid expression token.\n"
                    f"{token.where()}: Unsuitable value type; Unsuitable value: value must be known")

    def items(self, end, one):
        found = []
        while True:
            self.skip_newlines()
            if self.is_sign(end):
                self.take()
                return found
            found.append(one())
            self.skip_newlines()
            if self.is_sign(","):
                self.take()

    def pair(self):
        key = self.take()
        if not (self.is_sign("=") or self.is_sign(":")):
            raise Error(f"{self.token.where()}: Missing attribute value; Expected an attribute value.")
        self.take()
        return hcl.unquote(key.text) if key.kind == "string" else key.text, self.expression()


class Reference:
    def __init__(self, token):
        self.token = token


class Scope:
    """What var.NAME and local.NAME stand for. Other references are the client's to replace and stay as they are."""

    def __init__(self, top):
        self.names = {}
        for kind, labels, block in top.blocks:
            if kind.text == "variable" and labels and "default" in block.attributes:
                self.names[f"var.{labels[0]}"] = self.plain(block.attributes["default"][1])
        for kind, _, block in top.blocks:
            for name, (_, value) in block.attributes.items() if kind.text == "locals" else ():
                self.names[f"local.{name}"] = self.plain(value)

    def plain(self, expression):
        token, value = expression
        if isinstance(value, Reference):
            if value.token.text not in self.names:
                raise Error(f"{token.where()}: the stand-in knows no value of {value.token.text}")
            return self.names[value.token.text]
        if isinstance(value, list):
            return [self.plain(one) for one in value]
        if isinstance(value, dict):
            return {key: self.plain(one) for key, one in value.items()}
        return re.sub(r"\$\{\s*((?:var|local)\.[\w-]+)\s*\}", self.replace, value) if isinstance(value, str) else value

    def replace(self, found):
        if found[1] not in self.names:
            raise Error(f"{FILE}: the stand-in knows no value of {found[1]}")
        return text_of(self.names[found[1]])


def text_of(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- from blocks to a job ---------------------------------------------------------------------------------

def parse(text):
    top = Reader(text).body("end")
    jobs = [one for one in top.blocks if one[0].text == "job"]
    if not jobs:
        raise Error("<nil>: Missing job block; A job block is required")
    if len(jobs) > 1:
        raise Error(f'{header(jobs[1])}: Duplicate job block; Only one block of type "job" is allowed. '
                    f"Previous definition was at {header(jobs[0])}.")
    _, labels, block = jobs[0]
    if len(labels) != 1:
        raise Error(f"{jobs[0][0].where()}: Missing name for job; All job blocks must have 1 labels (name).")
    scope = Scope(top)
    alone = [one for one in block.blocks if one[0].text == "task"]
    block.blocks = [one for one in block.blocks if one[0].text != "task"]
    job = struct("Job", block, scope)
    job["ID"] = labels[0] if job["ID"] is None else job["ID"]
    job["Name"] = labels[0] if job["Name"] is None else job["Name"]
    for _, names, body in alone:
        task = struct("Task", body, scope, names)
        job["TaskGroups"] = (job["TaskGroups"] or []) + [{**empty("TaskGroup"), "Name": task["Name"], "Tasks": [task]}]
    return job


def header(found):
    """Where a block's type and labels stand."""
    kind, labels, _ = found
    return f"{FILE}:{kind.line},{kind.column}-{kind.column + len(' '.join([kind.text] + [f'<{one}>' for one in labels]))}"


def struct(title, block, scope, labels=()):
    made = {**empty(title), **PRESET.get(title, {})}
    fields = {field.file_name: field for field in STRUCTS[title]}
    if "label" in fields and labels:
        made[fields["label"].name] = labels[0]
    if title in ("Constraint", "Affinity"):
        block = with_operator(title, block, scope, made)
    for name, (token, expression) in block.attributes.items():
        field = fields.get(name)
        if not field or name in ("label", "-") or (field.struct and not is_map(field.type)):
            raise Error(f'{token.where()}: Unsupported argument; An argument named "{name}" is not expected here.')
        made[field.name] = value_of(field, expression, scope)
    for kind, names, body in block.blocks:
        field = fields.get(kind.text)
        if not field or kind.text in ("label", "-"):
            raise Error(f'{kind.where()}: Unsupported block type; Blocks of type "{kind.text}" are not expected here.')
        put_block(made, field, struct_or_map(field, body, scope, names), names)
    return made


def with_operator(title, block, scope, made):
    """The short forms: version = ">= 1" stands for an operator and a value."""
    rest = Block()
    made["Operand"] = "="
    for name, (token, expression) in block.attributes.items():
        if name in OPERATORS:
            made["Operand"] = name
            made["LTarget" if name == "distinct_property" else "RTarget"] = text_of(scope.plain(expression))
        elif name == "distinct_hosts" and title == "Constraint":
            made["Operand"] = name
        else:
            rest.attributes[name] = (token, expression)
    return rest


def put_block(made, field, value, names):
    if field.name == "DynamicPorts" and value["Value"]:
        made["ReservedPorts"] = (made["ReservedPorts"] or []) + [value]
    elif is_list(field.type):
        made[field.name] = (made[field.name] or []) + [value]
    elif is_map(field.type) and field.struct:
        made[field.name] = {**(made[field.name] or {}), names[0]: value}
    else:
        made[field.name] = value


def struct_or_map(field, block, scope, names):
    if field.struct:
        return struct(field.struct, block, scope, names)
    if field.type.endswith("interface{}"):
        return free(block, scope)
    inner = field.type.removeprefix("map[string]")
    return {name: [text_of(one) for one in scope.plain(value)] if is_list(inner) else text_of(scope.plain(value))
            for name, (_, value) in block.attributes.items()}


def free(block, scope):
    """A task's config: a block in it is a list of maps."""
    made = {name: scope.plain(value) for name, (_, value) in block.attributes.items()}
    for kind, names, body in block.blocks:
        value = free(body, scope)
        for name in reversed(names):
            value = {name: [value]}
        made.setdefault(kind.text, []).append(value)
    return made


def value_of(field, expression, scope):
    value, kind = scope.plain(expression), field.type.lstrip("*")
    if kind == "time.Duration" and isinstance(value, str):
        return duration(value, expression[0])
    if kind == "string" and isinstance(value, (int, float)):
        return text_of(value)
    if kind == "map[string]string" and isinstance(value, dict):
        return {key: text_of(one) for key, one in value.items()}
    if kind.startswith(("int", "uint")) and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    return value


def duration(text, token):
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Error(f"{FILE}:{token.line},{token.column + 1}-{token.column + 1 + len(text)}: Unsuitable value type; "
                    f'Unsuitable duration value: time: invalid duration "{text}"')
    return int(sum(float(number) * UNITS[unit] for number, unit in parts))


def shown(job):
    """The job as the parser's answer shows it: what JSON leaves out when it is not there."""
    for group in job["TaskGroups"] or []:
        for task in group["Tasks"] or []:
            if task["CSIPluginConfig"] is None:
                del task["CSIPluginConfig"]
    return job
