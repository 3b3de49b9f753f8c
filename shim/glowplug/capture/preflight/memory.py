"""Memory that would come back as something else than it was."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from glowplug.capture.preflight.tree import Refusal, Tree, shown

# Flags of smaps (proc_pid_smaps(5)).
_SEALED = "sl"
_USERFAULTFD = {"um", "uw", "ui"}


class _Mapping(NamedTuple):
    """`where`: its addresses and name; `key`: 0 is every mapping's."""

    where: str
    flags: frozenset[str]
    key: int


def special(tree: Tree) -> Iterator[Refusal]:
    """Memory that CRIU brings back as if it were any other, or can't read. The kernel's own mappings (in brackets) are
    sealed by the kernel that restores them."""
    for pid in tree.pids:
        for mapping in _mappings(pid):
            refusal = _judged(pid, mapping)
            if refusal is not None:
                yield refusal
                break


def _judged(pid: int, mapping: _Mapping) -> Refusal | None:
    if _SEALED in mapping.flags and " [" not in mapping.where.partition("/")[0]:
        return Refusal(
            "sealed-memory",
            f"{shown(pid)} has sealed memory (mseal) at {mapping.where}, which would come back without its seal: "
            "have it do without",
        )
    if mapping.key:
        return Refusal(
            "protection-keys",
            f"{shown(pid)} has memory under a protection key (pkey_mprotect) at {mapping.where}, which would come "
            "back without it: have it do without",
        )
    if not mapping.flags.isdisjoint(_USERFAULTFD):
        return Refusal(
            "userfaultfd",
            f"{shown(pid)} has its page faults at {mapping.where} handled by a userfaultfd, which can't be dumped: "
            "have it do without",
        )
    if "/secretmem" in mapping.where:
        return Refusal(
            "secret-memory",
            f"{shown(pid)} has memory that only itself may read (memfd_secret) at {mapping.where}: have it do "
            "without",
        )
    return None


def programs(tree: Tree) -> Iterator[Refusal]:
    """A program that was run from a memfd (fexecve): there is no file to run it from again."""
    for pid in tree.pids:
        try:
            program = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if program.startswith("/memfd:"):
            yield Refusal(
                "memfd-program",
                f"{shown(pid)} runs a program from memory ({program.removesuffix(' (deleted)')}), which no "
                "restore finds again: run it from a file",
            )


def _mappings(pid: int) -> Iterator[_Mapping]:
    """By /proc/PID/smaps; none of one that ended."""
    where, key = "", 0
    try:
        with open(f"/proc/{pid}/smaps", errors="backslashreplace") as lines:
            for line in lines:
                words = line.split()
                if line.startswith("ProtectionKey:"):
                    key = int(words[1])
                elif line.startswith("VmFlags:"):
                    yield _Mapping(where, frozenset(words[1:]), key)
                elif "-" in words[0] and not words[0].endswith(":"):
                    where, key = f"{words[0]} {' '.join(words[5:])}".strip(), 0
    except OSError:
        return
