"""What is done to a restored tree before anything of it runs, in order; then the gate is opened.

Every restored tree waits here: one without CUDA in CRIU's ptrace stops, one with CUDA stopped by signal, its CUDA
processes traced by ours. A step that raises GlowplugError or OSError is a failed restore: the tree never runs.

Used by the runtime: standard library only.
"""

from collections.abc import Callable

from glowplug.restore import captured_state, health, marker, notify, state
from glowplug.restore.at_gate.restored_tree import RestoredTree

Step = Callable[[RestoredTree], None]


def process_state(restored: RestoredTree) -> None:
    """What CRIU does not bring back: affinity, socket options, multicast groups and their like."""
    state.apply(captured_state.read(restored.checkpoint), restored.tree, f"/proc/{restored.init}/root")


def healthy(restored: RestoredTree) -> None:
    """Every process alive, with the credentials that the spec and the manifest say."""
    health.check(restored.tree, restored.init, restored.facts, restored.processes)


def oom_score(restored: RestoredTree) -> None:
    """oom_score_adj is the new pod's, except for processes that had one of their own."""
    health.set_oom_score_adj(restored.tree.values(), restored.facts.oom_score_adj)
    state.own_oom_score_adj(captured_state.read(restored.checkpoint), restored.tree)


def write_marker(restored: RestoredTree) -> None:
    """From here on `start` has nothing to do; runc's state directory is there since CRIU's stage post-restore."""
    journal = restored.attempt.journal
    marker.write(journal.root, journal.id, journal.checkpoint, journal.bundle)


def send_signal(restored: RestoredTree) -> None:
    """The signal that its pod wants it to be notified by: it has it before it runs."""
    number = notify.signal_of(restored.facts)
    if number is not None:
        notify.send_signal(restored.init, number)


STEPS: tuple[tuple[str, Step], ...] = (
    ("state", process_state),
    ("health", healthy),
    ("oom", oom_score),
    ("marker", write_marker),
    ("signal", send_signal),
)
