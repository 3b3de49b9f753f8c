"""How much memory processes hold, as a capture will have to write it (proc_pid_smaps(5), proc_meminfo(5))."""

from collections.abc import Iterable

COUNTED = ("Anonymous", "Pss_Shmem", "Swap")


def to_dump(pids: Iterable[int]) -> int:
    """Bytes of anonymous and shared memory, in memory or swapped out: an upper bound of what CRIU writes of these
    processes."""
    return sum(_rollup(pid) for pid in pids)


def _rollup(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            return counted(lines)
    except (ProcessLookupError, FileNotFoundError):
        return 0  # it ended meanwhile


def counted(lines: Iterable[str]) -> int:
    """The bytes of a smaps_rollup that CRIU may write."""
    total = 0
    for line in lines:
        field, _, value = line.partition(":")
        if field in COUNTED:
            total += int(value.split()[0]) * 1024
    return total


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
