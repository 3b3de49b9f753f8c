"""Whether what came back is the process that was captured, alive, and no more than the new spec allows.

The credentials travel in CRIU's images, not in the new pod's spec: equal keys say that the two specs agree,
and this reads back from /proc that the kernel agrees too, before anybody hears that the container runs.
"""

from glowplug.errors import CriuError
from glowplug.host import process
from glowplug.restore.attempt import Attempt

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glowplug.checkpoint.bundle import BundleFacts

EQUAL = ("uids", "gids", "groups", "capabilities", "no_new_privileges", "seccomp", "limits", "label")


def check(
    tree: dict[int, int], init: int, facts: "BundleFacts", captured: "Sequence[process.Credentials]"
) -> None:
    """Raises CriuError naming the first difference: the process, and the two values.

    tree: pid in the container → pid here, of a tree of which nothing has run yet; so a missing or dead one was
    not restored.
    """
    if not captured:
        raise CriuError("the manifest lists no captured process")
    for wanted in captured:
        pid = tree.get(wanted.pid, 0)
        if not pid or not process.is_alive(pid):
            raise CriuError(f"process {wanted.pid} ({wanted.comm}) is dead after the restore")
        try:
            found = process.credentials(pid)
        except OSError as error:
            raise CriuError(f"process {wanted.pid} ({wanted.comm}) is gone: {error}") from error
        _compare(wanted, found)
        _require_own_level(wanted, found, facts.selinux)
    if not process.is_alive(init):
        raise CriuError("the container's first process is dead after the restore")


def init_pid(attempt: Attempt) -> int:
    """The restored container's first process, as runc wrote it (host pid)."""
    with open(attempt.journal.pid_file) as file:
        return int(file.read())


def captured_processes(manifest: dict[str, object]) -> list[process.Credentials]:
    """Those that a manifest lists. Raises CriuError where a fact of one is missing."""
    listed = manifest.get("processes")
    try:
        return [process.from_json(one) for one in listed] if isinstance(listed, list) else []
    except (KeyError, TypeError) as error:
        raise CriuError(f"the manifest's list of captured processes lacks a fact: {error}") from error


def captured_gpus(manifest: dict[str, object]) -> list[str]:
    """The UUIDs of the GPUs that a manifest lists. Raises CriuError where one is missing."""
    listed = manifest.get("gpus")
    try:
        return [str(gpu["uuid"]) for gpu in listed] if isinstance(listed, list) else []
    except (KeyError, TypeError) as error:
        raise CriuError(f"the manifest's list of GPUs lacks a UUID: {error}") from error


def _compare(wanted: process.Credentials, found: process.Credentials) -> None:
    for fact in EQUAL:
        if getattr(wanted, fact) != getattr(found, fact):
            raise CriuError(
                f"process {wanted.pid} ({wanted.comm}) came back with another {fact}: "
                f"expected {getattr(wanted, fact)}, got {getattr(found, fact)}"
            )


def _require_own_level(wanted: process.Credentials, found: process.Credentials, label: str) -> None:
    """Of an SELinux label (the spec's): with the captured pod's level, a process has that one's files for its own."""
    own, level = (text.split(":", 3)[3:] for text in (label, found.label))
    if own and level != own:
        raise CriuError(
            f"process {wanted.pid} ({wanted.comm}) came back with the SELinux level "
            f"{''.join(level)}, the new pod's is {own[0]}: give the pods of this workload one "
            "(seLinuxOptions.level)"
        )


def set_oom_score_adj(pids: "Iterable[int]", value: int | None) -> None:
    """To the spec's value, where it has one. Raises OSError."""
    if value is None:
        return
    for pid in pids:
        if process.oom_score_adj(pid) != value:
            process.set_oom_score_adj(pid, value)
