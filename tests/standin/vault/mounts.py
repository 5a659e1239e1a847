"""Purpose: which engines and methods there are, and the paths that are the server's own."""

from approle import AppRole
from failure import refuse
from kv import KV1, KV2
from userpass import UserPass

PROTECTED = ("audit/", "auth/", "sys/", "cubbyhole/", "identity/")
UNTUNABLE = ("cubbyhole/", "sys/", "audit/", "identity/")
SINGLE = ("cubbyhole", "system", "token", "identity")
METHODS = {"userpass": UserPass, "approle": AppRole}


def factory(kind, prefix, options):
    """A backend of that kind; PREFIX is auth/ for a method."""
    if prefix:
        return METHODS[kind]() if kind in METHODS else refuse(f"plugin not found in the catalog: {kind}")
    if kind not in ("kv", "generic"):
        refuse(f"plugin not found in the catalog: {kind}")
    version = (options or {}).get("version") or "1"
    if version not in ("1", "2"):
        refuse('nil backend of type "kv" returned from factory')
    return KV2() if version == "2" else KV1()
