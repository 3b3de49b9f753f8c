"""A registry in memory, whose contents a test can change like anybody who may write there."""

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from glowplug.errors import RegistryError
from glowplug.registry import names
from glowplug.registry.transport import Answer, Body, NotThere, Sink, Transport


class MemoryTransport(Transport):
    """`blobs` by digest, `manifests` by repository:digest and repository:tag; nothing of HTTP is in the way."""

    def __init__(self, blobs: dict[str, bytes], manifests: dict[str, bytes]) -> None:
        self.base = "memory://"
        self.blobs = blobs
        self.manifests = manifests

    def close(self) -> None:
        """Nothing to close."""

    def wait(self, turn: int, retry_after: str | None = None) -> None:
        """Not at all."""

    def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limit: int = 0,
        fine: frozenset[int] = frozenset(),
        tries: int = 0,
    ) -> Answer:
        """As a registry of the distribution specification does."""
        status, said, content = self._answer(method, path, body)
        if status >= 300 and status not in fine:
            raise RegistryError(f"{method} answered {status}")
        return Answer(status, said, content)

    def stream(self, path: str, *, scope: str, sink: Sink, complete: bool = True) -> None:
        """A blob, or a part of one."""
        found = self.blobs.get(path.rpartition("/")[2])
        if found is None:
            raise NotThere("GET answered 404")
        if complete and len(found) != sink.end:
            raise RegistryError("another length")
        while sink.at < sink.end:
            sink.take(found[sink.at : sink.at + sink.needs()])

    def _answer(self, method: str, path: str, body: Body | None) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(path)
        above, kind, name = parts.path.rsplit("/", 2)
        repository = above.removeprefix("/v2/")
        if method == "POST":
            return 202, {"Location": "/upload/blobs/put"}, b""
        if method == "PUT" and kind == "blobs":
            content = body if isinstance(body, bytes) else b"".join(body or ())
            self.blobs[parse_qs(parts.query)["digest"][0]] = content
            return 201, {}, b""
        if method == "PUT":
            assert isinstance(body, bytes)
            self.manifests[f"{repository}:{name}"] = self.manifests[f"{repository}:{names.digest(body)}"] = (
                body
            )
            return 201, {}, b""
        found = self.blobs.get(name) if kind == "blobs" else self.manifests.get(f"{repository}:{name}")
        return (404, {}, b"") if found is None else (200, {}, found)
