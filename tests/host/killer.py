#!/usr/bin/env python3
"""Runs a command in a lab host and ends it at a given point of its journal, as near to it as polling can be.

    killer.py '{"signal": "KILL", "whom": "tree", "event": "change.start", "delay": 0.01, ...}' COMMAND...

whom: "alone" (moonbook; apt, dpkg, systemctl go on) or "tree" (all that descend from it, held first so that none slips
away). The point is one of
    event, count, kind, target     the count-th line of a run's journal with that event; kind, target: parts of its own
    dpkg, package                  dpkg has noted that state for that package: "half-installed", "unpacked", ...
    seconds                        that long after the start
    state                          where the journals are, if not in /var/lib
each followed by `delay` seconds. again: a second signal so many seconds after the first. Prints one JSON object: fired
(the line or text that it waited for, if it came), code or signal, stdout, stderr, seconds from the signal to the end.
"""
import glob, json, os, signal, subprocess, sys, tempfile, time

PATIENCE = 120  # for a command that never ends


def journal_point(point, known):
    for path in set(glob.glob(journals(point))) - known:
        with open(path, encoding="utf-8", errors="replace") as journal:
            lines = journal.read().split("\n")[:-1]
        matching = [line for line in lines if matches(json.loads(line), point)]
        if len(matching) >= point.get("count", 1):
            return json.loads(matching[-1])
    return None


def journals(point):
    return point.get("state", "/var/lib") + "/moonbook/runs/*/journal.jsonl"


def matches(line, point):
    return (line["event"] == point["event"] and point.get("kind", "") in line.get("kind", "")
            and point.get("target", "") in line.get("target", ""))


def dpkg_point(point):
    for path in ["/var/lib/dpkg/status", *sorted(glob.glob("/var/lib/dpkg/updates/*"))]:
        try:
            with open(path, encoding="utf-8", errors="replace") as status:
                text = status.read()
        except FileNotFoundError:
            continue
        for entry in text.split("\n\n"):
            lines = entry.split("\n")
            if "Package: " + point["package"] in lines and any(
                    line.startswith("Status: ") and line.endswith(" " + point["dpkg"]) for line in lines):
                return f"{point['package']} is {point['dpkg']}"
    return None


def descendants(top):
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="ascii", errors="replace") as stat:
                text = stat.read()
        except OSError:
            continue
        pid, parent = int(text.split(" ", 1)[0]), int(text.rsplit(")", 1)[1].split()[1])
        children.setdefault(parent, []).append(pid)
    found = [top]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def strike(top, whom, number):
    if whom == "alone":
        send(top, number)
        return
    held = set()
    while True:  # until a look finds nobody new: a held process starts no more
        new = set(descendants(top)) - held
        if not new:
            break
        for pid in new:
            send(pid, signal.SIGSTOP)
        held |= new
    for pid in held:
        send(pid, number)


def main():
    point, command = json.loads(sys.argv[1]), sys.argv[2:]
    number = getattr(signal, "SIG" + point.get("signal", "KILL"))
    known, fired = set(glob.glob(journals(point))), None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        while child.poll() is None and not fired and time.monotonic() - started < PATIENCE:
            if "event" in point:
                fired = journal_point(point, known)
            elif "dpkg" in point:
                fired = dpkg_point(point)
            elif time.monotonic() - started >= point["seconds"]:
                fired = f"{point['seconds']} s"
            if not fired:
                time.sleep(0.0002)
        struck = time.monotonic()
        if fired:
            time.sleep(point.get("delay", 0))
            struck = time.monotonic()
            strike(child.pid, point.get("whom", "alone"), number)
            if "again" in point:
                time.sleep(point["again"])
                strike(child.pid, point.get("whom", "alone"), number)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            strike(child.pid, "tree", signal.SIGKILL)
            child.wait()
        took = time.monotonic() - struck
        out.seek(0)
        err.seek(0)
        result = {"fired": fired, "seconds": took, "stdout": out.read().decode(errors="replace"),
                  "stderr": err.read().decode(errors="replace"),
                  "code": child.returncode if child.returncode >= 0 else None,
                  "signal": -child.returncode if child.returncode < 0 else None}
        print(json.dumps({name: value for name, value in result.items() if value is not None}))


main()
