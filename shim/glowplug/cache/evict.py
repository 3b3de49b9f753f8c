"""Which checkpoints have to go, and why: a decision over values, nothing is touched here."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from glowplug.errors import NoSpace

_DAY_S = 86_400

Eviction = tuple[str, str, int]  # id, why, bytes on the disk


@dataclass(frozen=True, slots=True)
class Limits:
    """What the store may take; None: no such limit.

    max_bytes: of all checkpoints together. min_free: bytes of the file system to leave free.
    max_age_s: seconds since the last use. newest: checkpoints kept per namespace and workload key.
    """

    max_bytes: int | None = None
    min_free: int = 0
    max_age_s: float | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A checkpoint as the policy sees it. Times in seconds since the epoch, bytes on the disk."""

    id: str
    bytes: int
    created: float
    last_used: float
    workload: tuple[str, str] | None
    pinned: bool = False
    leased: bool = False
    dead: bool = False  # quarantined until somebody clears it: the first to go

    @property
    def namespace(self) -> str:
        """Empty for all of which it is not known."""
        return self.workload[0] if self.workload else ""

    @property
    def may_go(self) -> bool:
        """Whether it may be evicted: neither pinned nor leased."""
        return not self.pinned and not self.leased


@dataclass(frozen=True, slots=True)
class Space:
    """The disk's side of the question, in bytes.

    free: what the file system has now. promised: of that, what drafts being written have reserved and not yet
    used. drafts: all that those drafts will take.
    """

    free: int
    promised: int = 0
    drafts: int = 0


def plan(items: Iterable[Item], limits: Limits, space: Space, now: float) -> list[Eviction]:
    """What a garbage collection removes: the aged, each workload's surplus, then the least recently used."""
    left = {checkpoint.id: checkpoint for checkpoint in items}
    evictions: list[Eviction] = []
    freed = 0
    for rule in (_aged, _surplus):
        for checkpoint, why in list(rule(left.values(), limits, now)):
            del left[checkpoint.id]
            evictions.append((checkpoint.id, why, checkpoint.bytes))
            freed += checkpoint.bytes
    space = replace(space, free=space.free + freed)
    rest, _ = _least_recently_used(left.values(), limits, space, 0, 0)
    return evictions + rest


def make_space(
    items: Iterable[Item], limits: Limits, space: Space, size: int, to_write: int
) -> list[Eviction]:
    """What has to go so that size more bytes fit, to_write of which are not on the disk yet.

    Raises NoSpace with the numbers when evicting everything that may go would not do.
    """
    checkpoints = list(items)
    evictions, short = _least_recently_used(checkpoints, limits, space, size, to_write)
    if short > 0:
        raise NoSpace(_no_space(checkpoints, limits, space, size))
    return evictions


def is_for_age(eviction: Eviction) -> bool:
    """Whether it hangs on what time it is."""
    return eviction[1].startswith(_UNUSED)


_UNUSED = "not used for "


def _aged(items: Iterable[Item], limits: Limits, now: float) -> Iterator[tuple[Item, str]]:
    for checkpoint in _by_use(items):
        unused = now - checkpoint.last_used
        if limits.max_age_s is not None and unused > limits.max_age_s:
            limit = f"{limits.max_age_s / _DAY_S:.1f}"
            yield checkpoint, f"{_UNUSED}{unused / _DAY_S:.1f} days, the limit is {limit}"


def _surplus(items: Iterable[Item], limits: Limits, now: float) -> Iterator[tuple[Item, str]]:
    """All but the newest of each workload, whatever the time. Pinned and leased ones count, and stay."""
    workloads: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for checkpoint in items:
        if checkpoint.workload is not None and limits.newest is not None:
            workloads[checkpoint.workload].append(checkpoint)
    for of_one in workloads.values():
        of_one.sort(key=lambda checkpoint: (-checkpoint.created, checkpoint.id))
        for checkpoint in of_one[limits.newest :]:
            if checkpoint.may_go:
                yield checkpoint, f"{limits.newest} newer ones of the same workload"


def _least_recently_used(
    items: Iterable[Item], limits: Limits, space: Space, size: int, to_write: int
) -> tuple[list[Eviction], int]:
    """Evictions until size more bytes fit, and the bytes that are short after them.

    Namespaces have the store in equal shares: who stays within his loses nothing as long as another takes more.
    """
    checkpoints = list(items)
    taken = Counter[str]()
    for checkpoint in checkpoints:
        taken[checkpoint.namespace] += checkpoint.bytes
    share = (_total(checkpoints) if limits.max_bytes is None else limits.max_bytes) / max(1, len(taken))
    over = -1 if limits.max_bytes is None else _total(checkpoints) + space.drafts + size - limits.max_bytes
    under = limits.min_free + space.promised + to_write - space.free
    evictions: list[Eviction] = []
    going = _by_use(checkpoints)
    while going and (over > 0 or under > 0):
        greedy = (one for one in going if one.dead or taken[one.namespace] > share)
        checkpoint = next(greedy, going[0])
        going.remove(checkpoint)
        taken[checkpoint.namespace] -= checkpoint.bytes
        why = "size limit" if over > 0 else "free-space floor"
        evictions.append((checkpoint.id, f"{why}, least recently used", checkpoint.bytes))
        over -= checkpoint.bytes
        under -= checkpoint.bytes
    return evictions, max(over, under)


def _by_use(items: Iterable[Item]) -> list[Item]:
    """Those that may go, in the order in which they do."""
    return sorted(
        (checkpoint for checkpoint in items if checkpoint.may_go),
        key=lambda checkpoint: (not checkpoint.dead, checkpoint.last_used, checkpoint.id),
    )


def _total(items: Iterable[Item]) -> int:
    return sum(checkpoint.bytes for checkpoint in items)


def _no_space(items: list[Item], limits: Limits, space: Space, size: int) -> str:
    kept = [checkpoint for checkpoint in items if not checkpoint.may_go]
    limit = "none" if limits.max_bytes is None else f"{limits.max_bytes} bytes"
    return (
        f"no space for {size} bytes: size limit {limit}, {_total(items)} bytes in {len(items)} checkpoints "
        f"({_total(kept)} bytes in {len(kept)} pinned or in use), {space.drafts} bytes in captures under way; "
        f"{space.free} bytes free on the file system, {space.promised} of them promised, {limits.min_free} "
        "to stay free; unpin or remove checkpoints, or raise the limit"
    )
