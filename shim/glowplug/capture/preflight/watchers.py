"""Descriptors that are about something else, which has to be there for them: epolls, inotify, pidfds."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from glowplug.capture.preflight import files
from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.criu import watches
from glowplug.host import kcmp, process
from glowplug.host.descriptors import Descriptor

_EPOLL, _PIDFD = "anon_inode:[eventpoll]", "anon_inode:[pidfd]"
_NOTIFY = ("anon_inode:inotify", "anon_inode:[fanotify]")
_ENDED = -1
_THREAD = os.O_EXCL  # PIDFD_THREAD (linux/pidfd.h)


class _Watch(NamedTuple):
    """`number`: of the descriptor when it was added. `inode`: 0 where the kernel does not say (before 5.3)."""

    number: int
    inode: int


def escaped(tree: Tree) -> Iterator[Refusal]:
    """A file that an epoll watches, and that its process has closed while another one has it open.

    An epoll remembers the open file and not its number. CRIU looks for it among the descriptors of the first process
    that has the epoll.
    """
    by_pid: dict[int, list[Descriptor]] = {}
    for one in tree.descriptors:
        by_pid.setdefault(one.pid, []).append(one)
    seen: list[Descriptor] = []
    for epoll in tree.descriptors:
        if epoll.target != _EPOLL or any(_is_same(epoll, other) for other in seen):
            continue
        seen.append(epoll)
        number = _first_escaped(epoll, by_pid[epoll.pid])
        if number is not None:
            yield Refusal(
                "escaped-watch",
                f"{shown(epoll.pid)} watches by an epoll (descriptor {epoll.number}) a file that it has closed (as "
                f"descriptor {number}) and another process has open: remove it from the epoll (EPOLL_CTL_DEL) first",
            )


def _first_escaped(epoll: Descriptor, own: list[Descriptor]) -> int | None:
    """Number of the first watched file that `own` lacks; None where all are there."""
    count: dict[int, int] = {}
    for watch in _watches(epoll):
        nth = count.get(watch.number, 0)
        count[watch.number] = nth + 1
        if kcmp.is_watched(epoll.pid, watch.number, epoll.number, watch.number, nth):
            continue
        alike = (one.number for one in own if one.number != watch.number)
        if not any(kcmp.is_watched(epoll.pid, fd, epoll.number, watch.number, nth) for fd in alike):
            # Looked for once more: it may have been closed, and gone from the epoll, since it was listed.
            return watch.number if watch in _watches(epoll) else None
    return None


def _watches(epoll: Descriptor) -> list[_Watch]:
    """By fdinfo (proc_pid_fdinfo(5)); none of one that is closed."""
    found = []
    for line in epoll.info():
        words = line.split()
        if words and words[0] == "tfd:":
            inode = next((word.removeprefix("ino:") for word in words if word.startswith("ino:")), "")
            found.append(_Watch(int(words[1]), int(inode or "0", 16)))
    return found


def _is_same(one: Descriptor, other: Descriptor) -> bool:
    return kcmp.order(one.pid, other.pid, kcmp.FILE, one.number, other.number) == 0


def lost(tree: Tree) -> Iterator[Refusal]:
    """An inotify or fanotify watch on what was removed since and is still in use (`tail -F` of a rotated log), and on
    /proc, whose files no handle names: CRIU looks for a path of each."""
    watching = [one for one in tree.descriptors if one.target in _NOTIFY]
    if not watching:
        return
    gone, kernel_s = _removed(tree), _device(f"{tree.root}/proc")
    for one in watching:
        for device, inode in watches.watched(one.pid, one.number):
            if (device, inode) not in gone and device != kernel_s:
                continue
            what = "/proc" if device == kernel_s else gone[device, inode]
            yield Refusal(
                "lost-watch",
                f"{shown(one.pid)} watches (descriptor {one.number}, inotify) {what}, which "
                f"{'no' if device == kernel_s else 'was removed: no'} restore could find again: end that watch, or "
                "try again later",
            )
            break


def _removed(tree: Tree) -> dict[watches.Inode, str]:
    """What has no name any more, and is open, mapped or a working directory: with its last name."""
    in_use = [(name, path) for _, name, path in files.removed(tree)]
    for pid in tree.pids:
        if _is_removed(f"/proc/{pid}/cwd"):
            in_use.append(("its working directory", f"/proc/{pid}/cwd"))
    found = {}
    for name, path in in_use:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if not status.st_nlink:
            found[watches.kernel_device(status.st_dev), status.st_ino] = name
    return found


def _is_removed(link: str) -> bool:
    """By its text: to ask a file server that does not answer would hold up the capture."""
    try:
        return os.readlink(link).endswith(" (deleted)")
    except OSError:
        return False


def _device(path: str) -> int:
    try:
        return watches.kernel_device(os.stat(path).st_dev)
    except OSError:
        return -1


def pidfds(tree: Tree) -> Iterator[Refusal]:
    """A pidfd of a thread, or of a process that is not the container's: one that was exec'd in it, say."""
    members = set(process.tree(tree.pids[0])) if tree.pids else set()
    for one in tree.descriptors:
        if one.target != _PIDFD:
            continue
        fields = one.fields()
        pid, flags = int(fields.get("Pid", _ENDED)), int(fields.get("flags", "0"), 8)
        holder = f"{shown(one.pid)} holds (descriptor {one.number}) a pidfd of"
        if pid == _ENDED:
            continue
        if flags & _THREAD:
            yield Refusal(
                "thread-pidfd", f"{holder} a thread (PIDFD_THREAD), which can't be dumped: close it first"
            )
        elif pid not in members:
            yield Refusal(
                "foreign-pidfd", f"{holder} {shown(pid)}, which is outside of the container: close it first"
            )
