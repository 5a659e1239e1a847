"""Purpose: read the HCL that policies are written in, and refuse the rest of it with the words of HCL's parser."""

import re

TOKEN = re.compile(r"""
    (?P<space>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<STRING>"(?:[^"\\\n]|\\.)*")
  | (?P<NUMBER>-?\d+(?:\.\d+)?)
  | (?P<BOOL>(?:true|false)\b)
  | (?P<IDENT>[A-Za-z_][\w.-]*)
  | (?P<sign>[={}\[\],])
""", re.VERBOSE | re.DOTALL | re.ASCII)
SIGNS = {"=": "ASSIGN", "{": "LBRACE", "}": "RBRACE", "[": "LBRACK", "]": "RBRACK", ",": "COMMA"}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class Error(Exception):
    pass


class Item:
    """KEYS, then a value: a list of items for an object, else a string, number, boolean or list."""

    def __init__(self, names, value, line, column):
        self.keys, self.value, self.line, self.column = names, value, line, column


class Reader:
    def __init__(self, text):
        self.tokens, self.at = list(scan(text)), 0

    @property
    def kind(self):
        return self.tokens[self.at][0]

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def fail(self, what, place=True):
        _, value, line, column = self.tokens[self.at]
        raise Error(f"At {line}:{column}: " + what + (f" got: {self.kind}" if place else ""))

    def items(self, inside):
        """Items up to the end of the file, or of the object."""
        found = []
        while self.kind not in ("EOF", "RBRACE") or (self.kind == "RBRACE" and not inside):
            found.append(self.item())
            if self.kind == "COMMA":
                self.next()
        return found

    def item(self):
        _, _, line, column = self.tokens[self.at]
        names = []
        while self.kind in ("IDENT", "STRING", "BOOL"):
            names.append(self.next()[1])
        if not names or self.kind not in ("ASSIGN", "LBRACE"):
            if names and self.kind == "EOF":
                self.fail("EOF token found", False)
            self.fail("expected: IDENT | STRING | ASSIGN | LBRACE")
        if self.kind == "ASSIGN":
            if len(names) > 1:
                self.fail("nested object expected: LBRACE")
            self.next()
        _, _, line, column = self.tokens[self.at]
        return Item(names, self.value(), line, column)

    def value(self):
        kind, value, line, column = self.next()
        if kind in ("STRING", "NUMBER", "BOOL"):
            return value
        if kind == "LBRACK":
            return self.list()
        if kind == "LBRACE":
            found = self.items(True)
            if self.kind != "RBRACE":
                self.fail("object expected closing RBRACE")
            self.next()
            return found
        self.at -= 1
        return self.fail(f"Unknown token: {line}:{column} {kind} {value}", False)

    def list(self):
        found, wanted = [], True
        while self.kind != "RBRACK":
            if self.kind == "COMMA" and not wanted:
                self.next()
                wanted = True
                continue
            if not wanted:
                self.fail(f"error parsing list, expected comma or list end, got: {self.kind}", False)
            if self.kind not in ("STRING", "NUMBER", "BOOL", "LBRACK", "LBRACE"):
                self.fail(f"object expected closing RBRACE got: {self.kind}", False)
            found.append(self.value())
            wanted = False
        self.next()
        return found


def scan(text):
    line, start, at = 1, 0, 0
    while at < len(text):
        match = TOKEN.match(text, at)
        column = at - start + 1
        if not match:
            if text[at] == '"':
                raise Error(f"At {line}:{len(text) - start + 1}: literal not terminated")
            raise Error(f"At {line}:{column}: illegal char")
        kind = match.lastgroup
        if kind != "space":
            yield (SIGNS[match[0]] if kind == "sign" else kind), meaning(kind, match[0]), line, column
        if "\n" in match[0]:
            line += match[0].count("\n")
            start = at + match[0].rindex("\n") + 1
        at = match.end()
    yield "EOF", "", line, at - start + 2


def meaning(kind, text):
    if kind == "STRING":
        return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[0]), text[1:-1], flags=re.DOTALL)
    if kind == "BOOL":
        return text == "true"
    return text


def parse(text):
    reader = Reader(text)
    return reader.items(False)
