"""Purpose: the endpoints of access control; all of them 400 where it is off."""

from acl import parse, stub
from request import Refused
from store import NotFound


def only_on(function):
    def answer(request, *arguments):
        if not request.cluster.tokens:
            raise Refused(400, "ACL support disabled")
        return function(request, *arguments)
    return answer


def both(function):
    return {"PUT": only_on(function), "POST": only_on(function)}


def get(function):
    return {"GET": only_on(function)}


def delete(function):
    return {"DELETE": only_on(function)}


def bootstrap(request):
    token = request.cluster.tokens.bootstrap()
    request.index = token["ModifyIndex"]
    return token


# --- policies -----------------------------------------------------------------------------------

def own_policies(request):
    """The names of the policies that the caller's token has: it may read those."""
    tokens = request.cluster.tokens
    token = tokens.by_secret(request.token)
    return (token["Policies"] or []) if token else [] if request.token else ["anonymous"]


def list_policies(request):
    own, everything = own_policies(request), request.may.management
    policies = request.cluster.tokens.policies
    return request.read(lambda: [{key: value for key, value in row.items() if key != "Rules"} for name, row in
                                 sorted(policies.items()) if name.startswith(request.prefix) and (everything or name in own)],
                        "acl_policy")


def read_policy(request, name):
    policies = request.cluster.tokens.policies
    request.need(request.may.management or name in own_policies(request))

    def find():
        if name not in policies:
            raise NotFound("ACL policy not found")
        return policies[name] | {"RulesJSON": parse(policies[name]["Rules"])}
    return request.read(find, "acl_policy", index_of=lambda row: row["ModifyIndex"])


def put_policy(request, name):
    if not name:
        raise Refused(400, "Missing Policy Name")
    told = request.json(status=500)
    if told.get("Name") != name:
        raise Refused(400, "ACL policy name does not match request path")
    request.need_management()
    return request.wrote(request.cluster.tokens.put_policy(told))


def delete_policy(request, name):
    request.need_management()
    return request.wrote(request.cluster.tokens.delete_policy(name))


# --- tokens -------------------------------------------------------------------------------------

def list_tokens(request):
    request.need_management()
    return request.read(lambda: [stub(row) for name, row in sorted(request.cluster.tokens.rows.items())
                                 if name.startswith(request.prefix)], "acl_token")


def self_token(request):
    if not request.token:
        raise Refused(500, "acl token lookup failed: missing secret id")
    return request.read(lambda: found_by_secret(request), "acl_token", index_of=lambda row: row["ModifyIndex"])


def found_by_secret(request):
    token = request.cluster.tokens.by_secret(request.token)
    if not token:
        raise NotFound("ACL token not found")
    return token


def read_token(request, accessor):
    token = request.cluster.tokens.by_secret(request.token)
    request.need(request.may.management or (token and token["AccessorID"] == accessor))
    return request.read(lambda: request.cluster.tokens.read(accessor), "acl_token", index_of=lambda row: row["ModifyIndex"])


def put_token(request, accessor=""):
    told = request.json(status=500)
    if accessor and told.get("AccessorID") != accessor:
        raise Refused(400, "ACL token accessor does not match request path")
    request.need_management()
    token = request.cluster.tokens.upsert(told)
    request.index = token["ModifyIndex"]
    return token


def delete_token(request, accessor):
    request.need_management()
    return request.wrote(request.cluster.tokens.delete(accessor))


def one_time(request):
    made = request.cluster.tokens.make_one_time(request.token)
    request.index = made["Index"]
    return made


def exchange(request):
    made = request.cluster.tokens.exchange(request.json(status=500).get("OneTimeSecretID") or "")
    request.index = made["Index"]
    return made



ROUTES = [
    (r"acl/bootstrap", both(bootstrap)),
    (r"acl/policies", get(list_policies)),
    (r"acl/policy/(.*)", get(read_policy) | both(put_policy) | delete(delete_policy)),
    (r"acl/tokens", get(list_tokens)),
    (r"acl/token", both(put_token)),
    (r"acl/token/onetime", both(one_time)),
    (r"acl/token/onetime/exchange", both(exchange)),
    (r"acl/token/self", get(self_token)),
    (r"acl/token/(.+)", get(read_token) | both(put_token) | delete(delete_token)),
]
