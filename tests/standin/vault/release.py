"""Purpose: the version of Vault that this stand-in answers as."""

VERSION = "1.8.0-dev"
