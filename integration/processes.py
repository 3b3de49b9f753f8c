"""Facts of this machine's processes and mounts, read from /proc."""

import os


def all_pids() -> list[int]:
    """Every process of this PID namespace."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_line(pid: int) -> list[str]:
    """Arguments; empty for a process that is gone, a zombie or a kernel thread."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def name(pid: int) -> str:
    """What it is called: the first 160 characters of its arguments."""
    return " ".join(command_line(pid))[:160]


def environment(pid: int) -> bytes:
    """As the process was started with it; empty for one that is gone."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def pids_naming(text: str) -> list[int]:
    """Processes with this text in an argument, or in their environment: CRIU writes over its arguments.

    This process and its ancestors never count.
    """
    ours = _ancestors(os.getpid())
    return [
        pid
        for pid in all_pids()
        if pid not in ours
        and (any(text in word for word in command_line(pid)) or text.encode() in environment(pid))
    ]


def _ancestors(pid: int) -> set[int]:
    found = set()
    while pid > 0:
        found.add(pid)
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return found


def start_time(pid: int) -> str | None:
    """In clock ticks since boot (proc_pid_stat(5), field 22); with the pid it names one process forever.

    None for a process that is gone or a zombie.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, zombies excepted."""
    return start_time(pid) is not None


def mount_points() -> list[str]:
    """Of this mount namespace, in the order of mounting (proc_pid_mountinfo(5), field 5)."""
    with open("/proc/self/mountinfo") as file:
        return [line.split()[4].encode().decode("unicode_escape") for line in file]


def mounts_under(directory: str) -> list[str]:
    """Mount points at or below a directory, the last mounted first."""
    real = os.path.realpath(directory)
    return [point for point in reversed(mount_points()) if f"{point}/".startswith(f"{real}/")]


def cgroup_mounts() -> list[str]:
    """Where cgroup hierarchies are mounted, of both versions."""
    found = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            if fields[fields.index("-") + 1] in ("cgroup", "cgroup2"):
                found.append(fields[4])
    return found


def cgroups_called(path: str) -> list[str]:
    """Directories of one cgroup path (`/a/b`) in all hierarchies."""
    return [found for mount in cgroup_mounts() if os.path.isdir(found := mount + path)]


def pids_in_cgroup(directory: str) -> list[int]:
    """Processes in a cgroup and all below it."""
    pids: list[int] = []
    for parent, _, _ in os.walk(directory):
        try:
            with open(f"{parent}/cgroup.procs") as file:
                pids += [int(line) for line in file]
        except OSError:
            continue  # gone meanwhile, or a threaded cgroup
    return pids
