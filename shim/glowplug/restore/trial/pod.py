"""The namespaces of a pod that is none: network, IPC and UTS, kept by a process that waits until it is let go.

The network has the interfaces of the captured pod and the addresses that another pod would have in their place, so
that sockets are bound as they were; it leads nowhere.
"""

import os
from types import TracebackType

from glowplug.errors import GlowplugError, HostError
from glowplug.host import process_life
from glowplug.layer import syscalls
from glowplug.podnet import interfaces

_CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x4000000, 0x8000000, 0x40000000  # uapi/linux/sched.h
_SAID_BYTES = 4096


class Pod:
    """A context; gone with it, and with the process that made it."""

    def __init__(self, network: str) -> None:
        """network: the file of the captured pod's namespace. Raises HostError."""
        try:
            found = interfaces.main_ones(interfaces.read(network))
        except OSError as error:
            raise HostError(f"the pod's interfaces can't be read: {error}") from error
        hear, say = os.pipe()
        kept, self._end = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                process_life.die_with_parent(parent)
                os.close(self._end)
                _become(found, kept, say)
            finally:
                os._exit(1)
        os.close(kept)
        os.close(say)
        with open(hear, "rb") as said:
            why = said.read(_SAID_BYTES).decode(errors="replace")
        if why != "ready":
            self.close()
            raise HostError(f"no namespaces can be made for it: {why or 'its process was killed'}")

    def path(self, namespace: str) -> str:
        """The file of one of its namespaces: net, ipc or uts."""
        return f"/proc/{self.pid}/ns/{namespace}"

    def close(self) -> None:
        """Let go of them."""
        os.close(self._end)
        os.waitpid(self.pid, 0)

    def __enter__(self) -> "Pod":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _become(found: tuple[interfaces.Interface, ...], kept: int, say: int) -> None:
    """In the child: the namespaces, and the wait for the end of the pipe."""
    try:
        syscalls.unshare(_CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS)
        interfaces.make(found)
    except (GlowplugError, OSError) as error:
        os.write(say, str(error).encode(errors="replace"))
        os._exit(1)
    os.write(say, b"ready")
    os.close(say)
    os.read(kept, 1)
    os._exit(0)
