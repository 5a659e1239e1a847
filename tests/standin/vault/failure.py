"""Purpose: the ways in which a request fails, with Vault's status and shape of the text."""


class Failure(Exception):
    """An answer that is an error: the text goes out as it is. Without a text the list of errors is empty."""

    def __init__(self, status, text=None):
        super().__init__(text)
        self.status, self.text = status, text


class Fault(Exception):
    """An error that travels up through the core, which lists it among the errors that occurred."""

    def __init__(self, text, status=500):
        super().__init__(text)
        self.status, self.text = status, text


def listed(*texts):
    """Several errors, or one, as the core tells them."""
    count = f"{len(texts)} error{'' if len(texts) == 1 else 's'} occurred:"
    return count + "".join(f"\n\t* {text}" for text in texts) + "\n\n"


def refuse(text, status=400):
    raise Failure(status, text)


def denied():
    raise Fault("permission denied", 403)


def unsupported_path():
    raise Fault("unsupported path", 404)


def unsupported_operation():
    raise Fault("unsupported operation", 405)
