"""Purpose: the auth method approle: roles with an id and secret ids that log in by them."""

import json
import uuid

import duration
from auth import Auth
from backend import Answer, Backend, Path, keys, strings
from failure import Fault, refuse
from fields import Field
from token_fields import FIELDS, Settings, addresses

OLDER = ("policies", "period")
OWN = {"bind_secret_id": Field("bool", default=True), "secret_id_bound_cidrs": Field("words"),
       "bound_cidr_list": Field("words", old=True), "secret_id_num_uses": Field("int"), "secret_id_ttl": Field("seconds"),
       "role_id": Field("string"), "local_secret_ids": Field("bool"), "policies": Field("words", old=True),
       "period": Field("seconds", old=True)}


class Role:
    def __init__(self, name):
        self.name, self.settings, self.ident = name, Settings(*OLDER), str(uuid.uuid4())
        self.bind, self.cidrs, self.uses, self.ttl, self.local = True, None, 0, 0, False
        self.secrets = {}

    def told(self):
        return {**self.settings.told(), "bind_secret_id": self.bind, "secret_id_bound_cidrs": self.cidrs,
                "secret_id_num_uses": self.uses, "secret_id_ttl": self.ttl, "local_secret_ids": self.local}


class SecretId:
    def __init__(self, role, given, ident):
        self.ident, self.accessor = ident or str(uuid.uuid4()), str(uuid.uuid4())
        self.role, self.uses, self.ttl = role.name, role.uses, role.ttl
        self.metadata, self.cidrs, self.token_cidrs = metadata(given["metadata"]), given["cidr_list"], \
            given["token_bound_cidrs"]
        self.made = duration.now()

    @property
    def over(self):
        return bool(self.ttl) and self.made + self.ttl < duration.now()

    def told(self):
        return {"secret_id_accessor": self.accessor, "secret_id_num_uses": self.uses, "secret_id_ttl": self.ttl,
                "metadata": self.metadata, "cidr_list": self.cidrs, "token_bound_cidrs": self.token_cidrs,
                "creation_time": duration.stamp(self.made), "last_updated_time": duration.stamp(self.made),
                "expiration_time": duration.stamp(self.made + self.ttl) if self.ttl else "0001-01-01T00:00:00Z"}


