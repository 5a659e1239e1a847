"""Purpose: the key-value engine: version 1, which keeps what is written, and version 2, which keeps versions."""

import duration
from backend import Answer, Backend, Path, Secret, keys, strings
from cubbyhole import children
from failure import Failure, refuse
from fields import Field, read_int
from gojson import floated


class KV1(Backend):
    def __init__(self):
        super().__init__()
        self.stored = {}
        self.paths = [Path("{path*}", {"read": self.read, "create": self.write, "update": self.write,
                                       "delete": self.delete, "list": self.list}, strings("path"),
                           self.exists)]

    def exists(self, request, given):
        return given["path"] in self.stored

    def read(self, request, given):
        stored = self.stored.get(given["path"])
        if stored is None:
            return None
        ttl = self.mount.usual
        try:
            ttl = duration.seconds(stored.get("ttl", stored.get("lease", str(ttl))))
        except ValueError:
            pass
        return Answer(stored, secret=Secret(ttl))

    def write(self, request, given):
        if not given["path"]:
            refuse("missing path")
        if not request.data:
            refuse("missing data fields")
        self.stored[given["path"]] = request.data

    def delete(self, request, given):
        self.stored.pop(given["path"], None)

    def list(self, request, given):
        return keys(children(self.stored, given["path"]))

    def upgraded(self):
        """The same, with versions."""
        newer = KV2()
        for name, data in self.stored.items():
            newer.stored[name] = Key()
            newer.stored[name].add(Version(data, 0), 0)
        return newer


class Version:
    def __init__(self, data, lives):
        self.data, self.made, self.destroyed = data, duration.now(), False
        self.deleted = self.made + lives if lives else None

    @property
    def gone(self):
        return self.destroyed or (self.deleted is not None and self.deleted <= duration.now())

    def told(self, number=None):
        told = {"created_time": duration.stamp(self.made), "destroyed": self.destroyed,
                "deletion_time": duration.stamp(self.deleted) if self.deleted else ""}
        return told if number is None else {**told, "version": number}


class Key:
    def __init__(self):
        self.versions, self.current, self.oldest = {}, 0, 0
        self.max, self.cas, self.lives = 0, False, 0
        self.made = self.updated = duration.now()

    def add(self, version, most):
        self.current += 1
        self.versions[self.current] = version
        if self.current == 1:
            self.made = version.made
        self.updated = version.made
        most = self.max or most or 10
        self.oldest = max(self.oldest, self.current - most + 1) if self.current > most else self.oldest
        for number in [one for one in self.versions if one < self.oldest]:
            del self.versions[number]

    def told(self):
        return {"versions": {str(number): one.told() for number, one in self.versions.items()},
                "current_version": self.current, "oldest_version": self.oldest, "max_versions": self.max,
                "created_time": duration.stamp(self.made), "updated_time": duration.stamp(self.updated),
                "cas_required": self.cas, "delete_version_after": duration.go(self.lives)}


