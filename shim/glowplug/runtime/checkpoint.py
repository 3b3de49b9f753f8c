"""`checkpoint` of a container that holds CUDA, as containerd calls it for `ctr task checkpoint` and for CRI's
CheckpointContainer: runc's own, with CUDA off the devices meanwhile.

containerd pauses the container first, and CUDA hangs in a frozen cgroup. So: thaw, lock and checkpoint CUDA,
freeze, dump, and where the container continues, thaw, give CUDA back, freeze. It is left paused as it was found.
"""

import json

from glowplug import paths
from glowplug.capture.runc import Runc
from glowplug.cuda import processes, sharing, undumpable
from glowplug.cuda.process_group import CudaLost
from glowplug.cuda.suspend import Suspension
from glowplug.errors import CudaError, GlowplugError, UsageError
from glowplug.host import process
from glowplug.outcomes import report
from glowplug.restore import child
from glowplug.runtime.argv import Command
from glowplug.runtime.status import DONE, REFUSED, RUNC

LOCK_S = 10.0
CHECKPOINT_S = 180.0
DUMP_S = 600.0
RESUME_S = 180.0
STDIO = (7, 8, 9)
NOT_OURS = frozenset(("pre-dump", "lazy-pages"))


def run(runc: str, command: Command, args: list[str]) -> int:
    """The exit status for the script; over to runc where no process holds CUDA. args: as we were called."""
    init = _init(command)
    if not init or command.flags & NOT_OURS or not processes.mapping_libcuda(process.tree(init)):
        return RUNC
    try:
        with Suspension() as suspension:
            return _checkpoint(Runc(runc, command.root, ""), command.container, init, suspension, args)
    except CudaError as error:
        from glowplug import known_errors  # of no use to a checkpoint that goes well

        report.report_to_containerd(
            command.options.get("log"), f"checkpoint: {known_errors.of_driver(error)}"
        )
        return REFUSED
    except (GlowplugError, OSError) as error:
        report.report_to_containerd(command.options.get("log"), f"checkpoint: {error}")
        return REFUSED


def _init(command: Command) -> int:
    """The container's first process by runc's record; 0 where there is none, or its number is another's by now."""
    try:
        with open(f"{paths.runc_state(command.root, command.container)}/state.json") as file:
            state = json.load(file)
        pid, began = int(state["init_process_pid"]), int(state["init_process_start"])
        return pid if process.start_ticks(pid) == began else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _checkpoint(runc: Runc, container: str, init: int, suspension: Suspension, args: list[str]) -> int:
    paused = runc.status(container) == "paused"
    if paused:
        runc.resume(container)
    try:
        members = process.tree(init)
        if not (cuda_pids := suspension.find(members)):
            return RUNC
        _refuse(
            [
                *sharing.by_ipc(cuda_pids),
                *undumpable.beside(set(members) - set(cuda_pids), suspension.without),
            ]
        )
        suspension.suspend(LOCK_S, CHECKPOINT_S)
        try:
            _refuse(undumpable.after(cuda_pids))
            if paused:
                runc.pause(container)
            status = child.run([runc.program, *args], DUMP_S, STDIO)
        finally:
            _give_back(runc, container, init, suspension)
        return DONE if status == 0 else REFUSED  # runc has said why in its log
    except CudaLost:
        paused = False  # and to be left to die
        runc.kill(container)
        raise
    finally:
        if paused and not process.is_zombie(init):
            runc.pause(container)


def _refuse(found: list[undumpable.Undumpable]) -> None:
    if found:
        raise UsageError("; ".join(map(str, found)))


def _give_back(runc: Runc, container: str, init: int, suspension: Suspension) -> None:
    """CUDA, to a container that is still there: without --leave-running a dump ends it."""
    if process.is_zombie(init):
        suspension.forget()
        return
    if runc.status(container) == "paused":
        runc.resume(container)
    suspension.resume(RESUME_S)
