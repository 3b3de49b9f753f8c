"""Device UUIDs as the driver takes them (16 bytes) and as people write them (`GPU-` and 32 hex digits)."""

from __future__ import annotations

from glowplug.errors import CudaError

Pairs = tuple[tuple[str, str], ...]
"""Old and new UUID of each device that a process could open, for cuCheckpointProcessRestore's gpuPairs."""


def to_bytes(uuid: str) -> bytes:
    """The 16 bytes of a CUuuid. Raises CudaError for what is no full device's UUID (a MIG slice)."""
    digits = uuid.removeprefix("GPU-").replace("-", "")
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    if not uuid.startswith("GPU-") or len(raw) != 16:
        raise CudaError(
            f"expected the UUID of a full GPU (GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx), got {uuid!r}"
        )
    return raw


def to_text(pairs: Pairs) -> str:
    """`old=new,old=new`, the form that `cuda-checkpoint --device-map` takes."""
    return ",".join(f"{old}={new}" for old, new in pairs)


def from_text(text: str) -> Pairs:
    """The pairs of `old=new,old=new`; an empty text has none. Raises CudaError for any other form."""
    pairs = []
    for part in text.split(",") if text else ():
        old, equals, new = part.partition("=")
        if not equals:
            raise CudaError(f"expected a device map old=new,old=new, got {text!r}")
        pairs.append((old, new))
    return tuple(pairs)
