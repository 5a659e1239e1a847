"""Purpose: the store that each token has for itself."""

from backend import Answer, Backend, Path, keys, strings
from failure import Fault, refuse


def children(stored, prefix):
    """The names right below PREFIX; those that have more below them end in a slash."""
    prefix = prefix if not prefix or prefix.endswith("/") else prefix + "/"
    rests = [one[len(prefix):] for one in stored if one.startswith(prefix)]
    return sorted({rest.split("/", 1)[0] + ("/" if "/" in rest else "") for rest in rests})


class Cubbyhole(Backend):
    def __init__(self):
        super().__init__()
        self.paths = [Path("{path*}", {"read": self.read, "create": self.write, "update": self.write,
                                       "delete": self.delete, "list": self.list}, strings("path"),
                           self.exists)]

    def exists(self, request, given):
        return given["path"] in request.token.cubbyhole

    def read(self, request, given):
        stored = request.token.cubbyhole.get(given["path"])
        return None if stored is None else Answer(stored)

    def write(self, request, given):
        if not given["path"]:
            refuse("missing path")
        if not request.data:
            raise Fault("missing data fields")
        request.token.cubbyhole[given["path"]] = request.data

    def delete(self, request, given):
        request.token.cubbyhole.pop(given["path"], None)

    def list(self, request, given):
        return keys(children(request.token.cubbyhole, given["path"]))
