"""Unix sockets in CRIU's images by the names that they have now, not by those that they were bound to.

The kernel keeps the name of the bind(2), and CRIU binds a socket to that again, even if the file has changed since.
Supervisord and HAProxy bind under a temporary name and rename or link it to the final one: clients of that would
find a file without a socket behind it. Field numbers: images/sk-unix.proto, fdinfo.proto.
"""

import os
from collections.abc import Mapping

from glowplug.criu import images
from glowplug.errors import ImageError

_FILE_UNIX = 16
_INO, _NAME, _NAME_DIR, _DELETED = 2, 11, 14, 15

LONGEST = 107
"""Bytes of a name that bind(2) takes (sun_path without its end)."""


def rename(images_dir: str, names: Mapping[int, str]) -> int:
    """Give sockets, by inode, the absolute names that they have now; how many were changed.

    A name that is too long for bind(2) is written as directory and file in it. Called once on a fresh dump.
    Raises ImageError.
    """
    if not names:
        return 0
    entries = images.load(images_dir, "files.img", "files")
    changed = 0
    for entry in entries:
        sock = entry.message(_FILE_UNIX)
        name = names.get(sock.integer(_INO) or 0) if sock is not None else None
        if sock is None or name is None:
            continue
        sock.remove(_DELETED)
        sock.remove(_NAME_DIR)
        raw = os.fsencode(name)
        if len(raw) > LONGEST:
            directory, _, raw = raw.rpartition(b"/")
            sock.put_octets(_NAME_DIR, directory)
        if len(raw) > LONGEST:
            raise ImageError(f"a Unix socket is called {name}, which is too long to be bound to")
        sock.put_octets(_NAME, raw + b"\0")  # as the kernel has it, and CRIU takes it for a C string
        entry.put_message(_FILE_UNIX, sock)
        changed += 1
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    return changed
