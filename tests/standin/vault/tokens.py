"""Purpose: the tokens that there are: made, found by id and accessor, expired, revoked with their children."""

import random
import string
import uuid

import duration

LETTERS = string.ascii_letters + string.digits


def random_name(length=24):
    return "".join(random.choices(LETTERS, k=length))


class Token:
    def __init__(self, policies, path, *, ident=None, parent=None, kind="service", **more):
        self.id = ident or ("s." if kind == "service" else "b.AAAAAQ") + random_name(24 if kind == "service" else 94)
        self.accessor = random_name() if kind == "service" else ""
        self.policies, self.path, self.parent, self.kind = policies, path, parent, kind
        self.made = duration.now()
        self.display_name, self.meta, self.role, self.entity = "token", None, "", ""
        # LAST: the seconds that it was given last; ttl: those of its beginning.
        self.ttl = self.last = self.explicit = self.period = self.uses = 0
        self.cidrs, self.renewable = [], False
        # The mount that gave it, and how its renewal is asked there: a function of the token, or none.
        self.mount, self.renew = None, None
        # Where its lease stands: none for a root token without an end.
        self.issued = self.expires = self.renewed = None
        self.cubbyhole = {}
        self.alive = True
        for name, value in more.items():
            setattr(self, name, value)

    def start(self, ttl):
        """The lease begins, TTL seconds long (0: without an end)."""
        self.ttl, self.last, self.issued = ttl, ttl, duration.now()
        self.expires = self.issued + ttl if ttl else None

    @property
    def left(self):
        return max(0, int(self.expires - duration.now())) if self.expires else 0

    @property
    def over(self):
        return self.expires is not None and self.expires < duration.now()

    @property
    def lease(self):
        return f"{self.path}/h{uuid.uuid5(uuid.NAMESPACE_OID, self.id).hex}{uuid.uuid5(uuid.NAMESPACE_URL, self.id).hex}"

    def told(self):
        """As a lookup tells it."""
        told = {"id": self.id, "accessor": self.accessor, "policies": self.policies, "path": self.path,
                "meta": self.meta, "display_name": self.display_name, "num_uses": self.uses,
                "orphan": self.parent is None, "creation_time": int(self.made), "creation_ttl": self.ttl,
                "expire_time": None, "ttl": 0, "explicit_max_ttl": self.explicit, "entity_id": self.entity,
                "type": self.kind}
        optional = {"role": self.role, "period": self.period, "bound_cidrs": self.cidrs}
        told |= {name: value for name, value in optional.items() if value}
        if self.issued:
            told |= {"renewable": self.renewable, "issue_time": duration.stamp(self.issued)}
        if self.expires:
            told |= {"expire_time": duration.stamp(self.expires), "ttl": self.left}
        if self.renewed:
            told |= {"last_renewal_time": int(self.renewed), "last_renewal": duration.stamp(self.renewed)}
        return told


class Tokens:
    def __init__(self):
        self.by_id, self.by_accessor = {}, {}

    def add(self, token):
        self.by_id[token.id] = token
        if token.accessor:
            self.by_accessor[token.accessor] = token
        return token

    def find(self, ident):
        token = self.by_id.get(ident)
        return token if token and token.alive and not token.over else None

    def children(self, token):
        return [one for one in self.by_id.values() if one.parent is token]

    def revoke(self, token):
        """With all that descend from it."""
        for child in self.children(token):
            self.revoke(child)
        self.drop(token)

    def revoke_alone(self, token):
        for child in self.children(token):
            child.parent = None
        self.drop(token)

    def drop(self, token):
        token.alive = False
        self.by_id.pop(token.id, None)
        self.by_accessor.pop(token.accessor, None)

    def sweep(self):
        """The end of what has expired."""
        for token in [one for one in self.by_id.values() if one.over]:
            self.revoke(token)
