"""Files that a hook has mounted over files of /proc, in no spec: NVIDIA's disable-device-node-modification, say.

Such a mount's own file system may be mounted nowhere any more (the hook unmounts its scratch tmpfs), and then CRIU
can't dump it; and runc runs no createContainer hook at a restore. So CRIU takes them as external, and the
content, which is what the hook wrote, is kept: a restore mounts a file with it there.
"""

import base64
import json
import os
import stat

from glowplug.capture.subject import Subject
from glowplug.errors import CaptureRefused
from glowplug.layer import mountinfo
from glowplug.layer.beneath import open_beneath

FILE = "hook-mounts.json"
LIMIT = 64 << 10
_PLACE = "/proc/"


def find(subject: Subject) -> tuple[str, ...]:
    """Their mount points, in the container. Raises OSError."""
    facts = subject.facts
    ours = {mount.destination for mount in facts.mounts} | {*facts.masked_paths, *facts.readonly_paths}
    found = []
    for mount in mountinfo.read(f"/proc/{subject.init}/mountinfo"):
        if mount.target.startswith(_PLACE) and mount.target not in ours and mount.fstype == "tmpfs":
            status = _status(subject.init, mount.target)
            if stat.S_ISREG(status.st_mode):
                found.append(mount.target)
    return tuple(dict.fromkeys(found))


def keep(subject: Subject, points: tuple[str, ...], images: str) -> None:
    """Their content, beside CRIU's images. Raises OSError, CaptureRefused for one that is no small file."""
    if not points:
        return
    kept = {}
    for point in points:
        with open(open_beneath(f"/proc/{subject.init}/root", point, os.O_RDONLY), "rb") as file:
            content = file.read(LIMIT + 1)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if len(content) > LIMIT:
            raise CaptureRefused("hook-mount", f"a hook mounted more than {LIMIT} bytes over {point}")
        kept[point] = {"content": base64.b64encode(content).decode(), "mode": mode}
    with open(f"{images}/{FILE}", "w") as file_:
        json.dump(kept, file_)


def _status(init: int, point: str) -> os.stat_result:
    fd = open_beneath(f"/proc/{init}/root", point, os.O_PATH)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)
