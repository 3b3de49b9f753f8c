"""A registry that fails: a proxy before a real one, which a test has fail at a request of its choice."""

import contextlib
import http.client
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from integration import processes
from integration.registry import Registry
from integration.waiting import wait_until

Plan = Callable[[int, str, str], str | None]
"""For a request's number, method and path: its fault, or None where it goes through.

cut: the connection is closed, unheard. lost: it is carried out, and the answer lost. truncate: half of the body, then
the end. flip: a byte of the body is another one. extend: a longer body. slow: the body trickles. expire: the registry
finds the token expired. kill: the client is killed. A number: that status.
"""

_SLOW_PARTS = 20
_SLOW_S = 0.02


class Proxy(ThreadingHTTPServer):
    """`host`: HOST:PORT that stands instead of the registry's. `seen`: method and path of every request."""

    daemon_threads = True

    def __init__(self, registry: Registry) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.registry = registry
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.plan: Plan = lambda number, method, path: None
        self.seen: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        certificate, key = registry.authority.issue("proxy")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.trusts = ssl.create_default_context(cafile=registry.ca)
        registry.log_in_at(self.host)

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self.serve_forever, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or was killed, is no event."""

    def reset(self, plan: Plan = lambda number, method, path: None) -> None:
        """Counts from 0 again, with this plan."""
        with self.lock:
            self.seen = []
            self.plan = plan


def _peer(theirs: int, ours: int) -> int | None:
    """The process at the other end of a connection between these ports: its socket's inode is in its descriptors.

    None where it was not seen: what /proc lists while connections and descriptors come and go may lack some.
    """
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    ends = (f":{theirs:04X}", f":{ours:04X}")
    sockets = {f"socket:[{row[9]}]" for row in rows if (row[1][-5:], row[2][-5:]) == ends}
    for pid in set(processes.all_pids()) - {os.getpid()}:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") in sockets:
                        return pid
    return None


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def setup(self) -> None:
        super().setup()
        self.upstream = http.client.HTTPSConnection(self.server.registry.host, context=self.server.trusts)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def forward(self) -> None:
        """One request, as the plan has it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            number = len(self.server.seen)
            self.server.seen.append((self.command, self.path))
            plan = self.server.plan
        action = plan(number, self.command, self.path)
        if action == "cut":
            self.close_connection = True
            return
        if action is not None and action.isdigit():
            self._answer(int(action), [("Retry-After", "0")], b"{}")
            return
        if action == "kill":
            ports = self.client_address[1], self.server.server_address[1]
            peer = wait_until(lambda: _peer(*ports), 60, "the client's process")
            assert peer is not None
            os.kill(peer, signal.SIGKILL)
            self.close_connection = True
            return
        if action == "expire":
            del self.headers["Authorization"]
        self.upstream.request(self.command, self.path, body, {**dict(self.headers), "Host": self.server.host})
        found = self.upstream.getresponse()
        content = found.read()
        if action == "lost":
            self.close_connection = True
            return
        headers = [pair for pair in found.getheaders() if pair[0].lower() not in ("content-length", "date")]
        if action == "flip" and content:
            at = len(content) // 2
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        if action == "extend":
            content += b"and more"
        self._answer(found.status, headers, content, action, found.getheader("Content-Length"))

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        action: str | None = None,
        length: str | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if action == "truncate":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if action == "slow":
            step = max(1, len(content) // _SLOW_PARTS)
            for at in range(0, len(content), step):
                self.wfile.write(content[at : at + step])
                time.sleep(_SLOW_S)
            return
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = forward

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""
