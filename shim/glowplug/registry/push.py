"""A checkpoint of this node's cache into a registry.

Blobs first, then the manifest by its digest, its signature, what it was built from, and its tags last: behind a
tag there is always a complete, signed artifact, wherever a push was killed. A push that is begun again finds the
packs that are there; chunks that the artifact before has are not sent again.
"""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from glowplug import __version__
from glowplug.cache import lease
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import Manifest
from glowplug.errors import RegistryError, RegistryMiss, UsageError
from glowplug.registry import (
    chunks,
    config,
    fleet,
    index,
    kept,
    keys,
    names,
    oci,
    reading,
    seal,
    signature,
    unsealing,
)
from glowplug.registry.client import Repository
from glowplug.registry.config import Config
from glowplug.registry.found import Found
from glowplug.registry.index import Chunk, Index
from glowplug.registry.oci import Artifact, Descriptor
from glowplug.registry.packing import Packer, in_order
from glowplug.registry.settings import RegistrySettings
from glowplug.registry.signature import PrivateKey

"""Bytes of content that are done, and of all."""
Known = dict[str, tuple[Descriptor, Chunk]]
"""Chunks that the registry has, with their packs, by id."""

_GROUP = 2 << 20


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
    """Chunks as they are numbered. `known`: those that the artifact before has, with their packs, by id."""

    known: Known
    numbers: dict[str, int] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    streams: list[tuple[int, ...]] = field(default_factory=list)


def push(
    store: Store,
    repository: Repository,
    settings: RegistrySettings,
    checkpoint: str,
    *,
    plain: bool = False,
    labels: Mapping[str, str] | None = None,
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
        kinds = (names.PACK_PLAIN, names.INDEX_PLAIN) if plain else (names.PACK_SEALED, names.INDEX_SEALED)
        known = _known(repository, settings, manifest.namespace, before, kinds[1])
        found, packs, sent = _contents(
            store.path(checkpoint), repository, secret, settings.parallel, data, known, kinds[0]
        )
        of_index = _put(repository, kinds[1], seal.seal_index(index.dumps(found), content_key, said.bound_to))
        artifact = Artifact(
            config=_put(repository, names.CONFIG_TYPE, config.dumps(said)),
            index=of_index,
            packs=packs,
            annotations=oci.annotations(said, max(time.time(), before[1].pushed + 0.001 if before else 0.0)),
        )
        digest = publish(repository, settings, artifact, said, manifest, signer)
        if settings.serve:
            kept.keep_quietly(store.root, digest, repository.seen, found)
        return Pushed(
            checkpoint,
            digest,
            artifact.tags,
            content=found.bytes,
            stored=artifact.bytes,
            sent=sent + of_index.size,
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
    """What the tag leads to now, if we signed it: digest and artifact."""
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


def _known(
    repository: Repository,
    settings: RegistrySettings,
    namespace: str,
    before: tuple[str, Artifact] | None,
    kind: str,
) -> Known:
    """The chunks of the artifact that the tag leads to, where this node can read it and encrypts as it does."""
    if before is None or before[1].index.type != kind:
        return {}
    digest, artifact = before
    try:
        said = oci.config_of(repository.blob(artifact.config, config.LIMIT), artifact.config)
        listed = unsealing.index_of(repository, settings, Found(namespace, digest, artifact, said))
    except (UsageError, RegistryMiss):
        return {}
    return {chunk.id: (artifact.packs[chunk.pack], chunk) for chunk in listed.chunks}


def _contents(
    directory: str,
    repository: Repository,
    secret: bytes | None,
    parallel: int,
    manifest: bytes,
    known: Known,
    kind: str,
) -> tuple[Index, tuple[Descriptor, ...], int]:
    """All chunks sealed, and what the registry does not have sent in packs; the bytes of those."""
    content = reading.content(directory)
    sent = _Sent(known)
    with ThreadPoolExecutor(parallel, thread_name_prefix="push") as pool:
        size = min(
            chunks.PACK * chunks.scale(sum(entry.size for entry in content.entries)), chunks.LARGEST_PACK
        )
        packer = Packer(repository, pool, parallel, size, kind)
        try:
            for number in range(len(content.streams)):
                items: list[int] = []
                groups = _groups(reading.pieces(content, number))
                for group in in_order(pool, groups, partial(_seal, secret), parallel * 2):
                    items.extend(_placed(sent, packer, one) for one in group)
                sent.streams.append(tuple(items))
            packs = packer.finish()
        except BaseException:
            packer.cancel()
            raise
    digests = tuple(pack.digest for pack in packs)
    return (
        Index(manifest, digests, tuple(sent.chunks), tuple(sent.streams), content.entries),
        packs,
        packer.sent,
    )


def _groups(pieces: Iterator[reading.Piece]) -> Iterator[list[reading.Piece]]:
    """Some megabytes at a time: a thread is not woken for less."""
    group: list[reading.Piece] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += 0 if isinstance(piece, int) else len(piece)
        if size >= _GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _seal(secret: bytes | None, group: list[reading.Piece]) -> list[seal.Sealed | int]:
    return [piece if isinstance(piece, int) else seal.seal_chunk(piece, secret) for piece in group]


def _placed(sent: _Sent, packer: Packer, one: seal.Sealed | int) -> int:
    """The chunk's number in the index, or the hole's negative length."""
    if isinstance(one, int):
        return -one
    number = sent.numbers.get(one.id)
    if number is not None:
        return number
    there = sent.known.get(one.id)
    pack = packer.existing(there[0]) if there else None
    if there and pack is not None:
        chunk = replace(there[1], pack=pack)
    else:
        place = packer.put(one.blob)
        chunk = Chunk(one.id, one.key, one.length, *place, len(one.blob))
    sent.numbers[one.id] = len(sent.chunks)
    sent.chunks.append(chunk)
    return sent.numbers[one.id]


def _put(repository: Repository, kind: str, content: bytes) -> Descriptor:
    descriptor = oci.of_blob(kind, content)
    repository.push_small_blob(content, descriptor.digest)
    return descriptor


def _provenance(said: Config, manifest: Manifest) -> bytes:
    """What it was built from, without a name of a pod or node."""
    plain = {
        "version": 1,
        "checkpoint": said.checkpoint,
        "captured": manifest.created,
        "image": {"name": manifest.image_name, "chain": manifest.key.parts.get("image")},
        "glowplug": __version__,
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
