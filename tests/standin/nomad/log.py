"""Purpose: log lines as Nomad prints them."""

import datetime
import sys


def line(level, where, message, **fields):
    now = datetime.datetime.now(datetime.timezone.utc)
    text = "".join(f" {key}={quote(value)}" for key, value in fields.items())
    sys.stdout.write(f"    {now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z [{level}]{' ' * (6 - len(level))}"
                     f"{where}: {message}{':' if fields else ''}{text}\n")
    sys.stdout.flush()


def quote(value):
    text = str(value)
    return f'"{text}"' if " " in text or '"' in text else text


def info(where, message, **fields):
    line("INFO", where, message, **fields)


def warn(where, message, **fields):
    line("WARN", where, message, **fields)


def error(where, message, **fields):
    line("ERROR", where, message, **fields)
