"""Where everything in the store is: every path is a function here, and what may serve as a name in one.

    checkpoints/<id>/     published, never changed; the name is the digest of its manifest.json
    drafts/<name>/        being written; drafts/<name>.lock is locked for as long as its writer lives
    trash/<name>/         taken out of checkpoints/, being deleted
    state/<id>.json       what changes about a checkpoint: pin, quarantine, early exits; under state/lock
    leases/<id>.lock      locked (flock) while the checkpoint is used; its mtime is the last use
    compile/<name>        a compile cache in one file (pack.py), published by rename; its mtime is the last use
    lock                  locked (flock) for a moment during each change of the store
    salt                  key of the keyed hashes in manifests

Hot: the runtime imports this. Standard library only.
"""

import os

from glowplug.errors import CacheError

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
ID_LENGTH = 32
MANIFEST = "manifest.json"
BLOCKS = "blocks.json"
TREE = "tree"
_TREE_PLACES = ("layer", "shm", "volumes")

_HEX = frozenset("0123456789abcdef")


def is_tree(path: str) -> bool:
    """Whether what is there is a container's own files, kept as they were: layer/tree, shm/tree, volumes/N/tree.

    Owners, modes and links in it are the container's; beyond it everything is root's alone.
    """
    first, _, _ = path.partition("/")
    return first in _TREE_PLACES and path.rpartition("/")[2] == TREE and path.count("/") <= 2


def is_id(name: str) -> bool:
    """Whether name has the form of a checkpoint's: 32 lower-case hexadecimal digits."""
    return len(name) == ID_LENGTH and _HEX.issuperset(name)


def require_id(name: str) -> str:
    """name, or CacheError: what comes from outside is a look-up key and never becomes a path as it is."""
    if not is_id(name):
        raise CacheError(f"expected a checkpoint's id, {ID_LENGTH} hexadecimal digits, got {name[:80]!r}")
    return name


def is_inside(path: str) -> bool:
    """Whether path, out of a manifest, is a plain relative one: no '..', no '.', nothing empty, no NUL."""
    try:
        os.fsencode(path)
    except ValueError:
        return False
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def checkpoints(root: str) -> str:
    """The directory of published checkpoints."""
    return f"{root}/checkpoints"


def checkpoint(root: str, checkpoint_id: str) -> str:
    """The directory of one checkpoint. Raises CacheError for what is no id."""
    return f"{root}/checkpoints/{require_id(checkpoint_id)}"


def manifest(root: str, checkpoint_id: str) -> str:
    """A checkpoint's manifest. Raises CacheError for what is no id."""
    return f"{root}/checkpoints/{require_id(checkpoint_id)}/{MANIFEST}"


def drafts(root: str) -> str:
    """The directory of checkpoints that are being written."""
    return f"{root}/drafts"


def draft(root: str, name: str) -> str:
    """The directory of one draft."""
    return f"{root}/drafts/{name}"


def draft_lock(root: str, name: str) -> str:
    """The lock of one draft, its writer's."""
    return f"{root}/drafts/{name}.lock"


def trash(root: str) -> str:
    """The directory of what is being removed."""
    return f"{root}/trash"


def trashed(root: str, name: str) -> str:
    """One thing that is being removed."""
    return f"{root}/trash/{name}"


def states(root: str) -> str:
    """The directory of the checkpoints' states."""
    return f"{root}/state"


def state(root: str, checkpoint_id: str) -> str:
    """A checkpoint's state: pin, quarantine, failures. Raises CacheError for what is no id."""
    return f"{root}/state/{require_id(checkpoint_id)}.json"


def state_lock(root: str) -> str:
    """The lock that every change of a state takes."""
    return f"{root}/state/lock"


def leases(root: str) -> str:
    """The directory of leases."""
    return f"{root}/leases"


def lease(root: str, checkpoint_id: str) -> str:
    """A checkpoint's lease. Raises CacheError for what is no id."""
    return f"{root}/leases/{require_id(checkpoint_id)}.lock"


def compile_caches(root: str) -> str:
    """The directory of compile caches."""
    return f"{root}/compile"


def compile_cache(root: str, name: str) -> str:
    """The directory of one compile cache. Raises CacheError for what is no id."""
    return f"{root}/compile/{require_id(name)}"


def store_lock(root: str) -> str:
    """The lock that every change of the store takes."""
    return f"{root}/lock"


def salt(root: str) -> str:
    """The secret of the keyed hashes."""
    return f"{root}/salt"
