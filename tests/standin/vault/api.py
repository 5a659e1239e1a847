"""Purpose: the HTTP side: a request as Vault reads it, an answer as it goes out, and the few paths that are
answered without the core."""

import http.server
import re
import socket
import traceback
import urllib.parse

import direct
import duration
from core import Request
from failure import Failure
from fields import read_bool
from gojson import Ordered, dumps, loads
from wrapping import body as body_of

MOST = 32 * 1024 * 1024
# Paths whose data stands at the top of the answer too.
ABOVE = ("sys/audit", "sys/audit/", "sys/audit-hash/", "sys/auth", "sys/auth/", "sys/config/cors",
         "sys/config/auditing/request-headers", "sys/config/auditing/request-headers/", "sys/capabilities",
         "sys/capabilities-accessor", "sys/capabilities-self", "sys/key-status", "sys/mounts", "sys/mounts/",
         "sys/policy", "sys/policy/", "sys/rekey/backup", "sys/rekey/recovery-key-backup", "sys/remount",
         "sys/rotate", "sys/wrapping/wrap")


def is_above(path):
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in ABOVE)


def parsed_body(headers, raw):
    """The parameters of a write: JSON by whatever name, or a form where it is one."""
    kind = headers.get("Content-Type", "").split(";")[0].strip()
    text = raw.decode(errors="replace")
    if kind == "application/x-www-form-urlencoded" and text.strip() and text.lstrip()[0] not in "[{":
        form = urllib.parse.parse_qs(text, keep_blank_values=True)
        return {key: ",".join(values) for key, values in form.items()}
    if not text.strip():
        return {}
    try:
        value = loads(text)
    except ValueError:
        value = []
    if not isinstance(value, dict) and value is not None:
        raise Failure(400, "error parsing JSON")
    return value or {}


def parsed_query(query):
    values = urllib.parse.parse_qs(query, keep_blank_values=True)
    return {key: one[0] if len(one) == 1 else one for key, one in values.items() if key != "help"}


def request_of(method, target, headers, raw):
    """The core's request for one of HTTP."""
    parts = urllib.parse.urlsplit(target)
    path, data = urllib.parse.unquote(parts.path)[len("/v1/"):], {}
    query = parsed_query(parts.query)
    if method == "GET" and query.get("list"):
        try:
            method = "LIST" if read_bool(query["list"]) else "GET"
        except ValueError:
            raise Failure(400) from None
    operation = {"GET": "read", "LIST": "list", "PUT": "update", "POST": "update", "DELETE": "delete",
                 "HEAD": "", "OPTIONS": ""}.get(method)
    if operation is None:
        raise Failure(405)
    if "help" in urllib.parse.parse_qs(parts.query):  # of whatever method
        operation = "help"
    if operation == "list":
        path += "" if path.endswith("/") else "/"
    elif operation in ("read", "delete"):
        data = query
    elif operation == "update":
        data = parsed_body(headers, raw)
    request = Request(operation, path, data, token_of(headers), headers)
    request.wrap_ttl = wrap_ttl(headers)
    return request


def token_of(headers):
    token, bearer = headers.get("X-Vault-Token", ""), headers.get("Authorization", "")
    return token or (bearer[7:].strip() if bearer.startswith("Bearer ") else "")


def wrap_ttl(headers):
    try:
        found = duration.seconds(headers.get("X-Vault-Wrap-TTL", ""))
    except ValueError as error:
        raise Failure(400, f"error parsing X-Vault-Wrap-TTL header: {error}") from None
    if found < 0:
        raise Failure(400, "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative")
    return found


def told(request, answer):
    """(status, text or None) of what the core answered."""
    if answer is None:
        return (404, '{"errors":[]}\n') if request.asked in ("read", "list") else (204, None)
    if answer.raw is not None:
        return answer.status or 200, answer.raw
    if answer.status:
        return answer.status, dumps(body_of(request, answer)) if answer.data or answer.warnings else ""
    if request.asked == "list" and not answer.wrap and not answer.warnings and not (answer.data or {}).get("keys") \
            and (not answer.data or "keys" in answer.data):
        return 404, '{"errors":[]}\n'
    whole = body_of(request, answer)
    if answer.wrap:
        whole["request_id"] = ""
        whole["warnings"] = None
    if is_above(request.path) and answer.data and not answer.wrap:
        whole = Ordered({**answer.data, **whole})
    return 200, dumps(whole) + "\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as Go's servers
    core = None

    def answer(self):
        raw = self.read_body()
        if raw is None:
            return
        self.extra = {}
        try:
            status, text, kind = self.answered(raw)
        except Failure as failure:
            text = dumps({"errors": [] if failure.text is None else [failure.text]}) + "\n"
            status, kind = failure.status, "application/json"
        except Exception:  # as a panic of Go's: the connection ends
            traceback.print_exc()
            self.close_connection = True
            return
        self.reply(status, text, kind)

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self.chunks()
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST:
            self.close_connection = True
            self.extra = {}
            self.reply(413, dumps({"errors": ["error parsing JSON"]}) + "\n", "application/json")
            return None
        return self.rfile.read(length)

    def chunks(self):
        found = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
            found += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return found

    def answered(self, raw):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if not path.startswith("/v1/"):
            return self.elsewhere(path)
        if re.search(r"[^\x20-\x7e\x80-\U0010ffff]", path):
            raise Failure(400)
        core, kind = self.core, "application/json"
        call = direct.PATHS.get(path[len("/v1/"):])
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, True))
        if call and "help" not in query:
            status, value = call(direct.Asked(core, self.command, raw, token_of(self.headers), query))
            return status, None if value is None else dumps(value) + "\n", kind
        request = request_of(self.command, self.path, self.headers, raw)
        request.asked = request.operation
        answer = core.handle(request)
        if answer and getattr(answer, "content", None):
            kind = answer.content
        status, text = told(request, answer)
        return status, text, kind

    def elsewhere(self, path):
        if path.startswith("/ui/"):
            return 200, "<!DOCTYPE html>\n<html><body>Vault UI is not available in this binary.</body></html>\n", \
                "text/html; charset=utf-8"
        if path in ("/", "/ui"):
            self.extra["Location"] = "/ui/"
            return 307, '<a href="/ui/">Temporary Redirect</a>.\n\n', "text/html; charset=utf-8"
        raise Failure(404)

    def reply(self, status, text, kind):
        data = (text or "").encode()
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", kind)
        for name, value in self.extra.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_LIST = do_PATCH = do_HEAD = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, core):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, type("Handler", (Handler,), {"core": core}))
