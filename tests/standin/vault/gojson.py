"""Purpose: JSON as Go's encoder writes it and as Vault reads it: numbers keep their text, keys are sorted,
<, > and & are escaped."""

import json
import re

ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Number(str):
    """A number of a request, as it was written."""


class Ordered(dict):
    """An object whose keys stay in their order: a struct of Go's."""


def loads(text):
    """The first JSON value of TEXT; what follows it is not looked at. Raises ValueError."""
    decoder = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=refuse)
    start = re.match(r"[ \t\r\n]*", text).end()
    return decoder.raw_decode(text, start)[0]


def refuse(word):
    raise ValueError(word)


def dumps(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return real(value)
    if isinstance(value, dict):
        keys = value if isinstance(value, Ordered) else sorted(value)
        return "{" + ",".join(string(key) + ":" + dumps(value[key]) for key in keys) + "}"
    return "[" + ",".join(dumps(one) for one in value) + "]"


def string(text):
    quoted = json.dumps(text, ensure_ascii=False).replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    return re.sub("[<>&\u2028\u2029]", lambda found: ESCAPES[found[0]], quoted)


def real(value):
    """A float64: without exponent from 1e-6 to 1e21, as Go writes it."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    if value and not 1e-6 <= abs(value) < 1e21:
        return re.sub(r"e([-+])0(\d)$", r"e\1\2", repr(value))
    text = repr(value)
    return format(value, "f").rstrip("0") if "e" in text else text


def floated(value):
    """VALUE as it is after it went through float64 numbers."""
    if isinstance(value, Number):
        return float(value)
    if isinstance(value, dict):
        return {key: floated(one) for key, one in value.items()}
    return [floated(one) for one in value] if isinstance(value, list) else value
