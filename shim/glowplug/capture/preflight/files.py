"""Open files that no dump takes along."""

import os
import stat
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.criu.config import GHOST_LIMIT
from glowplug.host import proc

_BLOCK = 512  # st_blocks (stat(3type))
_GONE = " (deleted)"
_OF_THE_KERNEL = ("/memfd:", "/SYSV", "/dev/zero", "/[aio]", "/anon_hugepage")
# Major number of small drivers (admin-guide/devices.txt), and the one of them that CRIU knows.
_MISC, _TUN = 10, 200

# What /proc/PID/fd shows of kernel objects that CRIU does not know (criu/files.c, dump_one_file()), and what they are.
# Kernels differ in the brackets. Other unknown ones are let pass: a driver (CUDA's, say) may close its own before the
# dump.
_OBJECTS = {
    "userfaultfd": "a userfaultfd, by which it handles page faults",
    "perf_event": "a counter of perf_event_open(2)",
    "io_uring": "an io_uring: leave glowplug.dev/io-uring off, so that it is withheld",
    "landlock-ruleset": "a Landlock ruleset",
    "seccomp notify": "the listener of a seccomp filter",
    "bpf-prog": "an eBPF program",
    "bpf_link": "an eBPF link",
    "bpf-link": "an eBPF link",
    "btf": "types of eBPF",
    "fscontext": "a file system that is being mounted (fsopen)",
    "kvm-": "a virtual machine (KVM)",
}


def large_removed(tree: Tree) -> Iterator[Refusal]:
    """A removed file that is still open, or mapped, travels in the images, up to a size."""
    seen = set()
    for pid, name, path in removed(tree):
        try:
            status = os.stat(path)
        except OSError:
            continue
        size = status.st_blocks * _BLOCK
        is_ghost = stat.S_ISREG(status.st_mode) and not status.st_nlink
        if is_ghost and size > GHOST_LIMIT and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield Refusal(
                "large-removed-file",
                f"{shown(pid)} holds the removed file {name} of {size >> 20} MiB; at most {GHOST_LIMIT >> 20} MiB of "
                "such a file can be taken along: close it first, or don't remove it",
            )


_Removed = tuple[int, str, str]
"""The process that holds it, its name, and where it is to be seen below /proc."""


def removed(tree: Tree) -> list[_Removed]:
    """Files that are open or mapped by a name that ends in ` (deleted)`; one that is really called so is among them."""
    return [*_open_removed(tree), *_mapped_removed(tree)]


def _open_removed(tree: Tree) -> Iterator[_Removed]:
    for one in tree.descriptors:
        if one.target.endswith(_GONE) and not one.target.startswith("/memfd:"):
            yield one.pid, one.target.removesuffix(_GONE), f"/proc/{one.pid}/fd/{one.number}"


def _mapped_removed(tree: Tree) -> Iterator[_Removed]:
    """Closed since it was mapped. Shared memory of the kernel's own, of memfd_create(2) and System V, has such a name
    as well, but no directory in it."""
    for pid in tree.pids:
        try:
            mapped = proc.mapped_files(pid)
        except OSError:
            continue  # it ended
        for _, name, link in mapped:
            if name.endswith(_GONE) and not name.startswith(_OF_THE_KERNEL):
                yield pid, name.removesuffix(_GONE), link


def kernel_objects(tree: Tree) -> Iterator[Refusal]:
    """Descriptors of the kernel's that no dump takes along, and devices of small drivers (/dev/fuse, /dev/kvm)."""
    for one in tree.descriptors:
        what = _object(one.target.removeprefix("anon_inode:")) if one.target.startswith("anon_inode:") else ""
        what = what or (_device(one.pid, one.number, one.target) if one.target.startswith("/dev/") else "")
        if what:
            yield Refusal(
                "kernel-object",
                f"{shown(one.pid)} holds (descriptor {one.number}) {what}, which can't be dumped: close it first",
            )


def packet_pipes(tree: Tree) -> Iterator[Refusal]:
    """Pipes of packets (pipe2(2), O_DIRECT)."""
    for one in tree.descriptors:
        if one.target.startswith("pipe:[") and one.flags() & os.O_DIRECT:
            yield Refusal(
                "packet-pipe",
                f"{shown(one.pid)} has a pipe of packets (descriptor {one.number}, O_DIRECT), which can't be dumped: "
                "close it first",
            )


def _object(kind: str) -> str:
    return next((what for start, what in _OBJECTS.items() if kind.strip("[]").startswith(start)), "")


def _device(pid: int, number: int, target: str) -> str:
    try:
        status = os.stat(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""
    is_misc = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == _MISC
    return f"the device {target}" if is_misc and os.minor(status.st_rdev) != _TUN else ""
