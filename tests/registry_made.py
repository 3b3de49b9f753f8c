"""Artifacts of checkpoints for the tests of the registry's pure parts."""

import os
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests import checkpoint_made

from glowplug.cache import check
from glowplug.checkpoint import manifest as manifests
from glowplug.registry import config, index, names, oci, seal
from glowplug.registry.index import Chunk, Entry, Index
from glowplug.registry.oci import Artifact, Descriptor

SECRET = b"s" * 32
NAMESPACE = "models"


def manifest_bytes() -> bytes:
    """manifest.json of a checkpoint."""
    return manifests.dumps(checkpoint_made.manifest_of())


def index_of(contents: Iterable[bytes] = (b"registers" * 100,)) -> tuple[Index, dict[str, bytes]]:
    """An index of one image for each content, and the blobs by digest."""
    chunks, blobs, entries, streams = [], {}, [Entry("images", index.DIRECTORY, 0o700)], []
    for number, content in enumerate(contents):
        sealed = seal.seal_chunk(content, SECRET)
        blobs[names.digest(sealed.blob)] = sealed.blob  # a pack of its own
        chunks.append(Chunk(sealed.id, sealed.key, sealed.length, number, 0, len(sealed.blob)))
        streams.append((number,))
        entries.append(Entry(f"images/core-{number}.img", index.FILE, size=len(content), at=(number, 0)))
    return Index(manifest_bytes(), tuple(blobs), tuple(chunks), tuple(streams), tuple(entries)), blobs


def artifact_of(
    found: Index, blobs: dict[str, bytes], recipient: X25519PrivateKey, pushed: float = 1000.0
) -> tuple[Artifact, config.Config]:
    """The artifact of an index; its config and sealed index are put among the blobs."""
    content_key = os.urandom(32)
    wrapped = seal.wrap(content_key, recipient.public_key(), NAMESPACE)
    manifest = manifests.loads(found.manifest)
    said = config.of(check.checkpoint_id(found.manifest), manifest, (wrapped,), {})
    sealed = seal.seal_index(index.dumps(found), content_key, said.bound_to)
    of_config = oci.of_blob(names.CONFIG_TYPE, config.dumps(said))
    of_index = oci.of_blob(names.INDEX_SEALED, sealed)
    blobs |= {of_config.digest: config.dumps(said), of_index.digest: sealed}
    layers = tuple(Descriptor(names.PACK_SEALED, pack, len(blobs[pack])) for pack in found.packs)
    return Artifact(of_config, of_index, layers, oci.annotations(said, pushed)), said
