"""Memory that would come back as something else than it was."""

import os
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, named

MSEAL_SINCE = (6, 10)
_SEALED = "sl"
_HEADER = 5  # a line of smaps that begins a mapping has an address; the others a name and a colon


def sealed(tree: Tree) -> Iterator[Refusal]:
    """mseal(2): CRIU does not know it, so what nobody may change could be changed again.

    The kernel's own mappings (in brackets) are sealed by the kernel that restores them.
    """
    if not _kernel_seals():
        return
    for pid in tree.pids:
        for name in _sealed_mappings(pid):
            yield Refusal(
                "sealed-memory",
                f"{named(pid)} has sealed memory (mseal) at {name}, which would come back without its seal: have "
                "it do without",
            )


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
                f"{named(pid)} runs a program from memory ({program.removesuffix(' (deleted)')}), which no "
                "restore finds again: run it from a file",
            )


def _kernel_seals() -> bool:
    version = os.uname().release.split(".")
    return (int(version[0]), int("".join(c for c in version[1] if c.isdigit()))) >= MSEAL_SINCE


def _sealed_mappings(pid: int) -> list[str]:
    found = []
    where = ""
    try:
        with open(f"/proc/{pid}/smaps", errors="backslashreplace") as lines:
            for line in lines:
                words = line.split()
                if line.startswith("VmFlags:"):
                    if _SEALED in words and "[" not in where:
                        found.append(where)
                elif "-" in words[0] and not words[0].endswith(":"):
                    where = f"{words[0]} {' '.join(words[5:])}".strip()
    except OSError:
        return []  # it ended
    return found[:1]
