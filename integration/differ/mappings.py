"""Mappings of a process: places, rights, and what madvise(2), mlock(2) and their like said of them (VmFlags)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from integration.differ.processes import read, undated

# sd: written to since somebody looked, CRIU say; ac: counted as memory that is committed.
NOT_KEPT = {"sd", "ac"}


@dataclass(slots=True)
class _Mapping:
    first: int
    last: int
    rights: str
    offset: int
    name: str
    flags: str = ""

    def goes_on_in(self, other: "_Mapping") -> bool:
        """Whether the two are one mapping but that the kernel did not merge them."""
        return (
            self.last == other.first
            and (self.rights, self.name, self.flags) == (other.rights, other.name, other.flags)
            and (not self.name.startswith("/") or self.offset + self.last - self.first == other.offset)
        )


def of(pid: int) -> Iterator[tuple[str, str]]:
    """Those of files by name and number; memory without a name by its place."""
    count: dict[str, int] = {}
    for one in _merged(pid):
        where = f"{one.first:x}-{one.last:x}"
        if one.name and not one.name.startswith(("[heap", "[anon", "[stack")):
            # CRIU makes what several processes share of a memfd, by the name that it had.
            name = undated(one.name).removeprefix("/memfd:") if "/dev/zero" in one.name else undated(one.name)
            count[name] = count.get(name, 0) + 1
            yield f"maps/{name}/{count[name]}", f"{where} {one.rights} {one.offset:x} {one.flags}"
        else:
            yield f"memory/{one.first:x}", " ".join(f"{one.name} {one.rights} {one.flags}".split())


def _merged(pid: int) -> list[_Mapping]:
    found: list[_Mapping] = []
    for one in _listed(pid):
        if found and found[-1].goes_on_in(one):
            found[-1].last = one.last
        else:
            found.append(one)
    return found


def _listed(pid: int) -> list[_Mapping]:
    found: list[_Mapping] = []
    for line in read(f"/proc/{pid}/smaps").splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \d+\s*(.*)", line)
        if head:
            first, last = int(head[1], 16), int(head[2], 16)
            found.append(_Mapping(first, last, head[3], int(head[4], 16), head[5]))
        elif line.startswith("VmFlags:"):
            found[-1].flags = " ".join(word for word in line.split()[1:] if word not in NOT_KEPT)
    return found
