"""What a capture that was killed has left: its container is thawed, has CUDA, and its engine is awake again.

The first to see to that are the capture's own guards (capture/guard.py, cuda/rescue.py). This is for a node where
those were killed as well, and for what they don't do.
"""

import fcntl
import logging
import os
import shutil

from glowplug import known_errors, paths
from glowplug.agent.captures import hooks
from glowplug.agent.captures.journal import Facts, Journal
from glowplug.agent.captures.running import Running
from glowplug.capture import trial
from glowplug.capture.policy import Hook
from glowplug.capture.runc import Runc
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import CudaError, HookError, RuncError
from glowplug.host import proc, process

log = logging.getLogger("glowplug.agent")

CUDA_BACK_S = 180.0
ENGINE = ("auto", "libcuda.so.1", "cuda-checkpoint")  # as a capture has them (cuda/suspend.py)


def undo(journal: Journal, config: Config, containerd: Containerd, cri: Cri) -> bool:
    """Undo what is left of it. False while its dump still runs: it has to end on its own first.

    Raises GlowplugError or OSError where something can't be done; the journal stays then.
    """
    if _dump_works(journal.container):
        return False
    if journal.facts is None:
        log.error("container %s: the journal of its killed capture can't be understood", journal.container)
    else:
        _undo_in_container(journal.facts, config, containerd, cri)
    trial.undo(journal.container)
    shutil.rmtree(paths.capture_scratch(journal.container), ignore_errors=True)
    _remove_lock(journal.container)
    journal.finish()
    return True


def _undo_in_container(facts: Facts, config: Config, containerd: Containerd, cri: Cri) -> None:
    running = facts.running
    if not process.is_alive(running.pid) or not os.path.isdir(paths.runc_state(facts.runc_root, running.id)):
        return  # a pid that is another process's by now has no state of that container's
    _thaw(config, facts.runc_root, running.id)
    if facts.gpu:
        give_cuda_back(running.pid)
    if facts.after is not None:
        _wake(facts.after, facts.hook_timeout_s, running, containerd, cri)


def _dump_works(container: str) -> bool:
    """Whether `runc checkpoint` of this capture runs: its pid is in the scratch directory."""
    try:
        with open(f"{paths.capture_scratch(container)}/dump.pid") as file:
            return container in proc.command_line(int(file.read()))
    except (OSError, ValueError):
        return False


def _thaw(config: Config, root: str, container: str) -> None:
    """The guard may do the same at this moment, so only what comes of it counts. Raises RuncError."""
    runc = Runc(config.runc, root, config.criu)
    if runc.status(container) != "paused":
        return
    try:
        runc.resume(container)
    except RuncError:
        if runc.status(container) == "paused":
            raise


def give_cuda_back(pid: int) -> None:
    """To the processes below this one (host pid), where the capture has left them without. What can't be is logged."""
    from glowplug.cuda import process_group, processes  # only after a capture that was killed

    cuda_pids = processes.mapping_libcuda(process.tree(pid))
    if not cuda_pids:
        return
    try:
        with process_group.ProcessGroup(*ENGINE) as group:
            group.attach(cuda_pids)
            group.recover(CUDA_BACK_S)
    except CudaError as error:
        log.error("CUDA of a container whose capture was killed: %s", known_errors.of_driver(error))


def _wake(after: Hook, timeout_s: float, running: Running, containerd: Containerd, cri: Cri) -> None:
    """The hook after the capture, where the one before may have run."""
    try:
        hooks.run(after, running, containerd, cri, timeout_s)
    except HookError as error:
        log.error("after-capture of %s: %s", running.id, error)


def _remove_lock(container: str) -> None:
    """The file that kept other captures of it away, where nobody holds it."""
    try:
        lock = os.open(f"{paths.captures()}/{container}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:  # else it ended meanwhile, and the name may be another's
            os.unlink(f"{paths.captures()}/{container}")
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        os.close(lock)
