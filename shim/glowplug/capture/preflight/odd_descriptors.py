"""Descriptors that CRIU has no words for, although it knows their kind."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import proc
from glowplug.host.descriptors import Descriptor

_EVENTFD, _NVIDIA = "anon_inode:[eventfd]", "/dev/nvidia"
_MOST = (1 << 32) - 1
"""CRIU counts an eventfd by eventfd(2), which takes 32 bits to begin with."""
_O_PATH = 0o10000000
_GONE = " (deleted)"
_TTY = os.makedev(5, 0)
F_GET_SEALS, F_SEAL_WRITE = 1034, 0x8


def eventfds(tree: Tree) -> Iterator[Refusal]:
    """EFD_SEMAPHORE is not among the flags that CRIU reads; fdinfo has it since Linux 6.6. And what is large is cut.

    Of a process with a GPU it may be the driver's own, which is closed before the dump: noted only.
    """
    noted: dict[int, str] = {}
    with_gpu = {one.pid for one in tree.descriptors if one.target.startswith(_NVIDIA)}
    for one in tree.descriptors:
        if one.target != _EVENTFD:
            continue
        fields = one.fields()
        if fields.get("eventfd-semaphore", "0").strip() == "1":
            what = "that is a semaphore (EFD_SEMAPHORE), and would come back without that"
        elif int(fields.get("eventfd-count", "0"), 16) > _MOST:
            what = (
                "that has counted beyond 32 bits, which would come back cut: try again when it was read, or"
            )
        else:
            continue
        sentence = f"{shown(one.pid)} has an eventfd (descriptor {one.number}) {what}"
        if one.pid in with_gpu:
            noted.setdefault(one.pid, f"whether it matters that {sentence}")
        else:
            yield Refusal("eventfd", f"{sentence}: close it first")
    tree.notes.extend(noted.values())


def paths(tree: Tree) -> Iterator[Refusal]:
    """O_PATH of a FIFO or Unix socket, which CRIU asks for what only an open one has; and names beyond PATH_MAX."""
    for one in tree.descriptors:
        if one.target.startswith("/") and one.flags() & _O_PATH and _is_special(one):
            yield Refusal(
                "path-descriptor",
                f"{shown(one.pid)} has a FIFO or Unix socket open as a path alone (descriptor {one.number}, O_PATH), "
                "which can't be dumped: close it first",
            )
    for pid in tree.pids:
        what = next((name for name in _links(pid) if _is_too_long(f"/proc/{pid}/{name}")), "")
        if what:
            yield Refusal(
                "long-path",
                f"{shown(pid)} has ({what}) a path of more than 4095 bytes, which can't be dumped: use a shorter one",
            )


def removed_directories(tree: Tree) -> Iterator[Refusal]:
    """A directory in use that was removed, and made again since (a release that is replaced in place): CRIU makes it
    for a moment under its old name, and then removes what has that name."""
    for pid in tree.pids:
        for name in _links(pid):
            path = _removed_directory(f"/proc/{pid}/{name}")
            if path and os.path.lexists(f"{tree.root.rstrip('/')}{path}"):
                yield Refusal(
                    "removed-directory",
                    f"{shown(pid)} has ({name}) the removed directory {path}, and there is another of that name now, "
                    "which a restore would remove: have it enter the new one",
                )
                break


def terminals(tree: Tree) -> Iterator[Refusal]:
    """/dev/tty, as a shell with job control has it: CRIU wants its pseudo-terminal to be of the same process."""
    for one in tree.descriptors:
        if one.target == "/dev/tty" and _device(one) == _TTY:
            yield Refusal(
                "terminal",
                f"{shown(one.pid)} has its controlling terminal open (descriptor {one.number}, /dev/tty), which can't "
                "be dumped: end the terminal session first",
            )


def sealed_memory(tree: Tree) -> Iterator[Refusal]:
    """A memfd sealed against writing (F_SEAL_WRITE) that is mapped shared: CRIU maps it before it seals it again, and
    the kernel then refuses the seal."""
    for pid in tree.pids:
        try:
            mapped = proc.mapped_files(pid)
        except OSError:
            continue  # it ended
        for permissions, name, link in mapped:
            if not name.startswith("/memfd:") or permissions[3] != "s":
                continue
            if _seals(link) & F_SEAL_WRITE:
                start = os.path.basename(link).partition("-")[0]
                yield Refusal(
                    "sealed-memfd",
                    f"{shown(pid)} has memory of memfd_create(2) mapped (at {start}) that is sealed against writing "
                    "(F_SEAL_WRITE), which can't be restored: map it privately, or unmap it first",
                )
                break


def _links(pid: int) -> list[str]:
    try:
        return ["cwd", "root", "exe", *(f"fd/{number}" for number in os.listdir(f"/proc/{pid}/fd"))]
    except OSError:
        return []


def _is_too_long(link: str) -> bool:
    try:
        os.readlink(link)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _removed_directory(link: str) -> str:
    """The last name of a directory that was removed; "" for anything else. The status of what is there is not read:
    a file server that does not answer would hold up the capture."""
    try:
        path = os.readlink(link)
        if not path.endswith(_GONE):
            return ""
        status = os.stat(link)
    except OSError:
        return ""
    is_gone = stat.S_ISDIR(status.st_mode) and not status.st_nlink
    return path.removesuffix(_GONE) if is_gone else ""


def _is_special(one: Descriptor) -> bool:
    try:
        return stat.S_IFMT(os.stat(f"/proc/{one.pid}/fd/{one.number}").st_mode) in (
            stat.S_IFIFO,
            stat.S_IFSOCK,
        )
    except OSError:
        return False


def _device(one: Descriptor) -> int:
    try:
        return os.stat(f"/proc/{one.pid}/fd/{one.number}").st_rdev
    except OSError:
        return 0


def _seals(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return fcntl.fcntl(fd, F_GET_SEALS)
    except OSError:
        return 0
    finally:
        os.close(fd)
