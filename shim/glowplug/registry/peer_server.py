"""The read-only registry that a node is to other nodes: GET and HEAD over mutual TLS, and nothing else.

Who connects shows a certificate of `peer_ca`, or hears nothing. Connections, their time and all of their bytes are
bounded, so that serving takes no more of the node than its share.
"""

import contextlib
import os
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from glowplug import listen_address
from glowplug.errors import HostError, UsageError
from glowplug.registry import names
from glowplug.registry.catalog import Catalog
from glowplug.registry.settings import RegistrySettings

CONNECTIONS = 32
CONNECTIONS_OF_ONE = 8
"""From one address."""
WAITS_S = 10.0
"""For a client's next bytes, or until it takes some."""
HANDSHAKE_S = 10.0
CONNECTION_S = 900.0
_PART = 256 << 10  # bytes written at a time
_PATH = re.compile(
    r"/v2/(?P<repository>[a-z0-9/._-]+)/(?P<kind>manifests|blobs)/(?P<reference>[a-zA-Z0-9:._-]+)"
)
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")


class Pace:
    """Bytes a second, of all connections together; 0: no limit. Thread-safe."""

    def __init__(
        self,
        bytes_per_s: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def wait(self, count: int) -> None:
        """Until so many bytes may go."""
        if not self._bytes_per_s:
            return
        with self._lock:
            now = self._clock()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._bytes_per_s
        self._sleep(begin - now)


class PeerServer(ThreadingHTTPServer):
    """Listens from its making on; `serve_forever` until `shutdown`. Raises UsageError (keys), HostError (address)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, settings: RegistrySettings, catalog: Catalog) -> None:
        host, port = listen_address.parse(settings.serve)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.catalog = catalog
        self.pace = Pace(settings.serve_bytes_per_s)
        self._settings = settings
        self._certificate_changed = 0.0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._open = Counter[str]()
        self._lock = threading.Lock()
        try:
            self._context.load_verify_locations(settings.peer_ca)
            self._load_certificate()
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"registry.serve: peer_ca, certificate and key can't be read: {error}"
            ) from error
        try:
            super().__init__((host, port), _Answer)
        except OSError as error:
            raise HostError(f"registry.serve: can't listen on {settings.serve}: {error.strerror}") from error

    def server_bind(self) -> None:
        """Without asking DNS for the node's own name, as HTTPServer does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether there is a place for one more connection."""
        address = str(client_address[0]) if isinstance(client_address, tuple) else ""
        with self._lock:
            if self._open.total() >= CONNECTIONS or self._open[address] >= CONNECTIONS_OF_ONE:
                return False
            self._open[address] += 1
        with contextlib.suppress(OSError, ssl.SSLError):
            self._load_certificate()
        return True

    def finish_request(self, request: object, client_address: object) -> None:
        """One connection, from the handshake on, in a thread of its own."""
        assert isinstance(request, socket.socket) and isinstance(client_address, tuple)
        try:
            request.settimeout(WAITS_S)
            with self._context.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            ) as secured:
                with _ended_after(HANDSHAKE_S, secured):
                    secured.do_handshake()
                with _ended_after(CONNECTION_S, secured):
                    _Answer(secured, client_address, self)
        finally:
            with self._lock:
                self._open[str(client_address[0])] -= 1
                self._open += Counter()  # drops the zeros

    def handle_error(self, request: object, client_address: object) -> None:
        """Who has no certificate, hung up or was too slow is no event."""

    def _load_certificate(self) -> None:
        """Again where its file changed: certificates are short-lived."""
        changed = os.stat(self._settings.certificate).st_mtime
        if changed != self._certificate_changed:
            self._context.load_cert_chain(self._settings.certificate, self._settings.key)
            self._certificate_changed = changed


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "glowplug", ""
    timeout = WAITS_S
    server: PeerServer

    def do_GET(self) -> None:
        """A manifest or a blob, or a range of one."""
        found = _PATH.fullmatch(self.path)
        if self.path.rstrip("/") == "/v2":
            self._say(b"{}", "application/json")
            return
        if found is None:
            self._say_not()
            return
        repository, reference = found["repository"], found["reference"]
        if found["kind"] == "manifests":
            manifest = self.server.catalog.manifest(repository, reference)
            self._say(manifest, names.MANIFEST_TYPE, names.digest(manifest)) if manifest else self._say_not()
            return
        if self.command == "HEAD":
            size = self.server.catalog.blob_size(repository, reference)
            self._head(HTTPStatus.OK, size, _BYTES, reference) if size is not None else self._say_not()
            return
        blob = self.server.catalog.blob(repository, reference)
        if blob is None:
            self._say_not()
        else:
            self._say_range(blob, reference)

    do_HEAD = do_GET

    def _say_range(self, blob: bytes | bytearray, digest: str) -> None:
        header = self.headers.get("Range")
        if header is None:
            self._say(blob, _BYTES, digest)
            return
        found = _RANGE.fullmatch(header)
        begin = int(found[1]) if found else len(blob)
        end = min(int(found[2]) + 1 if found and found[2] else len(blob), len(blob))
        if begin >= end:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{len(blob)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(blob)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        self._write(memoryview(blob)[begin:end])

    def _say(self, content: bytes | bytearray, kind: str, digest: str = "") -> None:
        self._head(HTTPStatus.OK, len(content), kind, digest)
        if self.command != "HEAD":
            self._write(memoryview(content))

    def _head(self, status: HTTPStatus, size: int, kind: str, digest: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()

    def _say_not(self) -> None:
        body = b'{"errors":[{"code":"NOT_FOUND","message":"this node does not serve it"}]}'
        self._head(HTTPStatus.NOT_FOUND, len(body), "application/json")
        if self.command != "HEAD":
            self.wfile.write(body)

    def _write(self, content: memoryview) -> None:
        for at in range(0, len(content), _PART):
            part = content[at : at + _PART]
            self.server.pace.wait(len(part))
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """A request is no event."""


_BYTES = "application/octet-stream"


@contextlib.contextmanager
def _ended_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """A read from the connection or a write to it ends then."""
    end = threading.Timer(seconds, _hang_up, (connection,))
    end.daemon = True
    end.start()
    try:
        yield
    finally:
        end.cancel()


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
