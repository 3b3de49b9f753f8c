"""What a process may do and what limits it, as the kernel says it (proc_pidproc.status(5), proc_pid_limits(5)).

One reader for both ends: a capture writes these facts into the manifest, a restore compares them.
Standard library only.
"""

import errno
import os
import stat
import time

from glowplug.host import proc, process_life

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from typing import Any

PF_EXITING = 0x4  # include/linux/sched.h; field 9 of proc_pid_stat(5)
SIGKILL_BIT = 1 << 8  # of the masks in proc_pidproc.status(5)

CAPABILITIES = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}


class Credentials:
    """What a process is and may do, as a manifest lists it. `pid`, `parent`: in its own PID namespace. `uids`, `gids`:
    real, effective, saved, file system. `capabilities`: set → 16 hexadecimal digits. `seccomp`: the mode. `cuda`:
    whether it used CUDA at its capture."""

    __slots__ = (
        "capabilities",
        "comm",
        "cuda",
        "gids",
        "groups",
        "label",
        "limits",
        "no_new_privileges",
        "parent",
        "pid",
        "seccomp",
        "uids",
    )

    def __init__(
        self,
        pid: int,
        parent: int,
        comm: str,
        uids: list[int],
        gids: list[int],
        groups: list[int],
        capabilities: dict[str, str],
        no_new_privileges: bool,
        seccomp: int,
        limits: dict[str, str],
        label: str,
        cuda: bool = False,
    ) -> None:
        self.pid = pid
        self.parent = parent
        self.comm = comm
        self.uids = uids
        self.gids = gids
        self.groups = groups
        self.capabilities = capabilities
        self.no_new_privileges = no_new_privileges
        self.seccomp = seccomp
        self.limits = limits
        self.label = label
        self.cuda = cuda

    def to_json(self) -> "dict[str, Any]":
        """The facts by name, as JSON holds them."""
        return {name: getattr(self, name) for name in self.__slots__}


def from_json(fields: "dict[str, Any]") -> Credentials:
    """The reverse of `to_json`. Raises KeyError, TypeError."""
    return Credentials(**{name: fields[name] for name in Credentials.__slots__})


def credentials(pid: int) -> Credentials:
    """Of the process `pid` (as seen here). Raises OSError when there is no such process."""
    status = proc.status(pid)
    return Credentials(
        pid=int(status["NSpid"].split()[-1]),
        parent=_number_of(int(status["PPid"]), status),
        comm=status["Name"],
        uids=_numbers(status["Uid"]),
        gids=_numbers(status["Gid"]),
        groups=_numbers(status["Groups"]),
        capabilities={name: status[field] for field, name in CAPABILITIES.items()},
        no_new_privileges=status["NoNewPrivs"] != "0",
        seccomp=int(status.get("Seccomp", "0")),
        limits=limits(pid),
        label=label(pid),
    )


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split()]


def has_no_new_privs() -> bool:
    """Of this process: PR_SET_NO_NEW_PRIVS, which all that it starts inherits and nobody takes off again."""
    return proc.status("self")["NoNewPrivs"] != "0"


def _number_of(parent: int, child: dict[str, str]) -> int:
    """The parent's pid in the child's PID namespace; 0 where it is outside."""
    try:
        numbers = proc.status(parent)["NSpid"].split()
    except OSError:
        return 0
    return int(numbers[-1]) if len(numbers) == len(child["NSpid"].split()) else 0


def effective_capabilities(pid: int | str) -> int:
    """As a set of bits (capabilities(7)); `pid` may be "self"."""
    return int(proc.status(pid)["CapEff"], 16)


def limits(pid: int) -> dict[str, str]:
    """Resource limits: name → `soft:hard` in the kernel's units (getrlimit(2))."""
    found = {}
    with open(f"/proc/{pid}/limits") as lines:
        next(lines)
        for line in lines:
            words = line[26:].split()
            found[line[:25].strip()] = f"{words[0]}:{words[1]}"
    return found


def label(pid: int) -> str:
    """The LSM's label (AppArmor profile, SELinux context); empty where no LSM gives one."""
    try:
        with open(f"/proc/{pid}/attr/current", "rb") as file:
            return file.read().rstrip(b"\0\n").decode("ascii", "backslashreplace")
    except OSError:
        return ""


def oom_score_adj(pid: int) -> int:
    """See proc_pid_oom_score_adj(5). Raises OSError."""
    with open(f"/proc/{pid}/oom_score_adj") as file:
        return int(file.read())


def set_oom_score_adj(pid: int, value: int) -> None:
    """Raises OSError: to lower it below its floor takes CAP_SYS_RESOURCE."""
    with open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write(str(value))


