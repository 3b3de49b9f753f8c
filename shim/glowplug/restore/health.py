"""Is what came back the process that was captured, alive, and no more than the new spec allows?

The credentials travel in CRIU's images, not in the new pod's spec: equal keys say that the two specs agree,
and this reads back from /proc that the kernel agrees too, before anybody is told that the container runs.
"""

from glowplug.errors import CriuError
from glowplug.host import process
from glowplug.restore.attempt import Attempt

EQUAL = ("uids", "gids", "groups", "capabilities", "no_new_privileges", "seccomp", "limits", "label")


def check(attempt: Attempt, spec: dict[str, object], manifest: dict[str, object], held: bool) -> None:
    """Raises CriuError naming the first difference: the process, what was wanted and what was found.

    `held`: no process has run yet. Else one that is not the first may have come to an end of its own meanwhile, as
    a shell's `sleep` does at any moment.
    """
    init = init_pid(attempt)
    found = {}
    for pid in process.tree(init):
        try:
            facts = process.credentials(pid)
        except OSError:
            continue  # it ended; whether it may have is decided below
        found[facts["pid"]] = (pid, facts)
    for wanted in _processes(manifest):
        pid, facts = found.get(wanted.get("pid"), (0, {}))
        if pid and process.is_alive(pid):
            _compare(wanted, facts)
            _require_own_level(wanted, facts, spec)
        elif held or pid == init or (pid and process.killed_by(pid)):
            raise CriuError(
                f"wanted process {wanted.get('pid')} ({wanted.get('comm')}) alive, found it dead after the restore"
            )
    if not process.is_alive(init):
        raise CriuError("wanted the container's first process alive, found it dead after the restore")
    for pid, _ in found.values():
        _set_oom_score_adj(pid, spec)


def init_pid(attempt: Attempt) -> int:
    """The restored container's first process, as runc wrote it (host pid)."""
    with open(attempt.text("pid_file")) as file:
        return int(file.read())


def _processes(manifest: dict[str, object]) -> list[dict[str, object]]:
    processes = manifest.get("processes")
    if not isinstance(processes, list) or not processes:
        raise CriuError("wanted the captured processes in the manifest, found none")
    return processes


def _compare(wanted: dict[str, object], found: dict[str, object]) -> None:
    for fact in EQUAL:
        if wanted.get(fact) != found[fact]:
            raise CriuError(
                f"process {wanted.get('pid')} ({wanted.get('comm')}) came back with another {fact}: "
                f"wanted {wanted.get(fact)}, found {found[fact]}"
            )


def _require_own_level(wanted: dict[str, object], found: dict[str, object], spec: dict[str, object]) -> None:
    """Of an SELinux label: with the captured pod's level, a process has that one's files for its own."""
    described = spec.get("process")
    label = described.get("selinuxLabel") if isinstance(described, dict) else None
    own, level = (str(text or "").split(":", 3)[3:] for text in (label, found["label"]))
    if own and level != own:
        raise CriuError(
            f"process {wanted.get('pid')} ({wanted.get('comm')}) came back with the SELinux level "
            f"{''.join(level)}, the new pod's is {own[0]}: give the pods of this workload one "
            "(seLinuxOptions.level)"
        )


def _set_oom_score_adj(pid: int, spec: dict[str, object]) -> None:
    described = spec.get("process")
    value = described.get("oomScoreAdj") if isinstance(described, dict) else None
    try:
        if isinstance(value, int) and process.oom_score_adj(pid) != value:
            process.set_oom_score_adj(pid, value)
    except (FileNotFoundError, ProcessLookupError):
        return  # it came to its end
