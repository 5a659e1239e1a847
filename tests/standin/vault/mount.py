"""Purpose: one mounted backend: what it is, its settings, and its leases' lengths."""

import random
import uuid

SYSTEM_TTL = 768 * 3600


class Mount:
    """PATH ends in a slash and is that of the API: auth/ before it for an auth method."""

    def __init__(self, path, kind, backend, description="", *, local=False, seal_wrap=False, entropy=False,
                 options=None, accessor=None):
        self.path, self.kind, self.backend, self.description = path, kind, backend, description
        self.local, self.seal_wrap, self.entropy, self.options = local, seal_wrap, entropy, options
        self.accessor = f"{accessor or kind}_{random.randrange(16**8):08x}"
        self.uuid = str(uuid.uuid4())
        self.default_ttl = self.max_ttl = 0
        self.no_cache, self.listing, self.token_type = False, "", "default-service"
        # Lists that are told when they were set: audit_non_hmac_request_keys and their like.
        self.lists = {}
        backend.mount = self

    @property
    def is_auth(self):
        return self.path.startswith("auth/")

    @property
    def longest(self):
        return self.max_ttl or SYSTEM_TTL

    @property
    def usual(self):
        return self.default_ttl or SYSTEM_TTL

    def told(self):
        """As sys/mounts and sys/auth list it."""
        config = {"default_lease_ttl": self.default_ttl, "max_lease_ttl": self.max_ttl, "force_no_cache": self.no_cache,
                  **self.lists}
        if self.listing:
            config["listing_visibility"] = self.listing
        if self.is_auth:
            config["token_type"] = self.token_type
        return {"type": self.kind, "description": self.description, "accessor": self.accessor, "local": self.local,
                "seal_wrap": self.seal_wrap, "external_entropy_access": self.entropy, "options": self.options,
                "uuid": self.uuid, "config": config}

    def tuning(self):
        """As .../tune reads it."""
        told = {"description": self.description, "default_lease_ttl": self.usual, "max_lease_ttl": self.longest,
                "force_no_cache": self.no_cache, **self.lists}
        if self.entropy:
            told["external_entropy_access"] = True
        if self.is_auth:
            told["token_type"] = self.token_type
        if self.listing:
            told["listing_visibility"] = self.listing
        if self.options:
            told["options"] = dict(self.options)
        return told
