"""The CUDA driver's checkpoint functions, called on the host's libcuda.

Loaded by a worker process only. Layouts and numbers: cuda.h of 12.8 and 13.0 (`CUcheckpoint*Args`,
`CUprocessState`); every args structure is 64 bytes in all of them, later fields are in what is reserved here,
and reserved bytes are zero.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from glowplug.cuda import uuids
from glowplug.errors import CudaError

CUDA_SUCCESS = 0
CUDA_ERROR_NOT_INITIALIZED = 3

STATES = ("running", "locked", "checkpointed", "failed")
"""CUprocessState by its value."""

API_570 = 12080
"""CUDA version of the first driver (570) that exports the checkpoint functions."""
API_580 = 13000
"""CUDA version of the first driver (580) whose restore takes a device map."""

_FUNCTIONS = {
    "GetState": "cuCheckpointProcessGetState",
    "GetRestoreThreadId": "cuCheckpointProcessGetRestoreThreadId",
    "Lock": "cuCheckpointProcessLock",
    "Checkpoint": "cuCheckpointProcessCheckpoint",
    "Restore": "cuCheckpointProcessRestore",
    "Unlock": "cuCheckpointProcessUnlock",
}


class LockArgs(ctypes.Structure):
    """CUcheckpointLockArgs. timeout_ms: 0 waits forever."""

    _fields_ = [("timeout_ms", ctypes.c_uint), ("reserved", ctypes.c_uint8 * 60)]


class PlainArgs(ctypes.Structure):
    """CUcheckpointCheckpointArgs and CUcheckpointUnlockArgs: nothing but reserved bytes."""

    _fields_ = [("reserved", ctypes.c_uint64 * 8)]


class GpuPair(ctypes.Structure):
    """CUcheckpointGpuPair."""

    _fields_ = [("old", ctypes.c_uint8 * 16), ("new", ctypes.c_uint8 * 16)]


class RestoreArgs(ctypes.Structure):
    """CUcheckpointRestoreArgs. Before 13.0 all of it was reserved, so no pairs may be passed there."""

    _fields_ = [
        ("gpu_pairs", ctypes.POINTER(GpuPair)),
        ("gpu_pairs_count", ctypes.c_uint),
        ("reserved", ctypes.c_uint8 * 52),
    ]


class Driver:
    """The engine that calls libcuda. One call at a time; each may last minutes and can't be interrupted.

    Every method raises CudaError, naming the call, the process and the driver's own words.
    """

    name = "driver"

    def __init__(self, library: str = "libcuda.so.1") -> None:
        """Loads `library` and looks up the functions. Raises CudaError when either is missing."""
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise CudaError(f"the NVIDIA driver's {library} is not on this host: {error}") from error
        self._ready = False
        self.version = self._read_version()
        self._calls = {short: self._find(name) for short, name in _FUNCTIONS.items()}

    def state(self, pid: int) -> str:
        """The CUDA state of a process, one of STATES, or `state N` for one that a newer driver knows."""
        value = ctypes.c_int(-1)
        self._call("GetState", pid, ctypes.byref(value))
        return STATES[value.value] if 0 <= value.value < len(STATES) else f"state {value.value}"

    def restore_thread(self, pid: int) -> int:
        """The host's TID of the driver's restore thread in a process."""
        tid = ctypes.c_int(-1)
        self._call("GetRestoreThreadId", pid, ctypes.byref(tid))
        if tid.value <= 0:
            raise CudaError(
                f"cuCheckpointProcessGetRestoreThreadId of process {pid}: expected a TID, got {tid.value}"
            )
        return tid.value

    def lock(self, pid: int, timeout_ms: int) -> None:
        """Block further CUDA calls of a process and wait for the work that it has submitted."""
        self._call("Lock", pid, ctypes.byref(LockArgs(timeout_ms=timeout_ms)))

    def checkpoint(self, pid: int) -> None:
        """Move the device memory of a locked process into its host memory, and let go of its devices."""
        self._call("Checkpoint", pid, ctypes.byref(PlainArgs()))

    def restore(self, pid: int, pairs: uuids.Pairs) -> None:
        """Bring a checkpointed process back to its devices, or to others by `pairs`; leaves it locked."""
        args = RestoreArgs()
        if pairs:
            if self.version < API_580:
                raise CudaError(
                    f"cuCheckpointProcessRestore of process {pid}: a device map needs "
                    f"CUDA {API_580} (driver 580), and this driver has {self.version}"
                )
            table = (GpuPair * len(pairs))(
                *(GpuPair.from_buffer_copy(uuids.to_bytes(old) + uuids.to_bytes(new)) for old, new in pairs)
            )
            args.gpu_pairs = ctypes.cast(table, ctypes.POINTER(GpuPair))
            args.gpu_pairs_count = len(pairs)
        self._call("Restore", pid, ctypes.byref(args))

    def unlock(self, pid: int) -> None:
        """Let the CUDA calls of a locked process continue."""
        self._call("Unlock", pid, ctypes.byref(PlainArgs()))

    def _call(self, short: str, pid: int, argument: object) -> None:
        result = self._calls[short](ctypes.c_int(pid), argument)
        if result == CUDA_ERROR_NOT_INITIALIZED and not self._ready:
            # Said of the caller or of the process: only after cuInit here is it surely said of the process.
            self._initialise()
            result = self._calls[short](ctypes.c_int(pid), argument)
        if result != CUDA_SUCCESS:
            raise CudaError(f"{_FUNCTIONS[short]} of process {pid}: {self._words(result)}")

    def _initialise(self) -> None:
        result = self._library.cuInit(ctypes.c_uint(0))
        if result != CUDA_SUCCESS:
            raise CudaError(f"cuInit: {self._words(result)}")
        self._ready = True

    def _read_version(self) -> int:
        version = ctypes.c_int(0)
        try:
            result = self._library.cuDriverGetVersion(ctypes.byref(version))
        except AttributeError as error:
            raise CudaError("libcuda has no cuDriverGetVersion: is it the NVIDIA driver's?") from error
        if result != CUDA_SUCCESS:
            raise CudaError(f"cuDriverGetVersion: {self._words(result)}")
        return version.value

    def _find(self, name: str) -> Callable[..., int]:
        """The function `name` in the layout of 13.0, or of 12.8 where the driver is older."""
        if self.version < API_570:
            raise CudaError(
                f"expected {name} of driver 570 (CUDA {API_570}) or newer, got CUDA {self.version}: "
                "update the driver"
            )
        address = ctypes.c_void_p()
        found = ctypes.c_int(-1)
        layout = API_580 if self.version >= API_580 else API_570
        result = self._library.cuGetProcAddress_v2(
            name.encode(),
            ctypes.byref(address),
            ctypes.c_int(layout),
            ctypes.c_uint64(0),
            ctypes.byref(found),
        )
        if result != CUDA_SUCCESS or not address.value:
            raise CudaError(f"the driver has no {name} (cuGetProcAddress: {self._words(result)})")
        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(address.value)

    def _words(self, result: int) -> str:
        """`CUDA_ERROR_NAME (N): the driver's sentence`."""
        name, sentence = ctypes.c_char_p(), ctypes.c_char_p()
        self._library.cuGetErrorName(ctypes.c_int(result), ctypes.byref(name))
        self._library.cuGetErrorString(ctypes.c_int(result), ctypes.byref(sentence))
        known = (name.value or b"CUresult").decode("utf-8", "replace")
        said = (sentence.value or b"the driver has no words for it").decode("utf-8", "replace")
        return f"{known} ({result}): {said}"
