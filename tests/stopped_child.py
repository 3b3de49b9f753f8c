"""A stopped process that shares the memory of its making with the test: what memory is written into."""

import ctypes
import mmap
import os
import signal

from glowplug.criu.extents import PAGE


class StoppedChild:
    """It has size bytes of the memory, and after them a page that it may only read."""

    def __init__(self, memory: mmap.mmap, size: int) -> None:
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.pid = os.fork()
        if self.pid == 0:
            ctypes.CDLL(None).mprotect(ctypes.c_void_p(self.address + size), PAGE, mmap.PROT_READ)
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.waitpid(self.pid, os.WUNTRACED)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
