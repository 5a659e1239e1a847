#!/usr/bin/env python3
"""A server that misbehaves, on loopback, for tests/lua/hostile.lua.

    hostile_server.py FOLDER

FOLDER has the certificates that hostile.lua made; the Unix socket comes there too. One line of JSON tells the ports,
by name, and the misbehaviours that are known. What is wrong is chosen by the first segment of the path, "CASE~WHO":
/reset~consul/v1/catalog/nodes. Other ports: `elsewhere` and `elsewhere_tls` write down what reaches them, `proxy` is
an HTTP proxy, `NAME` of each certificate a server with it, `refused` is nobody's.
GET /seen/ tells what came in so far: {"requests": {"CASE~WHO": ["head", ...]}, "elsewhere": [...], "proxy": [...]}.
"""
import base64
import email.utils
import gzip
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

SLOW = 0.02  # seconds between two bytes of a server that drips
MEGABYTE = 1 << 20
seen = {"requests": {}, "elsewhere": [], "proxy": []}
ports = {}
cases = {}


def case(function):
    cases[function.__name__.replace("_", "-")] = function
    return function


def named(name, function):
    cases[name] = function


# ---- what is sent ----

def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def drip(peer, pieces):
    for piece in pieces:
        peer.sendall(piece)
        time.sleep(SLOW)


def forever(piece):
    while True:
        yield piece


