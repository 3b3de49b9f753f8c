"""Unix sockets whose file has another name now, known to nobody."""

from collections.abc import Iterator

from glowplug.capture import unix_names
from glowplug.capture.preflight.tree import Refusal, Tree, shown


def nameless(tree: Tree) -> Iterator[Refusal]:
    """See unix_names.py."""
    found = unix_names.find(tree.pids, tree.root)
    for pid, name in found.relative:
        yield Refusal(
            "unix-name",
            f"{shown(pid)} has a Unix socket that was bound as {name}, a relative name, and is called otherwise now: "
            "bind it to an absolute name",
        )
    for pid, name in found.lost:
        yield Refusal(
            "unix-name",
            f"{shown(pid)} has a Unix socket that was bound as {name}; that name was removed, and the other one that "
            "the file has was not found: bind it under its final name",
        )
