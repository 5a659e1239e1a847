"""Purpose: who somebody is, and which policies that gives: what methods and the token backend answer."""


class Auth:
    """Who somebody is, as an auth method or the token backend says it; the core adds the token."""

    def __init__(self, policies, **more):
        self.policies, self.token_policies, self.identity_policies = policies, None, []
        self.token, self.display_name, self.meta, self.alias, self.entity = None, "", None, None, ""
        self.ttl = self.longest = self.explicit = self.period = self.uses = 0
        self.kind, self.no_default, self.cidrs, self.renew = "default", False, [], None
        # Is the token itself told, and how many seconds of it: None for all that it has.
        self.shown, self.seconds = True, None
        for name, value in more.items():
            setattr(self, name, value)


def clean(names, add_default=False):
    """Policies as Vault keeps them: lower case, each once, sorted; root stands alone."""
    found = {one.strip().lower() for one in names if one.strip()}
    if "root" in found:
        return ["root"]
    return sorted(found | ({"default"} if add_default else set()))


def told_auth(answer):
    """The auth part of an answer."""
    auth = answer.auth
    if not auth:
        return None
    token = auth.token
    told = {"client_token": token.id if auth.shown else "", "accessor": token.accessor, "policies": auth.policies}
    if auth.token_policies:
        told["token_policies"] = auth.token_policies
    if auth.identity_policies:
        told["identity_policies"] = auth.identity_policies
    return told | {"metadata": auth.meta, "lease_duration": token.ttl if auth.seconds is None else auth.seconds,
                   "renewable": token.renewable, "entity_id": token.entity, "token_type": token.kind,
                   "orphan": token.parent is None}
