"""Purpose: answers that are put away under a token of their own, to be fetched once: X-Vault-Wrap-TTL and
sys/wrapping."""

import duration
import policy
from auth import told_auth
from backend import Answer
from failure import Failure
from gojson import Ordered, dumps, loads
from tokens import Token

TEXT = ('path "cubbyhole/response" {\n    capabilities = ["create", "read"]\n}\n'
        'path "sys/wrapping/unwrap" {\n    capabilities = ["update"]\n}\n')
POLICY = (TEXT, policy.parse(TEXT))
ONE_TIME = ("sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/wrapping/rewrap")


def is_wrapping(token):
    return token is not None and token.policies == ["response-wrapping"]


def check(core, request):
    """What is asked of sys/wrapping with a token that wraps nothing is refused before all else."""
    if request.path not in ONE_TIME:
        return
    named = request.data.get("token")
    ident = named if named and named != request.client_token else request.client_token
    if not ident:
        raise Failure(500, "error validating wrapping token: token is empty")
    if not is_wrapping(core.tokens.find(ident)):
        raise Failure(400, "wrapping token is not valid or does not exist")
    if ident == request.client_token and request.path == "sys/wrapping/rewrap":
        request.data = {**request.data, "token": ident}


def body(request, answer):
    """An answer as it goes out."""
    secret = answer.secret
    return Ordered(request_id=request.id, lease_id=secret.lease if secret else "",
                   renewable=bool(secret and secret.renewable), lease_duration=int(secret.ttl) if secret else 0,
                   data=answer.data, wrap_info=answer.wrap, warnings=answer.warnings or None,
                   auth=told(answer))


def told(answer):
    found = told_auth(answer)
    return Ordered(found) if found else None


def wrapped(core, request, answer):
    """ANSWER, or what says where it was put."""
    if not answer or answer.wrap or answer.status or not request.wrap_ttl:
        return answer
    accessor = answer.auth.token.accessor if answer.auth else None
    return wrap(core, request.path, dumps(body(request, answer)), request.wrap_ttl, accessor, answer.warnings)


def wrap(core, path, text, ttl, accessor=None, warnings=()):
    token = core.tokens.add(Token(["response-wrapping"], path, uses=0, explicit=int(ttl)))
    token.start(int(ttl))
    token.cubbyhole["response"] = {"response": text}
    token.cubbyhole["wrapinfo"] = {"creation_path": path, "creation_ttl": int(ttl), "creation_time": token.made}
    answer = Answer(warnings=warnings)
    answer.wrap = Ordered(token=token.id, accessor=token.accessor, ttl=int(ttl),
                          creation_time=duration.stamp(token.made), creation_path=path)
    if accessor:
        answer.wrap["wrapped_accessor"] = accessor
    return answer


# --- sys/wrapping ------------------------------------------------------------------------------------

def put(request, given):
    """sys/wrapping/wrap: what is sent, as the data of an answer."""
    if not request.wrap_ttl:
        raise Failure(400, "endpoint requires response wrapping to be used")
    return Answer(request.data)


def meant(request, given):
    """The wrapping token that a request is about: named, or its own."""
    return request.core.tokens.find(given["token"] or request.client_token)


def look_up(request, given):
    token = request.core.tokens.find(given["token"] or request.client_token)
    if not given["token"] and not request.client_token:
        raise Failure(400, 'missing "token" value in input')
    info = token.cubbyhole["wrapinfo"]
    return Answer({"creation_path": info["creation_path"], "creation_ttl": info["creation_ttl"],
                   "creation_time": duration.stamp(info["creation_time"])})


def unwrap(request, given):
    token = meant(request, given)
    text = token.cubbyhole["response"]["response"]
    request.core.tokens.revoke(token)
    return Answer(raw=text, status=200)


def rewrap(request, given):
    token = meant(request, given)
    text, info = token.cubbyhole["response"]["response"], token.cubbyhole["wrapinfo"]
    accessor = (loads(text).get("auth") or {}).get("accessor")
    request.core.tokens.revoke(token)
    return wrap(request.core, info["creation_path"], text, info["creation_ttl"], accessor)
