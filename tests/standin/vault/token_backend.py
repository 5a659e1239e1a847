"""Purpose: auth/token: tokens made, looked up, renewed and revoked, and the roles that they are made by."""

import re

import duration
from auth import Auth, clean
from backend import Answer, Backend, Path, keys, strings
from failure import Failure, Fault, refuse
from fields import Field, read_bool, read_int, read_string
from lease import Term
from token_fields import FIELDS as TOKEN_FIELDS
from token_fields import addresses
from tokens import Token

KINDS = ("service", "batch", "default-service", "default-batch")
ROLE_FIELDS = {
    **strings("role_name"),
    **{name: Field("words") for name in ("allowed_policies", "disallowed_policies", "allowed_entity_aliases")},
    "orphan": Field("bool"), "period": Field("seconds", old=True), "path_suffix": Field("string"),
    "explicit_max_ttl": Field("seconds", old=True), "renewable": Field("bool", default=True),
    "bound_cidrs": Field("words", old=True),
    **{name: TOKEN_FIELDS[name] for name in ("token_bound_cidrs", "token_explicit_max_ttl", "token_period",
                                             "token_type", "token_no_default_policy", "token_num_uses")}}


class Role:
    def __init__(self, name):
        self.name = name
        self.allowed, self.disallowed, self.aliases = [], [], None
        self.orphan, self.renewable, self.suffix, self.kind = False, True, "", "default-service"
        self.period = self.old_period = self.explicit = self.old_explicit = self.uses = 0
        self.cidrs, self.old_cidrs, self.no_default = [], [], False

    def told(self):
        told = {"period": self.old_period, "token_period": self.period, "explicit_max_ttl": self.old_explicit,
                "token_explicit_max_ttl": self.explicit, "disallowed_policies": self.disallowed,
                "allowed_policies": self.allowed, "name": self.name, "orphan": self.orphan,
                "path_suffix": self.suffix, "renewable": self.renewable, "token_type": self.kind,
                "allowed_entity_aliases": self.aliases}
        optional = {"token_bound_cidrs": self.cidrs, "bound_cidrs": self.old_cidrs, "token_num_uses": self.uses}
        return told | {name: value for name, value in optional.items() if value}


