"""Who reads /proc/PID: one module for each file that several parts need."""

import re
from pathlib import Path

SHIM = Path(__file__).parent.parent / "shim" / "glowplug"
READ = re.compile(r"(?:open|listdir)\(f\"/proc/\{\w+\}/(status|comm|cgroup|cmdline|task)\b(?!/)")
READERS = {
    "host/proc.py",
}
MEMORY = "MemAvailable:"


def test_what_several_parts_read_of_a_process_is_read_in_one_place() -> None:
    found = {
        f"{path.relative_to(SHIM)}: {match.group()}"
        for path in SHIM.rglob("*.py")
        if str(path.relative_to(SHIM)) not in READERS
        for match in READ.finditer(path.read_text())
    }
    assert found == set()


def test_what_the_node_has_left_is_read_in_one_place() -> None:
    assert [str(path.relative_to(SHIM)) for path in SHIM.rglob("*.py") if MEMORY in path.read_text()] == [
        "host/memory.py"
    ]
