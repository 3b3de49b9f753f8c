"""How much memory processes have, as a capture will have to write it (proc_pid_smaps(5), proc_meminfo(5))."""

from collections.abc import Iterable

_SHARED = ("/dev/zero", "/memfd:", "/SYSV", "[anon_shmem")
"""How the name of a mapping begins whose memory is shared and the container's own. A file that has a name elsewhere
in memory (weights in a tmpfs, say) is mapped again at a restore: it is not written, or not with the processes."""
_REMOVED = " (deleted)"


def to_dump(pids: Iterable[int]) -> int:
    """Bytes of anonymous and shared memory, in memory or swapped out: an upper bound of what CRIU writes of these
    processes."""
    return sum(_of(pid) for pid in pids)


def _of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps", errors="replace") as lines:
            return counted(lines)
    except (ProcessLookupError, FileNotFoundError):
        return 0  # it ended meanwhile


def counted(lines: Iterable[str]) -> int:
    """The bytes of an smaps that CRIU may write."""
    total = 0
    fields: tuple[str, ...] = ()
    for line in lines:
        name, _, value = line.partition(" ")
        if name.endswith(":"):
            total += int(value.split()[0]) * 1024 if name in fields else 0
        else:  # a mapping begins: addresses, permissions, offset, device, inode, path
            fields = _fields(line)
    return total


def _fields(header: str) -> tuple[str, ...]:
    """Which of its fields count."""
    words = header.rstrip("\n").split(None, 5)
    path = words[5] if len(words) > 5 else ""
    if not words[1].endswith("s"):
        return ("Anonymous:", "Swap:")
    return ("Pss:", "Swap:") if path.startswith(_SHARED) or path.endswith(_REMOVED) else ()


def available() -> int | None:
    """Bytes that the node can give without swapping (MemAvailable); None: not known."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
