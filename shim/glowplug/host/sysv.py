"""System V shared memory that was removed and is still attached (shmctl(2), IPC_RMID): it goes with its last user.

CRIU brings it back as if nobody had removed it. Used by the runtime: standard library only.
"""

from __future__ import annotations

import ctypes
import os
import threading

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

IPC_RMID = 0
SHM_DEST = 0o1000  # of the rights that /proc/sysvipc/shm shows
_CLONE_NEWIPC = 0x08000000

_libc = ctypes.CDLL(None, use_errno=True)


def removed_memory(pid: int) -> list[int]:
    """Numbers of the segments of its IPC namespace that are removed. Raises OSError."""
    found: list[int] = []

    def look() -> None:
        with open("/proc/sysvipc/shm") as lines:
            next(lines)
            words = [line.split() for line in lines]
        for one in words:
            if int(one[2], 8) & SHM_DEST:
                found.append(int(one[1]))

    _inside(pid, look)
    return found


def remove_memory(pid: int, numbers: list[int]) -> None:
    """In its IPC namespace; those that are gone already are left out. Raises OSError."""

    def remove() -> None:
        for number in numbers:
            _libc.shmctl(number, IPC_RMID, None)

    _inside(pid, remove)


def _inside(pid: int, do: Callable[[], None]) -> None:
    """In a thread that moves into its IPC namespace and ends; in none where that is this process's own: nothing of the
    node's is anybody's. Raises OSError."""
    failed: list[OSError] = []

    def run() -> None:
        try:
            fd = os.open(f"/proc/{pid}/ns/ipc", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.path.sameopenfile(fd, own):
                    return
                if _libc.setns(fd, _CLONE_NEWIPC):
                    number = ctypes.get_errno()
                    raise OSError(
                        number, f"setns to the IPC namespace of process {pid}: {os.strerror(number)}"
                    )
            finally:
                os.close(fd)
            do()
        except OSError as error:
            failed.append(error)

    own = os.open("/proc/self/ns/ipc", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mover = threading.Thread(target=run)
        mover.start()
        mover.join()
    finally:
        os.close(own)
    if failed:
        raise failed[0]
