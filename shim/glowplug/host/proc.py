"""What /proc says of a process or thread, for all callers: proc_pid_status(5), proc_pid_task(5), proc_pid_comm(5).

Each file of /proc/PID that several parts need is read here. A number may be a process's or a thread's.
Used by the runtime: standard library only.
"""

import os


def status(pid: int | str) -> dict[str, str]:
    """The lines of its status: field → value. Raises OSError."""
    with open(f"/proc/{pid}/status", errors="backslashreplace") as lines:
        return {field: value.strip() for field, _, value in (line.partition(":") for line in lines)}


def number_inside(pid: int) -> int:
    """Its number in the innermost PID namespace; 0 where there is no such process."""
    try:
        return int(status(pid)["NSpid"].split()[-1])
    except OSError:
        return 0


def tasks(pid: int) -> list[int]:
    """The numbers of its threads, in order; none when there is no such process."""
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


def name(pid: int) -> str:
    """Its comm, or `?` when it is gone. A process chooses its own: what is not printable is escaped."""
    try:
        with open(f"/proc/{pid}/comm", errors="backslashreplace") as file:
            text = file.read().strip()
    except OSError:
        return "?"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


MappedFile = tuple[str, str, str]
"""Permissions (`rw-s`); the name, ` (deleted)` behind one that is gone; the link of /proc that leads to the file."""


def mapped_files(pid: int) -> list[MappedFile]:
    """What it has mapped of files (proc_pid_maps(5), proc_pid_map_files(5)). Raises OSError.

    Names are for reading: maps escapes a newline in one. The file is what the link leads to.
    """
    found = []
    with open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            span, permissions, _, _, inode, *name = line.rstrip(b"\n").split(None, 5)
            if inode != b"0":
                start, end = (part.lstrip("0") or "0" for part in span.decode().split("-"))
                text = b"".join(name).decode(errors="backslashreplace")
                found.append((permissions.decode(), text, f"/proc/{pid}/map_files/{start}-{end}"))
    return found


def command_line(pid: int) -> list[str]:
    """Its arguments; none when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", errors="surrogateescape") as file:
            return file.read().split("\0")[:-1]
    except OSError:
        return []


def parent(pid: int) -> int:
    """The number of its parent; 0 when it is gone."""
    try:
        return int(status(pid)["PPid"])
    except OSError:
        return 0


Cgroup = tuple[list[str], str]
"""Controllers, none for the unified hierarchy, and the path below that hierarchy's root."""


def cgroups(pid: int) -> list[Cgroup]:
    """The cgroups that it is in (cgroups(7), /proc/PID/cgroup). Raises OSError."""
    with open(f"/proc/{pid}/cgroup") as lines:
        return [cgroup(line) for line in lines]


def cgroup(line: str) -> Cgroup:
    """One line of that file: `4:cpu,cpuacct:/pod/container`."""
    _, controllers, path = line.rstrip("\n").split(":", 2)
    return controllers.split(",") if controllers else [], path
