"""Metrics over HTTP: GET /metrics, one request at a time, on the address that the configuration names.

There is no address by default: no port is opened unless somebody wants it, and a cluster's Prometheus can't reach a
loopback address anyway. What is served holds no name of a pod, a namespace or a checkpoint.
"""

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from glowplug import listen_address
from glowplug.errors import HostError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("glowplug.agent")

PATH = "/metrics"
WAITS_S = 2.0
"""For a client's next byte."""
DONE_WITHIN_S = 5.0
"""For all of a request and its answer: a slow client delays the others, and a stop, no longer than that."""

_FREEBIND = (socket.IPPROTO_IP, 15)  # IP_FREEBIND, uapi/linux/in.h
_FREEBIND_6 = (socket.IPPROTO_IPV6, 78)  # IPV6_FREEBIND, uapi/linux/in6.h


class MetricsServer(WSGIServer):
    """Serves from a thread of its own between `start` and `stop`. Raises HostError for an address in use.

    prometheus_client's start_http_server has a thread for each client and waits for each without an end.
    """

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, port = listen_address.parse(listen)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Scrape)
        except OSError as error:
            raise HostError(
                f"can't serve metrics on {listen}: {error.strerror}; see metrics_listen"
            ) from error
        self.set_app(_application(registry))
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)

    def server_bind(self) -> None:
        """Also to an address that the node does not have yet (ip(7), IP_FREEBIND): an agent may start before it."""
        is_6 = self.address_family == socket.AF_INET6
        self.socket.setsockopt(*(_FREEBIND_6 if is_6 else _FREEBIND), 1)
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for the node's own name
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]
        self.setup_environ()

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
        """A client that went away or was too slow is no event of ours; anything else is."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request for metrics failed")


def _hang_up(connection: socket.socket) -> None:
    """A read from it or a write to it ends."""
    with contextlib.suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def _application(registry: CollectorRegistry) -> "WSGIApplication":
    """prometheus_client's, for one path alone."""
    metrics: WSGIApplication = make_wsgi_app(registry)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [f"metrics are at {PATH}\n".encode()]
        try:
            return metrics(environ, start_response)
        except Exception:
            log.exception("metrics can't be reported")
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"see the agent's log\n"]

    return application


class _Scrape(WSGIRequestHandler):
    timeout = WAITS_S
    server_version = "glowplug"
    sys_version = ""

    def log_message(self, _format: str, *_arguments: object) -> None:
        """A scrape is no event of ours."""
