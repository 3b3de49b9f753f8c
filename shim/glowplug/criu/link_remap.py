"""Hard links that CRIU adds for files open under a removed name, and takes away before a copy can have them.

A file that was unlinked under the name it is open by, but has another name left, is dumped through a hard
link `link_remap.<id>` next to the old name (criu/files-reg.c). At the end of a dump that leaves the tree
running CRIU removes the link, while the images continue asking for it: the copy of the layer must get it back.
"""

import os
from collections.abc import Iterable

from glowplug.criu import images
from glowplug.errors import ImageError
from glowplug.host import proc

# images/regfile.proto, remap-file-path.proto, fdinfo.proto, pstree.proto, core.proto, mm.proto, vma.proto
_FILE_REG, _REG_NAME = 3, 6
_ORIG, _REMAP, _KIND, _LINKED = 1, 2, 3, 0
_FD_ID, _FD = 1, 4
_EXE_FILE, _VMAS = 12, 14
_VMA_START, _VMA_END, _VMA_FILE, _VMA_STATUS = 1, 2, 4, 7
_OF_FILE = 1 << 6 | 1 << 7  # VMA_FILE_PRIVATE, VMA_FILE_SHARED (criu/include/image.h)


def links(images_dir: str, pids: Iterable[int]) -> list[tuple[str, tuple[int, int]]]:
    """(path in the container, (st_dev, st_ino) of the file) for each link that the images ask for.

    pids: host pids of the dumped processes, still frozen. A file is looked up through a process that has it: by a
    descriptor, a mapping (all that is left of a POSIX semaphore: checkpoint-restore/criu#2980), or as the program
    that runs. The inode is as seen inside the container: look for another name with it where the file is, and
    hard-link that to the path.
    Raises ImageError if none of the processes holds the file any more (it is in flight in a socket, say).
    """
    if not os.path.exists(os.path.join(images_dir, "remap-fpath.img")):
        return []
    remapped = {
        remap.required(_ORIG, "remap.orig_id"): remap.required(_REMAP, "remap.remap_id")
        for remap in images.load(images_dir, "remap-fpath.img", "remap-fpath")
        if remap.integer(_KIND) == _LINKED
    }
    if not remapped:
        return []
    names = {}
    for entry in images.load(images_dir, "files.img", "files"):
        reg, number = entry.message(_FILE_REG), entry.required(2, "file.id")
        if reg is not None and number in remapped.values():
            names[number] = os.fsdecode(reg.octets(_REG_NAME) or b"")
    holders = {**_memory(images_dir, set(remapped)), **_descriptors(images_dir, set(remapped))}
    hosts = _host_pids(pids)
    found = []
    for original, remap in remapped.items():
        path, holder = names.get(remap), holders.get(original)
        if not path or holder is None or holder[0] not in hosts:
            raise ImageError(
                f"{path or 'a file'} was removed while it was open, and no process holds it by a descriptor or a "
                "mapping any more: close it before the capture"
            )
        facts = os.stat(f"/proc/{hosts[holder[0]]}/{holder[1]}")
        found.append((path, (facts.st_dev, facts.st_ino)))
    return found


def _descriptors(images_dir: str, remapped: set[int]) -> dict[int, tuple[int, str]]:
    """File id to (pid in the container, its entry below /proc/PID) of some process that has it open."""
    found: dict[int, tuple[int, str]] = {}
    tables = {}
    for pid, name in images.names(images_dir, "ids"):
        for ids in images.load(images_dir, name, "ids"):
            tables[ids.required(2, "ids.files_id")] = pid
    for table, name in images.names(images_dir, "fdinfo"):
        for entry in images.load(images_dir, name, "fdinfo"):
            number = entry.required(_FD_ID, "fdinfo.id")
            if number in remapped and table in tables:
                found[number] = tables[table], f"fd/{entry.required(_FD, 'fdinfo.fd')}"
    return found


def _memory(images_dir: str, remapped: set[int]) -> dict[int, tuple[int, str]]:
    """The same, of some process that has it mapped, or runs it."""
    found: dict[int, tuple[int, str]] = {}
    for pid, name in images.names(images_dir, "mm"):
        for mm in images.load(images_dir, name, "mm"):
            program = mm.integer(_EXE_FILE)
            if program in remapped:
                found[program] = pid, "exe"
            for vma in mm.messages(_VMAS):
                number = vma.integer(_VMA_FILE)
                if number in remapped and vma.required(_VMA_STATUS, "vma.status") & _OF_FILE:
                    start, end = vma.required(_VMA_START, "vma.start"), vma.required(_VMA_END, "vma.end")
                    found[number] = pid, f"map_files/{start:x}-{end:x}"
    return found


def _host_pids(pids: Iterable[int]) -> dict[int, int]:
    """Pid in the innermost pid namespace to host pid."""
    return {inside: pid for pid in pids if (inside := proc.number_inside(pid))}
