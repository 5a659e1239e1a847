"""Purpose: the fields of a path: their types, what they are read from, the texts of what they refuse, and
their schema in OpenAPI."""

import re

import duration
from gojson import Number

NOTHING = object()


class Field:
    def __init__(self, kind, about="", default=NOTHING, *, old=False, required=False, display=None, query=False,
                 choices=None, undocumented=False):
        self.kind, self.about, self.default = kind, about, default
        self.old, self.required, self.display, self.query, self.choices = old, required, display, query, choices
        self.undocumented = undocumented

    def otherwise(self):
        """The value of a field that was not given."""
        return ZERO[self.kind]() if self.default is NOTHING else READ[self.kind](self.default)


class Given:
    """The fields of one request by name: what was given, converted, else the defaults."""

    def __init__(self, raw, fields):
        self.raw, self.fields = raw, fields

    def validate(self):
        for name, value in self.raw.items():
            if name in self.fields:
                try:
                    READ[self.fields[name].kind](value)
                except ValueError as error:
                    raise ValueError(f'error converting input {shown(value)} for field "{name}": {error}') from None

    def has(self, name):
        field = self.fields.get(name)
        if field is None or name not in self.raw:
            return False
        return self.raw[name] is not None or field.kind not in ("seconds", "signed seconds", "time")

    def __getitem__(self, name):
        field = self.fields[name]
        if not self.has(name):
            return field.otherwise()
        value = READ[field.kind](self.raw[name])
        return field.otherwise() if value is None else value

    def get(self, name, otherwise=None):
        return self[name] if self.has(name) else otherwise


def shown(value):
    """VALUE as Go prints it with %v."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{shown(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(shown(one) for one in value) + "]"
    return str(value)


def kind_of(value):
    if isinstance(value, dict):
        return "map[string]interface {}"
    return "[]interface {}" if isinstance(value, list) else "json.Number" if isinstance(value, Number) else \
        "bool" if isinstance(value, bool) else "string"


def unconvertible(name, wanted, value):
    raise ValueError(f"'{name}' expected type '{wanted}', got unconvertible type '{kind_of(value)}'")


# --- how each kind is read: loosely, as Vault does -----------------------------------------------

def read_bool(value, name=""):
    if value is None or isinstance(value, bool):
        return bool(value)
    if not isinstance(value, str):
        unconvertible(name, "bool", value)
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if value in ("", "0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f"cannot parse '{name}' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax")


def read_int(value, name="", kind="int"):
    if value is None or isinstance(value, bool):
        return int(bool(value))
    if not isinstance(value, str):
        unconvertible(name, kind, value)
    try:
        return int(value, 0) if re.fullmatch(r"[-+]?0[xXoObB]\w+", value) else duration.integer(value)
    except ValueError as error:
        raise ValueError(f"cannot parse '{name}' as int: {error}") from None


def read_string(value, name=""):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, str):
        unconvertible(name, "string", value)
    return str(value)


def read_name(value):
    text = read_string(value)
    if not re.fullmatch(r"\w(([\w.-]+)?\w)?", text, re.ASCII):
        raise ValueError("field does not match the formatting rules")
    return text


def read_map(value):
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return {key: entry for one in value for key, entry in one.items()}
    if not isinstance(value, dict):
        raise ValueError(f"'' expected a map, got '{'slice' if isinstance(value, list) else go_kind(value)}'")
    return value


def go_kind(value):
    return "bool" if isinstance(value, bool) else "string"


def read_pairs(value):
    if value is None:
        return {}
    if isinstance(value, dict):
        try:
            return {key: read_string(one) for key, one in value.items()}
        except ValueError:
            pass
    found = {}
    for pair in read_list(value, read_string):
        key, sign, rest = pair.partition("=")
        if not sign or not key:
            raise ValueError(f'invalid key pair "{pair}"')
        found[key] = rest
    return found


def read_seconds(value):
    return int(duration.seconds(value))


def read_positive(value):
    found = read_seconds(value)
    if found < 0:
        raise ValueError(f"cannot provide negative value '{found}'")
    return found


def read_list(value, each=lambda one, name="": one):
    if value is None or value == {} or value == "":
        return []
    faults, found = [], []
    for index, one in enumerate(value if isinstance(value, list) else [value]):
        try:
            found.append(each(one, f"[{index}]"))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        several(faults)
    return found


def several(faults):
    raise ValueError(f"{len(faults)} error(s) decoding:\n\n" + "\n".join(f"* {one}" for one in sorted(faults)))


def split(value):
    return [] if value == "" else value.split(",") if isinstance(value, str) and not isinstance(value, Number) else value


def read_words(value):
    return [one.strip() for one in read_list(split(value), read_string)]


def read_time(value):
    return None if value is None else read_string(value)


def read_float(value):
    return float(value or 0)


READ = {"string": read_string, "lower": lambda value: read_string(value).lower(), "name": read_name, "int": read_int,
        "int64": lambda value: read_int(value, "", "int64"), "bool": read_bool, "map": read_map, "pairs": read_pairs,
        "seconds": read_positive, "signed seconds": read_seconds, "list": read_list,
        "strings": lambda value: [one.strip() for one in read_list(value, read_string)], "words": read_words,
        "ints": lambda value: read_list(split(value), read_int), "time": read_time, "float": read_float,
        "header": read_map}
ZERO = {"string": str, "lower": str, "name": str, "int": int, "int64": int, "bool": bool, "map": dict, "pairs": dict,
        "seconds": int, "signed seconds": int, "list": list, "strings": list, "words": list, "ints": list,
        "time": lambda: None, "float": float, "header": dict}
SCHEMA = {"string": {"type": "string"}, "header": {"type": "string"}, "lower": {"type": "string", "format": "lowercase"},
          "name": {"type": "string", "pattern": r"\w([\w-.]*\w)?"}, "int": {"type": "integer"},
          "int64": {"format": "unknown"}, "bool": {"type": "boolean"}, "map": {"type": "object", "format": "map"},
          "pairs": {"type": "object", "format": "kvpairs"}, "seconds": {"type": "integer", "format": "seconds"},
          "signed seconds": {"type": "integer", "format": "seconds"},
          "list": {"type": "array", "items": {"type": "object"}},
          "strings": {"type": "array", "items": {"type": "string"}},
          "words": {"type": "array", "items": {"type": "string"}},
          "ints": {"type": "array", "items": {"type": "integer"}},
          "time": {"type": "string", "format": "date-time"}, "float": {"type": "number", "format": "float"}}
