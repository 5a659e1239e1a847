"""Purpose: what all of a server's tables share: the index that every change raises, who waits for it, and the
events that are told of changes."""

import collections
import copy
import threading
import time
import uuid

EVENTS_KEPT = 100


class NotFound(Exception):
    """An answer 404 with the index of what was looked for."""


class Failed(Exception):
    """The server's refusal; 500 unless it says otherwise."""

    def __init__(self, text, status=500):
        super().__init__(text)
        self.status = status


def new_id():
    return str(uuid.uuid4())


class Store:
    def __init__(self):
        self.changed = threading.Condition()
        self.index = 1
        self.tables = {}
        self.events = collections.deque(maxlen=EVENTS_KEPT)

    def touch(self, *tables):
        """A change of these tables: the caller holds the lock."""
        self.index += 1
        for table in tables or ("nodes",):
            self.tables[table] = self.index
        self.changed.notify_all()
        return self.index

    def table_index(self, *tables):
        return max(self.tables.get(table, 0) for table in tables)

    def tell(self, topic, kind, key, payload, namespace="", filters=None):
        """An event of the change that has just been made."""
        self.events.append({"Topic": topic, "Type": kind, "Key": key, "Namespace": namespace, "FilterKeys": filters,
                            "Index": self.index, "Payload": {topic: copy.deepcopy(payload)}})
        self.changed.notify_all()

    def wait(self, read, index, seconds):
        """A blocking query: READ() -> (value, index) until its index is above INDEX, at most SECONDS."""
        end = time.monotonic() + seconds
        with self.changed:
            found = read()
            while found[1] <= index and time.monotonic() < end:
                self.changed.wait(end - time.monotonic())
                found = read()
            return found
