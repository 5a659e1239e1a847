"""Purpose: whether the server is sealed, and what goes with it: its one key share, making a root token from it,
making another share."""

import base64
import binascii
import os
import random
import string
import uuid

from failure import Failure, refuse


def decoded(text):
    """A key share in hex or base64."""
    try:
        found = bytes.fromhex(text)
        if 16 <= len(found) <= 33:
            return found
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return refuse("'key' must be a valid hex or base64 string")


class Seal:
    def __init__(self):
        self.sealed = False
        self.share = base64.b64encode(os.urandom(32)).decode()
        self.cluster_name = f"vault-cluster-{random.randrange(16**8):08x}"
        self.cluster_id = str(uuid.uuid4())
        self.root, self.rekey = None, None

    def must_be_open(self):
        if self.sealed:
            raise Failure(503, "Vault is sealed")

    def unseal(self, text):
        key = decoded(text)
        if not self.sealed:
            return
        if not 16 <= len(key) <= 33:
            bound = "shorter than minimum 16" if len(key) < 16 else "longer than maximum 33"
            refuse(f"invalid key: key is {bound} bytes")
        if base64.b64encode(key).decode() != self.share:
            raise Failure(500, "unable to retrieve stored keys: failed to decrypt keys from storage: cipher: "
                               "message authentication failed")
        self.sealed = False

    # --- a root token from the share -------------------------------------------------------------

    def start_root(self):
        if self.root:
            refuse("root generation already in progress")
        otp = "".join(random.choices(string.ascii_letters + string.digits, k=26))
        self.root = {"nonce": str(uuid.uuid4()), "otp": otp}
        return otp

    def update_root(self, nonce, text, make):
        """The token encoded with the one-time password; MAKE gives the token."""
        if not self.root:
            refuse("no root generation in progress")
        if nonce != self.root["nonce"]:
            refuse(f"incorrect nonce supplied; nonce for this root generation operation is "
                   f"\"{self.root['nonce']}\"")
        if base64.b64encode(decoded(text)).decode() != self.share:
            refuse("root generation aborted: invalid key provided")
        token, otp = make(), self.root["otp"]
        self.root = None
        mixed = bytes(one ^ other for one, other in zip(token.encode(), otp.encode()))
        return base64.b64encode(mixed).decode().rstrip("=")
