"""Purpose: sys/mounts, sys/auth and sys/remount: engines and methods enabled, disabled, moved and tuned."""

import duration
from backend import Answer, Path, strings
from failure import refuse
from fields import Field, read_list, read_string
from mounts import PROTECTED, SINGLE, UNTUNABLE, factory

NEW = {**strings("path", "type", "description", "plugin_name"), "config": Field("map"), "options": Field("pairs"),
       **{name: Field("bool", default=False) for name in ("local", "seal_wrap", "external_entropy_access")}}
LISTS = ("audit_non_hmac_request_keys", "audit_non_hmac_response_keys", "passthrough_request_headers",
         "allowed_response_headers")
TUNE = {**strings("path", "default_lease_ttl", "max_lease_ttl", "description", "listing_visibility", "token_type"),
        "options": Field("pairs"), **{name: Field("words") for name in LISTS}}
KINDS = ("", "default-service", "default-batch", "service", "batch")


def paths():
    return [Path("auth", {"read": table("auth/")}),
            Path("auth/{path+}/tune", {"read": tuning("auth/"), "update": tune("auth/")}, TUNE),
            Path("auth/{path+}", {"update": enable_auth, "delete": disable_auth}, NEW),
            Path("mounts/{path+}/tune", {"read": tuning(""), "update": tune("")}, TUNE),
            Path("mounts/{path+}", {"update": enable, "delete": disable}, NEW),
            Path("mounts", {"read": table("")}),
            Path("remount", {"update": remount}, strings("from", "to"))]


def whole(path):
    """With a slash at the end and none at the beginning."""
    return path.removeprefix("/").removesuffix("/") + "/"


def table(prefix):
    def told(request, given):
        return Answer({one.path.removeprefix("auth/"): one.told() for one in request.core.mounts
                       if one.is_auth == bool(prefix)})
    return told


# --- enabling ----------------------------------------------------------------------------------------

def seconds(text, what):
    if text in ("", "system"):
        return 0
    try:
        return int(duration.seconds(text))
    except ValueError as error:
        return refuse(f"unable to parse {what} TTL of {text}: {error}")


def settings(given, what):
    """The config of a new mount, checked."""
    config = given["config"] or {}
    try:
        texts = {name: read_string(config.get(name)) for name in
                 ("default_lease_ttl", "max_lease_ttl", "listing_visibility", "token_type", "plugin_name")}
        lists = {name: read_list(config[name], read_string) for name in LISTS if config.get(name)}
    except ValueError:
        refuse(f"unable to convert given {what} config information")
    found = {"default_ttl": seconds(texts["default_lease_ttl"], "default"),
             "max_ttl": seconds(texts["max_lease_ttl"], "max"), "listing": texts["listing_visibility"], "lists": lists,
             "no_cache": bool(config.get("force_no_cache")), "token_type": texts["token_type"] or "default-service",
             "plugin": texts["plugin_name"]}
    if found["max_ttl"] and found["default_ttl"] > found["max_ttl"]:
        refuse("given default lease TTL greater than given max lease TTL")
    if not found["max_ttl"] and found["default_ttl"] > 768 * 3600:
        refuse(f"given default lease TTL greater than system max lease TTL of {768 * 3600}")
    if texts["token_type"] not in KINDS:
        refuse("invalid value for 'token_type'")
    return found


def kind_of(given, config):
    kind = given["type"]
    if not kind:
        refuse("backend type must be specified as a string")
    if kind == "plugin":
        kind = config["plugin"] or given["plugin_name"] or refuse("plugin_name must be provided for plugin backend")
    return kind


def place(request, given, prefix, kind, config, options):
    core, path = request.core, prefix + whole(given["path"])
    if config["listing"] not in ("", "hidden", "unauth"):
        refuse(f"invalid listing_visibility {config['listing']}")
    for one in core.mounts:
        if one.path.startswith(path) or path.startswith(one.path):
            refuse(f"path is already in use at {one.path.removeprefix(prefix)}")
    mount = core.mount(path, kind, factory(kind, prefix, options), given["description"], local=given["local"],
                       seal_wrap=given["seal_wrap"], entropy=given["external_entropy_access"], options=options,
                       accessor=("auth_" if prefix else "") + kind)
    mount.default_ttl, mount.max_ttl, mount.listing = config["default_ttl"], config["max_ttl"], config["listing"]
    mount.no_cache, mount.lists, mount.token_type = config["no_cache"], config["lists"], config["token_type"]


def enable(request, given):
    config = settings(given, "mount")
    kind = kind_of(given, config)
    options = given["options"]
    if kind in ("kv-v1", "kv-v2"):
        kind, options = "kv", {**options, "version": kind[-1]}
    elif kind != "kv" and options.get("version"):
        refuse(f'secrets engine "{kind}" does not allow setting a version')
    path = whole(given["path"])
    if path.startswith(PROTECTED):
        refuse(f'cannot mount "{path}"')
    if kind in SINGLE:
        refuse(f'mount type of "{kind}" is not mountable')
    place(request, given, "", kind, config, options)


