"""Settings that only a process itself can make (host/own_settings.py), made again by the restored one.

Its threads are made to call the kernel. At the gate CRIU is the tracer of all of them; so a tree that needs this is
left stopped by CRIU, and is stopped until all is set.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import os

from glowplug.errors import CriuError
from glowplug.host import proc, process_life
from glowplug.restore import captured_state

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterable


def is_needed(checkpoint: str) -> bool:
    """checkpoint: its directory. Raises CriuError."""
    return bool(captured_state.read(checkpoint).get("own_settings"))


def apply(checkpoint: str, tree: dict[int, int]) -> None:
    """On the stopped tree, which stays so: pid in the container → pid here. Raises CriuError."""
    from glowplug.host import own_settings  # and with it ptrace: few need it
    from glowplug.host.remote_calls import Thread

    for one in captured_state.read(checkpoint)["own_settings"]:
        try:
            with Thread(_thread(tree[one["pid"]], one["tid"])) as thread:
                own_settings.set_again(thread, one["settings"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CriuError(f"a setting of process {one['pid']} can't be made again: {error}") from error


def let_run(tree: dict[int, int], stopped: Iterable[int]) -> None:
    """Everybody runs but those that were stopped before (pids in the container)."""
    left = set(stopped)
    for inside, pid in tree.items():
        if inside not in left:
            try:
                os.kill(pid, process_life.SIGCONT)
            except ProcessLookupError:
                continue


def _thread(pid: int, inside: int) -> int:
    for thread in proc.tasks(pid):
        if proc.number_inside(thread) == inside:
            return thread
    raise ProcessLookupError(f"its thread {inside} is gone")
