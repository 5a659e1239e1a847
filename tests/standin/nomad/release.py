"""Purpose: the version that the stand-in says it is; packaging it writes another one here, and the environment of
a test may name one. What a version does not have yet it answers as that version does: 404."""

import os

VERSION = "1.9.7"
if "NOMAD_STANDIN_VERSION" in os.environ:
    VERSION = os.environ["NOMAD_STANDIN_VERSION"]


def at_least(major, minor):
    return tuple(int(part) for part in VERSION.split(".")[:2]) >= (major, minor)
