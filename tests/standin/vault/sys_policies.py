"""Purpose: sys/policy, sys/policies and sys/capabilities: policies kept, and what a token may do by them."""

import base64
import binascii

import policy
from backend import Answer, Path, keys, strings
from failure import Fault, refuse
from fields import Field

OWN = ("root", "response-wrapping", "control-group")
NOT_LISTED = ("response-wrapping", "control-group")


def paths():
    old = {**strings("name", "policy"), "rules": Field("string", old=True)}
    asked = {"paths": Field("words"), "path": Field("words", old=True)}
    return [Path("policy/?", {"read": list_all, "list": list_all}),
            Path("policy/{name+}", {"read": read("rules"), "update": write, "delete": delete}, old),
            Path("policies/acl/?", {"list": list_all}),
            Path("policies/acl/{name+}", {"read": read("policy"), "update": write, "delete": delete},
                 strings("name", "policy")),
            Path("capabilities-accessor", {"update": by_accessor}, {**strings("accessor"), **asked}),
            Path("capabilities", {"update": named}, {**strings("token"), **asked}),
            Path("capabilities-self", {"update": own}, {**strings("token"), **asked})]


def list_all(request, given):
    names = sorted({*request.core.policies} - set(NOT_LISTED)) + ["root"]
    found = keys(names)
    if request.path.startswith("policy"):
        found.data["policies"] = names
    return found


def read(word):
    def told(request, given):
        name = given["name"].lower()
        if name != "root" and name not in request.core.policies:
            return None
        return Answer({"name": name, word: request.core.policies[name][0] if name != "root" else ""})
    return told


def write(request, given):
    name, text, warnings = given["name"].lower(), given["policy"], []
    if not text and request.path.startswith("policy/"):
        text = given["rules"]
        warnings.append("'rules' is deprecated, please use 'policy' instead")
    if not text:
        refuse("'policy' parameter not supplied or empty")
    try:
        text = base64.b64decode(text, validate=True).decode()
    except (ValueError, binascii.Error):
        pass
    try:
        parsed = policy.parse(text)
    except policy.Error as error:
        refuse(f"failed to parse policy: {error}")
    if name in OWN:
        refuse(f'cannot update "{name}" policy')
    request.core.policies[name] = (text, parsed)
    return Answer(warnings=warnings) if warnings else None


def delete(request, given):
    name = given["name"].lower()
    if name in OWN:
        refuse(f'cannot delete "{name}" policy')
    if name == "default":
        refuse("cannot delete default policy")
    request.core.policies.pop(name, None)


def capabilities(core, token, given):
    asked = given["paths"] or given["path"] or refuse("paths must be supplied")
    rights = core.rights(token)
    found = {path: rights.capabilities(path.removeprefix("/")) for path in asked}
    if len(asked) == 1:
        found["capabilities"] = found[asked[0]]
    return Answer(found)


def own(request, given):
    return capabilities(request.core, request.token, given)


def named(request, given):
    if not given["token"]:
        raise Fault("no token found")
    if not given["paths"] and not given["path"]:
        refuse("paths must be supplied")
    token = request.core.tokens.find(given["token"])
    if not token:
        raise Fault("invalid token", 400)
    return capabilities(request.core, token, given)


def by_accessor(request, given):
    if not given["accessor"]:
        refuse("missing accessor")
    token = request.core.tokens.by_accessor.get(given["accessor"])
    if not token:
        raise Fault("invalid accessor", 400)
    return capabilities(request.core, token, given)
