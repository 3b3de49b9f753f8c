"""HTTP to one registry: TLS, tokens (distribution's token authentication), and patience with what is passing.

A request that failed for a passing reason is made again, a token that has expired is fetched again. What fails all the
same is a RegistryError that names the registry and the status, and never a header.
"""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from glowplug import __version__
from glowplug.errors import RegistryError, RegistryMiss
from glowplug.registry.credentials import Credentials

TRIES = 5
_NOT_FOUND = 404
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_BACK_OFF_S = 0.25
_RENEWALS = 2  # of a token in one request: a new one may have expired on its way
_LONGEST_WAIT_S = 10.0
_ANSWER_LIMIT = 1 << 20  # bytes of a token's answer, or of an error's
_READ = 1 << 20  # bytes taken from a connection at a time
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


Body = bytes | Sequence[bytes]
"""Pieces are sent one behind the other, without a copy that joins them."""


class Sink(Protocol):
    """Takes a blob in pieces, from `at` to `end`; after a failure it continues at `at`."""

    at: int
    end: int

    def needs(self) -> int:
        """Bytes of the next piece; more than 0 until `at` is `end`."""
        ...

    def take(self, piece: bytes) -> None:
        """As many bytes as it needs. Raises RegistryMiss for bytes that are others; `at` is then before them."""
        ...


class NotThere(RegistryError):
    """It answers, and does not have the blob."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM; "": the system's authorities, no certificate of our own."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(slots=True)
class Answer:
    """`body`: all of it, where it was small enough to be requested so."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Later:
    """It failed for a passing reason; how long to wait, where it says so."""

    retry_after: str | None


