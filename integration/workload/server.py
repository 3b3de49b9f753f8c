"""The HTTP side: 0.0.0.0:8000 and [::]:8001."""

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from integration.workload import logs, signals

PORT = 8000
PORT_V6 = 8001


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Without asking DNS for this host's name, which the standard one does, and may wait for."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "workload", self.server_address[1]


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def serve(state: Callable[[], object], token: str) -> None:
    """Never returns."""
    kept: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/state":
                self._answer("application/json", json.dumps(state()).encode())
            elif url.path == "/token":
                self._answer("text/plain", token.encode())
            elif url.path == "/say":
                logs.say(int(parse_qs(url.query)["lines"][0]))
                self._answer("text/plain", b"")
            elif url.path == "/grow":
                self._answer("text/plain", b"")
                kept.append(os.urandom(int(parse_qs(url.query)["mb"][0]) << 20))
            elif url.path == "/exit":
                code = int(parse_qs(url.query).get("code", ["0"])[0])
                self._answer("text/plain", b"")
                signals.leave(code, f"requested to exit with {code}")
            else:
                self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the log is the tests'."""

    port = int(os.environ.get("WORKLOAD_PORT", PORT))
    servers: list[ThreadingHTTPServer] = [_Server(("0.0.0.0", port), Handler)]
    if os.path.exists("/proc/net/if_inet6"):
        servers.append(_ServerV6(("::", port + PORT_V6 - PORT), Handler))
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
