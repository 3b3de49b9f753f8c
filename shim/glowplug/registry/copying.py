"""An artifact copied from one repository to another as it is: the same signature, opened by the same keys.

Blobs first and tags last, as in a push.
"""

from concurrent.futures import ThreadPoolExecutor

from glowplug.errors import RegistryError
from glowplug.registry import chunks, config, index, names, oci
from glowplug.registry.client import Repository
from glowplug.registry.found import Found
from glowplug.registry.oci import Descriptor
from glowplug.registry.push import signatures_of

_LARGEST = chunks.PACK_LIMIT


def copy(source: Repository, target: Repository, found: Found, parallel: int) -> int:
    """Bytes of blobs that were not there. Raises RegistryError."""
    artifact = found.artifact
    with ThreadPoolExecutor(parallel, thread_name_prefix="copy") as pool:
        sent = sum(pool.map(lambda blob: _copy_blob(source, target, blob, _LARGEST), artifact.packs))
    sent += _copy_blob(source, target, artifact.index, index.LIMIT)
    sent += _copy_blob(source, target, artifact.config, config.LIMIT)
    data = source.manifest(found.digest)
    if data is None:
        raise RegistryError(f"{source.path}@{found.digest} was removed while it was copied")
    target.push_manifest(data, found.digest)
    _copy_signatures(source, target, found.digest)
    for tag in artifact.tags:
        target.push_manifest(data, tag)
    return sent


def _copy_signatures(source: Repository, target: Repository, digest: str) -> None:
    listed = source.manifest(names.signature_tag(digest))
    if listed is None:
        return
    layers = []
    for payload, _ in signatures_of(source, digest):
        layers.append(oci.of_blob(names.SIGNATURE_LAYER_TYPE, payload))
        target.push_blob(payload, layers[-1].digest)
    of_config = oci.signature_config(layers)
    target.push_blob(of_config, names.digest(of_config))
    said = [signature for _, signature in oci.signatures(listed)]
    described = oci.of_blob("application/vnd.oci.image.config.v1+json", of_config)
    target.push_manifest(
        oci.signature_manifest(zip(layers, said, strict=True), described), names.signature_tag(digest)
    )


def _copy_blob(source: Repository, target: Repository, blob: Descriptor, limit: int) -> int:
    if target.has_blob(blob.digest):
        return 0
    target.push_blob(bytes(source.pack(blob, limit)), blob.digest)
    return blob.size
