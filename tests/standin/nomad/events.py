"""Purpose: the stream of events: what has changed since an index, then each change as it comes, a line of JSON
an index, and an empty object now and then so that silence tells nothing."""

import json

from acl import Denied
from request import Refused

BEAT = 10.0
BY_NAMESPACE = ("Job", "Evaluation", "Allocation", "Deployment")


def topics(query):
    """[(topic, key)] of topic=Job, topic=Job:web, topic=*:*; all where none is named."""
    return [tuple((text.split(":", 1) + ["*"])[:2]) for text in query] or [("*", "*")]


def check(request, wanted):
    """What the token may follow."""
    for topic, _ in wanted:
        if topic in BY_NAMESPACE:
            request.need_namespace("read-job")
        elif topic == "Node":
            request.need_area("node", "read")
        else:
            request.need_management()


def fits(event, wanted, space):
    if event["Namespace"] and space not in ("*", event["Namespace"]):
        return False
    return any(topic in ("*", event["Topic"]) and key in ("*", event["Key"], *(event["FilterKeys"] or ()))
               for topic, key in wanted)


def follow(request, wanted):
    """The lines of the stream, without end."""
    cluster, seen = request.cluster, int(request.query.get("index") or 0) - 1
    yield "{}\n"
    while True:
        with cluster.changed:
            found = news(cluster, seen)
            if not found:
                cluster.changed.wait(BEAT)
                found = news(cluster, seen)
        if not found:
            yield "{}\n"
        for index, events in found.items():
            seen = index
            told = [event for event in events if fits(event, wanted, request.namespace)]
            if told:
                yield json.dumps({"Index": index, "Events": told}, separators=(",", ":")) + "\n"


def news(cluster, seen):
    """{index: its events} after SEEN. The present index may get more events while its change is still at work,
    which holds the lock: who has the lock sees all of it."""
    found = {}
    for event in cluster.events:
        if event["Index"] > seen:
            found.setdefault(event["Index"], []).append(event)
    return found


def stream(request, queries):
    index = request.query.get("index") or "0"
    if not index.isdigit():
        raise Refused(400, f'Unable to parse index: strconv.Atoi: parsing "{index}": invalid syntax')
    wanted = topics(queries)
    try:
        check(request, wanted)
    except Denied as error:
        raise Refused(500, str(error), "application/json") from error
    return follow(request, wanted)
