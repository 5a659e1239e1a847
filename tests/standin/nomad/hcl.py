"""Purpose: read the part of HCL that agents' configuration is written in: blocks with labels,
strings, here-documents, numbers, booleans, lists, objects and comments."""

import re

TOKEN = re.compile(r"""
    (?P<space>[ \t\r]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<newline>\n)
  | (?P<heredoc><<-?(?P<mark>\w+)\n(?P<text>.*?)\n?[ \t]*(?P=mark)(?=\n|$))
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
  | (?P<name>[A-Za-z_][\w.-]*)
  | (?P<sign>[={}\[\],:])
""", re.VERBOSE | re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
WORDS = {"true": True, "false": False, "null": None}


class Error(Exception):
    pass


class Reader:
    def __init__(self, text):
        self.tokens = list(tokens(text))
        self.at = 0

    def peek(self):
        return self.tokens[self.at]

    def next(self):
        token = self.tokens[self.at]
        self.at += 1
        return token

    def fail(self, what):
        _, value, line, column = self.peek()
        raise Error(f"At {line}:{column}: {what} got: {value or 'EOF'}")

    def skip_newlines(self):
        while self.peek()[0] == "newline":
            self.at += 1

    def expect(self, sign):
        if self.peek()[1] != sign or self.peek()[0] != "sign":
            self.fail(f"expected {sign}")
        self.at += 1

    def is_sign(self, sign):
        return self.peek()[:2] == ("sign", sign)


def tokens(text):
    line, start, at = 1, 0, 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Error(f"At {line}:{at - start + 1}: illegal character: {text[at]!r}")
        kind = match.lastgroup if match.lastgroup not in ("mark", "text") else "heredoc"
        if kind != "space":
            value = heredoc(match) if kind == "heredoc" else match[0]
            yield kind, value, line, at - start + 1
        if "\n" in match[0]:
            line += match[0].count("\n")
            start = at + match[0].rindex("\n") + 1
        at = match.end()
    yield "end", "", line, at - start + 1


def heredoc(match):
    """The text of a here-document; of one that begins with <<- without what all its lines are indented by."""
    lines = match["text"].split("\n")
    if match[0].startswith("<<-"):
        indents = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()]
        lines = [line[min(indents, default=0):] for line in lines]
    return "\n".join(lines) + "\n"


def parse(text):
    reader = Reader(text)
    body = read_body(reader, "end")
    return body


def read_body(reader, end):
    """Attributes and blocks up to the end of the file or to a closing brace."""
    body = {}
    while True:
        reader.skip_newlines()
        if reader.is_sign(","):
            reader.next()
            continue
        if end == "end" and reader.peek()[0] == "end":
            return body
        if end == "}" and reader.is_sign("}"):
            reader.next()
            return body
        if end == "}" and reader.peek()[0] == "end":
            _, _, line, column = reader.peek()
            raise Error(f"At {line}:{column + 1}: object expected closing RBRACE got: EOF")
        read_item(reader, body)


def read_item(reader, body):
    if reader.peek()[0] not in ("name", "string"):
        reader.fail("expected a key or a block,")
    key = read_key(reader)
    if reader.is_sign("=") or reader.is_sign(":"):
        reader.next()
        put(body, key, read_value(reader))
        return
    labels = []
    while reader.peek()[0] in ("string", "name"):
        labels.append(read_key(reader))
    if not reader.is_sign("{"):
        reader.fail("nested object expected: LBRACE")
    reader.next()
    value = read_body(reader, "}")
    for label in reversed(labels):
        value = {label: value}
    put(body, key, value)


def put(body, key, value):
    """A block that comes twice adds to the first."""
    if isinstance(value, dict) and isinstance(body.get(key), dict):
        merge(body[key], value)
    else:
        body[key] = value


def merge(into, other):
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def read_key(reader):
    kind, value, _, _ = reader.next()
    return unquote(value) if kind == "string" else value


def unquote(text):
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[0]), text[1:-1])


def read_value(reader):
    kind, value, _, _ = reader.peek()
    if kind == "string":
        reader.next()
        return unquote(value)
    if kind == "heredoc":
        reader.next()
        return value
    if kind == "number":
        reader.next()
        return float(value) if "." in value else int(value)
    if kind == "name" and value in WORDS:
        reader.next()
        return WORDS[value]
    if reader.is_sign("["):
        return read_list(reader)
    if reader.is_sign("{"):
        reader.next()
        return read_body(reader, "}")
    return reader.fail("unknown value,")


def read_list(reader):
    reader.expect("[")
    values = []
    while True:
        reader.skip_newlines()
        if reader.is_sign("]"):
            reader.next()
            return values
        values.append(read_value(reader))
        reader.skip_newlines()
        if reader.is_sign(","):
            reader.next()
        elif not reader.is_sign("]"):
            reader.fail("error parsing list, expected comma or list end,")