class Transport:
    """Thread-safe. `base`: https://HOST[:PORT]. `parallel`: connections that are kept."""

    def __init__(
        self,
        base: str,
        credentials: Credentials,
        tls: Tls | None = None,
        parallel: int = 4,
        timeout_s: float = 30.0,
        tries: int = TRIES,
        sleep: Callable[[float], object] = time.sleep,
        name: str = "",
        redirects: bool = True,
    ) -> None:
        """`name`: of the host, where `base` has its address: what its certificate is for."""
        tls = tls or Tls()
        names: dict[str, Any] = {"server_hostname": name, "assert_hostname": name} if name else {}
        self.base = base.rstrip("/")
        self._credentials = credentials
        self._tries = tries
        self._sleep = sleep
        self._redirects = redirects
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=parallel + 1,
            retries=False,
            timeout=urllib3.Timeout(connect=min(10.0, timeout_s), read=timeout_s),
            ca_certs=tls.ca or None,
            cert_reqs="CERT_REQUIRED",
            cert_file=tls.certificate or None,
            key_file=tls.key or None,
            blocksize=1 << 18,
            **names,
        )

    def close(self) -> None:
        """Closes the connections; a child process does so with those of its parent, which keeps them."""
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limit: int = _ANSWER_LIMIT,
        fine: frozenset[int] = frozenset(),
        tries: int = 0,
    ) -> Answer:
        """The answer, its body read up to limit bytes. Raises RegistryError unless its status is 2xx or in `fine`."""
        tries = tries or self._tries
        for turn in range(tries):
            try:
                response = self._once(method, path, scope, headers or {}, body)
                try:
                    content = b"" if method == "HEAD" else _body(response, limit)
                finally:
                    response.release_conn()
            except (HTTPError, OSError) as error:
                if turn + 1 == tries or _is_lasting(error):
                    raise RegistryError(f"{self.base}: {_why(error)}") from error
                self.wait(turn, None)
                continue
            if 200 <= response.status < 300 or response.status in fine:
                return Answer(response.status, response.headers, content)
            if response.status not in _PASSING or turn + 1 == tries:
                raise RegistryError(f"{self.base}: {method} answered {response.status}{_reported(content)}")
            self.wait(turn, response.headers.get("Retry-After"))
        raise RegistryError(f"{self.base}: no answer")

    def stream(self, path: str, *, scope: str, sink: Sink, complete: bool = True) -> None:
        """A blob's bytes from `sink.at` to `sink.end`; one that breaks off is continued (RFC 9110, Range).

        `complete` False: the blob continues behind the end. Raises RegistryError; RegistryMiss, also as the sink does.
        """
        for turn in range(self._tries):
            try:
                answer = self._opened(path, scope, sink, complete, is_last=turn + 1 == self._tries)
                if isinstance(answer, _Later):
                    self.wait(turn, answer.retry_after)
                    continue
                try:
                    if _filled(answer, sink, self.base):
                        return
                finally:
                    answer.close() if sink.at < sink.end else answer.release_conn()
            except (HTTPError, OSError) as error:
                if turn + 1 == self._tries or _is_lasting(error):
                    raise RegistryError(f"{self.base}: {_why(error)}") from error
            self.wait(turn, None)
        raise RegistryError(
            f"{self.base}: a blob broke off {sink.end - sink.at} bytes early, {self._tries} times"
        )

    def _opened(
        self, path: str, scope: str, sink: Sink, complete: bool, *, is_last: bool
    ) -> "urllib3.BaseHTTPResponse | _Later":
        """An answer whose body begins at sink.at. Raises RegistryError, RegistryMiss."""
        ranged = bool(sink.at) or not complete
        response = self._once(
            "GET", path, scope, {"Range": f"bytes={sink.at}-{sink.end - 1}"} if ranged else {}, None
        )
        if response.status not in (200, 206):
            content = _body(response, _ANSWER_LIMIT)
            response.release_conn()
            if response.status not in _PASSING or is_last:
                kind = NotThere if response.status == _NOT_FOUND else RegistryError
                raise kind(f"{self.base}: GET answered {response.status}{_reported(content)}")
            return _Later(response.headers.get("Retry-After"))
        begins_anew = response.status == 200 and ranged
        if begins_anew and not complete:
            response.close()
            raise RegistryError(f"{self.base}: it does not answer range requests")
        said = response.headers.get("Content-Length", "")
        if said.isdigit() and int(said) != sink.end - (0 if begins_anew else sink.at):
            response.close()
            raise RegistryMiss("damaged", f"{self.base}: a blob has another length than its descriptor says")
        if begins_anew:
            for _ in _parts(response, sink.at):
                pass
        return response

    def _once(
        self, method: str, path: str, scope: str, headers: Mapping[str, str], body: Body | None
    ) -> urllib3.BaseHTTPResponse:
        """One request; where it is not authorised, another one with a new token."""
        url = urljoin(self.base + "/", path)
        if self.base.startswith("https://") and url.startswith("http://"):
            url = "https://" + url.removeprefix("http://")  # it does not know of the TLS in front of it
        if urlsplit(url).scheme not in ("http", "https"):
            raise RegistryError(f"{self.base}: it refers to an address that is neither http nor https")
        sent = {"User-Agent": f"glowplug/{__version__}", **headers}
        if body is not None and not isinstance(body, bytes):
            sent["Content-Length"] = str(sum(map(len, body)))
        same_host = urlsplit(url).netloc == urlsplit(self.base).netloc
        for renewals_left in reversed(range(_RENEWALS + 1)):
            with self._lock:
                token = self._tokens.get(scope)
            authorised = {"Authorization": token} if token and same_host else {}
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={**sent, **authorised},
                preload_content=False,
                redirect=method != "PUT" and self._redirects,
            )
            if response.status != 401 or not renewals_left or not same_host:
                return response
            challenge = response.headers.get("WWW-Authenticate", "")
            response.drain_conn()
            response.release_conn()
            found = self._authorise(challenge, scope)
            with self._lock:
                self._tokens[scope] = found
        return response

    def _authorise(self, challenge: str, scope: str) -> str:
        """The Authorization header that a challenge asks for (distribution, docs/spec/auth/token.md)."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            if not self._credentials.is_known:
                raise RegistryError(
                    f"{self.base}: it requires a user name and password: set registry.credentials"
                )
            return self._credentials.basic
        said = dict(_PARAMETER.findall(rest))
        realm = said.get("realm", "")
        if kind.lower() != "bearer" or urlsplit(realm).scheme not in ("http", "https"):
            raise RegistryError(f"{self.base}: it refuses access and names no usable scheme (Basic, Bearer)")
        if urlsplit(realm).scheme == "http" and self.base.startswith("https:"):
            raise RegistryError(f"{self.base}: it asks for credentials without TLS: refused")
        response = self._token(realm, said.get("service", ""), scope)
        if response.status != 200:
            raise RegistryError(
                f"{self.base}: access is refused ({response.status}): see registry.credentials"
            )
        try:
            plain: dict[str, Any] = json.loads(response.data)
            token = plain.get("token") or plain["access_token"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{self.base}: its token server gives no token") from error
        return f"Bearer {token}"

    def _token(self, realm: str, service: str, scope: str) -> urllib3.BaseHTTPResponse:
        query = {"service": service, "scope": scope}
        if self._credentials.token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": "glowplug",
                "refresh_token": self._credentials.token,
            }
            return self._pool.request("POST", realm, fields=form, encode_multipart=False, redirect=False)
        headers = {"Authorization": self._credentials.basic} if self._credentials.is_known else {}
        joined = "&" if urlsplit(realm).query else "?"
        return self._pool.request(
            "GET", f"{realm}{joined}{urlencode(query)}", headers=headers, redirect=False
        )

    def wait(self, turn: int, retry_after: str | None = None) -> None:
        """Before the next try: longer each time, or as long as the registry says."""
        wanted = float(retry_after) if retry_after and retry_after.isdigit() else _BACK_OFF_S * 2**turn
        self._sleep(min(wanted, _LONGEST_WAIT_S) * random.uniform(0.75, 1.25))


def _body(response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    content = b"".join(_parts(response, limit + 1))
    if len(content) > limit:
        raise RegistryError(f"an answer is larger than the {limit} bytes that it may have")
    return content


def _filled(response: urllib3.BaseHTTPResponse, sink: Sink, base: str) -> bool:
    """Whether the body had all that the sink needs. Raises RegistryMiss for one that has more."""
    while sink.at < sink.end:
        size = sink.needs()
        piece = response.read(size)
        if len(piece) < size:
            return False
        sink.take(piece)
    if "Content-Length" not in response.headers and response.read(1):
        raise RegistryMiss("damaged", f"{base}: a blob is longer than its descriptor says")
    return True


def _parts(response: urllib3.BaseHTTPResponse, limit: int) -> Iterator[bytes]:
    while limit > 0:
        part = response.read(min(_READ, limit))
        if not part:
            return
        limit -= len(part)
        yield part


def _is_lasting(error: Exception) -> bool:
    """A certificate that is not trusted will not be so a second later."""
    return isinstance(error, SSLError) or (
        isinstance(error, MaxRetryError) and isinstance(error.reason, SSLError)
    )


def _why(error: Exception) -> str:
    return str(error.__cause__ or error)[:300]


def _reported(content: bytes) -> str:
    """The first of a registry's error codes (distribution-spec, Error Codes)."""
    try:
        found = json.loads(content)["errors"][0]
        return f" ({str(found['code'])[:60]}: {str(found.get('message', ''))[:120]})"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return ""
