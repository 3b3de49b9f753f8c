"""Our handler in a file that has lost our marks: known by its program, taken out by its tables.

A program that loads containerd's configuration with a TOML library and saves it keeps tables and loses comments:
NVIDIA's toolkit does so at each start of its pod. A handler is ours when its BinaryName is glowplug-runtime, or a
script in front of it, and is in our prefix.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from glowplug.containerd.records import is_ours
from glowplug.node.effective import CRI_V2, CRI_V3

_HEADER = re.compile(rb"^[ \t]*\[([^\[\]\n]+)\][ \t]*(?:#[^\n]*)?\r?\n?$")
_MULTILINE = (b'"""', b"'''")


@dataclass(frozen=True, slots=True)
class _Table:
    """`name`: the parts of its dotted name. `start`, `end`: with its header, its keys, and the blank lines behind."""

    name: tuple[str, ...]
    start: int
    end: int


def without(text: bytes, handler: str, prefix: str) -> bytes:
    """The file without the tables of our handler; the file itself where it has none. Marks are no matter."""
    tables = [table for table in _tables(text) if _runtime(table.name) == handler]
    if not is_program_of(
        program(b"".join(text[one.start : one.end] for one in tables), handler) or "", prefix
    ):
        return text
    for table in reversed(tables):
        text = text[: table.start] + text[table.end :]
    return text


def unmerged(text: bytes, merged: bytes) -> bytes:
    """The file without the handlers that another one has brought into it."""
    names = {_runtime(table.name) for table in _tables(merged)} - {None}
    for table in reversed([one for one in _tables(text) if _runtime(one.name) in names]):
        text = text[: table.start] + text[table.end :]
    return text


def program(text: bytes, handler: str) -> str | None:
    """BinaryName of the handler in a TOML text; "" where the handler has none, None where there is no such handler."""
    try:
        plugins = tomllib.loads(text.decode()).get("plugins", {})
        for cri in (CRI_V2, CRI_V3):
            found = plugins.get(cri, {}).get("containerd", {}).get("runtimes", {}).get(handler)
            if found is not None:
                return str((found.get("options") or {}).get("BinaryName") or "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError):
        return None
    return None


def is_program_of(binary: str, prefix: str) -> bool:
    """Whether a BinaryName is a runtime of ours, and of this prefix."""
    return is_ours(binary) and binary.startswith(f"{prefix}/")


def _runtime(name: tuple[str, ...]) -> str | None:
    """The handler that a table is of: plugins.CRI.containerd.runtimes.HANDLER and what is below it."""
    is_one = len(name) >= 5 and name[0] == "plugins" and name[1] in (CRI_V2, CRI_V3)
    return name[4] if is_one and name[2:4] == ("containerd", "runtimes") else None


def _tables(text: bytes) -> Iterator[_Table]:
    """Every table with a header, in the order of the file."""
    begun: tuple[tuple[str, ...], int] | None = None
    end = offset = 0
    is_string = False
    for line in text.splitlines(keepends=True):
        header = None if is_string else _HEADER.match(line)
        is_string ^= sum(map(line.count, _MULTILINE)) % 2 == 1
        if header is not None or line.lstrip().startswith(b"[["):
            if begun is not None:
                yield _Table(*begun, _blank_from(text, end, offset))
            begun = (_name(header[1]), offset) if header is not None else None
        offset += len(line)
        if is_string or (line.strip() and not line.lstrip().startswith(b"#")):
            end = offset
    if begun is not None:
        yield _Table(*begun, _blank_from(text, end, offset))


def _blank_from(text: bytes, end: int, stop: int) -> int:
    """Behind the blank lines that follow `end`: a comment there belongs to what comes next."""
    for line in text[end:stop].splitlines(keepends=True):
        if line.strip():
            break
        end += len(line)
    return end


def _name(dotted: bytes) -> tuple[str, ...]:
    """The parts of a header's name; empty for one that can't be read."""
    try:
        found = tomllib.loads(f"[{dotted.decode()}]")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ()
    parts = []
    while found:
        part, found = next(iter(found.items()))
        parts.append(part)
    return tuple(parts)
