"""What threads set of themselves that CRIU does not know, and a restore can't set again.

Rights dropped by Landlock, prctl(2). What a restore does set again is in host/own_settings.py. A thread that can't say
what it has (a filter that this program may not suspend, a machine whose registers are not known here) is noted.
"""

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import proc, process, thread_probe

PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE = 0x00080000, 0x00100000
"""Both together are PR_SET_IO_FLUSHER (include/linux/sched.h; field 9 of proc_pid_stat(5))."""
IO_FLUSHER = PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE
PR_SCHED_CORE, PR_SCHED_CORE_GET = 62, 0
_ALL_BITS = (1 << 64) - 1
_DEADLINE_OR_EXT = (6, 7)  # linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)


def reported(tree: Tree) -> Iterator[Refusal]:
    """What threads say of themselves; refused where none can be queried although this machine's could be."""
    if not tree.pids:
        return
    if not thread_probe.can_call():
        tree.notes.append(
            f"what processes set by Landlock and prctl(2), PR_SET_MDWE say, is not known on {os.uname().machine}"
        )
        return
    try:
        found = tree.probed.found
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Refusal(
            "settings-unknown",
            f"what {shown(tree.pids[0])} and its children set by Landlock and prctl(2) can't be read: {error}: "
            "try again",
        )
        return
    for pid in _processes(one.thread for one in found if one.is_restricted):
        yield Refusal(
            "landlock",
            f"{shown(pid)} gave up rights by Landlock, and would have them again after a restore: have it do "
            "without, or don't capture this workload (glowplug.dev/capture: never)",
        )
    for pid in _processes(one.thread for one in found if one.dispatches_calls):
        yield Refusal(
            "syscall-dispatch",
            f"{shown(pid)} has its system calls turned into signals (PR_SET_SYSCALL_USER_DISPATCH), which can't be "
            "dumped: have it do without",
        )
    for pid in _processes(one.thread for one in found if one.is_unknown):
        tree.notes.append(
            f"what {shown(pid)} set by Landlock and prctl(2): its seccomp filter forbids it to say so"
        )


def seen(tree: Tree) -> Iterator[Refusal]:
    """What can be read from outside, and not be set again."""
    for pid in tree.pids:
        for thread in proc.tasks(pid):
            try:
                refusal = _judged(pid, thread)
            except OSError:
                continue  # it ended
            if refusal is not None:
                yield refusal
                break


def _judged(pid: int, thread: int) -> Refusal | None:
    if process.flags(thread) & IO_FLUSHER == IO_FLUSHER:
        return Refusal(
            "io-flusher",
            f"{shown(pid)} is said to take part in disk I/O (PR_SET_IO_FLUSHER), which a restore can't set again: "
            "have it do without",
        )
    if os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK in _DEADLINE_OR_EXT:
        return Refusal(
            "scheduling-class",
            f"{shown(pid)} is scheduled by deadlines or by an eBPF program (SCHED_DEADLINE, SCHED_EXT), which can't be "
            "restored: have it do without",
        )
    mask = proc.status(thread).get("untag_mask", "")
    if mask and int(mask, 16) != _ALL_BITS:
        return Refusal(
            "tagged-addresses",
            f"{shown(pid)} has bits of its own in addresses (ARCH_ENABLE_TAGGED_ADDR), which a restore can't set "
            "again: have it do without",
        )
    if _core_cookie(thread):
        return Refusal(
            "core-scheduling",
            f"{shown(pid)} shares a CPU core with its own kind alone (PR_SCHED_CORE), which a restore "
            "can't set again: have it do without",
        )
    return None


def _core_cookie(thread: int) -> int:
    """0 where it has none, and in a kernel without core scheduling."""
    cookie = ctypes.create_string_buffer(8)
    if _libc.prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, thread, 0, cookie):
        return 0
    return int(struct.unpack("Q", cookie.raw)[0])


def _processes(threads: Iterator[int]) -> list[int]:
    """Those whose threads they are, each once. One that ended is left out."""
    found = []
    for thread in threads:
        try:
            found.append(int(proc.status(thread)["Tgid"]))
        except OSError:
            continue
    return list(dict.fromkeys(found))
