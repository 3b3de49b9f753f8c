"""A checkpoint of this node's cache into a registry.

Blobs first, then the manifest by its digest, its signature, what it was built from, and its tags last: whoever finds a
tag finds a whole and signed artifact behind it, wherever a push was killed. A push that is begun again finds the
chunks that are there.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from glowplug import __version__
from glowplug.cache import lease
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import Manifest
from glowplug.errors import RegistryError, RegistryMiss
from glowplug.registry import config, fleet, index, keys, names, oci, reading, seal, signature
from glowplug.registry.client import Repository
from glowplug.registry.config import Config
from glowplug.registry.index import Chunk, Index
from glowplug.registry.oci import Artifact, Descriptor
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.signature import PrivateKey

Report = Callable[[int, int], None]
"""Bytes of content that are done, and of all."""


@dataclass(slots=True)
class Pushed:
    """What came of it, in bytes. `stored`: of all blobs; `sent`: of those that were not there."""

    checkpoint: str
    digest: str
    tags: tuple[str, ...]
    content: int = 0
    stored: int = 0
    sent: int = 0
    was_there: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class _Sent:
    """Chunks as they are numbered, and what they took."""

    numbers: dict[str, int] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    sent: int = 0


def push(
    store: Store,
    repository: Repository,
    settings: RegistrySettings,
    checkpoint: str,
    *,
    plain: bool = False,
    labels: Mapping[str, str] | None = None,
    report: Report = lambda done, all: None,
) -> Pushed:
    """Pushes it, unless it is there. Raises UsageError (a key is missing), RegistryError, CacheError."""
    began = time.monotonic()
    descriptor = lease.take(store.root, checkpoint)
    try:
        data = store.manifest(checkpoint)
        manifest = manifests.loads(data)
        _require_fit(store, checkpoint, manifest)
        signer = keys.signing(settings)
        before = _signed(repository, manifest, signer)
        if before is not None and before[1].annotations[names.CHECKPOINT] == checkpoint:
            return Pushed(checkpoint, before[0], before[1].tags, was_there=True)
        secret = content_key = None
        recipients: tuple[seal.Wrapped, ...] = ()
        if not plain:
            secret = fleet.chunk_secret(settings, manifest.namespace)
            content_key = seal.new_content_key()
            recipients = tuple(
                seal.wrap(content_key, one, manifest.namespace)
                for one in keys.recipients(settings, manifest.namespace)
            )
        said = config.of(checkpoint, manifest, recipients, labels or {})
        found, sent = _contents(store.path(checkpoint), repository, secret, settings.parallel, data, report)
        of_index = _put(
            repository,
            names.INDEX_PLAIN if plain else names.INDEX_SEALED,
            seal.seal_index(index.dumps(found), content_key, said.bound_to),
        )
        artifact = Artifact(
            config=_put(repository, names.CONFIG_TYPE, config.dumps(said)),
            index=of_index,
            chunks=tuple(
                Descriptor(names.CHUNK_PLAIN if plain else names.CHUNK_SEALED, chunk.digest, size)
                for chunk, size in zip(found.chunks, sent.sizes, strict=True)
            ),
            annotations=oci.annotations(said, max(time.time(), before[1].pushed + 0.001 if before else 0.0)),
        )
        digest = publish(repository, settings, artifact, said, manifest, signer)
        return Pushed(
            checkpoint,
            digest,
            artifact.tags,
            content=found.bytes,
            stored=artifact.bytes,
            sent=sent.sent + of_index.size,
            seconds=round(time.monotonic() - began, 3),
        )
    finally:
        lease.release(descriptor)


def publish(
    repository: Repository,
    settings: RegistrySettings,
    artifact: Artifact,
    said: Config,
    manifest: Manifest | None,
    signer: PrivateKey,
) -> str:
    """The manifest, its signature, its provenance, its tags, in this order. Its digest."""
    data = oci.dumps(artifact)
    digest = names.digest(data)
    repository.push_manifest(data, digest)
    sign(repository, f"{settings.host}/{repository.path}", digest, artifact.annotations, signer)
    if manifest is not None:
        refer(repository, Descriptor(names.MANIFEST_TYPE, digest, len(data)), _provenance(said, manifest))
    for tag in artifact.tags:
        repository.push_manifest(data, tag)
    return digest


def sign(repository: Repository, name: str, digest: str, said: Mapping[str, str], signer: PrivateKey) -> None:
    """Puts a signature of a manifest where cosign looks for it."""
    signed = signature.payload(name, digest, said)
    layer = _put(repository, names.SIGNATURE_LAYER_TYPE, signed)
    of_config = _put(repository, "application/vnd.oci.image.config.v1+json", oci.signature_config([layer]))
    listed = oci.signature_manifest([(layer, signature.sign(signed, signer))], of_config)
    repository.push_manifest(listed, names.signature_tag(digest))


def refer(repository: Repository, subject: Descriptor, content: bytes) -> None:
    """Puts an artifact that refers to subject; where the registry keeps no list of referrers, in the tag for it."""
    said = _put(repository, names.PROVENANCE_TYPE, content)
    empty = _put(repository, names.EMPTY_TYPE, oci.EMPTY)
    data = oci.provenance_manifest(subject, said, empty)
    digest = names.digest(data)
    answer = repository.push_manifest(data, digest)
    if "OCI-Subject" in answer.headers:
        return
    tag = names.referrers_tag(subject.digest)
    before = repository.manifest(tag)
    listed = [one for one in (oci.referrers(before) if before else []) if one.get("digest") != digest]
    entry = {
        **oci.plain(Descriptor(names.MANIFEST_TYPE, digest, len(data))),
        "artifactType": names.PROVENANCE_TYPE,
    }
    repository.push_manifest(oci.referrers_index([*listed, entry]), tag, names.INDEX_OF_MANIFESTS_TYPE)


def _require_fit(store: Store, checkpoint: str, manifest: Manifest) -> None:
    if not names.is_namespace(manifest.namespace):
        raise RegistryError(f"checkpoint {checkpoint} is of no Kubernetes namespace: it stays on this node")
    if store.state(checkpoint).quarantined(store.now()) is not None:
        raise RegistryError(f"checkpoint {checkpoint} is quarantined: it stays on this node")


def _signed(repository: Repository, manifest: Manifest, signer: PrivateKey) -> tuple[str, Artifact] | None:
    """What stands under the tag now, if we signed it: digest and artifact."""
    tag = names.host_tag(manifest.key.digest, names.host_class(manifest.requirements))
    data = repository.manifest(tag)
    if data is None:
        return None
    digest = names.digest(data)
    try:
        artifact = oci.loads(data)
        signature.require(digest, signatures_of(repository, digest), [signer.public_key()])
    except RegistryMiss:
        return None
    return digest, artifact


def signatures_of(repository: Repository, digest: str) -> list[tuple[bytes, str]]:
    """The payloads beside a manifest, with their signatures. Raises RegistryError."""
    listed = repository.manifest(names.signature_tag(digest))
    found = oci.signatures(listed) if listed else []
    return [(repository.blob(layer, config.LIMIT), said) for layer, said in found]


def _contents(
    directory: str,
    repository: Repository,
    secret: bytes | None,
    parallel: int,
    manifest: bytes,
    report: Report,
) -> tuple[Index, _Sent]:
    """All chunks sealed and sent, a few at a time, in an order that their content gives."""
    content = reading.content(directory)
    all_bytes = sum(entry.size for entry in content.entries)
    sent = _Sent()
    streams: list[tuple[int, ...]] = []
    done = 0

    def work(piece: bytes) -> tuple[Chunk, int, bool]:
        sealed = seal.seal_chunk(piece, secret)
        uploaded = sealed.digest not in sent.numbers and repository.push_blob(sealed.blob, sealed.digest)
        return Chunk(sealed.digest, sealed.key, sealed.length), len(sealed.blob), uploaded

    with ThreadPoolExecutor(parallel, thread_name_prefix="push") as pool:
        for number in range(len(content.streams)):
            items: list[int] = []
            for found in _in_order(pool, reading.pieces(content, number), work, parallel * 2):
                if isinstance(found, int):
                    items.append(-found)
                    done += found
                else:
                    items.append(_numbered(sent, *found))
                    done += found[0].length
                report(min(done, all_bytes), all_bytes)
            streams.append(tuple(items))
    return Index(manifest, tuple(sent.chunks), tuple(streams), content.entries), sent


def _numbered(sent: _Sent, chunk: Chunk, size: int, uploaded: bool) -> int:
    if uploaded:
        sent.sent += size
    number = sent.numbers.setdefault(chunk.digest, len(sent.chunks))
    if number == len(sent.chunks):
        sent.chunks.append(chunk)
        sent.sizes.append(size)
    return number


def _in_order(
    pool: ThreadPoolExecutor,
    pieces: Iterator[bytes | int],
    work: Callable[[bytes], tuple[Chunk, int, bool]],
    ahead: int,
) -> Iterator[tuple[Chunk, int, bool] | int]:
    """The results in the pieces' order; at most `ahead` of them are in memory."""
    waiting: deque[Future[tuple[Chunk, int, bool]] | int] = deque()
    try:
        for piece in pieces:
            waiting.append(piece if isinstance(piece, int) else pool.submit(work, piece))
            while len(waiting) >= ahead:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for one in waiting:
            if not isinstance(one, int):
                one.cancel()


def _result(one: Future[tuple[Chunk, int, bool]] | int) -> tuple[Chunk, int, bool] | int:
    return one if isinstance(one, int) else one.result()


def _put(repository: Repository, kind: str, content: bytes) -> Descriptor:
    descriptor = oci.of_blob(kind, content)
    repository.push_blob(content, descriptor.digest)
    return descriptor


def _provenance(said: Config, manifest: Manifest) -> bytes:
    """What it was built from, without a name of a pod or node."""
    plain = {
        "version": 1,
        "checkpoint": said.checkpoint,
        "captured": manifest.created,
        "image": {"name": manifest.image_name, "chain": manifest.key.parts.get("image")},
        "restored_from": manifest.measured.restored_from,
        "glowplug": __version__,
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
