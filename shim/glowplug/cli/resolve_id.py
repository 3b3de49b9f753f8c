"""The store that a command works on, and checkpoints in it by what a person typed of their ids."""

from collections.abc import Iterable

from glowplug.cache import layout
from glowplug.cache.store import Store
from glowplug.config import Config, limits
from glowplug.errors import UsageError

_SHOWN = 3  # ids shown in one message


def store(config: Config) -> Store:
    """Raises CacheError."""
    return Store(config.cache, limits(config))


def one(found: Store, prefix: str) -> str:
    """The one checkpoint whose id begins so. Raises UsageError: none, several, or no hexadecimal digits."""
    wanted = prefix.lower().rstrip("…")
    if not wanted or len(wanted) > layout.ID_LENGTH or set(wanted) - set("0123456789abcdef"):
        raise UsageError(
            f"expected a checkpoint's id or the start of one (hexadecimal digits), got {prefix[:80]!r}: "
            "see `glowplug list`"
        )
    ids = [entry for entry in found.ids() if entry.startswith(wanted)]
    if not ids:
        raise UsageError(f"no checkpoint has an id that begins with {wanted}: see `glowplug list`")
    if len(ids) > 1:
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        raise UsageError(
            f"expected one checkpoint, got {len(ids)} whose id begins with {wanted} "
            f"({', '.join(ids[:_SHOWN])}{more}): type more of it"
        )
    return ids[0]


def several(found: Store, prefixes: Iterable[str]) -> list[str]:
    """Each of them once, in their order. Raises UsageError before anything is done to any."""
    return list(dict.fromkeys(one(found, prefix) for prefix in prefixes))
