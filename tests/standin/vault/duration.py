"""Purpose: times and durations in Go's notation."""

import datetime
import re
import time

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
PART = r"(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h)"


def parse(text):
    """Seconds of a Go duration such as 1h30m."""
    if text.lstrip("+-") == "0":
        return 0
    if not re.fullmatch(rf"[-+]?(?:{PART})+", text):
        bare = re.fullmatch(r"[-+]?(?:\d+\.?\d*|\.\d+)", text)
        unknown = re.match(r"[-+]?(?:" + PART + r")*(?:\d+\.?\d*|\.\d+)([^\d.]+)", text)
        if bare:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unknown:
            raise ValueError(f'time: unknown unit "{unknown[1]}" in duration "{text}"')
        raise ValueError(f'time: invalid duration "{text}"')
    total = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ns|us|µs|ms|s|m|h)", text))
    return -total if text.startswith("-") else total


def seconds(value):
    """What Vault 1.8 takes for a duration: a number of seconds, or a Go duration. Raises ValueError."""
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError("could not parse duration from input")
    if value[-1] in "smh":
        return parse(value)
    return integer(value)


def integer(text):
    if not re.fullmatch(r"[-+]?\d+", text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -2**63 <= int(text) < 2**63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def go(value):
    """86400 as 24h0m0s, Go's own print of a duration."""
    if value < 0:
        return "-" + go(-value)
    whole = int(value)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def human(value):
    """86400 as 24h."""
    text = go(value)
    text = text[:-2] if text.endswith("m0s") else text
    return re.sub("h0m$", "h", text)


def now():
    return time.time()


def stamp(moment=None):
    """RFC 3339 with nanoseconds, trailing zeros gone."""
    moment = time.time_ns() if moment is None else int(moment * 10**9)
    whole, rest = divmod(moment, 10**9)
    day = datetime.datetime.fromtimestamp(whole, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{rest:09d}".rstrip("0")
    return day + (f".{fraction}" if fraction else "") + "Z"
