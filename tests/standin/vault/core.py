"""Purpose: the heart: what is mounted, which policies and tokens there are, and the way of a request through
token, rights, backend, lease and wrapping."""

import threading
import uuid

import policy
import wrapping
from auth import clean
from cubbyhole import Cubbyhole
from failure import Failure, Fault, listed, refuse
from identity import Identity
from kv import KV2
from lease import Term
from mount import Mount
from release import VERSION
from seal import Seal
from system import System
from token_backend import TokenBackend
from tokens import Token, Tokens

DEFAULT_POLICY = "\n".join(
    f'path "{path}" {{\n    capabilities = [{words}]\n}}' for path, words in (
        ("auth/token/lookup-self", '"read"'), ("auth/token/renew-self", '"update"'),
        ("auth/token/revoke-self", '"update"'), ("sys/capabilities-self", '"update"'),
        ("identity/entity/id/{{identity.entity.id}}", '"read"'),
        ("identity/entity/name/{{identity.entity.name}}", '"read"'), ("sys/internal/ui/resultant-acl", '"read"'),
        ("sys/renew", '"update"'), ("sys/leases/renew", '"update"'), ("sys/leases/lookup", '"update"'),
        ("cubbyhole/*", '"create", "read", "update", "delete", "list"'), ("sys/wrapping/wrap", '"update"'),
        ("sys/wrapping/lookup", '"update"'), ("sys/wrapping/unwrap", '"update"'), ("sys/tools/hash", '"update"'),
        ("sys/tools/hash/*", '"update"'), ("sys/control-group/request", '"update"'))) + "\n"


class Request:
    """One request; PATH without /v1/, for a backend without its mount's (WHOLE has all of it)."""

    def __init__(self, operation, path, data=None, token="", headers=None):
        self.operation, self.path, self.data = operation, path, data or {}
        self.whole, self.client_token, self.headers = path, token, headers or {}
        self.id, self.token, self.core, self.mount = str(uuid.uuid4()), None, None, None
        self.wrap_ttl = 0

    def within(self, mount):
        """The same request as the backend of MOUNT sees it."""
        inner = Request(self.operation, self.whole[len(mount.path):], self.data, self.client_token, self.headers)
        inner.whole, inner.id, inner.token, inner.core, inner.mount = self.whole, self.id, self.token, self.core, mount
        inner.wrap_ttl = self.wrap_ttl
        return inner


