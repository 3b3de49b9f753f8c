"""Open directories /proc/PID in CRIU's images.

CRIU looks whether the process is alive by ending the name behind the number for a moment, and then puts a slash where
the name's own end was (criu/files-reg.c, check_path_remap): `/proc/1` becomes `/proc/1/` and whatever lay behind it in
memory. Field numbers: images/fdinfo.proto, regfile.proto.
"""

import re
import stat

from glowplug.criu import images

_FILE_REG, _NAME, _MODE = 3, 6, 10
_BELOW = re.compile(rb"(/proc/[0-9]+)/([^/]*).*", re.DOTALL)
_DIRECTORIES = frozenset((b"attr", b"fd", b"fdinfo", b"map_files", b"net", b"ns", b"task"))
"""Those that there are in one (proc_pid(5))."""


def apply(images_dir: str) -> int:
    """Give them their names again; how many were changed. Raises ImageError."""
    entries = images.load(images_dir, "files.img", "files")
    changed = 0
    for entry in entries:
        file = entry.message(_FILE_REG)
        if file is None or not stat.S_ISDIR(file.integer(_MODE) or 0):
            continue
        found = _BELOW.fullmatch(file.octets(_NAME) or b"")
        if found and found[2] not in _DIRECTORIES:
            file.put_octets(_NAME, found[1])
            entry.put_message(_FILE_REG, file)
            changed += 1
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    return changed
