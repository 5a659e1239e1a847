#!/usr/bin/python3
"""Purpose: a stand-in for the program `vault` as `server -dev` starts it, for tests on machines that have none:
its HTTP API with tokens, policies, mounts and the key-value engine, all of it in memory."""

import sys

sys.dont_write_bytecode = True

from release import VERSION  # noqa: E402

USAGE = "Usage: vault version | server -dev [-dev-root-token-id=TOKEN] [-dev-listen-address=HOST:PORT]"
KNOWN = ("dev", "dev-root-token-id", "dev-listen-address", "dev-no-store-token", "log-level")


def options_of(arguments):
    """-name=value, -name value and -name."""
    found, rest = {}, list(arguments)
    while rest:
        name, sign, value = rest.pop(0).lstrip("-").partition("=")
        if name not in KNOWN:
            sys.exit(f"flag provided but not defined: -{name}")
        if not sign and name not in ("dev", "dev-no-store-token"):
            if not rest:
                sys.exit(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        found[name] = value
    return found


def main(arguments):
    if arguments[:1] in (["version"], ["-v"], ["-version"], ["--version"]):
        print(f"Vault v{VERSION} (stand-in)")
        return 0
    if arguments[:1] == ["server"]:
        options = options_of(arguments[1:])
        if "dev" not in options:
            print("Must specify at least one config path using -config", file=sys.stderr)
            return 1
        import server
        return server.run(options.get("dev-listen-address") or "127.0.0.1:8200", options.get("dev-root-token-id"))
    print(USAGE, file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
