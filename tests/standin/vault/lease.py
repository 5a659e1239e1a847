"""Purpose: how long a token or a lease lives: its own wishes, its role's, its mount's and the system's."""

import duration
from failure import Fault


class Term:
    """TTL in seconds, and the warnings about wishes that were cut."""

    def __init__(self, mount, *, increment=0, ttl=0, period=0, longest=0, explicit=0, since=None):
        self.warnings, now = [], int(duration.now())
        since = now if since is None else int(since)
        limit = min(one for one in (mount.longest, longest, explicit) if one > 0)
        end = None
        if period > 0:
            if period > limit:
                self.warnings.append(f'period of "{duration.human(period)}" exceeded the effective max_ttl of '
                                     f'"{duration.human(limit)}"; period value is capped accordingly')
            self.ttl = min(period, limit)
            if explicit > 0:
                end = since + explicit
        else:
            self.ttl = next((one for one in (increment, ttl) if one > 0), mount.usual)
            end = since + limit
        if end is not None:
            self.cut(end - now)

    def cut(self, left):
        if left <= 0:
            raise Fault("past the max TTL, cannot renew")
        if self.ttl > left:
            self.warnings.append(f'TTL of "{duration.human(self.ttl)}" exceeded the effective max_ttl of '
                                 f'"{duration.human(left)}"; TTL value is capped accordingly')
            self.ttl = left
