"""Debian's docker-registry with TLS and token authentication, on a port of its own; and who gives the tokens.

with Registry(directory) as registry:
    …registry.host, registry.ca, registry.docker_config…
"""

import base64
import contextlib
import json
import os
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from integration.certificates import Authority
from integration.images import REPOSITORY
from integration.waiting import wait_until

PROGRAMS = f"{REPOSITORY}/.build/registry/bin"
USER, PASSWORD = "glowplug", "a registry's password"
_SERVICE, _ISSUER = "test-registry", "test-tokens"


class Tokens(ThreadingHTTPServer):
    """The token server: with the password one gets the requested token, for `lifetime_s`. `issued`: how many."""

    daemon_threads = True

    def __init__(self, certificate: str, key: str) -> None:
        super().__init__(("127.0.0.1", 0), _TokenAnswer)
        with open(certificate, "rb") as file:
            self.certificate = x509.load_pem_x509_certificate(file.read())
        with open(key, "rb") as file:
            loaded = serialization.load_pem_private_key(file.read(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self.key = loaded
        self.lifetime_s = 300.0
        self.issued = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, name="tokens", daemon=True).start()

    def token(self, scopes: list[str]) -> str:
        """A JSON Web Token for what was requested (distribution, docs/spec/auth/jwt.md)."""
        now = time.time()
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": _ISSUER,
            "sub": USER,
            "aud": _SERVICE,
            "exp": int(now + self.lifetime_s),
            "nbf": int(now) - 60,
            "iat": int(now),
            "jti": os.urandom(8).hex(),
            "access": access,
        }
        text = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        self.issued += 1
        return f"{text}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _TokenAnswer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Tokens)
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_error(401)
            return
        scopes = [
            one for scope in parse_qs(urlsplit(self.path).query).get("scope", []) for one in scope.split()
        ]
        body = json.dumps({"token": self.server.token(scopes)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Registry:
    """`with`. `tls`: with TLS and tokens; without, as a benchmark wants it. `upstream`: it is a cache of that one."""

    def __init__(self, directory: str, *, tls: bool = True, upstream: str = "") -> None:
        self.directory = directory
        self.storage = f"{directory}/storage"
        self.tls = tls
        self._upstream = upstream
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        os.makedirs(self.storage, exist_ok=True)
        self.authority = Authority(directory)
        self.ca = self.authority.ca
        self._certificate, self._key = self.authority.issue("registry")
        self.tokens = Tokens(self._certificate, self._key) if tls else None
        self.docker_directory = f"{directory}/docker"
        self.docker_config = f"{self.docker_directory}/config.json"
        self._logged_in: list[str] = []
        self.log_in_at(self.host)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Registry":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.tokens:
            self.tokens.shutdown()
            self.tokens.server_close()

    def start(self) -> None:
        """Until it answers; nothing to do where it runs."""
        if self._process:
            return
        with open(f"{self.directory}/registry.json", "w") as file:
            json.dump(self._config(), file)  # JSON is YAML
        with open(f"{self.directory}/registry.log", "ab") as log:
            self._process = subprocess.Popen(
                [f"{PROGRAMS}/docker-registry", "serve", f"{self.directory}/registry.json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
            )
        wait_until(self._accepts, 20, "the registry answers")

    def log_in_at(self, host: str) -> None:
        """Writes our credentials for HOST[:PORT] into the docker config."""
        self._logged_in.append(host)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        os.makedirs(self.docker_directory, exist_ok=True)
        with open(self.docker_config, "w") as file:
            json.dump({"auths": {one: {"auth": login} for one in self._logged_in} if self.tls else {}}, file)

    def stop(self) -> None:
        """SIGKILL: it has nothing to tidy."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def files(self) -> Iterator[str]:
        """Every file of its storage."""
        for below, _, names in os.walk(self.storage):
            yield from (f"{below}/{name}" for name in names)

    def _accepts(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            with open(f"{self.directory}/registry.log") as log:
                raise AssertionError(log.read()[-2000:])
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _config(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": self.host, "secret": "tests"}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": self.storage},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self._upstream:
            config["proxy"] = {"remoteurl": self._upstream}
        if self.tokens:
            http["tls"] = {"certificate": self._certificate, "key": self._key}
            config["auth"] = {
                "token": {
                    "realm": f"https://127.0.0.1:{self.tokens.server_address[1]}/token",
                    "service": _SERVICE,
                    "issuer": _ISSUER,
                    "rootcertbundle": self.ca,
                }
            }
        return config


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens on at this moment; below those that the kernel gives to connections."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
