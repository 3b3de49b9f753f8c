"""What is done with a restored tree while `runc restore` works, until it stands at CRIU's gate and is let go.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import os
import time

from glowplug.errors import GlowplugError
from glowplug.host import process
from glowplug.restore import own_settings

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

    from glowplug.criu.action_script import Gate
    from glowplug.restore.work import Work


def stays_stopped(work: Work) -> bool:
    """Whether there is more to do after CRIU than can be done at its gate, where it is every task's tracer."""
    return work.gpu is not None or own_settings.is_needed(work.checkpoint)


def at_gate(work: Work, gate: Gate, is_over: Callable[[], bool]) -> None:
    """Large mappings are written from the extents as soon as the tree has them; at the gate it is checked, signalled
    and let go. One that stays stopped is let go as soon as it is there, and stopped by CRIU: its memory is waited for
    later."""
    stopped = stays_stopped(work)
    _prepare_for_the_gate(work, stopped)
    _begin_memory(work, gate, is_over)
    if not stopped:
        _memory_before_the_gate(work, gate, is_over)
    init = gate.wait(work.until, is_over)
    if init is None:
        return  # CRIU failed before it got there
    if not stopped:
        check_and_signal(work, init, process.members(init))
        gate.require_paused()
        work.attempt.open(init)
    work.begin_part("criu")
    gate.open()


def _prepare_for_the_gate(work: Work, stopped: bool) -> None:
    """What can be done while CRIU works: imports take as long as the restore of a small tree."""
    from glowplug.restore.at_gate import pass_through  # noqa: F401

    if stopped:
        from glowplug.criu import processes as dumped

        tree = dumped.tree(f"{work.checkpoint}/images")
        work.stopped_before = [one.pid for one in tree if one.state == dumped.STOPPED]


def _begin_memory(work: Work, gate: Gate, is_over: Callable[[], bool]) -> None:
    """Nothing where CRIU fails before the tree is made: that is to be reported then."""
    if not os.path.isdir(f"{work.checkpoint}/memory"):
        return
    work.begin_part("memory")
    from glowplug.restore.memory import Memory  # it imports what small checkpoints have no use for

    work.memory = Memory(work.checkpoint, work.attempt.progress, work.until, work.forced)
    work.begin_part("criu")
    work.memory.begin(gate, is_over, [one.pid for one in work.processes if one.cuda])


def _memory_before_the_gate(work: Work, gate: Gate, is_over: Callable[[], bool]) -> None:
    """Where CRIU fails, its failure is to be reported, and not that its processes are gone."""
    if work.memory is None:
        return
    work.begin_part("memory")
    try:
        work.memory.wait()
    except GlowplugError:
        if gate.wait(work.until, is_over) is not None:
            raise
    work.begin_part("criu")


def await_urgent_memory(work: Work) -> None:
    """Of a stopped tree, before the driver looks at it. What was done since CRIU ended was done beside the writing:
    that time is memory's."""
    if work.memory is None:
        return
    work.begin_part("memory")
    try:
        work.memory.wait_urgent()
    finally:
        work.measured["memory"] = work.memory.spent()
    work.begin_part("cuda")


def await_memory(work: Work, then: str) -> None:
    """All of it, of a stopped tree. `then`: the stage that goes on."""
    if work.memory is None:
        return
    began = time.monotonic()
    work.begin_part("memory")
    try:
        work.memory.wait()
    finally:
        work.measured["memory"] = work.measured.get("memory", 0.0) + time.monotonic() - began
    work.begin_part(then)


def check_and_signal(work: Work, init: int, members: dict[int, int]) -> None:
    """The steps at the gate (at_gate/). members: pid in the container → pid here. Raises what a step raises."""
    from glowplug.restore.at_gate import pass_through
    from glowplug.restore.at_gate.restored_tree import RestoredTree

    restored = RestoredTree(work.attempt, work.checkpoint, work.facts, work.processes, init, members)
    pass_through.run(restored, work.begin_part, work.measured)
