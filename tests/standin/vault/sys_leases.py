"""Purpose: sys/leases: the leases of tokens, the only ones here, looked up, renewed and revoked, one or all under a
prefix."""

import duration
from backend import Answer, Path, keys, strings
from cubbyhole import children
from failure import refuse
from fields import Field

# The newer place of these paths, and the older.
STARTS = ("leases/", "")


def paths():
    named = {**strings("lease_id"), **strings("url_lease_id")}
    renewal = {**named, "increment": Field("seconds")}
    sync = {"sync": Field("bool", default=True)}
    found = [Path("leases/lookup/{prefix*}", {"list": list_prefix}, strings("prefix"),
                  names=["leases/lookup/{prefix}", "leases/lookup/"]),
             Path("leases/lookup", {"update": look_up}, strings("lease_id")),
             Path("leases/tidy", {"update": tidy}),
             Path("leases/count", {"read": count}, {**strings("type"), "include_child_namespaces": Field("bool")}),
             Path("leases", {"read": list_type},
                  {**strings("type", "limit"), "include_child_namespaces": Field("bool")})]
    for start in STARTS:
        found += [
            Path(start + "renew(/{url_lease_id+})?", {"update": renew}, renewal, names=both("renew", "/{url_lease_id}")),
            Path(start + "revoke(/{url_lease_id+})?", {"update": revoke}, {**named, **sync},
                 names=both("revoke", "/{url_lease_id}")),
            Path(start + "revoke-force/{prefix+}", {"update": revoke_prefix}, strings("prefix"),
                 names=both("revoke-force/{prefix}")),
            Path(start + "revoke-prefix/{prefix+}", {"update": revoke_prefix}, {**strings("prefix"), **sync},
                 names=both("revoke-prefix/{prefix}"))]
    return found


def both(name, rest=""):
    """The names that documents give a path: old and new, with and without the rest."""
    return [start + name + end for start in STARTS for end in ([rest, ""] if rest else [""])]


def everything(core):
    """Tokens by the ids of their leases."""
    return {one.lease: one for one in core.tokens.by_id.values() if one.issued and one.accessor}


def found(request, given):
    ident = given["lease_id"] or ("url_lease_id" in given.fields and given["url_lease_id"])
    return ident or refuse("lease_id must be specified")


def list_prefix(request, given):
    return keys(children(everything(request.core), given["prefix"]))


def look_up(request, given):
    ident = found(request, given)
    lease = everything(request.core).get(ident)
    if not lease:
        refuse("invalid lease")
    return Answer({"id": ident, "issue_time": duration.stamp(lease.issued), "renewable": lease.renewable,
                   "expire_time": duration.stamp(lease.expires) if lease.expires else None, "ttl": lease.left,
                   "last_renewal": duration.stamp(lease.renewed) if lease.renewed else None})


def renew(request, given):
    ident = found(request, given)
    lease = everything(request.core).get(ident)
    if not lease:
        refuse("lease not found")
    if not lease.renewable:
        refuse("lease is not renewable")
    return request.core.token_mount.backend.renewed(lease.id, given["increment"])


def end(core, ident):
    token = everything(core).get(ident)
    if token:
        core.tokens.revoke(token)


def revoke(request, given):
    end(request.core, found(request, given))
    return None if given["sync"] else Answer(status=202)


def revoke_prefix(request, given):
    for ident in [one for one in everything(request.core) if one.startswith(given["prefix"])]:
        end(request.core, ident)
    return None if "sync" not in given.fields or given["sync"] else Answer(status=202)


def tidy(request, given):
    return Answer(warnings=["Tidy operation successfully started. Any information from the operation will be "
                            "printed to Vault's server logs."], status=202)


def count(request, given):
    return Answer({"lease_count": 0, "counts": {}}) if given["type"].lower() == "irrevocable" else None


def list_type(request, given):
    return Answer({"lease_count": 0, "leases": []}) if given["type"].lower() == "irrevocable" else None
