"""What known errors of CRIU and of the CUDA driver mean, and what to do: tables, by the words that they are said in.

Sources: criu/*.c and soccr/*.c of CRIU 4.2 (the file stands with each line); CUresult in cuda.h of CUDA 13.0, and
docs/gpu.md for what was tried. No "; " in a text: that separates errors in an outcome's detail. A restore imports
this only where something has failed.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from glowplug.errors import CudaError


class Known(NamedTuple):
    """`said`: a pattern of the error's own words. `means`: what it is. `do`: what helps. `of_node`: whether the node is
    to blame for it, and no checkpoint (said of the driver's alone; CRIU's: cache/fault.py)."""

    said: str
    means: str
    do: str
    of_node: bool = False


CRIU = (
    # sk-inet.c, sk-tcp.c, soccr/soccr.c
    Known(
        r"Unsupported proto 262",
        "an MPTCP socket",
        "set GODEBUG=multipathtcp=0, or leave glowplug.dev/mptcp off",
    ),
    Known(
        r"Unsupported proto \d+",
        "a socket of a protocol that CRIU does not know",
        "close it before a capture",
    ),
    Known(
        r"Can't dump corked dgram socket", "a UDP socket in the middle of a datagram (UDP_CORK)", "try again"
    ),
    Known(r"In-flight connection \(l\)", "a connection that nobody has accepted yet", "try again"),
    Known(
        r"Can't restore .* queue data",
        "data under way in a connection inside the pod",
        "capture while it is idle",
    ),
    Known(
        r"Can't bind inet socket",
        "an address or port that the new pod does not have free",
        "listen on all addresses",
    ),
    # sk-unix.c
    Known(
        r"Can't dump half of stream unix connection|without peer|External socket is used|unreachable peer",
        "a Unix socket connected to a process outside of the container",
        "close the connection before a capture",
    ),
    Known(
        r"Dangling connection|closed in-flight socket|Non-empty write queue on an in-flight",
        "a Unix connection that its listener has not accepted",
        "try again",
    ),
    Known(
        r"Unable too? cut ",
        "a Unix socket bound to a relative name and renamed",
        "bind it to an absolute name",
    ),
    Known(
        r"Can't bind id .* addr",
        "a Unix socket's name that is taken in the new pod",
        "use a directory of the pod's own",
    ),
    # sk-netlink.c, sk-packet.c, sockets.c
    Known(r"netlink.*queue|queue.*netlink", "a netlink socket with messages that were not read", "try again"),
    Known(
        r"BUG! Unknown socket collected|unsupported family",
        "a socket of a family that CRIU does not know",
        "close it",
    ),
    # seize.c, ptrace.c, cr-dump.c
    Known(
        r"Unseizable non-zombie|Can't seize task|Timeout reached|freezing processes",
        "a process that can't be stopped: it waits in vfork(2) or in the kernel, or a debugger has it",
        "try again when it continues",
    ),
    Known(
        r"Can't infect|parasite",
        "a process that lets no other code run in it",
        "look for seccomp rules on mmap",
    ),
    # files.c, files-ext.c, files-reg.c, timerfd.c, pipes.c, tty.c
    Known(r"io_uring", "io_uring", "leave glowplug.dev/io-uring off, or set UV_USE_IO_URING=0"),
    Known(
        r"Can't dump file \d+ of that type|Unknown fd type|Unsupported fd",
        "an open device or kernel object",
        "close it",
    ),
    Known(
        r"Can't dump ghost file .* increase limit",
        "a removed file that is open and too large",
        "close it before a capture",
    ),
    Known(
        r"has bad size|bad build-ID|has bad mode",
        "a file on a volume that changed since the capture",
        "capture again",
    ),
    Known(r"Can't lookup mount=", "an open file on a mount that is gone", "close it before a capture"),
    Known(
        r"Can't link |link_remap",
        "a removed file that has another name, and the volume lets no link be made",
        "close it",
    ),
    Known(
        r"Can't open file .*",
        "a file that is not in the new pod",
        "keep it in the image or in a volume that travels",
    ),
    Known(r"tty:|Found slave peer|sid .* doesn't match", "a terminal", "run without a terminal"),
    # fsnotify.c, irmap.c
    Known(
        r"Can't dump that handle|Can't find suitable path for handle|Can't add watch|Can't resolve .* watch",
        "a watch (inotify, fanotify) on a file that was renamed or removed",
        "watch it again before a capture",
    ),
    # mount.c
    Known(
        r"doesn't have a proper root mount|isn't mounted|is not mountable|Mount .* (is unreachable|isn't external)",
        "a mount that no spec names, made by a hook or inside the container",
        "don't mount inside the container",
    ),
    Known(
        r"autodetected external mount|external mount",
        "a mount that the new container does not have",
        "keep the mounts",
    ),
    # namespaces.c, cgroup.c, proc_parse.c, mem.c, aio.c
    Known(
        r"nested .* namespace|Nested .* namespaces|Can't dump nested",
        "a namespace inside the container",
        "don't unshare",
    ),
    Known(
        r"cgroupd|Can't move into|cgroup",
        "the new container's cgroup",
        "look whether its limits are the captured one's",
    ),
    Known(
        r"Can't handle .* area|VMA .* not supported|Unsupported mapping",
        "memory of a device",
        "close the device",
    ),
    Known(r"AIO|aio", "asynchronous I/O (libaio) under way", "try again when it is idle"),
    Known(
        r"seccomp: ", "a seccomp filter that this kernel does not take back", "look at the kernel's version"
    ),
    Known(
        r"cpu.*(capabilit|feature)|FPU|xsave",
        "a CPU without what the captured process uses",
        "restore on nodes alike",
    ),
    # kerndat.c, cr-restore.c
    Known(r"kerndat", "a kernel that CRIU can't work on", "see glowplug doctor"),
    Known(r"No space left on device", "a full disk or tmpfs", "free some"),
    Known(r"Cannot allocate memory", "lack of memory", "raise the limit, or free memory on the node"),
    Known(
        r"killed by signal 9",
        "a process that was killed while it was brought back",
        "look for an out-of-memory kill",
    ),
    Known(
        r"Pid \d+ do not match|Can't fork for \d+|clone.*File exists",
        "a process number that is taken",
        "share no PID namespace",
    ),
)

_XID = "look for Xid in the node's kernel log"
_WHAT_WORKS = "docs/gpu.md has what works and what does not"

# By the result's name, as the driver's calls give it, or by its sentence alone, as NVIDIA's program prints it.
DRIVER = (
    Known(
        r"(?:Restore of|action restore).*(?:CUDA_ERROR_INVALID_VALUE|invalid argument)",
        "other GPUs than the captured ones, or memory shared between processes (CUDA IPC), which this driver does "
        "not restore",
        _WHAT_WORKS,
    ),
    Known(
        r"CUDA_ERROR_OUT_OF_MEMORY|out of memory",
        "too little memory: at a restore on the GPU, at a capture in the container, which takes the GPU's content in",
        "free memory on the GPU, or raise the container's memory limit",
        of_node=True,
    ),
    Known(
        r"CUDA_ERROR_NOT_INITIALIZED|initialization error",
        "a process that has no CUDA state",
        "capture again when it uses CUDA",
    ),
    Known(
        r"CUDA_ERROR_STUB_LIBRARY|is a stub library",
        "the CUDA toolkit's stand-in for libcuda in place of the driver's",
        "take the toolkit's stubs directory off the node's library path",
        of_node=True,
    ),
    Known(
        r"CUDA_ERROR_DEVICE_UNAVAILABLE|busy or unavailable|CUDA_ERROR_NO_DEVICE|no CUDA-capable device",
        "a GPU that is not there, or that another process has for itself (exclusive compute mode)",
        "look at nvidia-smi and glowplug doctor",
        of_node=True,
    ),
    Known(
        r"CUDA_ERROR_(?:ECC|NVLINK)_UNCORRECTABLE|uncorrectable (?:ECC|NVLink) error",
        "an error of the GPU's memory or of its NVLink",
        _XID,
        of_node=True,
    ),
    Known(
        r"CUDA_ERROR_OPERATING_SYSTEM|OS call failed",
        "a system call of the driver's that failed",
        "look at the node's kernel log",
    ),
    Known(
        r"CUDA_ERROR_ILLEGAL_STATE|in the present state",
        "a process that is in another state of checkpointing than the call needs",
        "see that no other program checkpoints its CUDA state (cuda-checkpoint, CRIU's CUDA plugin)",
    ),
    Known(
        r"CUDA_ERROR_NOT_READY|device not ready|CUDA_ERROR_TIMEOUT",
        "work on the GPU that did not end in time",
        "capture it while it is idle",
    ),
    Known(
        r"CUDA_ERROR_NOT_SUPPORTED|operation not supported",
        "something that the driver can't checkpoint: managed memory, NCCL between processes, MPS, or this platform",
        _WHAT_WORKS,
    ),
    Known(
        r"CUDA_ERROR_SYSTEM_NOT_READY|system not yet initialized",
        "a node whose driver is not ready for CUDA",
        "start the driver's services (nvidia-fabricmanager where the GPUs have NVSwitch)",
        of_node=True,
    ),
    Known(
        r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|unsupported display driver / cuda driver combination",
        "a kernel module and a libcuda of different driver versions, as after an update",
        "restart the node, or load the module of the installed driver",
        of_node=True,
    ),
    Known(
        r"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE|forward compatibility was attempted",
        "a libcuda of the forward-compatibility package on a GPU that it does not support",
        "take its directory (cuda/compat) off the node's library path, or update the driver",
        of_node=True,
    ),
    Known(r"CUDA_ERROR_UNKNOWN|unknown error", "an internal error of the driver", _XID),
)

# Source files of CRIU → what they are about, for errors that have no line above.
PARTS = {
    "a Unix socket": ("sk-unix.c", "sk-queue.c"),
    "a network socket": ("sk-inet.c", "sk-tcp.c", "soccr.c", "sk-packet.c", "sk-netlink.c", "sockets.c"),
    "the network of the pod": ("net.c", "netfilter.c", "libnetlink.c", "tun.c"),
    "a mount": ("mount.c", "mount-v2.c", "autofs.c", "filesystems.c"),
    "an open file": (
        "files.c",
        "files-reg.c",
        "files-ext.c",
        "file-ids.c",
        "file-lock.c",
        "fifo.c",
        "pipes.c",
        "memfd.c",
    ),
    "a terminal": ("tty.c",),
    "a watch (inotify, fanotify)": ("fsnotify.c", "irmap.c"),
    "a timer or event descriptor": (
        "timerfd.c",
        "timer.c",
        "eventfd.c",
        "eventpoll.c",
        "signalfd.c",
        "pidfd.c",
    ),
    "memory of a process": (
        "mem.c",
        "shmem.c",
        "proc_parse.c",
        "pagemap.c",
        "page-xfer.c",
        "page-pipe.c",
        "uffd.c",
    ),
    "shared memory, semaphores or message queues": ("ipc_ns.c",),
    "a namespace": ("namespaces.c", "pidns.c", "uts_ns.c", "timens.c", "cgroup.c", "cgroup-props.c"),
    "rights of a process": ("lsm.c", "apparmor.c", "seccomp.c"),
    "stopping or starting a process": (
        "seize.c",
        "cr-dump.c",
        "cr-restore.c",
        "pstree.c",
        "restorer.c",
        "parasite.c",
        "parasite-syscall.c",
        "infect.c",
    ),
    "the images": ("image.c", "protobuf.c", "pagemap-cache.c", "img-streamer.c"),
    "this node's kernel or CPU": (
        "kerndat.c",
        "cpu.c",
        "vdso.c",
        "crtools.c",
        "shstk.c",
        "util.c",
        "sysctl.c",
    ),
}
_PART_OF = {source: part for part, sources in PARTS.items() for source in sources}
WHAT_TO_DO = "try again, and if it stays, set glowplug.dev/capture: never and report it"
# Said after another error, by who waited for the one that failed.
_FOLLOWS = re.compile(r"cgroupd: recv req|^(?:Restoring|Dumping) FAILED|^Restorer fail")
_NOTHING = re.compile(r"^CRIU(?: left no log|'s log names no error)")

_PID = re.compile(r"\(pid: (\d+)\)")


def explained(said: str, sources: Sequence[str] = ()) -> str:
    """`said` behind what its first known error means, or else what it is about by the first of the source files that it
    comes from; never without what to do. An empty log is no error."""
    if _NOTHING.match(said):
        return f"CRIU: {said}"
    errors = said.split("; ")
    for error in [one for one in errors if not _FOLLOWS.search(one)] or errors:
        for known in CRIU:
            if re.search(known.said, error):
                return f"{known.means}: {known.do} (CRIU: {said})"
    about = next((_PART_OF[source] for source in sources if source in _PART_OF), "")
    return f"an error{f' about {about}' if about else ''} that has no explanation yet: {WHAT_TO_DO} (CRIU: {said})"


def process(said: str) -> int | None:
    """The process (a node's pid, in a dump) that the errors are about, where they name one."""
    found = _PID.search(said)
    return int(found.group(1)) if found else None


def of_driver(error: CudaError) -> CudaError:
    """One of the same class that says first what the driver's result means; `error` itself where that is not known."""
    known = driver_entry(str(error))
    return type(error)(f"{known.means}: {known.do} (driver: {error})") if known else error


def driver_entry(said: str) -> Known | None:
    """What is known of the first error in it that the table has."""
    return next(
        (known for part in said.split("; ") for known in DRIVER if re.search(known.said, part)),
        None,
    )


def is_drivers_on_this_node(said: str) -> bool:
    """Whether it names a result of the driver that is the node's fault."""
    return any(known.of_node and re.search(known.said, said) for known in DRIVER)


@contextmanager
def driver_explained() -> Iterator[None]:
    """CudaErrors from within come with what they mean and what to do."""
    try:
        yield
    except CudaError as error:
        raise of_driver(error) from error
