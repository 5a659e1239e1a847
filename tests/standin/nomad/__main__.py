#!/usr/bin/python3
"""Purpose: a stand-in for the program `nomad`, for tests on machines that have none: the agent's life
under systemd, its entries in Consul, its servers and clients, and its HTTP API. Its jobs are placed and said to run;
no task is started."""

import sys

sys.dont_write_bytecode = True

from release import VERSION  # noqa: E402

USAGE = "Usage: nomad version | agent -config PATH... | config validate PATH..."


def paths_of(arguments):
    """-config PATH, -config=PATH and plain paths."""
    paths, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-config", "--config"):
            if not rest:
                sys.exit("flag needs an argument: -config")
            paths.append(rest.pop(0))
        elif word.startswith(("-config=", "--config=")):
            paths.append(word.split("=", 1)[1])
        elif word.startswith("-"):
            sys.exit(f"flag provided but not defined: {word}")
        else:
            paths.append(word)
    return paths


def validate(paths):
    import configuration
    try:
        configuration.Settings(configuration.load(paths)).check()
    except configuration.Error as error:
        print(error, file=sys.stderr)
        return 1
    print("Configuration is valid!")
    return 0


def main(arguments):
    if arguments[:1] in (["version"], ["-v"], ["-version"], ["--version"]):
        print(f"Nomad v{VERSION}\nBuildDate 1970-01-01T00:00:00Z\nRevision stand-in")
        return 0
    if arguments[:1] == ["agent"]:
        import agent
        return agent.run(paths_of(arguments[1:]))
    if arguments[:2] == ["config", "validate"]:
        return validate(paths_of(arguments[2:]))
    print(USAGE, file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
