"""One repository of a registry, by the distribution specification 1.1.

What has a digest is compared with it before it is returned, and may come from a mirror or another node; what has only
a name (tags) comes from the registry itself, and from those where the registry can't be reached.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from glowplug.errors import RegistryError, RegistryMiss
from glowplug.registry import names, oci, peers
from glowplug.registry.oci import Descriptor
from glowplug.registry.transport import Answer, Body, NotThere, Sink, Transport

_MISSING = frozenset((404,))
_ACCEPTED = {"Accept": f"{names.MANIFEST_TYPE}, {names.INDEX_OF_MANIFESTS_TYPE}"}
_PAGE = 1000  # tags requested at once
_UPLOADS = 5
_READ = 1 << 20  # bytes taken from a connection at a time


class Buffer:
    """A blob in memory, compared with its digest once it is there (transport.Sink)."""

    def __init__(self, wanted: Descriptor) -> None:
        self.at, self.end = 0, wanted.size
        self.content = bytearray(wanted.size)
        self._wanted = wanted

    def needs(self) -> int:
        """Some of the rest."""
        return min(_READ, self.end - self.at)

    def take(self, piece: bytes) -> None:
        """Raises RegistryMiss where the blob is another one; then it is read from its begin."""
        self.content[self.at : self.at + len(piece)] = piece
        self.at += len(piece)
        if self.at == self.end and names.digest(self.content) != self._wanted.digest:
            self.at = 0
            raise RegistryMiss("damaged", f"expected the blob {self._wanted.digest}, got another")


class Repository:
    """Thread-safe. `path`: without the registry's host. `mirrors`: queried first for what has a digest.

    `nodes`: queried for it once `ask_nodes` knows which have it, and where the registry fails. `seen`: manifests and
    small blobs that went through here, by digest or tag, where somebody wants to keep them (`remembers`).
    """

    def __init__(
        self,
        origin: Transport,
        path: str,
        mirrors: Sequence[Transport] = (),
        nodes: Sequence[Transport] = (),
        *,
        remembers: bool = False,
    ) -> None:
        self.path = path
        self.origin = origin
        self.seen: dict[str, bytes] = {}
        self._remembers = remembers
        self._mirrors = tuple(mirrors)
        self._nodes = tuple(nodes)
        self._having: tuple[Transport, ...] = ()
        self._turn = itertools.count()
        self._origin_fails = False

    # -- reading --

    def manifest(self, reference: str) -> bytes | None:
        """The bytes of a manifest, by tag or digest; None where there is none. Raises RegistryError, RegistryMiss."""
        failed: RegistryError | None = None
        for source in self._sources(by_digest=names.is_digest(reference)):
            try:
                found = self._get_manifest(source, reference)
            except RegistryError as error:
                failed = failed or error
                self._note_failure(source)
                continue
            if found is not None:
                self._remember(reference, found)
                return found
            if source is self.origin:
                return None
        if failed is not None:
            raise failed
        return None

    def ask_nodes(self, manifest_digest: str) -> int:
        """How many other nodes have an artifact: its blobs come from them from now on."""
        self._having = tuple(peers.having(self._nodes, self.path, manifest_digest))
        return len(self._having)

    def blob(self, wanted: Descriptor, limit: int) -> bytes:
        """A small blob. Raises RegistryMiss: too large, or another one from everywhere; RegistryError."""
        found = bytes(self.pack(wanted, limit))
        self._remember(wanted.digest, found)
        return found

    def pack(self, wanted: Descriptor, limit: int) -> bytearray:
        """As `blob`, in the buffer that it was read into."""
        sink = Buffer(wanted)
        self.receive(wanted, limit, sink)
        return sink.content

    def receive(self, wanted: Descriptor, limit: int, sink: Sink) -> None:
        """A blob, piece by piece: what one source breaks off, or gives as other bytes, the next one continues with.

        Raises RegistryMiss: too large, or other bytes from everywhere; RegistryError.
        """
        if wanted.size > limit:
            raise RegistryMiss(
                "damaged", f"a blob of {wanted.size} bytes, more than the {limit} that it may have"
            )
        failed: RegistryError | None = None
        for source in self._sources(by_digest=True):
            try:
                source.stream(f"/v2/{self.path}/blobs/{wanted.digest}", scope=self._scope(), sink=sink)
                return
            except RegistryMiss as error:
                failed = RegistryMiss(error.slug, f"{source.base}: {error}")
            except NotThere as error:
                failed = error
                continue
            except RegistryError as error:
                failed = error
            self._note_failure(source)
        assert failed is not None
        raise failed

    def receive_part(self, of: Descriptor, sink: Sink) -> None:
        """A piece of a blob, from sink.at to sink.end. Raises RegistryError; RegistryMiss: other bytes."""
        path = f"/v2/{self.path}/blobs/{of.digest}"
        failed: RegistryError | None = None
        for source in (self.origin, *self._having):
            try:
                source.stream(path, scope=self._scope(), sink=sink, complete=False)
                return
            except RegistryError as error:
                failed = failed or error
        assert failed is not None
        raise failed

    def become_child(self, number: int) -> None:
        """In a forked process, the number-th: connections of its own, and its own turn among the nodes."""
        for source in (self.origin, *self._mirrors, *self._nodes):
            source.close()
        self._turn = itertools.count(number)

    def tags(self) -> Iterator[str]:
        """All tags of the repository. Raises RegistryError."""
        after = ""
        while True:
            path = f"/v2/{self.path}/tags/list?n={_PAGE}" + (f"&last={quote(after)}" if after else "")
            answer = self.origin.request("GET", path, scope=self._scope(), fine=_MISSING, limit=oci.LIMIT)
            try:
                listed = (
                    [str(tag) for tag in json.loads(answer.body).get("tags") or ()]
                    if answer.status == 200
                    else []
                )
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise RegistryError(f"{self.origin.base}: its list of tags is of another form") from error
            yield from listed
            if len(listed) < _PAGE or listed[-1] == after:
                return
            after = listed[-1]

    def referrers(self, manifest_digest: str) -> list[dict[str, object]]:
        """What refers to a manifest, by the API or the tag that stands for it. Raises RegistryError."""
        path = f"/v2/{self.path}/referrers/{manifest_digest}"
        answer = self.origin.request(
            "GET", path, scope=self._scope(), headers=_ACCEPTED, fine=_MISSING, limit=oci.LIMIT
        )
        data = answer.body if answer.status == 200 else self.manifest(names.referrers_tag(manifest_digest))
        return [] if data is None else oci.referrers(data)

    # -- writing --

    def has_blob(self, digest: str) -> bool:
        """Whether the registry has it. Raises RegistryError."""
        path = f"/v2/{self.path}/blobs/{digest}"
        return self.origin.request("HEAD", path, scope=self._scope("pull,push"), fine=_MISSING).status == 200

    def push_small_blob(self, content: bytes, digest: str) -> bool:
        """As `push_blob`."""
        self._remember(digest, content)
        return self.push_blob(content, digest)

    def push_blob(self, content: Body, digest: str) -> bool:
        """Uploads a blob unless it is there; whether it was uploaded. Raises RegistryError.

        An upload that broke off is begun again: registries do not say how it ended.
        """
        for tries_left in reversed(range(_UPLOADS)):
            if self.has_blob(digest):
                return tries_left < _UPLOADS - 1
            try:
                self._upload(content, digest)
            except RegistryError:
                if not tries_left:
                    raise
                self.origin.wait(_UPLOADS - 1 - tries_left)
            else:
                return True
        raise AssertionError("the last try returns or raises")

    def push_manifest(self, content: bytes, reference: str, kind: str = names.MANIFEST_TYPE) -> Answer:
        """Puts a manifest under a tag or its digest. Raises RegistryError."""
        path = f"/v2/{self.path}/manifests/{reference}"
        self._remember(reference, content)
        return self.origin.request(
            "PUT", path, scope=self._scope("pull,push"), headers={"Content-Type": kind}, body=content
        )

    def delete_manifest(self, digest: str) -> bool:
        """Whether there was one to delete. Raises RegistryError, also where the registry deletes nothing."""
        path = f"/v2/{self.path}/manifests/{digest}"
        answer = self.origin.request(
            "DELETE", path, scope=self._scope("pull,push,delete"), fine=frozenset((404, 405))
        )
        if answer.status == 405:
            raise RegistryError(f"{self.origin.base}: deletion is turned off in the registry's configuration")
        return answer.status != 404

    def _sources(self, *, by_digest: bool) -> list[Transport]:
        """In the order in which they are queried; nodes that have it take turns, and are queried once."""
        turn = next(self._turn) % len(self._having) if self._having else 0
        having = (*self._having[turn:], *self._having[:turn])
        others = [node for node in self._nodes if node not in having]
        if self._origin_fails:
            return [*having, *self._mirrors, *others, self.origin]
        if by_digest:
            return [*having, *self._mirrors, self.origin, *others]
        return [self.origin, *self._mirrors, *having, *others]

    def _note_failure(self, source: Transport) -> None:
        """The registry is queried last from now on, a node no more."""
        if source is self.origin:
            self._origin_fails = True
        else:
            self._having = tuple(node for node in self._having if node is not source)
            self._nodes = tuple(node for node in self._nodes if node is not source)

    def _remember(self, reference: str, content: bytes) -> None:
        if self._remembers:
            self.seen[reference] = content
            self.seen[names.digest(content)] = content

    def _get_manifest(self, source: Transport, reference: str) -> bytes | None:
        path = f"/v2/{self.path}/manifests/{reference}"
        answer = source.request(
            "GET", path, scope=self._scope(), headers=_ACCEPTED, fine=_MISSING, limit=oci.LIMIT
        )
        if answer.status == 404:
            return None
        if names.is_digest(reference) and names.digest(answer.body) != reference:
            raise RegistryMiss("damaged", f"{source.base} gave another manifest for {reference}")
        return answer.body

    def _upload(self, content: Body, digest: str) -> None:
        scope = self._scope("pull,push")
        begun = self.origin.request("POST", f"/v2/{self.path}/blobs/uploads/", scope=scope, body=b"")
        location = begun.headers.get("Location", "")
        if not location:
            raise RegistryError(f"{self.origin.base}: it accepts an upload without a Location to send it to")
        joined = "&" if "?" in location else "?"
        self.origin.request(
            "PUT",
            f"{location}{joined}digest={quote(digest)}",
            scope=scope,
            headers={"Content-Type": "application/octet-stream"},
            body=content,
            tries=1,
        )

    def _scope(self, actions: str = "pull") -> str:
        return f"repository:{self.path}:{actions}"
