"""Purpose: the server's life: listen, say what a dev server says, run until a signal."""

import queue
import signal
import threading

import api
from core import Core
from release import VERSION
from tokens import random_name

BANNER = """WARNING! dev mode is enabled! In this mode, Vault runs entirely in-memory
and starts unsealed with a single unseal key. The root token is already
authenticated to the CLI, so you can immediately begin using Vault.

You may need to set the following environment variable:

    $ export VAULT_ADDR='http://{address}'

The unseal key and root token are displayed below in case you want to
seal/unseal the Vault or re-authenticate.

Unseal Key: {key}
Root Token: {token}

Development mode should NOT be used in production installations!
"""


def run(address, root_token):
    # SimpleQueue may be used inside a signal handler, which an Event's lock may not.
    caught = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: caught.put(number))
    host, _, port = address.rpartition(":")
    core = Core(root_token or "s." + random_name())
    try:
        listener = api.Listener((host.strip("[]"), int(port)), core)
    except (OSError, ValueError) as error:
        print(f"Error initializing listener of type tcp: listen tcp {address}: {error}", flush=True)
        return 1
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(f"==> Vault server configuration:\n\n             Api Address: http://{address}\n"
          f"                 Version: Vault v{VERSION}\n\n==> Vault server started! Log data will stream in below:\n")
    print(BANNER.format(address=address, key=core.seal.share, token=core.root_token), flush=True)
    caught.get()
    print("==> Vault shutdown triggered", flush=True)
    return 0