class TokenBackend(Backend):
    kind = "credential"
    sudo = ("revoke-orphan/*", "accessors*")

    def __init__(self, core):
        super().__init__()
        self.core, self.roles = core, {}
        named = strings("token")
        renewal = {"increment": Field("seconds", default="0")}
        self.paths = [
            Path("roles/?", {"list": self.list_roles}),
            Path("accessors/", {"list": self.list_accessors}),
            Path("create-orphan", {"update": lambda request, given: self.create(request, orphan=True)}),
            Path("create/{role_name}", {"update": self.create_by_role}, strings("role_name")),
            Path("create", {"update": lambda request, given: self.create(request)}),
            Path("lookup", {"read": self.look_up, "update": self.look_up}, named),
            Path("lookup-accessor", {"update": self.look_up_accessor}, strings("accessor")),
            Path("lookup-self", {"read": self.look_up_self, "update": self.look_up_self}, named),
            Path("revoke-accessor", {"update": self.revoke_accessor}, strings("accessor")),
            Path("revoke-self", {"update": self.revoke_self}),
            Path("revoke", {"update": self.revoke}, named),
            Path("revoke-orphan", {"update": self.revoke_orphan}, named),
            Path("renew-accessor", {"update": self.renew_accessor}, {**strings("accessor"), **renewal}),
            Path("renew-self", {"update": self.renew_self}, {**named, **renewal}),
            Path("renew", {"update": self.renew}, {**named, **renewal}),
            Path("tidy", {"update": self.tidy}),
            Path("roles/{role_name}", {"read": self.read_role, "create": self.write_role, "update": self.write_role,
                                       "delete": self.delete_role}, ROLE_FIELDS, self.has_role)]

    # --- making ----------------------------------------------------------------------------------

    def create_by_role(self, request, given):
        role = self.roles.get(given["role_name"])
        if not role:
            refuse(f"unknown role {given['role_name']}")
        return self.create(request, role=role)

    def create(self, request, orphan=False, role=None):
        return Creation(self.core, request, orphan, role).token()

    # --- looking up ------------------------------------------------------------------------------

    def list_accessors(self, request, given):
        return keys(self.core.tokens.by_accessor)

    def by_accessor(self, accessor):
        if not accessor:
            raise Fault("missing accessor", 400)
        token = self.core.tokens.by_accessor.get(accessor)
        if not token:
            raise Fault("invalid accessor", 400)
        return token

    def lookup(self, ident):
        token = self.core.tokens.find(ident)
        if not token:
            raise Failure(403, "bad token")
        told = token.told()
        policies = self.core.identity.policies_of(token.entity)
        return told | ({"identity_policies": policies, "external_namespace_policies": {}} if policies else {})

    def look_up(self, request, given):
        return Answer(self.lookup(given["token"] or request.client_token))

    def look_up_self(self, request, given):
        return Answer(self.lookup(request.client_token))

    def look_up_accessor(self, request, given):
        return Answer({**self.lookup(self.by_accessor(given["accessor"]).id), "id": ""})

    # --- revoking --------------------------------------------------------------------------------

    def end(self, ident):
        token = self.core.tokens.find(ident)
        if token and token.kind == "batch":
            refuse("batch tokens cannot be revoked")
        if token:
            self.core.tokens.revoke(token)

    def revoke(self, request, given):
        if not given["token"]:
            refuse("missing token ID")
        self.end(given["token"])

    def revoke_self(self, request, given):
        self.end(request.client_token)

    def revoke_accessor(self, request, given):
        self.core.tokens.revoke(self.by_accessor(given["accessor"]))

    def revoke_orphan(self, request, given):
        if not given["token"]:
            refuse("missing token ID")
        if not self.core.rights(request.token).sudo(request.whole):
            refuse("root or sudo privileges required to revoke and orphan")
        token = self.core.tokens.find(given["token"])
        if not token:
            refuse("token to revoke not found")
        if token.kind == "batch":
            refuse("batch tokens cannot be revoked")
        self.core.tokens.revoke_alone(token)

    # --- renewing --------------------------------------------------------------------------------

    def renew_self(self, request, given):
        return self.renewed(request.client_token, given["increment"])

    def renew(self, request, given):
        if not given["token"]:
            refuse("missing token ID")
        return self.renewed(given["token"], given["increment"])

    def renew_accessor(self, request, given):
        answer = self.renewed(self.by_accessor(given["accessor"]).id, given["increment"])
        if answer:
            answer.auth.shown = False
        return answer

    def renewed(self, ident, increment):
        token = self.core.tokens.find(ident)
        if not token:
            refuse("token not found")
        if token.kind == "batch":
            refuse("batch tokens cannot be renewed")
        if not token.issued:
            refuse("invalid lease ID")
        if not token.renewable:
            refuse("lease is not renewable")
        wishes = token.renew(token) if token.renew else self.wishes(token)
        if wishes is None:
            return None
        term = Term(token.mount or self.core.token_mount, increment=increment, since=token.issued, **wishes)
        token.last, token.renewed = term.ttl, duration.now()
        token.expires = token.renewed + term.ttl
        policies = self.core.identity.policies_of(token.entity)
        auth = Auth(clean(token.policies + policies), token_policies=token.policies, identity_policies=policies,
                    token=token, meta=token.meta, seconds=term.ttl)
        return Answer(auth=auth, warnings=term.warnings)

    def wishes(self, token):
        """What a token of this backend's own brings into its renewal."""
        if not token.role:
            return {"ttl": token.last, "period": token.period, "explicit": token.explicit}
        role = self.roles.get(token.role)
        if not role:
            raise Fault(f'failed to renew entry: original token role "{token.role}" could not be found, not renewing')
        return {"ttl": token.last, "period": role.period, "explicit": role.explicit}

    def tidy(self, request, given):
        return Answer(warnings=["Tidy operation successfully started. Any information from the operation will be "
                                "printed to Vault's server logs."], status=202)

    # --- roles -----------------------------------------------------------------------------------

    def list_roles(self, request, given):
        return keys(sorted(self.roles))

    def has_role(self, request, given):
        return given["role_name"] in self.roles

    def read_role(self, request, given):
        role = self.roles.get(given["role_name"])
        return Answer(role.told()) if role else None

    def delete_role(self, request, given):
        self.roles.pop(given["role_name"], None)

    def write_role(self, request, given):
        old = self.roles.get(given["role_name"])
        role = Role(given["role_name"])
        vars(role).update(vars(old) if old else {})
        warnings = fill_role(role, given) + durations(role, given)
        if role.kind == "batch":
            check_batch(role)
        limit = self.core.token_mount.longest
        if role.explicit > limit:
            warnings.append(f"Given explicit max TTL of {role.explicit} is greater than system/mount allowed value of "
                            f"{limit} seconds; until this is fixed attempting to create tokens against this role will "
                            "result in an error")
        self.roles[role.name] = role
        return Answer(warnings=warnings) if warnings else None