class KV2(Backend):
    def __init__(self):
        super().__init__()
        self.stored, self.max, self.cas, self.lives = {}, 0, False, 0
        settings = {"max_versions": Field("int"), "cas_required": Field("bool")}
        data = {**strings("path"), "version": Field("int"), "options": Field("map"), "data": Field("map")}
        versions = {**strings("path"), "versions": Field("ints")}
        self.paths = [
            Path("config", {"read": self.read_config, "create": self.configure, "update": self.configure},
                 {**settings, "delete_version_after": Field("signed seconds")}),
            Path("data/{path*}", {"read": self.read, "create": self.write, "update": self.write,
                                  "delete": self.delete}, data, self.exists),
            Path("metadata/{path*}", {"read": self.read_metadata, "create": self.write_metadata,
                                      "update": self.write_metadata, "delete": self.delete_metadata,
                                      "list": self.list},
                 {**strings("path"), **settings, "delete_version_after": Field("seconds")}, self.exists),
            *(Path(f"{verb}/{{path*}}", {"create": call, "update": call}, versions)
              for verb, call in (("destroy", self.destroy), ("delete", self.delete_versions),
                                 ("undelete", self.undelete))),
            Path(".*", dict.fromkeys(("read", "create", "update", "delete", "list"), self.elsewhere), hidden=True)]

    def exists(self, request, given):
        return given["path"] in self.stored

    # --- data ------------------------------------------------------------------------------------

    def read(self, request, given):
        key = self.stored.get(given["path"])
        number = given["version"] if given["version"] > 0 else key.current if key else 0
        version = key.versions.get(number) if key else None
        if not version:
            return None
        told = {"data": None if version.gone else floated(version.data), "metadata": version.told(number)}
        return Answer(told, status=404 if version.gone else None)

    def write(self, request, given):
        name = given["path"]
        if not name:
            refuse("missing path")
        if not given.has("data"):
            refuse("no data provided")
        key = self.stored.get(name)
        self.check_and_set(key or Key(), given["options"] if given.has("options") else {})
        key = self.stored.setdefault(name, key or Key())
        version = Version(None if given.raw["data"] is None else given["data"], self.life(key))
        key.add(version, self.max)
        return Answer(version.told(key.current))

    def check_and_set(self, key, options):
        if "cas" in options:
            try:
                wanted = read_int(options["cas"])
            except ValueError:
                refuse("error parsing check-and-set parameter")
            if wanted != key.current:
                refuse("check-and-set parameter did not match the current version")
        elif self.cas or key.cas:
            refuse("check-and-set parameter required for this call")

    def life(self, key):
        """Seconds that a version lives; 0: for ever."""
        both = [one for one in (max(self.lives, 0), key.lives) if one]
        return 0 if self.lives < 0 else min(both, default=0)

    def delete(self, request, given):
        key = self.stored.get(given["path"])
        version = key.versions.get(key.current) if key else None
        if version and not version.gone:
            version.deleted = duration.now()

    def named(self, given):
        """The key, and those of the named versions that it has."""
        if not given["versions"]:
            refuse("No version number provided")
        key = self.stored.get(given["path"])
        return key, [key.versions[number] for number in given["versions"] if number in key.versions] if key else []

    def delete_versions(self, request, given):
        for version in self.named(given)[1]:
            if not version.gone:
                version.deleted = duration.now()

    def undelete(self, request, given):
        key, versions = self.named(given)
        for version in versions:
            if not version.destroyed:
                version.deleted = duration.now() + self.life(key) if self.life(key) else None

    def destroy(self, request, given):
        for version in self.named(given)[1]:
            version.data, version.destroyed = None, True

    # --- metadata and settings -------------------------------------------------------------------

    def read_metadata(self, request, given):
        key = self.stored.get(given["path"])
        return Answer(key.told()) if key else None

    def write_metadata(self, request, given):
        if not given["path"]:
            refuse("missing path")
        if not any(given.has(name) for name in ("max_versions", "cas_required", "delete_version_after")):
            return None
        key = self.stored.setdefault(given["path"], Key())
        key.max = given.get("max_versions", key.max)
        key.cas = given.get("cas_required", key.cas)
        key.lives = given.get("delete_version_after", key.lives)
        if self.cas and given.has("cas_required") and not key.cas:
            return Answer(warnings=['"cas_required" set to false, but is mandated by backend config. '
                                    "This value will be ignored."])
        return None

    def delete_metadata(self, request, given):
        self.stored.pop(given["path"], None)

    def list(self, request, given):
        return keys(children(self.stored, given["path"]))

    def read_config(self, request, given):
        return Answer({"max_versions": self.max, "cas_required": self.cas,
                       "delete_version_after": duration.go(self.lives)})

    def configure(self, request, given):
        self.max = given.get("max_versions", self.max)
        self.cas = given.get("cas_required", self.cas)
        self.lives = given.get("delete_version_after", self.lives)

    def elsewhere(self, request, given):
        if request.path in ("metadata", "data", "delete", "undelete", "destroy"):
            words = "Non-listing operations on the root of a K/V v2 mount are not supported."
        else:
            verb = {"create": "put", "update": "put", "read": "get"}.get(request.operation, request.operation)
            words = ("Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API "
                     f"endpoints to use. If using the Vault CLI, use 'vault kv {verb}' for this operation.")
        return Answer(warnings=[words], status=404)


def engine(version):
    if version in ("1", "", None):
        return KV1()
    if version == "2":
        return KV2()
    raise Failure(400, f"invalid version {version!r}")
