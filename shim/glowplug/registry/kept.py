"""What this node keeps of an artifact beside the checkpoint, so that it can serve it to other nodes.

`registry/kept/CHECKPOINT/` in the cache, complete or absent: the manifest, its signatures, and the small blobs, each as
it is in the registry; and the index in the open, for a node that pushed need not have a key that opens its own.
Packs are not kept: they are made again from the checkpoint's files (rebuilding.py). That is a thousandth of its size.
"""

import contextlib
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import zstandard

from glowplug.cache import disk, layout
from glowplug.errors import RegistryMiss
from glowplug.registry import index, names, oci
from glowplug.registry.index import Index
from glowplug.registry.oci import Artifact

_MANIFEST, _SIGNATURES, _INDEX = "manifest", "signatures", "index"


@dataclass(frozen=True, slots=True)
class Kept:
    """`signatures`: the manifest that cosign's tag leads to."""

    checkpoint: str
    directory: str
    manifest: bytes
    signatures: bytes
    artifact: Artifact

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return names.digest(self.manifest)

    def small_blob(self, digest: str) -> bytes | None:
        """The config, the index, or the payload of a signature. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), open(_blob(self.directory, digest), "rb") as file:
            return file.read()
        return None

    def index(self) -> Index:
        """As it was pushed. Raises OSError, RegistryMiss."""
        with open(f"{self.directory}/{_INDEX}", "rb") as file:
            data = file.read()
        try:
            return index.loads(zstandard.decompress(data, max_output_size=index.LIMIT))
        except zstandard.ZstdError as error:
            raise RegistryMiss("damaged", "the kept index can't be decompressed") from error


def keep(cache: str, digest: str, seen: Mapping[str, bytes], listed: Index) -> bool:
    """Whether all of it was there to be kept. `seen`: manifests and small blobs, by digest or tag. Raises OSError."""
    try:
        manifest, signatures = seen[digest], seen[names.signature_tag(digest)]
        artifact = oci.loads(manifest)
        wanted = [artifact.config, artifact.index, *(payload for payload, _ in oci.signatures(signatures))]
        blobs = {one.digest: seen[one.digest] for one in wanted}
    except (KeyError, RegistryMiss):
        return False
    above = f"{cache}/registry/kept"
    directory = f"{above}/{artifact.annotations[names.CHECKPOINT]}"
    made = f"{above}/.{secrets.token_hex(8)}"
    os.makedirs(made, 0o700)
    try:
        for digest_of_blob, content in blobs.items():
            _write(_blob(made, digest_of_blob), content)
        _write(f"{made}/{_INDEX}", zstandard.compress(index.dumps(listed)))
        _write(f"{made}/{_SIGNATURES}", signatures)
        _write(f"{made}/{_MANIFEST}", manifest)
        with contextlib.suppress(FileNotFoundError):
            disk.delete(directory)
        os.rename(made, directory)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.delete(made)
        raise
    return True


def keep_quietly(cache: str, digest: str, seen: dict[str, bytes], listed: Index) -> None:
    """`keep`; where it can't be, this node does not serve it, and nothing else is lost. Empties `seen`."""
    with contextlib.suppress(OSError):
        keep(cache, digest, seen, listed)
    seen.clear()


def load(cache: str, checkpoint: str) -> Kept | None:
    """None where nothing, or nothing readable, is kept of it."""
    directory = f"{cache}/registry/kept/{checkpoint}"
    try:
        with (
            open(f"{directory}/{_MANIFEST}", "rb") as manifest,
            open(f"{directory}/{_SIGNATURES}", "rb") as file,
        ):
            data, signatures = manifest.read(), file.read()
        return Kept(checkpoint, directory, data, signatures, oci.loads(data))
    except (OSError, RegistryMiss):
        return None


def checkpoints(cache: str) -> list[str]:
    """Those of which something is kept."""
    try:
        return sorted(filter(layout.is_id, os.listdir(f"{cache}/registry/kept")))
    except FileNotFoundError:
        return []


def forget(cache: str, there: Collection[str]) -> None:
    """What is kept of checkpoints that are not in the cache any more, and of what a killed process began to keep."""
    above = f"{cache}/registry/kept"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(above):
            if name not in there:
                with contextlib.suppress(OSError):
                    disk.delete(f"{above}/{name}")


def _blob(directory: str, digest: str) -> str:
    return f"{directory}/{digest.removeprefix('sha256:')}"


def _write(path: str, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
