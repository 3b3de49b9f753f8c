"""The GPU side of a capture: what is checked before anything is touched, and CUDA taken off its devices and back.

Imported only for a container with GPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from glowplug import known_errors
from glowplug.capture.runc import Runc
from glowplug.capture.subject import Subject
from glowplug.capture.timing import measured
from glowplug.cuda import assigned_devices, facts, memory_headroom, processes, sharing, undumpable
from glowplug.cuda.facts import Device
from glowplug.cuda.initialised import Initialised
from glowplug.cuda.process_group import CudaLost
from glowplug.cuda.suspend import Suspension
from glowplug.errors import HostError, UsageError
from glowplug.host import cgroup, proc

LOCK_S = 10.0
CHECKPOINT_S = 180.0
RESUME_S = 180.0


class Gpu:
    """A container's GPUs and CUDA processes. A context: its end brings back what away() could not.

    `gpus`: assigned to it. `pids`: its CUDA processes here; `namespace_pids`: in its own PID namespace.
    `device_bytes`: their device memory. `seconds`: how long away() took on each side of the dump.
    """

    def __init__(self, subject: Subject) -> None:
        """Touches nothing. Raises UsageError with what speaks against a capture, HostError, CudaError."""
        _refuse(undumpable.before(subject.pids))
        devices = assigned_devices.devices_of(subject.facts, facts.read().devices)
        _refuse_sharing(devices, subject.pids)
        self.seconds: dict[str, float] = {}
        self.gpus = tuple(device.gpu for device in devices)
        self._suspension = Suspension()
        self._initialised: Initialised | None = None
        try:
            members = subject.pids
            with known_errors.driver_explained():
                self.pids = self._suspension.find(members)
            _refuse(undumpable.beside(set(members) - set(self.pids), self._suspension.without, self.pids))
            env = _variables(subject.facts.env)
            _refuse([*sharing.by_ipc(self.pids), *sharing.by_nccl(_uses(self.pids, devices), env)])
            self.namespace_pids = tuple(processes.namespace_pid(pid) for pid in self.pids)
            indexes = [device.index for device in devices]
            self.device_bytes = memory_headroom.device_memory(self.pids, indexes) if self.pids else 0
            memory_headroom.require(self.device_bytes, memory_headroom.limits(_memory_cgroup(subject.init)))
        except BaseException:
            self._suspension.__exit__()
            raise

    def __enter__(self) -> "Gpu":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._suspension.__exit__()
        finally:
            if self._initialised is not None:
                self._initialised.close()

    @contextmanager
    def away(self, runc: Runc, container: str) -> Iterator[None]:
        """The container without CUDA state on its devices; it is back on every way out.

        Raises CudaError with the container as it was, CudaLost after it was killed.
        """
        if not self.pids:
            yield
            return
        self._initialised = Initialised(gpu.uuid for gpu in self.gpus)
        try:
            with measured(self.seconds, "cuda_checkpoint"), known_errors.driver_explained():
                self._suspension.suspend(LOCK_S, CHECKPOINT_S)
            try:
                _refuse(undumpable.after(self.pids))
                yield
            finally:
                with measured(self.seconds, "cuda_restore"), known_errors.driver_explained():
                    self._suspension.resume(RESUME_S)
                self._initialised.let_go()
        except CudaLost:
            runc.kill(container)
            raise


def _refuse(found: list[undumpable.Undumpable]) -> None:
    if found:
        raise UsageError(f"this container can't be captured: {'; '.join(map(str, found))}")


def _variables(env: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE entries by name."""
    return {name: value for name, _, value in (entry.partition("=") for entry in env)}


def _uses(pids: list[int], devices: tuple[Device, ...]) -> dict[int, set[int]]:
    """Which GPUs (NVML's indexes) each process has memory on."""
    by_device = {device.index: facts.memory_by_process(device.index) for device in devices}
    return {pid: {index for index, users in by_device.items() if pid in users} for pid in pids}


def _refuse_sharing(devices: tuple[Device, ...], pids: list[int]) -> None:
    """MIG slices and MPS clients, which the driver can't checkpoint."""
    for device in devices:
        if device.gpu.mig:
            raise UsageError(f"this container can't be captured: GPU {device.gpu.uuid} has MIG enabled")
        if shared := facts.mps_clients(device.index) & set(pids):
            raise UsageError(
                f"this container can't be captured: process {min(shared)} uses GPU {device.gpu.uuid} through MPS"
            )


def _memory_cgroup(pid: int) -> str:
    """The cgroup whose memory limit is the first that a process meets; "" on a node without that controller.

    Raises HostError where it can't be known: what is left of a limit that nobody saw is not known.
    """
    return _limited(proc.cgroups(pid), [mount for mount in cgroup.mountpoints() if _has_memory(mount)])


def _limited(rows: list[proc.Cgroup], mounts: list[str]) -> str:
    for mount in mounts:
        is_unified = os.path.exists(f"{mount}/cgroup.controllers")
        for controllers, path in rows:
            if controllers if is_unified else "memory" not in controllers:
                continue
            directory = f"{mount}{path.rstrip('/')}"
            if not os.path.isdir(directory):
                continue
            while len(directory) >= len(mount):
                if any(os.path.exists(f"{directory}/{limit}") for limit in _LIMITS):
                    return directory
                directory = os.path.dirname(directory)  # the controller is not turned on so far below
    if mounts:
        raise HostError(
            f"no memory cgroup of the container below {mounts[0]}: is /sys/fs/cgroup another "
            "container's view of it?"
        )
    return ""


_LIMITS = ("memory.max", "memory.limit_in_bytes")


def _has_memory(mount: str) -> bool:
    """Whether a hierarchy has the memory controller: on v1 by its file, on v2 by the list in its root."""
    if os.path.exists(f"{mount}/memory.limit_in_bytes"):
        return True
    try:
        with open(f"{mount}/cgroup.controllers") as file:
            return "memory" in file.read().split()
    except FileNotFoundError:
        return False