def is_zombie(pid: int) -> bool:
    """Whether all that is left of it is its exit status, or nothing at all."""
    try:
        return proc.status(pid)["State"][0] in "ZX"
    except OSError:
        return True


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped it (SIGSTOP, SIGTSTP and their like)."""
    try:
        return proc.status(pid)["State"][0] == "T"
    except OSError:
        return False


def flags(thread: int) -> int:
    """The kernel's own, PF_…, of a process or thread (proc_pid_stat(5)). Raises OSError."""
    with open(f"/proc/{thread}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[6])


def is_alive(pid: int) -> bool:
    """Neither gone, nor a zombie, nor on its way there: exiting, or with a SIGKILL that it has not met yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        status = proc.status(pid)
    except OSError:
        return False
    is_there = fields[0] not in (b"Z", b"X", b"x") and not int(fields[6]) & PF_EXITING
    return is_there and not _has_sigkill(status)


def _has_sigkill(status: dict[str, str]) -> bool:
    pending = int(status.get("SigPnd", "0"), 16) | int(status.get("ShdPnd", "0"), 16)
    return bool(pending & SIGKILL_BIT)


def handles(pid: int, number: int) -> bool:
    """Whether the process has a handler of its own for this signal (SigCgt in proc_pidproc.status(5))."""
    return bool(int(proc.status(pid)["SigCgt"], 16) >> (number - 1) & 1)


def has_helper(pid: int) -> bool:
    """Whether the process has a child that lives and is in this PID namespace: for `runc restore` that is CRIU,
    while the tasks that CRIU restores, runc's children too, are in the container's."""
    return any(is_alive(child) and is_here(child) for child in children(pid))


def activity(pid: int) -> tuple[int, bool]:
    """How often its threads have been switched in and out so far, and whether all of them sleep until something
    comes (state S): a process that waits for good does neither."""
    switches, waits = 0, True
    for task in proc.tasks(pid):
        try:
            status = proc.status(f"{pid}/task/{task}")
        except OSError:
            continue
        switches += int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])
        waits = waits and status["State"][0] == "S"
    return switches, waits


def is_here(pid: int) -> bool:
    """Whether the process is in this PID namespace itself, and in none below it; False where it is gone."""
    try:
        return len(proc.status(pid)["NSpid"].split()) == 1
    except (OSError, KeyError):
        return False


def started_with(variable: str, value: str) -> list[tuple[int, int]]:
    """Processes of this PID namespace itself that were started with this variable in their environment: each one's
    number and start. A container's, in a namespace of its own, may say what it likes."""
    wanted = b"\0" + f"{variable}={value}".encode() + b"\0"
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                said = b"\0" + file.read()
        except OSError:
            continue
        started = process_life.start_time(int(name)) if wanted in said and is_here(int(name)) else None
        if started is not None:
            found.append((int(name), started))
    return found


def children(pid: int) -> list[int]:
    """Of all its threads (/proc/PID/task/TID/children); none when there is no such process."""
    found: list[int] = []
    for task in proc.tasks(pid):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as listed:
                found.extend(int(word) for word in listed.read().split())
        except OSError:
            continue  # this thread ended meanwhile; its children are another's now
    return found


def tree(root: int) -> list[int]:
    """The pids of a process and its descendants, parents first."""
    found = [root]
    for pid in found:
        found.extend(children(pid))
    return found


def members(root: int) -> dict[int, int]:
    """A process and its descendants: pid in its own PID namespace → pid here."""
    return {inside: pid for pid in tree(root) if (inside := proc.number_inside(pid))}


def written_files(pid: int) -> set[str]:
    """Paths of regular files that the process can write without opening them: by a descriptor that is open for
    writing, or a shared mapping that is. As its mount namespace names them."""
    return _open_for_writing(pid) | _mapped_for_writing(pid)


def _open_for_writing(pid: int) -> set[str]:
    found: set[str] = set()
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for number in numbers:
        try:
            with open(f"/proc/{pid}/fdinfo/{number}") as info:
                flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
            if flags & os.O_ACCMODE != os.O_RDONLY:
                found.update(_regular_file(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue  # closed meanwhile
    return found


def _mapped_for_writing(pid: int) -> set[str]:
    """Also where nothing is open any more (mmap(2) and close(2))."""
    found: set[str] = set()
    try:
        mapped = proc.mapped_files(pid)
    except OSError:
        return found
    for permissions, _, link in mapped:
        if permissions[1] != "w" or permissions[3] != "s":
            continue
        try:
            found.update(_regular_file(link))
        except OSError:
            continue  # unmapped meanwhile
    return found


def _regular_file(link: str) -> list[str]:
    """What a link of /proc leads to, if it is one. Raises OSError."""
    if not stat.S_ISREG(os.stat(link).st_mode):
        return []
    return [os.readlink(link).removesuffix(" (deleted)")]


def start_ticks(pid: int) -> int:
    """When the process began, in clock ticks since boot; proc_pid_stat(5), field 22. Raises OSError.

    With the pid it names one process for good, as runc's record does (init_process_start).
    """
    started = process_life.start_time(pid)
    if started is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"/proc/{pid}/stat")
    return started


def started_at(pid: int) -> float:
    """When the process began, in Unix time, seconds. Raises OSError."""
    now_since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - now_since_boot + start_ticks(pid) / os.sysconf("SC_CLK_TCK")
