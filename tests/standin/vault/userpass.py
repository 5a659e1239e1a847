"""Purpose: the auth method userpass: users with passwords, whose settings are those of every method's roles."""

import hashlib

from auth import Auth, clean
from backend import Answer, Backend, Path, keys, strings
from failure import Fault, refuse
from fields import Field
from token_fields import FIELDS, Settings

OLDER = ("policies", "ttl", "max_ttl", "bound_cidrs")
SECRET = Field("string", display={"sensitive": True})


class User:
    def __init__(self, name):
        self.name, self.password, self.settings = name, b"", Settings(*OLDER)

    def hashed(self, password):
        return hashlib.sha256(f"{self.name}:{password}".encode()).digest()


class UserPass(Backend):
    kind = "credential"
    open = ("login/*",)

    def __init__(self):
        super().__init__()
        self.users = {}
        named = strings("username")
        user = {**named, "password": SECRET, "policies": Field("words", old=True), "ttl": Field("seconds", old=True),
                "max_ttl": Field("seconds", old=True), "bound_cidrs": Field("words", old=True), **FIELDS}
        self.paths = [
            Path("users/?", {"list": self.list}, display={"navigation": True, "itemType": "User"}),
            Path("users/{username}/password", {"update": self.set_password}, {**named, **strings("password")}),
            Path("users/{username}/policies", {"update": self.set_policies},
                 {**named, "policies": Field("words", old=True), "token_policies": Field("words")}),
            Path("users/{username}", {"read": self.read, "create": self.write, "update": self.write,
                                      "delete": self.delete}, user, self.exists,
                 display={"action": "Create", "itemType": "User"}),
            Path("login/{username}", {"update": self.log_in}, {**named, **strings("password", "passcode", "method")})]

    def user(self, given):
        return self.users.get(given["username"].lower())

    def list(self, request, given):
        return keys(sorted(self.users))

    def exists(self, request, given):
        return self.user(given) is not None

    def read(self, request, given):
        user = self.user(given)
        return Answer(user.settings.told()) if user else None

    def write(self, request, given):
        user = self.user(given)
        if not user and not given["password"]:
            refuse("missing password")
        user = user or User(given["username"].lower())
        settings = user.settings.copy()
        settings.take(given)
        if given.has("password"):
            user.password = user.hashed(given["password"] or refuse("missing password"))
        user.settings = settings
        self.users[user.name] = user

    def delete(self, request, given):
        self.users.pop(given["username"].lower(), None)

    def known(self, given):
        user = self.user(given)
        if not user:
            raise Fault("username does not exist")
        return user

    def set_password(self, request, given):
        user = self.known(given)
        user.password = user.hashed(given["password"] or refuse("missing password"))

    def set_policies(self, request, given):
        settings = self.known(given).settings
        settings.take(given)
        settings.values["token_policies"] = clean(settings.values["token_policies"])

    def log_in(self, request, given):
        name, user = given["username"].lower(), self.user(given)
        if not given["password"]:
            raise Fault("missing password")
        if not user or user.hashed(given["password"]) != user.password:
            refuse("invalid username or password")
        return Answer(auth=Auth(**user.settings.auth(), meta={"username": name}, display_name=name, alias=name,
                                renew=self.renewal(name)))

    def renewal(self, name):
        def wishes(token):
            user = self.users.get(name)
            if not user:
                return None
            values = user.settings.values
            if {*values["token_policies"], "default"} != {*token.policies, "default"}:
                raise Fault("failed to renew entry: policies have changed, not renewing")
            return {"ttl": values["token_ttl"], "period": values["token_period"], "longest": values["token_max_ttl"]}
        return wishes