def fill_role(role, given):
    """The fields without a history; what is not given stays."""
    role.orphan, role.renewable = given.get("orphan", role.orphan), given.get("renewable", role.renewable)
    suffix = given.get("path_suffix", role.suffix)
    if suffix and not re.search(r"\w[\w.-]+\w", suffix, re.ASCII):
        refuse(r"given role path suffix contains invalid characters; must match \w[\w-.]+\w")
    if ".." in suffix:
        refuse("error registering path suffix: path cannot contain parent references")
    role.suffix = suffix
    if given.has("allowed_policies"):
        role.allowed = clean(given["allowed_policies"])
    if given.has("disallowed_policies"):
        role.disallowed = sorted({one.strip().lower() for one in given["disallowed_policies"] if one.strip()})
    if given.has("allowed_entity_aliases"):
        role.aliases = sorted({one.strip().lower() for one in given["allowed_entity_aliases"] if one.strip()})
    role.no_default = given.get("token_no_default_policy", role.no_default)
    role.uses = given.get("token_num_uses", role.uses)
    if role.uses < 0:
        refuse("error parsing role fields: 'token_num_uses' cannot be negative")
    kind = given.raw.get("token_type", role.kind)
    if kind not in KINDS:
        refuse(f'invalid \'token_type\' value "{kind}"')
    role.kind = kind
    return []


def durations(role, given):
    """The fields with an older name beside: the newer one wins and clears the older."""
    warnings = []
    for new, old, name, older in (("token_period", "period", "period", "old_period"),
                                  ("token_bound_cidrs", "bound_cidrs", "cidrs", "old_cidrs"),
                                  ("token_explicit_max_ttl", "explicit_max_ttl", "explicit", "old_explicit")):
        def value(field):
            return addresses(given[field], "error parsing role fields: ") if name == "cidrs" else given[field]

        if given.has(new):
            setattr(role, name, value(new))
            setattr(role, older, [] if name == "cidrs" else 0)
            if given.has(old):
                warnings.append(f"Both '{new}' and deprecated '{old}' value supplied, ignoring the deprecated value")
        elif given.has(old):
            setattr(role, name, value(old))
            setattr(role, older, value(old))
    return warnings


def check_batch(role):
    what = "'token_type' cannot be 'batch' when role is set to generate "
    if not role.orphan:
        refuse(what + "non-orphan tokens")
    if role.period:
        refuse(what + "periodic tokens")
    if role.renewable:
        refuse(what + "renewable tokens")
    if role.explicit:
        refuse(what + "tokens with an explicit max TTL")


