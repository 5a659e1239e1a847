"""Purpose: a reverse proxy on loopback, as sites put one before an agent: what is below PREFIX goes to URL without it, all
else is 404. Prints its port.

    python3 reverse_proxy.py /consul http://10.213.77.2:8500
"""
import http.client
import http.server
import sys
import urllib.parse

PREFIX, TARGET = sys.argv[1], urllib.parse.urlsplit(sys.argv[2])


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.startswith(PREFIX + "/"):
            self.answer(404, [], b"not of this site")
            return
        upstream = http.client.HTTPConnection(TARGET.hostname, TARGET.port)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        upstream.request(self.command, self.path[len(PREFIX):], body, headers)
        found = upstream.getresponse()
        self.answer(found.status, found.getheaders(), found.read())
        upstream.close()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = forward

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
print(server.server_address[1], flush=True)
server.serve_forever()
