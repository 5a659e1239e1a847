"""Purpose: what all of Vault's backends share: paths as patterns with fields, and an operation found for a
request. A backend is mounted by the core."""

import re

import openapi
from gojson import dumps
from failure import Failure, unsupported_operation, unsupported_path
from fields import Field, Given

# A name in a path, as most paths take it; what is looked for in OpenAPI is {name}.
NAME = r"(?P<%s>\w(([\w.-]+)?\w)?)"
ANY = r"(?P<%s>.*)"


class Path:
    """One path of a backend. OPERATIONS maps read, list, create, update, delete to a function of (request, given);
    EXISTS tells whether what is written is there, so that a write is a create or an update."""

    def __init__(self, pattern, operations, fields=None, exists=None, **about):
        self.pattern, self.operations = pattern, operations
        self.fields, self.exists, self.about = fields or {}, exists, about
        self.expression = re.compile(self.expanded(), re.ASCII | re.DOTALL)

    def expanded(self):
        """{name} stands for a name, {name*} for all the rest, {name+} for all of it and at least something."""
        text = re.sub(r"\{(\w+)\*\}", lambda found: ANY % found[1], self.pattern)
        text = re.sub(r"\{(\w+)\+\}", lambda found: rf"(?P<{found[1]}>.+)", text)
        return re.sub(r"\{(\w+)\}", lambda found: NAME % found[1], text)


class Backend:
    """PATHS in the order in which they are tried; SUDO and OPEN: paths that need sudo, or no token ('x*': a prefix)."""

    kind = "logical"
    sudo = ()
    open = ()

    def __init__(self):
        self.paths = []

    def route(self, path):
        for one in self.paths:
            match = one.expression.fullmatch(path)
            if match:
                return one, {key: value for key, value in match.groupdict().items() if value is not None}
        unsupported_path()

    def existing(self, request):
        """create or update: by what the path knows to exist; always update where it does not know."""
        path, captured = self.route(request.path)
        if not path.exists:
            return "update"
        given = Given({**request.data, **captured}, path.fields)
        try:
            given.validate()
        except ValueError as error:
            raise Failure(400, str(error)) from None
        return "update" if path.exists(request, given) else "create"

    def handle(self, request):
        if request.operation == "help":
            asked = [self.route(request.path)[0]] if request.path else self.paths
            return Answer(raw=dumps(openapi.help_of(request.mount, asked)))
        path, captured = self.route(request.path)
        call = path.operations.get(request.operation)
        if not call:
            unsupported_operation()
        given = Given({**request.data, **captured}, path.fields)
        try:
            given.validate()
        except ValueError as error:
            raise Failure(400, f"Field validation failed: {error}") from None
        return call(request, given)

    def special(self, path, patterns):
        return any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in patterns)


class Answer:
    """What a backend answers. None instead of one: nothing, which is 404 to a read and 204 to the rest."""

    def __init__(self, data=None, *, warnings=None, auth=None, secret=None, status=None, raw=None):
        self.data, self.warnings, self.auth, self.secret = data, list(warnings or []), auth, secret
        self.status, self.raw, self.wrap = status, raw, None


class Secret:
    """A lease: its id (none where it is not registered), seconds and whether it may be renewed."""

    def __init__(self, ttl, renewable=False, lease=""):
        self.ttl, self.renewable, self.lease = ttl, renewable, lease


def keys(names):
    return Answer({"keys": list(names)} if names else {})


def strings(*names, kind="string", **more):
    return {name: Field(kind, **more) for name in names}