class AppRole(Backend):
    kind = "credential"
    open = ("login",)
    absent = 400

    def __init__(self):
        super().__init__()
        self.roles = {}
        named, secret = strings("role_name"), strings("role_name", "secret_id")
        accessor, made = strings("role_name", "secret_id_accessor"), \
            {**strings("role_name", "metadata"), "cidr_list": Field("words"), "token_bound_cidrs": Field("words")}
        self.paths = [
            Path("login", {"update": self.log_in}, {"role_id": Field("string"), **strings("secret_id", default="")}),
            Path("role/?", {"list": self.list}),
            Path("role/{role_name}/role-id/?", {"read": self.read_id, "update": self.write_id},
                 strings("role_name", "role_id")),
            Path("role/{role_name}/secret-id/?", {"update": self.make, "list": self.list_secrets}, made),
            Path("role/{role_name}/custom-secret-id/?", {"update": self.make},
                 {**made, **strings("secret_id")}),
            Path("role/{role_name}/secret-id/lookup/?", {"update": self.look_up}, secret),
            Path("role/{role_name}/secret-id/destroy/?", {"update": self.destroy, "delete": self.destroy}, secret),
            Path("role/{role_name}/secret-id-accessor/lookup/?", {"update": self.look_up_accessor}, accessor),
            Path("role/{role_name}/secret-id-accessor/destroy/?",
                 {"update": self.destroy_accessor, "delete": self.destroy_accessor}, accessor),
            Path("role/{role_name}", {"read": self.read, "create": self.write, "update": self.write,
                                      "delete": self.delete}, {**named, **OWN, **FIELDS}, self.exists),
            Path("tidy/secret-id", {"update": self.tidy})]

        self.paths += [Path(f"role/{{role_name}}/{name.replace('_', '-')}", calls, fields)
                       for name, calls, fields in parts(self)]

    def role(self, given):
        return self.roles.get(given["role_name"].lower())

    def known(self, given):
        return self.role(given) or refuse(f'role "{given["role_name"].lower()}" does not exist', self.absent)

    def list(self, request, given):
        return keys(sorted(self.roles))

    def exists(self, request, given):
        return self.role(given) is not None

    def read(self, request, given):
        role = self.role(given)
        return Answer(role.told()) if role else None

    def write(self, request, given):
        old, role = self.role(given), Role(given["role_name"].lower())
        if old:
            vars(role).update(vars(old), settings=old.settings.copy())
        role.settings.take(given)
        role.bind, role.local = given.get("bind_secret_id", role.bind), given.get("local_secret_ids", role.local)
        cidrs = given.get("secret_id_bound_cidrs", given.get("bound_cidr_list"))
        role.cidrs = role.cidrs if cidrs is None else addresses(cidrs)
        role.uses, role.ttl = given.get("secret_id_num_uses", role.uses), given.get("secret_id_ttl", role.ttl)
        role.ident = given["role_id"] or role.ident
        if role.uses < 0:
            refuse("secret_id_num_uses cannot be negative")
        if not role.bind and not role.cidrs and not role.settings.values["token_bound_cidrs"]:
            raise Fault("at least one constraint should be enabled on the role")
        self.roles[role.name] = role

    def delete(self, request, given):
        self.roles.pop(given["role_name"].lower(), None)

    def read_id(self, request, given):
        role = self.role(given)
        return Answer({"role_id": role.ident}) if role else None

    def write_id(self, request, given):
        self.known(given).ident = given["role_id"] or refuse("missing role_id")

    # --- secret ids ------------------------------------------------------------------------------

    def make(self, request, given):
        role = self.role(given) or refuse(f'role "{given["role_name"].lower()}" does not exist', 404)
        if not role.bind:
            refuse("bind_secret_id is not set on the role")
        ident = given["secret_id"] if "secret_id" in given.fields else ""
        if "secret_id" in given.fields and not ident:
            refuse("missing secret_id")
        if ident in role.secrets:
            raise Fault("failed to store secret_id: SecretID is already registered")
        made = SecretId(role, given, ident)
        role.secrets[made.ident] = made
        return Answer({"secret_id": made.ident, "secret_id_accessor": made.accessor, "secret_id_ttl": made.ttl})

    def list_secrets(self, request, given):
        return keys([one.accessor for one in self.known(given).secrets.values()])

    def look_up(self, request, given):
        found = self.known(given).secrets.get(given["secret_id"] or refuse("missing secret_id"))
        return Answer(found.told()) if found and not found.over else None

    def by_accessor(self, given):
        wanted = given["secret_id_accessor"] or refuse("missing secret_id_accessor")
        for one in self.known(given).secrets.values():
            if one.accessor == wanted:
                return one
        raise Fault(f'failed to find accessor entry for secret_id_accessor: "{wanted}"')

    def look_up_accessor(self, request, given):
        return Answer(self.by_accessor(given).told())

    def destroy(self, request, given):
        self.known(given).secrets.pop(given["secret_id"] or refuse("missing secret_id"), None)

    def destroy_accessor(self, request, given):
        found = self.by_accessor(given)
        self.roles[found.role].secrets.pop(found.ident)

    def tidy(self, request, given):
        return Answer(warnings=["Tidy operation successfully started. Any information from the operation will be "
                                "printed to Vault's server logs."], status=202)

    # --- logging in ------------------------------------------------------------------------------

    def log_in(self, request, given):
        if not given["role_id"]:
            refuse("missing role_id")
        role = next((one for one in self.roles.values() if one.ident == given["role_id"]), None) or \
            refuse("invalid role ID")
        if role.bind:
            self.spend(role, given["secret_id"])
        return Answer(auth=Auth(**role.settings.auth(), meta={"role_name": role.name}, alias=role.ident,
                                renew=self.renewal(role.name)))

    def spend(self, role, ident):
        if not ident:
            refuse("missing secret_id")
        found = role.secrets.get(ident)
        if not found or found.over:
            refuse("invalid secret id")
        if found.uses:
            found.uses -= 1
            if not found.uses:
                del role.secrets[ident]

    def renewal(self, name):
        def wishes(token):
            role = self.roles.get(name) or refuse(f'role "{name}" does not exist during renewal')
            values = role.settings.values
            return {"ttl": values["token_ttl"], "period": values["token_period"], "longest": values["token_max_ttl"]}
        return wishes


