"""The store's root directory: its directories, private to the one who runs, and its salt."""

import os
import secrets
import stat

from glowplug.cache import disk, layout
from glowplug.errors import CacheError

SALT_LENGTH = 32  # bytes
_OF_THE_FILE_SYSTEM = "lost+found"


def prepare(root: str) -> None:
    """Makes the store's directories, 0700, where they are missing. Raises CacheError, OSError.

    A directory that others use is refused: closed to them, /var/lib or a data disk's root would break the node.
    """
    _require_unused(root)
    _private(root)
    for path in (
        *(layout.checkpoints, layout.drafts, layout.trash, layout.states, layout.leases),
        layout.compile_caches,
    ):
        _private(path(root))


def salt(root: str) -> bytes:
    """The salt, drawn where there is none yet. Take the store's lock first. Raises CacheError, OSError."""
    path = layout.salt(root)
    if not os.path.lexists(path):
        disk.write_file(f"{path}.new", secrets.token_bytes(SALT_LENGTH))
        os.rename(f"{path}.new", path)
        disk.sync(root)
    with open(path, "rb") as file:
        found = file.read()
    if len(found) != SALT_LENGTH:
        raise CacheError(
            f"{path}: expected {SALT_LENGTH} bytes, got {len(found)}; remove it and capture again: "
            "what was captured with the old one no longer matches"
        )
    return found


def foreign_entries(root: str) -> list[str]:
    """What is in a directory that is no store and is open to others: it is somebody else's then. Raises OSError."""
    if not os.path.isdir(root) or os.path.isdir(layout.checkpoints(root)):
        return []
    if stat.S_IMODE(os.stat(root).st_mode) == layout.DIRECTORY_MODE:
        return []
    return sorted(set(os.listdir(root)) - {_OF_THE_FILE_SYSTEM})


def _require_unused(root: str) -> None:
    found = foreign_entries(root)
    if found:
        raise CacheError(
            f"{root}: expected a directory for checkpoints alone, got {found[0][:80]!r} in it; "
            "name another in the configuration (`cache`)"
        )


def _private(path: str) -> None:
    os.makedirs(path, layout.DIRECTORY_MODE, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        wanted = f"a directory of owner {os.geteuid()}"
        raise CacheError(f"{path}: expected {wanted}, got {stat.filemode(found.st_mode)} of {found.st_uid}")
    if stat.S_IMODE(found.st_mode) != layout.DIRECTORY_MODE:
        os.chmod(path, layout.DIRECTORY_MODE)
