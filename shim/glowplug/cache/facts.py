"""The few facts of a manifest that the store needs, read from plain JSON: whose model it is, the core says.

"files": {path: {"kind", "size", "digest"}}, "namespace", "created", "key": {"digest"}, "shared". A manifest
of a newer version that keeps these is stored, leased, verified and evicted like any other.

Hot: the runtime imports this. Standard library only.
"""

import os

from glowplug import jsontext
from glowplug.cache import layout
from glowplug.errors import CacheError, DamagedCheckpoint, UnknownDigest

MANIFEST_LIMIT = 64 << 20  # bytes; a larger one is no manifest of ours
BLAKE2B = "blake2b-256"  # the standard library has it: checked at every restore
BLAKE3 = "blake3"  # fast, of a library: checked on the agent's side
BLAKE3_BLOCKS = "blake3-64m"  # the same, of a file's blocks (blocks.py)
_ALGORITHMS = (BLAKE2B, BLAKE3, BLAKE3_BLOCKS)

File = tuple[str, int, str, str]  # kind, size in bytes, digest's algorithm, digest in hexadecimal


def read(root: str, checkpoint_id: str) -> bytes:
    """The bytes of a published manifest.

    Raises CacheError when there is no such checkpoint, DamagedCheckpoint when its manifest can't be read.
    """
    path = layout.manifest(root, checkpoint_id)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if not os.path.isdir(layout.checkpoint(root, checkpoint_id)):
            raise CacheError(f"no checkpoint {checkpoint_id} in {root}") from error
        raise DamagedCheckpoint(f"checkpoint {checkpoint_id}: {layout.MANIFEST}: {error.strerror}") from error
    try:
        with open(descriptor, "rb") as file:
            return file.read(MANIFEST_LIMIT + 1)
    except OSError as error:
        raise DamagedCheckpoint(f"checkpoint {checkpoint_id}: {layout.MANIFEST}: {error.strerror}") from error


def parse(manifest: bytes) -> dict[str, object]:
    """The manifest as a plain dict. Raises CacheError when it is not a JSON object."""
    if len(manifest) > MANIFEST_LIMIT:
        raise CacheError(f"manifest: longer than {MANIFEST_LIMIT} bytes")
    try:
        parsed = jsontext.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise CacheError(f"manifest: not JSON ({type(error).__name__})") from error
    if not isinstance(parsed, dict):
        raise CacheError(f"manifest: expected a JSON object, got {type(parsed).__name__}")
    return parsed


def files(manifest: dict[str, object]) -> dict[str, File]:
    """What is in the checkpoint, by path. Raises CacheError when "files" has another form than ours."""
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise CacheError(f'manifest: expected "files" to be an object, got {type(listed).__name__}')
    return {path: _file(path, entry) for path, entry in listed.items()}


def _file(path: str, entry: object) -> File:
    if not layout.is_inside(path) or path == layout.MANIFEST:
        raise CacheError(f"manifest: {path[:80]!r} is not the path of a file inside a checkpoint")
    if not isinstance(entry, dict):
        raise CacheError(f"manifest: {path}: expected kind, size and digest, got {type(entry).__name__}")
    kind, size, digest = entry.get("kind"), entry.get("size"), entry.get("digest")
    if not isinstance(kind, str) or type(size) is not int or size < 0 or not isinstance(digest, str):
        raise CacheError(f"manifest: {path}: expected kind (text), size (bytes), digest (algorithm:hex)")
    algorithm, _, value = digest.partition(":")
    if algorithm not in _ALGORITHMS:
        wanted = ", ".join(_ALGORITHMS)
        raise UnknownDigest(f"manifest: {path}: expected one of {wanted}, got {algorithm[:40]!r}")
    if layout.is_tree(path) and algorithm != BLAKE3:
        raise CacheError(f"manifest: {path}: expected the {BLAKE3} of its listing, got {algorithm}")
    return kind, size, algorithm, value


def require(manifest: bytes) -> None:
    """Raises CacheError where a fact is missing without which a checkpoint would be found for nobody."""
    parsed = parse(manifest)
    files(parsed)
    if namespace(parsed) is None or key_digest(parsed) is None:
        raise CacheError('manifest: expected "namespace" and "key.digest", without which it serves no pod')


def namespace(manifest: dict[str, object]) -> str | None:
    """The Kubernetes namespace that the checkpoint was captured in; None when it is not said."""
    value = manifest.get("namespace")
    return value if isinstance(value, str) and value else None


def key_digest(manifest: dict[str, object]) -> str | None:
    """The workload key's digest; None when it is not said."""
    key = manifest.get("key")
    value = key.get("digest") if isinstance(key, dict) else None
    return value if isinstance(value, str) and value else None


def rules(manifest: dict[str, object]) -> tuple[int | None, str]:
    """The version of the matching rules and the image's chain ID, of the key's parts; None and "" when not said."""
    key = manifest.get("key")
    parts = key.get("parts") if isinstance(key, dict) else None
    found = parts if isinstance(parts, dict) else {}
    version, image = found.get("rules"), found.get("image")
    return version if type(version) is int else None, image if isinstance(image, str) else ""


def owner(manifest: dict[str, object]) -> tuple[str, str]:
    """Which salt the key's hashes were made with, and the hash of the namespace's uid; "" where it is not said."""
    key = manifest.get("key")
    found = key if isinstance(key, dict) else {}
    parts, conditions = found.get("parts"), found.get("conditions")
    salt = parts.get("salt") if isinstance(parts, dict) else None
    uid = conditions.get("namespace") if isinstance(conditions, dict) else None
    return salt if isinstance(salt, str) else "", uid if isinstance(uid, str) else ""


def container(manifest: dict[str, object]) -> str:
    """The name of the container that was captured; "" when it is not said."""
    value = manifest.get("container")
    return value if isinstance(value, str) else ""


def is_shared(manifest: dict[str, object]) -> bool:
    """Whether the owner lets other namespaces use it (`glowplug.dev/share: cluster` at capture)."""
    return manifest.get("shared") is True or manifest.get("shared") == "cluster"