def metadata(text):
    if not text:
        return {}
    try:
        return json.loads(text)
    except ValueError:
        return refuse("failed to parse metadata: failed to parse the input: invalid <key,value> format")


# --- one field of a role at a time ---------------------------------------------------------------------

# The name in the path: the names of the field, the newer one first.
PARTS = {"policies": ("token_policies", "policies"), "bound_cidr_list": ("bound_cidr_list",),
         "secret_id_bound_cidrs": ("secret_id_bound_cidrs",), "token_bound_cidrs": ("token_bound_cidrs",),
         "bind_secret_id": ("bind_secret_id",), "secret_id_num_uses": ("secret_id_num_uses",),
         "secret_id_ttl": ("secret_id_ttl",), "period": ("token_period", "period"),
         "token_num_uses": ("token_num_uses",), "token_ttl": ("token_ttl",), "token_max_ttl": ("token_max_ttl",)}
ATTRIBUTES = {"bind_secret_id": "bind", "secret_id_num_uses": "uses", "secret_id_ttl": "ttl",
              "secret_id_bound_cidrs": "cidrs", "bound_cidr_list": "cidrs"}
AFRESH = {"bind": True, "uses": 0, "ttl": 0, "cidrs": None}
LIST_IS_OLD = ('The "bound_cidr_list" parameter is deprecated and will be removed. Please use '
               '"secret_id_bound_cidrs" instead.')


def parts(backend):
    """(name, operations, fields) of the paths below a role."""
    yield "local_secret_ids", {"read": lambda request, given: read_part(backend, given, ("local_secret_ids",))}, \
        strings("role_name")
    for name, names in PARTS.items():
        whole = {one: OWN.get(one) or FIELDS[one] for one in names}
        fields = {**strings("role_name"), **{one: Field(field.kind, default=field.default, old=one in OLDER)
                                             for one, field in whole.items()}}
        yield name, {"read": lambda request, given, names=names: read_part(backend, given, names),
                     "update": lambda request, given, names=names: write_part(backend, given, names),
                     "delete": lambda request, given, names=names: delete_part(backend, given, names)}, fields


def read_part(backend, given, names):
    role = backend.role(given)
    if not role:
        return None
    if names == ("bound_cidr_list",):
        return Answer({"bound_cidr_list": None}, warnings=[LIST_IS_OLD])
    told = role.told()
    if names == ("token_bound_cidrs",):
        return Answer({"token_bound_cidrs": told["token_bound_cidrs"] or None})
    return Answer({name: told[name] for name in names if name in told})


def write_part(backend, given, names):
    role = backend.role(given)
    if not role:
        raise Fault("unsupported path", 404)
    name = next((one for one in names if given.has(one)), None) or refuse(f"missing {names[-1]}")
    if name in ATTRIBUTES:
        value = given[name]
        setattr(role, ATTRIBUTES[name], addresses(value) if ATTRIBUTES[name] == "cidrs" else value)
    else:
        role.settings.take(given)


def delete_part(backend, given, names):
    role = backend.role(given)
    if not role:
        return
    for name in names:
        if name == "bound_cidr_list":
            continue
        if name in ATTRIBUTES:
            setattr(role, ATTRIBUTES[name], AFRESH[ATTRIBUTES[name]])
        elif name in FIELDS:
            role.settings.values[name] = FIELDS[name].otherwise()
        else:
            role.settings.olds.pop(name, None)
