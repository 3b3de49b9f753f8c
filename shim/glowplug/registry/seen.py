"""What this node has seen under each tag, so that nobody can have it take an older artifact for the newest.

`registry/seen.json` in the cache: by repository and tag, when the newest one was pushed, and its digest. A node that
never saw a newer one, or lost the file, is protected by `max_age_s` alone.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from glowplug.errors import RegistryMiss

KEPT = 10_000
"""Tags; those whose artifacts are the oldest go."""

Record = dict[str, tuple[float, str]]


def require_newest(cache: str, place: str, pushed: float, digest: str) -> None:
    """Raises RegistryMiss where a newer artifact was seen at this place (REPOSITORY:TAG)."""
    before = _read(cache).get(place)
    if before is not None and (pushed < before[0] or (pushed == before[0] and digest != before[1])):
        raise RegistryMiss(
            "rolled-back",
            f"{place} was pushed before one that this node has seen under the same tag ({before[1]})",
        )


def note(cache: str, place: str, pushed: float, digest: str) -> None:
    """Remembers it, unless a newer one is known. Raises OSError."""
    with _locked(cache):
        found = _read(cache)
        if place in found and found[place][0] >= pushed:
            return
        found[place] = pushed, digest
        kept = sorted(found.items(), key=lambda one: one[1][0])[-KEPT:]
        path = _path(cache)
        with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(dict(kept), file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.new", path)


def _path(cache: str) -> str:
    return f"{cache}/registry/seen.json"


def _read(cache: str) -> Record:
    try:
        with open(_path(cache), "rb") as file:
            plain = json.load(file)
        return {str(place): (float(pushed), str(digest)) for place, (pushed, digest) in plain.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def _locked(cache: str) -> Iterator[None]:
    os.makedirs(f"{cache}/registry", 0o700, exist_ok=True)
    descriptor = os.open(f"{cache}/registry/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
