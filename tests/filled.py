"""Extents got ready and written at once, as a restore does it in two steps beside CRIU."""

from collections.abc import Callable, Mapping

from glowplug.criu import fill


def write(
    memory_dir: str,
    hosts: Mapping[int, int],
    until: float,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 0,
) -> fill.Filled:
    """All extents of `memory_dir`; the arguments and errors of fill.Fill, its `begin` and Writing.wait."""
    with fill.Fill(memory_dir) as extents:
        return at_once(extents, hosts, until, progress, threads)


def at_once(
    extents: fill.Fill,
    hosts: Mapping[int, int],
    until: float,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 0,
) -> fill.Filled:
    """Of extents that are ready."""
    with extents.begin(hosts, until, threads=threads) as writing:
        return writing.wait(progress)
