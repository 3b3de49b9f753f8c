"""Metrics over HTTP: GET /metrics, one request at a time, on the address that the configuration names.

There is no address by default: nobody's port is opened unasked, and a cluster's Prometheus can't reach a
loopback address anyway. What is served holds no name of a pod, a namespace or a checkpoint.
"""

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from glowplug import listen_address
from glowplug.errors import HostError

log = logging.getLogger("glowplug.agent")

PATH = "/metrics"
WAITS_S = 2.0
"""For a client's next byte."""
DONE_WITHIN_S = 5.0
"""For all of a request and its answer: whoever is slow holds up the others, and a stop, no longer than that."""

_FREEBIND = (socket.IPPROTO_IP, 15)  # IP_FREEBIND, uapi/linux/in.h
_FREEBIND_6 = (socket.IPPROTO_IPV6, 78)  # IPV6_FREEBIND, uapi/linux/in6.h


class MetricsServer(socketserver.TCPServer):
    """Serves from a thread of its own between `start` and `stop`. Raises HostError for an address in use.

    No HTTPServer: that one asks DNS for its own name before it listens.
    """

    allow_reuse_address = True

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, port = listen_address.parse(listen)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.registry = registry
        try:
            super().__init__((host, port), _Scrape)
        except OSError as error:
            raise HostError(
                f"wanted to serve metrics on {listen}, found: {error.strerror}; see metrics_listen"
            ) from error
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)

    def server_bind(self) -> None:
        """Also to an address that the node does not have yet (ip(7), IP_FREEBIND): an agent may start before it."""
        is_6 = self.address_family == socket.AF_INET6
        self.socket.setsockopt(*(_FREEBIND_6 if is_6 else _FREEBIND), 1)
        super().server_bind()

    def start(self) -> None:
        """From here on it answers."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing listens any more."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """One request, from its first byte to the last of its answer."""
        end = threading.Timer(DONE_WITHIN_S, _hang_up, (request,))
        end.daemon = True
        end.start()
        try:
            super().finish_request(request, client_address)
        finally:
            end.cancel()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away or was too slow is no event of ours; a scrape that can't be made is."""
        if not isinstance(sys.exception(), OSError):
            log.exception("metrics can't be told")


def _hang_up(connection: socket.socket) -> None:
    """Whoever reads from it or writes to it meets the end."""
    with contextlib.suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


class _Scrape(BaseHTTPRequestHandler):
    timeout = WAITS_S
    server_version = "glowplug"
    sys_version = ""

    def do_GET(self) -> None:
        """The registry's text, in the form that the client accepts."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}")
            return
        assert isinstance(self.server, MetricsServer)
        encode, content_type = choose_encoder(self.headers.get("Accept") or "")
        body = encode(self.server.registry)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, _format: str, *_arguments: object) -> None:
        """A scrape is no event of ours."""