class Creation:
    """One token being made: what was asked for, by whom, by which role."""

    def __init__(self, core, request, orphan, role):
        self.core, self.request, self.orphan, self.role = core, request, orphan, role
        self.parent, self.warnings = request.token, []
        self.sudo = core.rights(request.token).sudo(request.whole)
        try:
            self.read(request.data)
        except ValueError as error:
            text = str(error)
            refuse("Error decoding request: " + (text if "error(s)" in text else f"1 error(s) decoding:\n\n* {text}"))

    def read(self, data):
        def string(name):
            return read_string(data.get(name), name)

        policies = data.get("policies")
        self.asked = [read_string(one) for one in ([policies] if isinstance(policies, str) else policies or [])]
        self.ident, self.kind, self.alias = string("id"), string("type"), string("entity_alias")
        self.ttl, self.explicit = string("ttl") or string("lease"), string("explicit_max_ttl")
        self.period = string("period")
        self.name, self.uses = string("display_name"), read_int(data.get("num_uses"), "num_uses")
        self.no_parent, self.no_default = read_bool(data.get("no_parent")), read_bool(data.get("no_default_policy"))
        self.renewable = read_bool(data["renewable"]) if data.get("renewable") is not None else True
        self.meta = {key: read_string(one) for key, one in data["meta"].items()} if data.get("meta") else None

    def token(self):
        if self.parent.kind == "batch":
            refuse("batch tokens cannot create more tokens")
        if self.parent.uses > 0:
            refuse("restricted use token cannot generate child tokens")
        kind = self.kind_of_token()
        if self.uses < 0:
            refuse("number of uses cannot be negative")
        entity = self.entity()
        token = Token([], "auth/token/" + self.request.path, kind=kind, meta=self.meta, uses=self.number_of_uses())
        token.parent, token.renewable = self.parent, self.renewable and kind != "batch"
        if self.role:
            token.role, token.renewable = self.role.name, token.renewable and self.role.renewable
            token.path += f"/{self.role.suffix}" if self.role.suffix else ""
        if self.name:
            token.display_name = re.sub("[^a-zA-Z0-9-]", "-", "token-" + self.name).removesuffix("-")
        self.identify(token)
        token.policies = self.policies()
        self.place(token, entity)
        self.time(token)
        self.core.tokens.add(token)
        for name in token.policies:
            if name != "root" and name not in self.core.policies:
                self.warnings.append(f'Policy "{name}" does not exist')
        auth = Auth(clean(token.policies + self.core.identity.policies_of(token.entity)), token=token, meta=token.meta)
        auth.token_policies, auth.identity_policies = token.policies, self.core.identity.policies_of(token.entity)
        return Answer(auth=auth, warnings=self.warnings)

    def kind_of_token(self):
        kind = self.kind
        if self.role:
            kind = {"default-service": kind, "default-batch": kind or "batch"}.get(self.role.kind, self.role.kind)
        if kind not in ("", "service", "batch"):
            refuse("invalid 'token_type' value")
        if kind == "batch":
            for name, value in (("explicit_max_ttl", self.explicit), ("period", self.period)):
                if value and self.seconds(value, f'"{name}" value could not be parsed'):
                    refuse(f'batch tokens cannot have "{name}" set')
            if self.uses:
                refuse('batch tokens cannot have "num_uses" set')
        return kind or "service"

    def number_of_uses(self):
        return min(filter(None, (self.uses, self.role.uses if self.role else 0)), default=0)

    def entity(self):
        if not self.alias:
            return ""
        if not self.role:
            refuse("'entity_alias' is only allowed in combination with token role")
        pattern = "|".join(".*".join(map(re.escape, one.split("*"))) for one in self.role.aliases or [])
        if not pattern or not re.fullmatch(pattern, self.alias.lower()):
            refuse("invalid 'entity_alias' value")
        return self.core.identity.of_alias(self.alias, self.core.token_mount)

    def identify(self, token):
        if not self.ident:
            return
        if not self.sudo:
            refuse("root or sudo privileges required to specify token id")
        if self.ident.startswith("s."):
            refuse("custom token ID cannot have the 's.' prefix")
        if "." in self.ident:
            refuse("custom token ID cannot have a '.' in the value")
        if self.core.tokens.find(self.ident):
            refuse("cannot create a token with a duplicate ID")
        token.id = self.ident
        self.warnings.append("Supplying a custom ID for the token uses the weaker SHA1 hashing instead of the more secure "
                             "SHA2-256 HMAC for token obfuscation. SHA1 hashed tokens on the wire leads to less secure "
                             "lookups.")

    def policies(self):
        found = self.policies_by_role() if self.role and (self.role.allowed or self.role.disallowed) else \
            self.policies_of_parent()
        if self.no_default:
            found = [one for one in found if one != "default"]
        if "response-wrapping" in found:
            refuse('cannot assign policy "response-wrapping"')
        if "root" in found and "root" not in self.parent.policies:
            refuse("root tokens may not be created without parent token being root")
        if "root" in found and self.kind == "batch":
            refuse("batch tokens cannot be root tokens")
        return found

    def policies_by_role(self):
        role = self.role
        default = not self.no_default and not role.no_default and "default" not in role.disallowed
        found = clean(self.asked, default) if self.asked else []
        allowed = clean(role.allowed, default)
        if role.allowed and found and not set(found) <= set(allowed):
            refuse(f"token policies ({quoted(found)}) must be subset of the role's allowed policies ({quoted(allowed)})")
        found = found or (allowed if role.allowed else clean(self.parent.policies, default))
        for name in found:
            if name in role.disallowed:
                refuse(f'token policy "{name}" is disallowed by this role')
        return found

    def policies_of_parent(self):
        if not self.asked:
            return clean(self.parent.policies)
        if self.sudo:
            return clean(self.asked, not self.no_default)
        if not set(clean(self.asked)) <= set(clean(self.parent.policies)):
            refuse("child policies must be subset of parent")
        return clean(self.asked, not self.no_default and "default" in self.parent.policies)

    def place(self, token, entity):
        """Its parent, who it stands for, where it may be used from."""
        if self.role:
            token.parent = None if self.role.orphan else token.parent
            token.cidrs = self.role.cidrs
        elif self.no_parent and not self.sudo:
            refuse("root or sudo privileges required to create orphan token")
        elif self.no_parent or self.orphan:
            token.parent = None
        token.entity = entity or (self.parent.entity if token.parent else "")
        if token.parent and not self.role:
            token.cidrs = self.parent.cidrs

    def seconds(self, text, complaint=None):
        try:
            return int(duration.seconds(text))
        except ValueError as error:
            return refuse(complaint or str(error))

    def time(self, token):
        """How long it lives: the lesser of what the call and the role say."""
        token.explicit, token.period = self.seconds(self.explicit), self.seconds(self.period)
        for name, value in (("explicit_max_ttl", token.explicit), ("period", token.period)):
            if value < 0:
                refuse(f"{name} must be positive")
        if token.period and not self.sudo:
            refuse("root or sudo privileges required to create periodic token")
        wanted = self.seconds(self.ttl)
        if wanted < 0:
            refuse("ttl must be positive")
        explicit, period = token.explicit, token.period
        if self.role and token.kind != "batch":
            explicit = self.lesser(explicit, self.role.explicit, "Explicit max TTL")
            period = self.lesser(period, self.role.period, "Period")
        ttl = 0
        if period or wanted or "root" not in token.policies:
            term = Term(self.core.token_mount, ttl=wanted, period=period, explicit=explicit, since=token.made)
            ttl, self.warnings = term.ttl, self.warnings + term.warnings
        ttl = ttl or explicit
        if not ttl:
            if self.parent.ttl:
                refuse("expiring root tokens cannot create non-expiring root tokens")
            token.renewable, token.cidrs = False, []
        token.start(ttl)

    def lesser(self, own, roles, what):
        if own and roles:
            own = min(own, roles)
            self.warnings.append(f"{what} specified both during creation call and in role; using the lesser value of "
                                 f"{own} seconds")
        return own or roles


def quoted(names):
    return "[" + " ".join(f'"{one}"' for one in names) + "]"
