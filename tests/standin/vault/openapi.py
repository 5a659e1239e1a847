"""Purpose: the OpenAPI document of what is mounted: paths, operations, and the fields' types as the real one tells
them. Descriptions are left out."""

import re

from fields import NOTHING, SCHEMA
from gojson import Ordered
from release import VERSION

METHODS = (("get", ("read", "list")), ("post", ("update", "create")), ("delete", ("delete",)))


def document(mounts, context=""):
    paths = {}
    for mount in mounts:
        for path in mount.backend.paths:
            for name in templates(path):
                paths[f"/{mount.path}{name}"] = item(mount, path, name)
    for name in sorted(paths):
        identify(name, paths[name], context)
    return whole(paths)


def whole(paths):
    return Ordered(openapi="3.0.2",
                   info=Ordered(title="HashiCorp Vault API", description="", version=VERSION.split("-")[0],
                                license=Ordered(name="Mozilla Public License 2.0",
                                                url="https://www.mozilla.org/en-US/MPL/2.0")), paths=paths)


def help_of(mount, asked):
    """What ?help=1 answers: the document of the paths asked for, below their mount; in words nothing."""
    paths = {f"/{name}": item(mount, path, name) for path in asked for name in templates(path)}
    for one in paths.values():
        for method, _ in METHODS:
            if method in one:
                del one[method]["operationId"]
                one[method]["tags"] = [own_tag(mount)]
                if not own_tag(mount):
                    del one[method]["tags"]
    return Ordered(help="", openapi=whole(paths), see_also=None)


def templates(path):
    """The names of a path: its pattern with {fields}; two where a part is optional."""
    if "names" in path.about:
        return path.about["names"]
    return [re.sub(r"[*+]\}", "}", path.pattern).removesuffix("/?")]


def item(mount, path, name):
    backend, found = mount.backend, Ordered()
    within = re.findall(r"\{(\w+)\}", name)
    parameters = [parameter(key, field, key in within) for key, field in sorted(path.fields.items())
                  if key in within or field.query]
    if parameters:
        found["parameters"] = parameters
    if backend.special(name, backend.sudo):
        found["x-vault-sudo"] = True
    if backend.special(name, backend.open):
        found["x-vault-unauthenticated"] = True
    if "create" in path.operations and not path.about.get("hidden"):
        found["x-vault-createSupported"] = True
    if path.about.get("display"):
        found["x-vault-displayAttrs"] = path.about["display"]
    for method, operations in METHODS:
        if not path.about.get("hidden") and any(one in path.operations for one in operations):
            body = {key: field for key, field in path.fields.items()
                    if key not in within and not field.query and not field.undocumented}
            found[method] = operation(mount, path, method, body if method == "post" else {})
    return found


def parameter(name, field, within):
    found = Ordered({"name": name, "in": "path" if within else "query", "schema": {"type": SCHEMA[field.kind]["type"]}})
    if within:
        found["required"] = True
    return found


def operation(mount, path, method, body):
    found = Ordered(operationId="", tags=[tag(mount)])
    if method == "get" and "list" in path.operations:
        found["parameters"] = [{"name": "list", "in": "query", "schema": {"type": "string"}}]
    if body:
        schema = Ordered(type="object", properties={key: schema_of(field) for key, field in body.items()})
        required = sorted(key for key, field in body.items() if field.required)
        if required:
            schema["required"] = required
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    responses = path.about.get("responses", {}).get(method)
    found["responses"] = {code: {"description": ""} for code in responses or ["204" if method == "delete" else "200"]}
    return found


def schema_of(field):
    found = dict(SCHEMA[field.kind])
    if field.default is not NOTHING:
        found["default"] = field.otherwise()
    if field.old:
        found["deprecated"] = True
    if field.choices:
        found["enum"] = field.choices
    if field.display:
        found["x-vault-displayAttrs"] = field.display
    return found


def own_tag(mount):
    """What a backend says of itself; the core adds what the others are."""
    return {"system": None, "cubbyhole": None, "identity": "secrets"}.get(mount.kind, tag(mount))


def tag(mount):
    return {"system": "system", "identity": "identity"}.get(mount.kind, "auth" if mount.is_auth else "secrets")


def identify(name, one, context):
    words = re.sub(r"[^\w]+", " ", name.lower()).split()
    for method, _ in METHODS:
        if method in one:
            one[method]["operationId"] = method + "".join(word[0].upper() + word[1:] for word in words) + \
                (f"_{context}" if context else "")
