"""The index of an artifact, opened with this node's keys, once it is what its manifest and config say."""

from glowplug.cache import check
from glowplug.checkpoint import manifest as manifests
from glowplug.errors import ManifestError, RegistryMiss, UsageError
from glowplug.registry import index, keys, seal
from glowplug.registry.client import Repository
from glowplug.registry.config import Config
from glowplug.registry.found import Found
from glowplug.registry.index import Index
from glowplug.registry.settings import RegistrySettings


def index_of(repository: Repository, settings: RegistrySettings, found: Found) -> Index:
    """Raises RegistryMiss unless it is of this artifact, and its manifest that of its config; UsageError: no key."""
    content_key = _content_key(settings, found) if found.config.is_sealed else None
    blob = repository.blob(found.artifact.index, index.LIMIT)
    listed = index.loads(seal.open_index(blob, content_key, found.config.bound_to, index.LIMIT))
    if list(listed.packs) != [pack.digest for pack in found.artifact.packs]:
        raise RegistryMiss("damaged", "the index lists other packs than the manifest")
    if any(chunk.offset + chunk.size > found.artifact.packs[chunk.pack].size for chunk in listed.chunks):
        raise RegistryMiss("damaged", "the index has a chunk that is outside of its pack")
    if found.config.is_sealed and not all(chunk.key for chunk in listed.chunks):
        raise RegistryMiss("damaged", "the index has chunks without a key")
    _require_manifest(listed.manifest, found.config)
    return listed


def _content_key(settings: RegistrySettings, found: Found) -> bytes:
    own = {key.public_key().public_bytes_raw(): key for key in keys.identities(settings, found.namespace)}
    for wrapped in found.config.recipients:
        if wrapped.recipient in own:
            return seal.unwrap(wrapped, own[wrapped.recipient], found.namespace)
    raise UsageError(
        f"checkpoint {found.config.checkpoint} is encrypted for none of this node's keys "
        f"(registry.identities, namespace {found.namespace})"
    )


def _require_manifest(data: bytes, said: Config) -> None:
    try:
        manifest = manifests.loads(data)
    except ManifestError as error:
        raise RegistryMiss("damaged", str(error)) from error
    if (
        check.checkpoint_id(data) != said.checkpoint
        or manifest.namespace != said.namespace
        or manifest.key.digest != said.key
        or manifest.requirements != said.requirements
    ):
        raise RegistryMiss("damaged", "the checkpoint's manifest is not the one that its config describes")
