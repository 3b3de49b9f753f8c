"""What NVML says of this node's GPUs. Agent's side only: imports pynvml.

NVML lists every GPU of the node, whatever is assigned to a container; which of them that is, is `assigned_devices`' to
say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml

from glowplug.checkpoint.requirements import Gpu
from glowplug.errors import HostError


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU of this node. index: NVML's; minor: N of its node /dev/nvidiaN, another number on some hosts."""

    index: int
    minor: int
    gpu: Gpu


@dataclass(frozen=True, slots=True)
class Node:
    """The driver (`580.159.04`, "" without one), its CUDA version (13000) and every GPU."""

    driver: str
    cuda: int
    devices: tuple[Device, ...]


NO_DRIVER = Node("", 0, ())


def read() -> Node:
    """The node's GPUs; NO_DRIVER where libnvidia-ml is not installed.

    Raises HostError when NVML is there but can't answer: the driver is not loaded, a GPU fell off the bus.
    """
    with _session() as there:
        if not there:
            return NO_DRIVER
        return Node(
            driver=_ask(pynvml.nvmlSystemGetDriverVersion),
            cuda=_ask(pynvml.nvmlSystemGetCudaDriverVersion_v2),
            devices=tuple(_device(index) for index in range(_ask(pynvml.nvmlDeviceGetCount))),
        )


RECENT_S = 1.0
"""So long no GPU is exchanged, and no driver."""

_read: tuple[float, Node] = (float("-inf"), NO_DRIVER)
_reading = threading.Lock()


def recent() -> Node:
    """The same, as it was within the last second: to open NVML takes 10 ms, and one start asks four times. A reading
    that is under way is waited for."""
    global _read
    with _reading:
        at, node = _read
        if time.monotonic() - at > RECENT_S:
            node = read()
            _read = time.monotonic(), node
        return node


def memory_used(index: int) -> int:
    """Bytes of device memory in use on a GPU, by whomever. Raises HostError."""
    with _session():
        return int(_ask(pynvml.nvmlDeviceGetMemoryInfo, _handle(index)).used)


def memory_by_process(index: int) -> dict[int, int | None]:
    """Bytes of device memory of each compute process on a GPU, by the host's PID; None where NVML has no
    figure.

    Raises HostError.
    """
    with _session():
        found = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, _handle(index))
        return {process.pid: process.usedGpuMemory for process in found}


def mps_clients(index: int) -> set[int]:
    """The host's PIDs of the processes that use a GPU through MPS. Raises HostError."""
    with _session():
        found = _ask(pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3, _handle(index), without=())
        return {process.pid for process in found}


def _device(index: int) -> Device:
    handle = _handle(index)
    major, minor = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    mig, _ = _ask(
        pynvml.nvmlDeviceGetMigMode, handle, without=(0, 0)
    )  # a GPU that has no MIG has none enabled
    return Device(
        index=index,
        minor=_ask(pynvml.nvmlDeviceGetMinorNumber, handle),
        gpu=Gpu(
            uuid=_ask(pynvml.nvmlDeviceGetUUID, handle),
            product=_ask(pynvml.nvmlDeviceGetName, handle),
            memory_bytes=int(_ask(pynvml.nvmlDeviceGetMemoryInfo, handle).total),
            compute_capability=f"{major}.{minor}",
            mig=bool(mig),
        ),
    )


def _handle(index: int) -> Any:
    return _ask(pynvml.nvmlDeviceGetHandleByIndex, index)


_FAIL: Any = object()


def _ask(function: Callable[..., Any], *arguments: Any, without: Any = _FAIL) -> Any:
    """The answer of one NVML function; `without` where the GPU does not know the thing that is requested."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        if without is not _FAIL and error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
            return without
        raise HostError(f"NVML: {function.__name__} failed: {error}") from error


@contextmanager
def _session() -> Iterator[bool]:
    """NVML opened and closed again, so that a driver that was exchanged is seen; False without libnvidia-
    ml.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            yield False
            return
        raise HostError(f"NVML did not start: {error}; is the driver loaded?") from error
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()