def flood(peer, piece):
    for part in forever(piece * (MEGABYTE // len(piece) + 1)):
        peer.sendall(part)


def hold(peer):
    """Says nothing more, until the other side goes."""
    peer.settimeout(60)
    while peer.recv(65536):
        pass


def head(status="200 OK", *headers, kind="application/json"):
    lines = ["HTTP/1.1 " + status] + (["Content-Type: " + kind] if kind else []) + list(headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(peer, body=b"", status="200 OK", *headers, kind="application/json"):
    if isinstance(body, str):
        body = body.encode()
    peer.sendall(head(status, "Content-Length: %d" % len(body), *headers, kind=kind) + body)


def bytes_case(name, data):
    """Sends these bytes and closes."""
    named(name, lambda peer, _: peer.sendall(data))


def answer_case(name, body, *headers, status="200 OK", kind="application/json"):
    named(name, lambda peer, _: answer(peer, body, status, *headers, kind=kind))


def endless_case(name, start, piece):
    def flow(peer, _):
        peer.sendall(start)
        flood(peer, piece)
    named(name, flow)


def drip_case(name, start, pieces):
    def flow(peer, _):
        peer.sendall(start)
        drip(peer, pieces())
    named(name, flow)


# ---- connections ----

named("close", lambda peer, _: None)
named("reset", lambda peer, _: reset(peer))
named("silent", lambda peer, _: hold(peer))


def cut_case(name, data):
    """The same bytes, then the connection is closed, or reset, or nothing comes any more."""
    bytes_case("close-in-" + name, data)

    def with_reset(peer, _):
        peer.sendall(data)
        time.sleep(0.02)  # or the bytes would be lost with the connection
        reset(peer)

    def with_stall(peer, _):
        peer.sendall(data)
        hold(peer)
    named("reset-in-" + name, with_reset)
    named("stall-in-" + name, with_stall)


cut_case("status", b"HTTP/1.1 20")
cut_case("headers", b"HTTP/1.1 200 OK\r\nContent-Type: applicat")
cut_case("body", head("200 OK", "Content-Length: 1000") + b'[{"ID": "a')
cut_case("chunk", head("200 OK", "Transfer-Encoding: chunked") + b'20\r\n[{"ID": "a')

drip_case("drip-status", b"HTTP/1.1 200 ", lambda: forever(b"O"))
drip_case("drip-headers", b"HTTP/1.1 200 OK\r\n", lambda: forever(b"X-A: b\r\n"))
drip_case("drip-header", b"HTTP/1.1 200 OK\r\nX-A: ", lambda: forever(b"b"))
drip_case("drip-body", head("200 OK", "Content-Length: 1000000"), lambda: forever(b" "))
drip_case("drip-chunks", head("200 OK", "Transfer-Encoding: chunked"), lambda: forever(b"1\r\n \r\n"))
drip_case("drip-error", head("500 Internal Server Error", "Content-Length: 1000000"), lambda: forever(b"e"))
drip_case("drip-100", b"", lambda: forever(b"HTTP/1.1 100 Continue\r\n\r\n"))

# ---- no end ----

endless_case("endless-status", b"HTTP/1.1 200 ", b"O")
endless_case("endless-headers", b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")
endless_case("endless-header", b"HTTP/1.1 200 OK\r\nX-A: ", b"b")
endless_case("endless-fold", b"HTTP/1.1 200 OK\r\nX-A: b\r\n", b" and on\r\n")
endless_case("endless-names", b"HTTP/1.1 200 OK\r\n", b"X" * 500 + b":\r\n")
endless_case("endless-body", head(), b"[1, 2, 3], ")
endless_case("endless-lines", head(), b"a line of the log, of some length\n")
endless_case("endless-chunks", head("200 OK", "Transfer-Encoding: chunked"), b"b\r\n[1, 2, 3], \r\n")
endless_case("endless-chunk-size", head("200 OK", "Transfer-Encoding: chunked"), b"0")
endless_case("endless-extension", head("200 OK", "Transfer-Encoding: chunked") + b"1; ", b"x")
endless_case("endless-trailers", head("200 OK", "Transfer-Encoding: chunked") + b"2\r\n[]\r\n0\r\n", b"X-T: u\r\n")
endless_case("endless-100", b"", b"HTTP/1.1 100 Continue\r\n\r\n")
endless_case("endless-103", b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
endless_case("endless-error", head("500 Internal Server Error"), b"it went wrong. ")
endless_case("endless-403", head("403 Forbidden", "Transfer-Encoding: chunked"), b"5\r\nnever\r\n")
endless_case("endless-redirect", head("302 Found", "Location: http://127.0.0.1:1/"), b"elsewhere ")
endless_case("endless-429", head("429 Too Many Requests", "Retry-After: 0"), b"busy ")
answer_case("many-headers", "[]", *["X-A: b"] * 20000)

# ---- lengths and chunks ----

bytes_case("length-long", head("200 OK", "Content-Length: 1000") + b"[]")
bytes_case("length-short", head("200 OK", "Content-Length: 5") + b'[{"ID": "a"}]')
bytes_case("length-negative", head("200 OK", "Content-Length: -1") + b"[]")
bytes_case("length-word", head("200 OK", "Content-Length: many") + b"[]")
bytes_case("length-beyond", head("200 OK", "Content-Length: " + "9" * 40) + b"[]")
bytes_case("length-exabyte", head("200 OK", "Content-Length: 9000000000000000000") + b"[]")
bytes_case("length-two", head("200 OK", "Content-Length: 2", "Content-Length: 13") + b'[{"ID": "a"}]')
bytes_case("length-list", head("200 OK", "Content-Length: 2, 13") + b'[{"ID": "a"}]')
bytes_case("length-and-chunks", head("200 OK", "Content-Length: 3", "Transfer-Encoding: chunked") + b"2\r\n[]\r\n0\r\n\r\n")
CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
bytes_case("chunk-word", CHUNKED + b"many\r\n[]\r\n0\r\n\r\n")
bytes_case("chunk-negative", CHUNKED + b"-2\r\n[]\r\n0\r\n\r\n")
bytes_case("chunk-huge", CHUNKED + b"ffffffffffffffffffff\r\n[]")
bytes_case("chunk-exabyte", CHUNKED + b"7fffffffffffffff\r\n[]")
bytes_case("chunk-short", CHUNKED + b"1\r\n[]\r\n0\r\n\r\n")
bytes_case("chunk-unended", CHUNKED + b"2\r\n[]\r\n")
bytes_case("chunk-twice", head("200 OK", "Transfer-Encoding: chunked, chunked") + b"2\r\n[]\r\n0\r\n\r\n")

# ---- encodings that nobody asked for ----

def bomb():
    """256 MiB of blanks in 256 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield from (packer.compress(b" " * MEGABYTE) for _ in range(256))
    yield packer.flush()


BOMB = b"".join(bomb())
answer_case("gzip", gzip.compress(b"[]"), "Content-Encoding: gzip")
answer_case("gzip-cut", gzip.compress(b"[1, 2, 3]" * 100)[:-20], "Content-Encoding: gzip")
answer_case("gzip-bomb", BOMB, "Content-Encoding: gzip")
bytes_case("transfer-gzip-bomb", head("200 OK", "Transfer-Encoding: gzip, chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BOMB), BOMB))
bytes_case("transfer-gzip-cut", head("200 OK", "Transfer-Encoding: gzip, chunked") + b"10\r\n%s\r\n0\r\n\r\n" % BOMB[:16])
bytes_case("transfer-unknown", head("200 OK", "Transfer-Encoding: rot13") + b"[]")

# ---- not HTTP ----

for wrong in ("000", "099", "99", "1000", "-1", "2x0", "OK", ""):
    bytes_case("status-" + (wrong or "none"), ("HTTP/1.1 %s Fine\r\nContent-Length: 2\r\n\r\n[]" % wrong).encode())
bytes_case("status-999", head("999 Odd", "Content-Length: 2") + b"[]")
bytes_case("version-7", b"HTTP/7.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
bytes_case("version-word", b"HTTP/one 200 OK\r\nContent-Length: 2\r\n\r\n[]")
bytes_case("switch-101", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n[]")
bytes_case("only-100", b"HTTP/1.1 100 Continue\r\n\r\n")
bytes_case("http09", b"<html>It works!</html>")
bytes_case("ssh", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
bytes_case("binary", bytes(range(256)) * 64)
bytes_case("nuls", b"\0" * 4096)
bytes_case("alert", b"\x15\x03\x01\x00\x02\x02\x46")
bytes_case("header-nameless", b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\n[]")
bytes_case("header-nul", b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\n[]")
bytes_case("header-none", b"HTTP/1.1 200 OK\r\n\r\n")

# ---- JSON ----

for name, body in {
        "json-cut": '[{"ID": "a", "Name',
        "json-trailing": '[] and more',
        "json-two": '[]\n[]',
        "json-nan": '[{"CreateIndex": NaN}]',
        "json-infinity": '[{"CreateIndex": -Infinity}]',
        "json-float": '[{"CreateIndex": 1e999}]',
        "json-digits": "[" + "7" * 10000 + "]",
        "json-comma": '[1, 2, ]',
        "json-quotes": "{'a': 1}",
        "json-comment": '[1] // one',
        "json-nul": b'[{"ID": "a\0b"}]',
        "json-nul-first": b'\0[]',
        "json-utf8": b'[{"ID": "\xff\xfe"}]',
        "json-overlong": b'[{"ID": "\xc0\x80"}]',
        "json-latin1": 'é'.encode("latin-1").join([b'[{"ID": "', b'"}]']),
        "json-surrogate": '[{"ID": "\\ud800"}]',
        "json-surrogates": '[{"ID": "\\udc00\\ud800"}]',
        "json-escape": '[{"ID": "\\x41"}]',
        "json-control": '[{"ID": "a\nb"}]',
        "json-bom": '\ufeff[]',
        "json-utf16": '[]'.encode("utf-16"),
        "json-word": 'nothing',
        "json-blank": '  \r\n\t ',
        "json-deep": "[" * 10_000_000,
        "json-deep-objects": '{"a":' * 2_000_000,
        "json-deep-closed": "[" * 5_000_000 + "]" * 5_000_000,
        "json-duplicate": '[{"ID": "first", "ID": "last"}]',
        "html-as-json": "<!DOCTYPE html><html><body>Please log in</body></html>"}.items():
    answer_case(name, body)
answer_case("html", "<!DOCTYPE html><html><body>Please log in</body></html>", kind="text/html; charset=utf-8")
answer_case("html-error", "<html>\n<head><title>502</title></head>" + "<p>nginx</p>" * 200 + "</html>", status="502 Bad Gateway",
            kind="text/html")
answer_case("json-as-html", '[{"ID": "a"}]', kind="text/html")
answer_case("json-as-picture", '[{"ID": "a"}]', kind="image/png")
answer_case("nothing", "")
answer_case("untyped", '[{"ID": "a"}]', kind=None)


def pour(peer, piece, count, end=b""):
    for _ in range(count):
        peer.sendall(piece)
    peer.sendall(end)


def pour_case(name, piece, count, start=b"", end=b"", length=True):
    total = len(start) + len(piece) * count + len(end)

    def flow(peer, _):
        peer.sendall(head("200 OK", *["Content-Length: %d" % total] * length, "Connection: close") + start)
        pour(peer, piece, count, end)
    named(name, flow)


BLANKS = b" " * MEGABYTE
pour_case("spaces", BLANKS, 1024)
pour_case("spaces-unannounced", BLANKS, 1024, length=False)
pour_case("spaces-then-json", BLANKS, 1024, end=b"[]", length=False)
pour_case("spaces-60", BLANKS, 60)
pour_case("spaces-60-then-json", BLANKS, 60, end=b"[]")
pour_case("string-200", b"a" * MEGABYTE, 200, b'["', b'"]')
pour_case("string-200-unannounced", b"a" * MEGABYTE, 200, b'["', b'"]', length=False)
pour_case("tables", b"[]," * (MEGABYTE // 3), 60, b"[", b"[]]")
pour_case("objects", b'{"a":{}},' * (MEGABYTE // 9), 60, b"[", b"{}]")
pour_case("numbers", b"1," * (MEGABYTE // 2), 60, b"[", b"1]")

# ---- redirects ----

def redirect_case(name, location, status="302 Found", *headers):
    named(name, lambda peer, request: answer(peer, "gone elsewhere", status, *(
        ["Location: " + location.format(key=request.key, **ports)] if location is not None else []), *headers, kind="text/plain"))


ELSEWHERE = "http://127.0.0.1:{elsewhere}/v1/elsewhere/{key}"
for status in ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"):
    redirect_case("redirect-" + status[:3], ELSEWHERE, status)
redirect_case("redirect-300", ELSEWHERE, "300 Multiple Choices")
redirect_case("redirect-name", "http://localhost:{elsewhere}/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-tls", "https://127.0.0.1:{elsewhere_tls}/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-slashes", "//127.0.0.1:{elsewhere}/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-user", "http://127.0.0.1:{plain}@127.0.0.1:{elsewhere}/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-password", "http://who:their-own-password@127.0.0.1:{elsewhere}/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-backslash", "http://127.0.0.1:{plain}\\@127.0.0.1:{elsewhere}/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-prefix", "http://127.0.0.1:{plain}0/v1/elsewhere/{key}", "307 Temporary Redirect")
redirect_case("redirect-file", "file:///etc/passwd")
redirect_case("redirect-gopher", "gopher://127.0.0.1:{elsewhere}/_v1")
redirect_case("redirect-nowhere", None)
redirect_case("redirect-empty", "")
redirect_case("redirect-invalid", "http://[::1")
redirect_case("redirect-loop", "/{key}/v1/again")
redirect_case("redirect-long", "/" + "a" * 60000)
redirect_case("redirect-twice", "/{key}/v1/a", "307 Temporary Redirect", "Location: " + "http://127.0.0.1:1/")


@case
def leader(peer, request):
    """A standby that sends away to where sys/leader does not name anybody."""
    if request.path.endswith("/v1/sys/leader"):
        answer(peer, json.dumps({"ha_enabled": True, "leader_address": "http://127.0.0.1:%d" % ports["other"]}))
    else:
        answer(peer, "", "307 Temporary Redirect", "Location: http://127.0.0.1:%d/v1/%s" % (ports["elsewhere"], request.key))


@case
def leader_silent(peer, request):
    """A standby that does not say who leads."""
    if request.path.endswith("/v1/sys/leader"):
        hold(peer)
    else:
        answer(peer, "", "307 Temporary Redirect", "Location: http://127.0.0.1:%d/v1/%s" % (ports["elsewhere"], request.key))


@case
def leader_loop(peer, request):
    """A leader that names itself and sends to itself."""
    own = "http://127.0.0.1:%(plain)d" % ports
    if request.path.endswith("/v1/sys/leader"):
        answer(peer, json.dumps({"leader_address": own}))
    else:
        answer(peer, "", "307 Temporary Redirect", "Location: %s/%s/v1/x" % (own, request.key))


# ---- storms ----

def date_in(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


polite = {"fine", "patient"}  # their answers are whole: the connection stays for what comes next


def storm_case(name, *headers, status="429 Too Many Requests"):
    polite.add(name)
    named(name, lambda peer, _: answer(peer, "busy", status, *[h() if callable(h) else h for h in headers], kind="text/plain"))


storm_case("429")
storm_case("429-now", "Retry-After: 0")
storm_case("429-soon", "Retry-After: 10")
storm_case("429-huge", "Retry-After: 1000000000")
storm_case("429-beyond", "Retry-After: " + "9" * 30)
storm_case("429-negative", "Retry-After: -5")
storm_case("429-garbage", "Retry-After: after lunch")
storm_case("429-past", lambda: "Retry-After: " + date_in(-3600))
storm_case("429-date", lambda: "Retry-After: " + date_in(3600))
storm_case("429-year-9999", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT")
storm_case("502", status="502 Bad Gateway")
storm_case("503", status="503 Service Unavailable")
storm_case("503-huge", "Retry-After: 1000000000", status="503 Service Unavailable")
storm_case("504", status="504 Gateway Timeout")


@case
def patient(peer, request):
    """Busy once, until a date two seconds from now; then it tells whether that was kept."""
    times = seen.setdefault("until", {})
    if request.key not in times:
        times[request.key] = int(time.time()) + 2
        answer(peer, "busy", "429 Too Many Requests", "Retry-After: " + email.utils.formatdate(times[request.key], usegmt=True))
    else:
        answer(peer, json.dumps([{"ID": "kept" if time.time() >= times[request.key] else "early"}]))


# ---- what they say back ----

def token_of(request):
    for line in request.head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() in ("x-consul-token", "x-nomad-token", "x-vault-token", "authorization"):
            return value.strip().removeprefix("Bearer ")
    return "no-token"


def reflect_case(name, body, status="500 Internal Server Error", *headers, kind="text/plain"):
    def flow(peer, request):
        token = token_of(request)
        def fill(text):
            text = text.replace("ESCAPED", "".join("\\u%04x" % ord(c) for c in token))
            return text.replace("TOKEN", token).replace("BASE64", base64.b64encode(("u:" + token).encode()).decode())
        answer(peer, fill(body), fill(status), *[fill(header) for header in headers], kind=kind)
    named(name, flow)


reflect_case("reflect", "the token TOKEN is wrong")
reflect_case("reflect-403", "ACL not found: TOKEN", "403 Forbidden")
reflect_case("reflect-reason", "no", "500 TOKEN is wrong")
reflect_case("reflect-header", "no", "500 Wrong", "X-Token: TOKEN", "Server: TOKEN")
reflect_case("reflect-base64", "Authorization: Basic BASE64")
reflect_case("reflect-vault", '{"errors": ["1 error occurred:\\n\\t* bad token TOKEN\\n\\n"]}', "400 Bad Request", kind="application/json")
reflect_case("reflect-vault-escaped", '{"errors": ["bad token ESCAPED"]}', "400 Bad Request", kind="application/json")
reflect_case("reflect-json", '{"message": TOKEN}', "200 OK", kind="application/json")
reflect_case("reflect-location", "no", "302 Found", "Location: http://127.0.0.1:1/login?was=TOKEN")
for place in (280, 290, 1480, 1490, 4060, 4080):  # where texts are cut
    reflect_case("reflect-at-%d" % place, "x" * place + "TOKEN" + "y" * 5000)
    reflect_case("reflect-location-at-%d" % place, "no", "307 Temporary Redirect",
                 "Location: http://127.0.0.1:1/" + "x" * place + "TOKEN")
reflect_case("reflect-vault-at-1490", '{"errors": ["' + "x" * 1490 + 'TOKEN"]}', "400 Bad Request", kind="application/json")

TERMINAL = "before\x1b[2J\x1b]0;title\x07\x1bP\r\x08\x7f\x9b31m\x00\u202eafter"
answer_case("ansi", TERMINAL.encode("utf-8"), status="500 Internal Server Error", kind="text/plain")
answer_case("ansi-8bit", TERMINAL.replace("\u202e", "").encode("latin-1"), status="500 Internal Server Error", kind="text/plain")
answer_case("ansi-json", json.dumps({"errors": [TERMINAL, "second\r\nerror: forged"]}), status="500 Internal Server Error")
bytes_case("ansi-location", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\x1b[2J\x9b31m\r\nContent-Length: 0\r\n\r\n")
bytes_case("ansi-reason", b"HTTP/1.1 500 \x1b[2J\x9b31m\r\nContent-Length: 0\r\n\r\n")
answer_case("ansi-200", TERMINAL.encode("utf-8"))
answer_case("lines", "one\r\ntwo\rerror: forged\nthree\r\n\r\n", status="500 Internal Server Error", kind="text/plain")
answer_case("long-line", "much to say " * 100000, status="500 Internal Server Error", kind="text/plain")

# ---- blocking queries ----

answer_case("index-same", '[{"ID": "a"}]', "X-Consul-Index: 5", "X-Nomad-Index: 5")
answer_case("index-word", '[{"ID": "a"}]', "X-Consul-Index: many", "X-Nomad-Index: many")
answer_case("index-beyond", '[{"ID": "a"}]', "X-Consul-Index: 18446744073709551615", "X-Nomad-Index: 18446744073709551615")
answer_case("index-none", '[{"ID": "a"}]')
answer_case("short-ids", json.dumps([{"ID": "d9c4" + TERMINAL, "Name": TERMINAL}, {"ID": "d9c4/../../x"}, 5, {"ID": 7}, "x"]))

# ---- streams ----

answer_case("stream-cut", '{"Index": 1, "Events": []}\n{"Index": 2, "Ev', "Connection: close")
answer_case("stream-unopened", '{"Index": 1}\n}}}}')
answer_case("stream-scalar", '{"Index": 1}\n17')
answer_case("stream-frames", '{"Data": "%%%%", "Offset": 1}')
answer_case("fine", '[{"ID": "a"}]')


@case
def v1(peer, request):
    """Over the Unix socket, whose address has no room for a case: a standby that sends to itself."""
    if request.path.startswith("/v1/sys/mounts"):
        answer(peer, "", "307 Temporary Redirect", "Location: http://localhost/v1/moved")
    else:
        answer(peer, '[{"ID": "a"}]')


# ---- listening ----

class Request:
    def __init__(self, text):
        self.head = text
        self.path = text.split(" ")[1] if text.count(" ") > 1 else "/"
        self.key = self.path.split("/")[1].split("?")[0] if "/" in self.path else ""


def read_head(peer):
    """The head of a request, and its body as far as it is announced. "" where none came."""
    peer.settimeout(60)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return data.decode("latin-1")
        data += piece
        if data[0] == 0x16:  # a handshake of TLS
            peer.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")
            return ""
    text, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in text.decode("latin-1").split("\r\n"):
        if line.lower().startswith("content-length:"):
            length = int(line.split(":")[1])
    while len(body) < length:
        body += peer.recv(65536)
    return text.decode("latin-1")


def serve(peer):
    while True:
        text = read_head(peer)
        if not text:
            return
        request = Request(text)
        name = request.key.split("~")[0]
        if name == "seen":
            answer(peer, json.dumps(seen))
            continue
        seen["requests"].setdefault(request.key, []).append(text)
        if name not in cases:
            answer(peer, "no such case: " + name, "404 Not Found")
            continue
        cases[name](peer, request)
        if name not in polite:  # what comes after an answer of another kind is no answer
            return


def write_down(peer):
    peer.settimeout(5)
    data = peer.recv(65536)
    if data:
        seen["elsewhere"].append(data.decode("latin-1"))
    answer(peer, '[{"ID": "stolen"}]')


def proxy(peer):
    text = read_head(peer)
    seen["proxy"].append(text)
    method, target = text.split(" ")[:2]
    if "refusing" in target:
        answer(peer, "log in first", "407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x")
    elif "broken" in target:
        reset(peer)
    elif method != "CONNECT":
        answer(peer, '[{"ID": "by the proxy"}]')
    else:
        peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        other = socket.create_connection(("127.0.0.1", ports["named"]))
        ends = {peer: other, other: peer}
        peer.settimeout(None)
        while True:
            for end in select.select(list(ends), [], [], 60)[0]:
                data = end.recv(65536)
                if not data:
                    other.close()
                    return
                ends[end].sendall(data)


def guarded(handler, context=None):
    def run(peer):
        try:
            if context:
                peer = context.wrap_socket(peer, server_side=True)
            handler(peer)
        except (OSError, ValueError):
            pass
        finally:
            try:
                peer.close()
            except OSError:
                pass
    return run


def first_only(context):
    """A handshake with the first that comes, silence for all others."""
    come = []

    def run(peer):
        come.append(peer)
        guarded(hold, None if len(come) > 1 else context)(peer)
    return run


def accept(listener, run):
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=run, args=(peer,), daemon=True).start()


def listen(name, run, address=None):
    listener = socket.socket(socket.AF_UNIX if address else socket.AF_INET)
    listener.bind(address or ("127.0.0.1", 0))
    listener.listen(256)
    if not address:
        ports[name] = listener.getsockname()[1]
    threading.Thread(target=accept, args=(listener, run), daemon=True).start()


def tls(folder, name, client_ca=None, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/%s.pem" % name, folder + "/%s.key" % name)
    if client_ca:
        context.load_verify_locations(folder + "/" + client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.maximum_version = version
    return context


def main():
    folder = sys.argv[1]
    refused = socket.socket()  # bound and never listening: nobody else gets the port
    refused.bind(("127.0.0.1", 0))
    ports["refused"] = refused.getsockname()[1]
    listen("plain", guarded(serve))
    listen("other", guarded(serve))
    listen("unix", guarded(serve), folder + "/socket")
    listen("elsewhere", guarded(write_down))
    listen("proxy", guarded(proxy))
    listen("accept_close", guarded(lambda peer: None))
    listen("accept_reset", guarded(reset))
    listen("accept_silent", guarded(hold))
    listen("tls_silent", guarded(hold))
    listen("tls_cut", guarded(lambda peer: (peer.recv(65536), peer.sendall(b"\x16\x03\x03\x00\x7a\x02"))))
    listen("tls_garbage", guarded(lambda peer: (peer.recv(65536), peer.sendall(b"\x99" * 4096))))
    for name in ("self_once", "self_once2", "self_once3"):
        listen(name, first_only(tls(folder, "self")))
    listen("elsewhere_tls", guarded(write_down, tls(folder, "good")))
    for name in ("good", "named", "expired", "early", "self", "stranger"):
        listen(name, guarded(serve, tls(folder, name)))
    listen("client", guarded(serve, tls(folder, "good", "ca.pem")))
    listen("client12", guarded(serve, tls(folder, "good", "ca.pem", ssl.TLSVersion.TLSv1_2)))
    print(json.dumps({"ports": ports, "cases": sorted(cases)}), flush=True)
    threading.Event().wait()


main()
