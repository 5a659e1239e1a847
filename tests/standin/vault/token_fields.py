"""Purpose: the fields about tokens that roles of all methods share: read, kept and told alike."""

import ipaddress

from failure import refuse
from fields import Field


def display(name):
    return {"name": name, "group": "Tokens"}


FIELDS = {
    "token_bound_cidrs": Field("words", display=display("Generated Token's Bound CIDRs")),
    "token_explicit_max_ttl": Field("seconds", display=display("Generated Token's Explicit Maximum TTL")),
    "token_max_ttl": Field("seconds", display=display("Generated Token's Maximum TTL")),
    "token_no_default_policy": Field("bool", display=display("Do Not Attach 'default' Policy To Generated Tokens")),
    "token_period": Field("seconds", display=display("Generated Token's Period")),
    "token_policies": Field("words", display=display("Generated Token's Policies")),
    "token_type": Field("string", default="default-service", display=display("Generated Token's Type")),
    "token_ttl": Field("seconds", display=display("Generated Token's Initial TTL")),
    "token_num_uses": Field("int", display=display("Maximum Uses of Generated Tokens"))}
# The names that some of them had before.
OLD = {"policies": "token_policies", "ttl": "token_ttl", "max_ttl": "token_max_ttl", "bound_cidrs": "token_bound_cidrs",
       "period": "token_period", "num_uses": "token_num_uses"}


def addresses(texts, start=""):
    """What is an address or a network, as it was written; the rest is refused, with words that START so."""
    for text in texts:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            if "/" not in text or not is_name(text):
                refuse(f'{start}error parsing address "{text}": Unable to convert "{text}" to an IPv4 or IPv6 address, '
                       "or a UNIX Socket")
    return [one.removesuffix("/128" if ":" in one else "/32") for one in texts]


def is_name(text):
    """Vault takes anything with a slash for a Unix socket."""
    return "/" in text


class Settings:
    """The values of a role; OLDER: the older names that this role knows."""

    def __init__(self, *older):
        self.older, self.olds = older, {}
        self.values = {name: field.otherwise() for name, field in FIELDS.items()} | {"token_type": "default"}

    def take(self, given):
        for name in FIELDS:
            if given.has(name):
                self.values[name] = self.checked(name, given[name])
        for old in self.older:
            if given.has(OLD[old]):
                self.olds[old] = self.values[OLD[old]] if given.has(old) else None
            elif given.has(old):
                self.olds[old] = self.values[OLD[old]] = self.checked(OLD[old], given[old])
        values = self.values
        if values["token_num_uses"] < 0:
            refuse("'token_num_uses' cannot be negative")
        if values["token_type"] in ("batch", "default-batch") and (values["token_period"] or values["token_num_uses"]):
            what = "periodic tokens" if values["token_period"] else "tokens with limited use count"
            refuse(f"'token_type' cannot be 'batch' or 'default_batch' when set to generate {what}")
        if 0 < values["token_max_ttl"] < values["token_ttl"]:
            refuse("'token_ttl' cannot be greater than 'token_max_ttl'")

    def checked(self, name, value):
        if name == "token_bound_cidrs":
            return addresses(value)
        if name == "token_type":
            if value not in ("", "default", "service", "batch"):
                refuse(f'invalid \'token_type\' value "{value}"')
            return value or "default"
        return value

    def copy(self):
        other = Settings(*self.older)
        other.values, other.olds = dict(self.values), dict(self.olds)
        return other

    def told(self):
        olds = {old: self.values[OLD[old]] for old, value in self.olds.items() if value}
        return {**self.values, **olds}

    def auth(self):
        """For Auth: how a token by this role comes to be."""
        values = self.values
        return {"cidrs": values["token_bound_cidrs"], "explicit": values["token_explicit_max_ttl"],
                "longest": values["token_max_ttl"], "no_default": values["token_no_default_policy"],
                "period": values["token_period"], "policies": list(values["token_policies"]),
                "kind": values["token_type"], "ttl": values["token_ttl"], "uses": values["token_num_uses"]}
