"""What a pod's pause container is to its containers: a process that holds their namespaces. Run as a
program.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def main() -> None:
    """New namespaces, the loopback interface up, then `ready`; ends with its parent's end of the pipe."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as loopback:
        fcntl.ioctl(loopback, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
    print("ready", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.read(0, 1)


if __name__ == "__main__":
    main()
