"""Purpose: the five fields of a cron line: are they valid, and when is the next time."""

import datetime
import re

SHORT = {"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
         "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *"}
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Error(Exception):
    pass


def values(text, low, high):
    found = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\*|\d+)(?:-(\d+))?(?:/(\d+))?", part)
        if not match:
            raise Error(f"syntax error in field: '{text}'")
        start = low if match[1] == "*" else int(match[1])
        end = int(match[2]) if match[2] else high if match[1] == "*" or match[3] else start
        if start < low or end > high:
            raise Error(f"syntax error in field: '{text}'")
        found |= set(range(start, end + 1, int(match[3] or 1)))
    return found


def parse(spec):
    parts = SHORT.get(spec, spec).split()
    if len(parts) < 5:
        raise Error("missing field(s)")
    return [values(part, low, high) for part, (low, high) in zip(parts, BOUNDS)], parts


def next_time(spec, after):
    """The next minute that fits, in the time zone of AFTER; None when there is none in five years."""
    (minutes, hours, days, months, weekdays), parts = parse(spec)
    weekdays = {day % 7 for day in weekdays}
    day = after.replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(5 * 366):
        by_date, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        # Two restrictions of the day are alternatives.
        fits = by_date or by_weekday if parts[2] != "*" and parts[4] != "*" else by_date and by_weekday
        if fits and day.month in months:
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    found = day.replace(hour=hour, minute=minute)
                    if found > after:
                        return found
        day += datetime.timedelta(days=1)
    return None
