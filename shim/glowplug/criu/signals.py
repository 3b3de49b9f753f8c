"""Signals that came from outside of the container while it was frozen, out of CRIU's images.

`crictl stop` of a pod that is being captured sends SIGTERM, which waits for the thaw. It is meant for this container
alone; in the images, each pod restored from them would end at once. The kernel says who sent a signal: nobody that
the receiver could see, for one from outside (si_pid 0). Field numbers: images/core.proto, siginfo.proto.
"""

import struct

from glowplug.criu import images
from glowplug.criu.images import Message

_CORE_TASK, _CORE_THREAD = 3, 5
_TASK_SIGNALS, _THREAD_SIGNALS = 10, 9
_SIGNALS, _SIGINFO = 1, 1

_SI_USER, _SI_TKILL = 0, -6  # si_code (sigaction(2))
_HEAD = struct.Struct("=iii4xi")  # si_signo, si_errno, si_code, si_pid


def apply(images_dir: str) -> int:
    """Drop them from all core images; how many there were. Called once on a fresh dump. Raises ImageError."""
    dropped = 0
    for _, name in images.names(images_dir, "core"):
        entries = images.load(images_dir, name, "core")
        found = 0
        for core in entries:
            for part, queue in ((_CORE_TASK, _TASK_SIGNALS), (_CORE_THREAD, _THREAD_SIGNALS)):
                holder = core.message(part)
                if holder is not None and (gone := _drop(holder, queue)):
                    core.put_message(part, holder)
                    found += gone
        if found:
            images.store(images_dir, name, "core", entries)
            dropped += found
    return dropped


def _drop(holder: Message, field: int) -> int:
    queue = holder.message(field)
    if queue is None:
        return 0
    waiting = queue.messages(_SIGNALS)
    kept = [one for one in waiting if not _is_from_outside(one.octets(_SIGINFO) or b"")]
    if len(kept) < len(waiting):
        queue.put_messages(_SIGNALS, kept)
        holder.put_message(field, queue)
    return len(waiting) - len(kept)


def _is_from_outside(siginfo: bytes) -> bool:
    if len(siginfo) < _HEAD.size:
        return False
    _, _, code, sender = _HEAD.unpack_from(siginfo)
    return code in (_SI_USER, _SI_TKILL) and sender == 0
