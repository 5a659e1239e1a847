"""Purpose: the version that the stand-in says it is; packaging it writes another one here."""

VERSION = "1.9.7"
