"""Changed pages of private mappings of files: a library's variables, and its constants, which only a write by force
reaches."""

import hashlib
import re

from glowplug.criu import calls, extents
from integration import images
from integration.captured import captured, records
from integration.node import Node
from integration.pods import Container, Pods

MIB = 1 << 20
PROGRAM = f"""
import ctypes, mmap, os, runpy
kept = []
for name in ("/variables", "/constants"):
    with open(name, "w+b") as file:
        file.write(b"file" * {4 * MIB})
        file.flush()
        memory = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    memory[{MIB}:{7 * MIB}] = os.urandom({6 * MIB})
    memory[{8 * MIB}:{9 * MIB}] = bytes({MIB})
    kept.append(memory)
address = ctypes.addressof(ctypes.c_char.from_buffer(kept[1]))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), {16 * MIB}, mmap.PROT_READ) == 0
runpy.run_module("integration.workload", run_name="__main__")
"""


def test_variables_and_constants_are_as_they_were(agent: Node, pods: Pods) -> None:
    seen: list[dict[str, tuple[str, str, int]]] = []
    before = captured(
        agent,
        pods,
        before=lambda container: seen.append(file_memory(container)),
        command=(f"/{images.PYTHON}", "-c", PROGRAM),
    )
    assert [rights for rights, _, _ in seen[0].values()] == ["rw-p", "r--p"]
    assert [copies for _, _, copies in seen[0].values()] == [7 * MIB, 7 * MIB]
    pod, container = before.restored(agent, pods)
    assert file_memory(container) == seen[0]
    [record] = (one for one in records(agent, container.id) if "outcome" in one)
    stored = f"{agent.names.cache}/checkpoints/{before.checkpoint}"
    written, forced = (
        sum(extent.bytes for extent in extents.load(f"{stored}/{part}")) for part in ("memory", "images")
    )
    assert forced >= 7 * MIB
    assert record["memory_bytes"] == written + (forced if calls.forces_writes() else 0)
    pod.remove()


def file_memory(container: Container) -> dict[str, tuple[str, str, int]]:
    """Of each of the two files' mappings: rights, digest, and bytes of it that are the process's own."""
    found = {}
    with open(f"/proc/{container.pid}/smaps") as file:
        smaps = file.read()
    for name in ("/variables", "/constants"):
        mapping = re.search(
            rf"^(\w+)-(\w+) (\S+) .* {name}\n(?:.*\n)*?Anonymous: +(\d+) kB", smaps, re.MULTILINE
        )
        assert mapping, smaps
        start, end = int(mapping[1], 16), int(mapping[2], 16)
        with open(f"/proc/{container.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(start)
            digest = hashlib.sha256(memory.read(end - start)).hexdigest()
        found[name] = (mapping[3], digest, int(mapping[4]) << 10)
    return found