class Core:
    def __init__(self, root_token):
        self.lock, self.version = threading.RLock(), VERSION
        self.seal = Seal()
        self.tokens, self.mounts = Tokens(), []
        self.policies = {"default": (DEFAULT_POLICY, policy.parse(DEFAULT_POLICY)),
                         "response-wrapping": wrapping.POLICY}
        self.mount("sys/", "system", System(self), "system endpoints used for control, policy and debugging")
        self.mounts[-1].lists["passthrough_request_headers"] = ["Accept"]
        self.mount("identity/", "identity", Identity(self), "identity store")
        self.mount("cubbyhole/", "cubbyhole", Cubbyhole(), "per-token private secret storage", local=True)
        self.mount("auth/token/", "token", TokenBackend(self), "token based credentials", accessor="auth_token")
        self.mount("secret/", "kv", KV2(), "key/value secret storage", options={"version": "2"})
        self.system, self.identity = self.mounts[0].backend, self.mounts[1].backend
        self.token_mount = self.mounts[3]
        root = Token(["root"], "auth/token/create", ident=root_token or None)
        self.tokens.add(root).start(0)
        self.root_token = root.id

    # --- what is there ---------------------------------------------------------------------------

    def mount(self, path, kind, backend, description="", **more):
        self.mounts.append(Mount(path, kind, backend, description, **more))
        return self.mounts[-1]

    def mounted(self, path):
        """The mount that a path belongs to."""
        return max((one for one in self.mounts if (path + "/" if path + "/" == one.path else path).startswith(one.path)),
                   key=lambda one: len(one.path), default=None)

    def rights(self, token):
        names = list(dict.fromkeys(token.policies + self.identity.policies_of(token.entity)))
        if "root" in names:
            return policy.Rights([], root=True)
        rules = []
        for name in names:
            text, parsed = self.policies.get(name, ("", []))
            rules += self.identity.filled_in(token.entity, parsed) if "{{" in text else parsed
        return policy.Rights(rules)

    # --- the way of a request --------------------------------------------------------------------

    def handle(self, request):
        """What comes out: an Answer or None; or a Failure."""
        with self.lock:
            self.seal.must_be_open()
            self.tokens.sweep()
            request.core = self
            if request.path.endswith("/") and request.operation == "update":
                refuse("cannot write to a path ending in '/'")
            request.token = self.tokens.find(request.client_token)
            wrapping.check(self, request)
            request.mount = self.mounted(request.path)
            mount = request.mount
            inner = request.within(mount) if mount else None
            if mount and mount.backend.special(inner.path, mount.backend.open):
                answer = self.unauthenticated(inner)
            else:
                answer = self.authenticated(request, inner)
            return wrapping.wrapped(self, request, answer)

    def unauthenticated(self, request):
        try:
            if request.operation == "update":
                request.operation = request.mount.backend.existing(request)
            answer = request.mount.backend.handle(request)
        except Fault as fault:
            raise Failure(fault.status, fault.text) from None
        if answer and answer.auth:
            self.log_in(request, answer)
        return answer

    def authenticated(self, request, inner):
        """A token with a number of uses loses one whatever comes of it; with the last one it ends."""
        token = request.token
        if token and token.uses:
            token.uses = token.uses - 1 or -1
        try:
            self.check_token(request, inner)
            return self.route(request, inner)
        except Fault as fault:
            raise Failure(fault.status, listed(fault.text)) from None
        finally:
            if token and token.uses < 0:
                self.tokens.revoke(token)

    def check_token(self, request, inner):
        """Is there a token, and may it do this?"""
        if not request.client_token:
            refuse("missing client token")
        if not request.token or not self.reachable(request.token):
            raise Failure(403, "permission denied")
        if inner and request.operation == "update":
            try:
                request.operation = inner.operation = inner.mount.backend.existing(inner)
            except Fault as fault:
                if fault.text != "unsupported path":
                    raise Failure(500, listed(fault.text)) from None
        rights = self.rights(request.token)
        sudo = inner and inner.mount.backend.special(inner.path, inner.mount.backend.sudo)
        if not rights.allows(request) or (sudo and not rights.sudo(request.path)):
            raise Failure(403, listed("permission denied"))

    def reachable(self, token):
        """May a token that is bound to addresses be used from loopback, where all requests come from?"""
        return not token.ttl or not token.cidrs or any(
            one.startswith("127.") or one == "0.0.0.0/0" for one in token.cidrs)

    def route(self, request, inner):
        if not inner:
            raise Failure(404, f"no handler for route '{request.path}'")
        return inner.mount.backend.handle(inner)

    # --- tokens --------------------------------------------------------------------------------

    def log_in(self, request, answer):
        """A method has said who it is: the token for it."""
        auth, mount = answer.auth, request.mount
        auth.display_name = f"{mount.path[len('auth/'):].replace('/', '-')}{auth.display_name}".removesuffix("-")
        auth.entity = self.identity.of_alias(auth.alias, mount) if auth.alias else ""
        auth.token_policies = clean(auth.policies, add_default=not auth.no_default)
        auth.identity_policies = self.identity.policies_of(auth.entity)
        auth.policies = clean(auth.token_policies + auth.identity_policies)
        if "root" in auth.policies:
            refuse("auth methods cannot create root tokens")
        term = Term(mount, ttl=auth.ttl, period=auth.period, longest=auth.longest, explicit=auth.explicit)
        answer.warnings += term.warnings
        kind = auth.kind if auth.kind in ("service", "batch") else \
            {"default-batch": "batch", "batch": "batch"}.get(mount.token_type, "service")
        token = Token(auth.token_policies, request.whole, kind=kind, display_name=auth.display_name,
                      meta=auth.meta, uses=auth.uses, entity=auth.entity, explicit=auth.explicit, period=auth.period,
                      cidrs=auth.cidrs, renewable=kind == "service", mount=mount, renew=auth.renew)
        self.tokens.add(token).start(term.ttl)
        auth.token = token
