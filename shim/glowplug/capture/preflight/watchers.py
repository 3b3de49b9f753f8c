"""Descriptors that are about something else, which has to be there for them: epolls and pidfds."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import kcmp, process
from glowplug.host.descriptors import Descriptor

_EPOLL, _PIDFD = "anon_inode:[eventpoll]", "anon_inode:[pidfd]"
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
    for line in _info(epoll):
        words = line.split()
        if words and words[0] == "tfd:":
            inode = next((word.removeprefix("ino:") for word in words if word.startswith("ino:")), "")
            found.append(_Watch(int(words[1]), int(inode or "0", 16)))
    return found


def _is_same(one: Descriptor, other: Descriptor) -> bool:
    return kcmp.order(one.pid, other.pid, kcmp.FILE, one.number, other.number) == 0


def pidfds(tree: Tree) -> Iterator[Refusal]:
    """A pidfd of a thread, or of a process that is not the container's: one that was exec'd in it, say."""
    members = set(process.tree(tree.pids[0])) if tree.pids else set()
    for one in tree.descriptors:
        if one.target != _PIDFD:
            continue
        fields = dict(line.split(":", 1) for line in _info(one) if ":" in line)
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


def _info(one: Descriptor) -> list[str]:
    try:
        with open(f"/proc/{one.pid}/fdinfo/{one.number}") as lines:
            return lines.read().splitlines()
    except OSError:
        return []
