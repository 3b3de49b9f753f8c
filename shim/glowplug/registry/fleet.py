"""What the nodes of a fleet share so that they can use each other's checkpoints: one secret, of which others follow.

Keyed hashes of variables compare only where both nodes made them with one salt. It follows from the fleet's secret, as
does the secret under which a namespace's chunks are encrypted; neither is ever part of an artifact.
"""

import hashlib
import hmac
import os
import stat

from glowplug.cache.store import Store
from glowplug.errors import UsageError
from glowplug.registry.settings import RegistrySettings

SHORTEST = 32
_LONGEST = 4096
_SALT = b"glowplug salt v1"
_CHUNKS = b"glowplug chunks v1\0"


def salt(settings: RegistrySettings, store: Store) -> bytes:
    """The salt of this node's keyed hashes: the fleet's, or where there is none the store's own. Raises UsageError."""
    if not settings.fleet_secret:
        return store.salt()
    return hmac.digest(secret(settings), _SALT, hashlib.sha256)


def chunk_secret(settings: RegistrySettings, namespace: str) -> bytes:
    """Of a namespace: equal chunks are equal blobs in it, and in it alone. Raises UsageError."""
    return hmac.digest(secret(settings), _CHUNKS + namespace.encode(), hashlib.sha256)


def secret(settings: RegistrySettings) -> bytes:
    """The fleet's secret. Raises UsageError."""
    if not settings.fleet_secret:
        raise UsageError(
            "registry.fleet_secret is not set: nodes without one secret can't match each other's checkpoints"
        )
    found = private_file(settings.fleet_secret)
    if len(found) < SHORTEST:
        raise UsageError(
            f"{settings.fleet_secret}: a fleet's secret has at least {SHORTEST} random bytes, this has {len(found)}"
        )
    return found


def private_file(path: str) -> bytes:
    """A small file that nobody but its owner may read or write. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: it can't be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"{path}: others may read it (mode {stat.S_IMODE(mode):04o}): chmod 0600")
    if len(content) > _LONGEST:
        raise UsageError(f"{path}: it is longer than {_LONGEST} bytes, so it is not a key")
    return content
