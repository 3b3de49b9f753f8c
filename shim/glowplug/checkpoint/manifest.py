"""A checkpoint's manifest: dataclasses here, canonical JSON on disk (sorted keys, ASCII, a final line feed).

`loads` raises ManifestError and nothing else, whatever the bytes; `NewerManifest` when a later Glowplug wrote
them, which is a miss with a reason and no damage. The runtime reads the same file with plain `json`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from glowplug.checkpoint import key as workload
from glowplug.checkpoint.manifest_schema import MANIFEST, VERSION
from glowplug.checkpoint.requirements import Gpu, HostRequirements
from glowplug.checkpoint.schema import check
from glowplug.errors import ManifestError

LIMIT = 64 << 20  # bytes


class NewerManifest(ManifestError):
    """A manifest of a version that this Glowplug does not know."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"manifest: expected version {VERSION} or older, got {version}; "
            "a newer Glowplug wrote it and can use it"
        )
        self.version = version


@dataclass(frozen=True, slots=True)
class Process:
    """One captured process. Ids as /proc/PID/status has them; `uids`, `gids`: real, effective, saved, fs."""

    pid: int
    parent: int
    comm: str
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: Mapping[str, str]  # inheritable, permitted, effective, bounding, ambient → 16 hex digits
    no_new_privileges: bool
    seccomp: int
    limits: Mapping[str, str]  # the kernel's names → soft:hard
    label: str  # of the LSM; "" without one
    cuda: bool


@dataclass(frozen=True, slots=True)
class File:
    """One file: kind "image", "pages", "memory", "layer" or "shm"; size in bytes; digest "ALGORITHM:HEX"."""

    kind: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes by part."""

    cpu_memory: int
    gpu_memory: int
    layer: int
    shm: int
    images: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds; None: not measured."""

    cold_start_s: float | None = None
    pause_s: float | None = None
    dump_s: float | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """The writable layer: how many files, their bytes, how many deletions."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Key:
    """The workload key of the capture, complete (`key.WorkloadKey` without unknown parts)."""

    digest: str
    parts: workload.Parts
    conditions: Mapping[str, object] = field(
        default_factory=dict
    )  # those of rules before version 3 have none


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is kept about a checkpoint besides its bytes. Field by field: docs/manifest.schema.json."""

    created: str
    namespace: str
    pod: str
    container: str
    node: str
    shared: bool
    image_name: str
    key: Key
    requirements: HostRequirements
    processes: tuple[Process, ...]
    files: Mapping[str, File]
    sizes: Sizes
    measured: Measured
    layer: Layer
    settings: Mapping[str, str]
    gpus: tuple[Gpu, ...] = ()  # assigned to the container, in NVML's order


def dumps(manifest: Manifest) -> bytes:
    """The canonical bytes. Raises ManifestError when the manifest is not fit to be published."""
    plain = {"version": VERSION, **_plain_fields(manifest)}
    check(MANIFEST, plain)
    _check_key(manifest.key)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def loads(data: bytes) -> Manifest:
    """The manifest. Raises ManifestError for anything else, `NewerManifest` for one of a later version."""
    try:
        return _built(_parsed(data))
    except RecursionError:
        raise ManifestError("manifest: nested too deeply") from None


def _built(plain: dict[str, Any]) -> Manifest:
    version = plain.get("version")
    if type(version) is int and version > VERSION:
        raise NewerManifest(version)
    check(MANIFEST, plain)
    found = {name: plain[name] for name in _names(Manifest) if name in plain}
    found["key"] = Key(**plain["key"])
    found["requirements"] = HostRequirements(**_tuples(plain["requirements"]))
    found["processes"] = tuple(Process(**_tuples(process)) for process in plain["processes"])
    found["files"] = {path: File(**file) for path, file in plain["files"].items()}
    found["sizes"] = Sizes(**plain["sizes"])
    found["measured"] = Measured(**plain["measured"])
    found["layer"] = Layer(**plain["layer"])
    found["gpus"] = tuple(Gpu(**gpu) for gpu in plain.get("gpus", ()))
    manifest = Manifest(**found)
    _check_key(manifest.key)
    return manifest


def _parsed(data: bytes) -> dict[str, Any]:
    if len(data) > LIMIT:
        raise ManifestError(f"manifest: expected at most {LIMIT} bytes, got {len(data)}")
    try:
        plain = json.loads(data, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    except ValueError as error:
        raise ManifestError(f"manifest: not JSON ({type(error).__name__})") from None
    if not isinstance(plain, dict):
        raise ManifestError("manifest: not a JSON object")
    return plain


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an entry appears twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _check_key(found: Key) -> None:
    if workload.digest(found.parts) != found.digest:
        raise ManifestError("manifest: the key's digest is not that of its parts")


def _names(kind: type) -> list[str]:
    return [one.name for one in fields(kind)]


def _plain(value: object) -> object:
    if hasattr(value, "__dataclass_fields__"):
        return _plain_fields(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _plain_fields(value: object) -> dict[str, object]:
    return {name: _plain(getattr(value, name)) for name in _names(type(value))}


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
