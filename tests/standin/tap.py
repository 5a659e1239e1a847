"""Purpose: what the checks of all stand-ins share: results as TAP, waiting, requests."""

import json
import time
import urllib.error
import urllib.request

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
results = []


def report(good, text, note=""):
    results.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(results)} - {text}", flush=True)
    if note and not good:
        for row in str(note).splitlines()[:12]:
            print(f"  # {row}")


def finish():
    print(f"1..{len(results)}")
    return 0 if results and all(results) else 1


def until(what, seconds=60):
    """Until WHAT gives something true; None when it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = what()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    return None


def ask(port, method, path, body=None, headers=None):
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, method=method, headers=headers or {})
    try:
        with DIRECT.open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()
