"""The host name in CRIU's images: a restored container takes the new pod's, not the captured one's.

CRIU writes the dumped names into the UTS namespace that it joins, which belongs to the entire pod. So a restore
whose pod has another name gets a changed utsns image (images/utsns.proto), in a directory of its own.
"""

import _thread
import ctypes
import os

from glowplug.criu import images
from glowplug.errors import CriuError

_CLONE_NEWUTS = 0x04000000
_NODENAME, _DOMAINNAME = 1, 2


def names(uts: str) -> tuple[str, str]:
    """(host name, domain name) of the UTS namespace file ``uts``. CriuError if it can't be joined."""
    found: list[tuple[str, str]] = []
    failed: list[OSError] = []

    def look() -> None:
        # setns() moves this one thread only, and the thread ends here.
        try:
            fd = os.open(uts, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWUTS):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(fd)
            with open("/proc/sys/kernel/domainname", encoding="utf-8", errors="surrogateescape") as file:
                found.append((os.uname().nodename, file.read().rstrip("\n")))
        except OSError as error:
            failed.append(error)
        finally:
            looked.release()

    looked = _thread.allocate_lock()
    looked.acquire()
    _thread.start_new_thread(look, ())  # the module `threading` is longer in coming than all of this
    looked.acquire()
    if not found:
        raise CriuError(f"the host name of the pod's UTS namespace can't be read: {failed[0].strerror}")
    return found[0]


def give(images_dir: str, into: str, uts: str) -> bool:
    """Put the names of the namespace file ``uts`` into a copy of the images that differ, in ``into``.

    True if a copy was needed: then restore from `into` (`images.link_rest`). Raises ImageError, CriuError.
    """
    host, domain = (name.encode("utf-8", "surrogateescape") for name in names(uts))
    changed = False
    for _, name in images.names(images_dir, "utsns"):
        entries = images.load(images_dir, name, "utsns")
        if all((entry.octets(_NODENAME), entry.octets(_DOMAINNAME)) == (host, domain) for entry in entries):
            continue
        for entry in entries:
            entry.put_octets(_NODENAME, host)
            entry.put_octets(_DOMAINNAME, domain)
        images.store(into, name, "utsns", entries)
        changed = True
    return changed
