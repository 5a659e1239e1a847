"""Purpose: one request to the HTTP API: its query, its body, who asks, and what goes with the answer."""

import json
import re
import urllib.parse

from acl import Denied, Everything
from store import NotFound

TEXT = "text/plain; charset=utf-8"
TRUE, FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1, "m": 60, "h": 3600}
NOTHING = b""  # an answer without content


class Refused(Exception):
    def __init__(self, status, text, content_type=TEXT):
        super().__init__(text)
        self.status, self.content_type = status, content_type


class Request:
    def __init__(self, agent, method, target, body, token=""):
        self.agent, self.method, self.target, self.body, self.token = agent, method, target, body, token
        parts = urllib.parse.urlsplit(target)
        self.path = urllib.parse.unquote(parts.path)
        self.query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        # The index that the answer's headers tell, and whether they tell of a leader.
        self.index, self.known_leader = None, None
        self.allowed = None

    @property
    def cluster(self):
        return self.agent.cluster

    @property
    def namespace(self):
        return self.query.get("namespace") or "default"

    @property
    def prefix(self):
        return self.query.get("prefix", "")

    # --- who asks -----------------------------------------------------------------------------------------

    @property
    def may(self):
        if self.allowed is None:
            tokens = self.cluster.tokens if self.cluster else None
            self.allowed = tokens.resolve(self.token) if tokens else Everything()
        return self.allowed

    def need(self, good):
        if not good:
            raise Denied

    def need_namespace(self, *capabilities, space=None):
        self.need(self.may.namespace(space or self.namespace, *capabilities))

    def need_area(self, area, want):
        self.need(self.may.area(area, want))

    def need_management(self):
        self.need(self.may.management)

    # --- what is asked ------------------------------------------------------------------------------------

    def check(self):
        """What every question may say, and say wrongly."""
        region = self.query.get("region") or self.agent.settings.region
        if region != self.agent.settings.region:
            raise Refused(500, "No path to region")

    def wait_for(self):
        """(index, seconds) of a blocking query."""
        found = [seconds(self.query.get("wait") or "5m"), self.query.get("index") or "0"]
        if not found[1].isdigit():
            raise Refused(400, "Invalid index")
        return int(found[1]), found[0]

    def flag(self, name):
        text = self.query.get(name, "")
        if text in TRUE:
            return True
        if text in FALSE or not text:
            return False
        raise Refused(500, f'Failed to parse value of "{name}" ({text}) as a bool: strconv.ParseBool: parsing "{text}": '
                           "invalid syntax")

    def json(self, status=400, before=""):
        if not self.body:
            raise Refused(status, before + "Request body is empty")
        try:
            told = json.loads(self.body)
        except ValueError:
            raise Refused(status, before + complaint(self.body.decode(errors="replace"))) from None
        return told

    # --- what is answered ---------------------------------------------------------------------------------

    def read(self, find, *tables, index_of=None):
        """FIND() of these tables, waiting for a change where the query says so."""
        def once():
            index = self.cluster.table_index(*tables)
            try:
                value = find()
            except NotFound as error:
                return error, index
            return value, index_of(value) if index_of else index
        least, patience = self.wait_for()
        value, self.index = self.cluster.wait(once, least, patience if least else 0)
        self.known_leader = True
        if isinstance(value, NotFound):
            raise value
        return value

    def wrote(self, index):
        self.index = index
        return NOTHING


def complaint(text):
    bad = re.match(r'\s*\{\s*([^"}\s])', text)
    if bad:
        return f"invalid character '{bad[1]}' looking for beginning of object key string"
    if not text.strip() or text.strip()[0] in "{[":
        return "unexpected EOF"
    return f"invalid character '{text.strip()[0]}' looking for beginning of value"


def seconds(text):
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Refused(400, "Invalid wait time")
    return min(sum(float(number) * UNITS[unit] for number, unit in parts), 600)


def full_id(what, value):
    if len(value) != 36:
        raise Refused(500, f"{what} lookup failed: index error: UUID must be 36 characters")
    return value


def id_prefix(what, text):
    """The beginning of an id as the server takes it: pairs of hexadecimal digits."""
    bare = text.replace("-", "")
    if len(bare) % 2:
        raise Refused(500, f"{what} lookup failed: index error: Input (without hyphens) must be even length")
    odd = re.search(r"[^0-9a-fA-F]", bare)
    if odd:
        raise Refused(500, f"{what} lookup failed: index error: Invalid UUID: encoding/hex: invalid byte: "
                           f"U+{ord(odd[0]):04X} '{odd[0]}'")
    return text


def by_id(rows, prefix=""):
    return [row for key, row in sorted(rows.items()) if key.startswith(prefix)]
