"""Hard links that CRIU adds for files open under a removed name, and takes away before a copy can have them.

A file that was unlinked under the name it is open by, but has another name left, is dumped through a hard
link `link_remap.<id>` next to the old name (criu/files-reg.c). At the end of a dump that leaves the tree
running CRIU removes the link, while the images go on asking for it: the copy of the layer must get it back.
"""

import os
from collections.abc import Iterable

from glowplug.criu import images
from glowplug.errors import ImageError

# images/regfile.proto, remap-file-path.proto, fdinfo.proto, pstree.proto, core.proto
_FILE_REG, _REG_NAME = 3, 6
_ORIG, _REMAP, _KIND, _LINKED = 1, 2, 3, 0
_FD_ID, _FD = 1, 4


def links(images_dir: str, pids: Iterable[int]) -> list[tuple[str, tuple[int, int]]]:
    """(path in the container, (st_dev, st_ino) of the file) for each link that the images ask for.

    pids: host pids of the dumped processes, still frozen. The inode is as seen inside the container: look
    for another name with it among the layer's files of several links, and hard-link that to the path.
    Raises ImageError if no process holds the file any more by a descriptor (a mapping alone, say).
    """
    if not os.path.exists(os.path.join(images_dir, "remap-fpath.img")):
        return []
    wanted = {
        remap.required(_ORIG, "remap.orig_id"): remap.required(_REMAP, "remap.remap_id")
        for remap in images.load(images_dir, "remap-fpath.img", "remap-fpath")
        if remap.integer(_KIND) == _LINKED
    }
    if not wanted:
        return []
    names = {}
    for entry in images.load(images_dir, "files.img", "files"):
        reg, number = entry.message(_FILE_REG), entry.required(2, "file.id")
        if reg is not None and number in wanted.values():
            names[number] = os.fsdecode(reg.octets(_REG_NAME) or b"")
    open_as = _descriptors(images_dir, set(wanted))
    hosts = _host_pids(pids)
    found = []
    for original, remap in wanted.items():
        path, holder = names.get(remap), open_as.get(original)
        if not path or holder is None or holder[0] not in hosts:
            raise ImageError(f"an open file was removed, and no process holds it that could tell: {path}")
        facts = os.stat(f"/proc/{hosts[holder[0]]}/fd/{holder[1]}")
        found.append((path, (facts.st_dev, facts.st_ino)))
    return found


def _descriptors(images_dir: str, wanted: set[int]) -> dict[int, tuple[int, int]]:
    """File id to (pid in the container, descriptor) of some process that holds it."""
    found: dict[int, tuple[int, int]] = {}
    tables = {}
    for pid, name in images.names(images_dir, "ids"):
        for ids in images.load(images_dir, name, "ids"):
            tables[ids.required(2, "ids.files_id")] = pid
    for table, name in images.names(images_dir, "fdinfo"):
        for entry in images.load(images_dir, name, "fdinfo"):
            number = entry.required(_FD_ID, "fdinfo.id")
            if number in wanted and table in tables:
                found[number] = (tables[table], entry.required(_FD, "fdinfo.fd"))
    return found


def _host_pids(pids: Iterable[int]) -> dict[int, int]:
    """Pid in the innermost pid namespace to host pid."""
    found = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                inner = next((line.split()[-1] for line in file if line.startswith("NSpid:")), None)
        except OSError:
            continue
        if inner is not None:
            found[int(inner)] = pid
    return found