def enable_auth(request, given):
    config = settings(given, "auth")
    kind = kind_of(given, config)
    options = given["options"]
    if options.get("version"):
        refuse(f'auth method "{kind}" does not allow setting a version')
    if kind == "token" and whole(given["path"]) != "token/":
        refuse("token credential backend cannot be instantiated")
    place(request, given, "auth/", kind, config, options)


def find(core, path):
    return next((one for one in core.mounts if one.path == path), None)


def disable(request, given):
    path = whole(given["path"])
    mount = find(request.core, path)
    if mount and path.startswith(PROTECTED):
        refuse(f'cannot unmount "{path}"')
    if mount:
        request.core.mounts.remove(mount)


def disable_auth(request, given):
    mount = find(request.core, "auth/" + whole(given["path"]))
    if mount and mount.kind == "token":
        refuse("token credential backend cannot be disabled")
    if mount:
        for token in [one for one in request.core.tokens.by_id.values() if one.mount is mount]:
            request.core.tokens.revoke(token)
        request.core.mounts.remove(mount)


def remount(request, given):
    if not given["from"] or not given["to"]:
        refuse("both 'from' and 'to' path must be specified as a string")
    old, new = whole(given["from"]), whole(given["to"])
    mount = find(request.core, old)
    if old.startswith(PROTECTED):
        refuse(f'cannot remount "{old}"')
    if not mount:
        refuse(f'no matching mount at "{old}"')
    if any(one.path.startswith(new) or new.startswith(one.path) for one in request.core.mounts):
        refuse(f'existing mount at "{request.core.mounted(new).path}"')
    mount.path = new


# --- tuning ------------------------------------------------------------------------------------------

def tuning(prefix):
    def read(request, given):
        path = prefix + whole(given["path"])
        mount = request.core.mounted(path)
        if not mount:
            refuse(f'cannot fetch sysview for path "{path}"')
        return Answer(mount.tuning())
    return read


def tune(prefix):
    def write(request, given):
        path = prefix + whole(given["path"])
        if path.startswith(UNTUNABLE):
            refuse(f'cannot tune "{path}"')
        mount = request.core.mounted(path)
        if not mount:
            refuse(f'tune of path "{path}" failed: no mount entry found')
        tune_times(mount, given)
        return tune_rest(mount, given)
    return write


def tune_times(mount, given):
    found = []
    for name, old in (("default_lease_ttl", mount.default_ttl), ("max_lease_ttl", mount.max_ttl)):
        text = given[name]
        try:
            found.append(old if text == "" else 0 if text == "system" else int(duration.seconds(text)))
        except ValueError as error:
            refuse(str(error))
    default, most = found
    if default and most and most < default:
        refuse(f"backend max lease TTL of {most} would be less than backend default lease TTL of {default}")
    mount.default_ttl, mount.max_ttl = default, most


def tune_rest(mount, given):
    mount.description = given.get("description", mount.description)
    for name in LISTS:
        if given.has(name):
            mount.lists[name] = given[name]
            if not given[name]:
                del mount.lists[name]
    if given.has("listing_visibility"):
        if given["listing_visibility"] not in ("", "hidden", "unauth"):
            refuse(f"invalid listing_visibility {given['listing_visibility']}")
        mount.listing = given["listing_visibility"]
    if given.has("token_type"):
        tune_token_type(mount, given["token_type"])
    return tune_options(mount, given["options"]) if given["options"] else None


def tune_token_type(mount, kind):
    if not mount.is_auth:
        refuse("'token_type' can only be modified on auth mounts")
    if mount.kind == "token":
        refuse("'token_type' cannot be set for 'token' or 'ns_token' auth mounts")
    if kind not in KINDS:
        refuse("invalid value for 'token_type'")
    mount.token_type = kind or "default-service"


def tune_options(mount, options):
    warnings = []
    if "version" in options:
        old, new = (mount.options or {}).get("version") or "0", options["version"]
        if new not in ("1", "2"):
            refuse(f"invalid version provided: {new}")
        if int(old) > int(new):
            refuse(f"cannot downgrade mount from version {old}")
        if int(old) < int(new):
            warnings.append(f"Upgrading mount from version {old} to version {new}. This mount will be unavailable for a "
                            "brief period and will resume service shortly.")
            mount.backend = upgraded(mount, new)
    kept = {**(mount.options or {}), **options}
    mount.options = {key: value for key, value in kept.items() if value or key == "version"}
    return Answer(warnings=warnings) if warnings else None


def upgraded(mount, version):
    """The backend for that version: another one only from 1 to 2."""
    if version == "1" or not hasattr(mount.backend, "upgraded"):
        return mount.backend
    newer = mount.backend.upgraded()
    newer.mount = mount
    return newer
