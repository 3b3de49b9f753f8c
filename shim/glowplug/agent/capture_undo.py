"""What a capture that was killed has left: its container is thawed, has CUDA, and its engine is awake again.

The first to see to that are the capture's own guards (capture/guard.py, cuda/rescue.py). This is for a node where
those were killed as well, and for what they don't do.
"""

import fcntl
import logging
import os
import shutil

from glowplug import paths
from glowplug.agent import capture_task, hooks
from glowplug.agent.capture_journal import Journal
from glowplug.agent.running import Running
from glowplug.capture.runc import Runc
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import CudaError, HookError, RuncError
from glowplug.host import process

log = logging.getLogger("glowplug.agent")

CUDA_BACK_S = 180.0
ENGINE = ("auto", "libcuda.so.1", "cuda-checkpoint")  # as a capture has them (cuda/suspend.py)


def undo(journal: Journal, config: Config, containerd: Containerd, cri: Cri) -> bool:
    """See to what is left of it. False where its dump is still at work: it has to end by itself first.

    Raises GlowplugError or OSError where something can't be done; the journal stays then.
    """
    running = Running(**journal.facts["running"])  # type: ignore[arg-type]  # written from one
    if _dump_works(running.id):
        return False
    if process.is_alive(running.pid):
        _thaw(config, str(journal.facts["runc_root"]), running.id)
        if journal.facts.get("gpu") is True:
            give_cuda_back(running.pid)
        _wake(journal, running, containerd, cri)
    shutil.rmtree(paths.capture_scratch(running.id), ignore_errors=True)
    _remove_lock(running.id)
    journal.finish()
    return True


def _dump_works(container: str) -> bool:
    """Whether `runc checkpoint` of this capture runs: its pid stands in the scratch directory."""
    try:
        with open(f"{paths.capture_scratch(container)}/dump.pid") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return container.encode() in file.read().split(b"\0")
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
    from glowplug.cuda import gang, processes

    held = processes.mapping_libcuda(process.tree(pid))
    if not held:
        return
    try:
        with gang.Gang(*ENGINE) as crew:
            crew.enlist(held)
            crew.recover(CUDA_BACK_S)
    except CudaError as error:
        log.error("CUDA of a container whose capture was killed: %s", error)


def _wake(journal: Journal, running: Running, containerd: Containerd, cri: Cri) -> None:
    """The hook after the capture, where the one before may have run."""
    after = capture_task.hook(journal.facts.get("after"))  # type: ignore[arg-type]  # written from one
    timeout_s = journal.facts["hook_timeout_s"]
    if after is None or not isinstance(timeout_s, int | float):
        return
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
        os.unlink(f"{paths.captures()}/{container}")
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        os.close(lock)
