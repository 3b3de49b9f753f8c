"""The mounts of a mount namespace, from /proc/self/mountinfo (proc_pid_mountinfo(5)).

Reads and parses; decides nothing.
"""

import os

_OCTAL = b"01234567"


class Mount:
    """One line of mountinfo. Strings are unescaped except for `options` and `super_options`, which stay raw."""

    __slots__ = ("device", "fstype", "options", "propagation", "root", "source", "super_options", "target")

    def __init__(self, line: bytes) -> None:
        before, _, after = line.rstrip(b"\n").partition(b" - ")
        fields = before.split(b" ")
        fstype, source, super_options = after.split(b" ", 2)
        self.device = fields[2].decode("ascii")  # MAJOR:MINOR
        self.root = unescape(fields[3])
        self.target = unescape(fields[4])
        self.options = tuple(fields[5].split(b","))
        # Peer group numbers change with every mount; the kind of propagation does not.
        self.propagation = tuple(sorted(field.partition(b":")[0] for field in fields[6:]))
        self.fstype = unescape(fstype)
        self.source = unescape(source)
        self.super_options = split_options(super_options)


def unescape(field: bytes) -> str:
    r"""Undo the kernel's octal escapes (\040 for a space)."""
    if b"\\" not in field:
        return os.fsdecode(field)
    parts = field.split(b"\\")
    text = [parts[0]]
    for part in parts[1:]:
        if len(part) >= 3 and all(digit in _OCTAL for digit in part[:3]):
            text.append(bytes([int(part[:3], 8)]) + part[3:])
        else:
            text.append(b"\\" + part)
    return os.fsdecode(b"".join(text))


def split_options(options: bytes) -> tuple[bytes, ...]:
    r"""Split at the commas that separate. One in a path is shown as \054; one in an LSM context is quoted."""
    parts: list[bytes] = []
    for part in options.split(b","):
        if parts and parts[-1].count(b'"') % 2:
            parts[-1] += b"," + part
        else:
            parts.append(part)
    return tuple(parts)


def read(path: str = "/proc/self/mountinfo") -> list[Mount]:
    """Every mount of a process's mount namespace, in the kernel's order: a later one covers an earlier."""
    with open(path, "rb") as file:
        return [Mount(line) for line in file]
