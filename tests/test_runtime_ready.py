"""What a restore imports: little, and while the agent is queried where it said before that there is a match."""

import subprocess
import sys
from pathlib import Path

import pytest

from glowplug import paths

SHIM = Path(__file__).parent.parent / "shim"
SLOW = {"dataclasses", "inspect", "platform", "selectors", "socket", "subprocess", "logging", "urllib.parse"}
"""Each takes one to eight milliseconds of every restore."""
BEFORE_CRIU = {
    "collections",
    "contextlib",
    "enum",
    "functools",
    "hashlib",
    "ipaddress",
    "json",
    "re",
    "shlex",
} | {
    "signal",
    "threading",
    "typing",
}
"""Together three quarters of what a restore's imports took; what is needed at the gate is imported while CRIU works."""


def imported(program: str, run_dir: Path) -> set[str]:
    program = f"import sys; sys.path.insert(0, {str(SHIM)!r})\n{program}\nprint(*sys.modules)"
    env = {"GLOWPLUG_RUN_DIR": str(run_dir)}
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("said_before", [True, False])
def test_a_restore_is_made_ready_only_where_the_agent_found_a_match(
    tmp_path: Path, said_before: bool
) -> None:
    (tmp_path / "prepared/c1").mkdir(parents=True)
    if said_before:
        (tmp_path / "prepared/c1" / paths.MATCH).write_text("{}")
    found = imported("from glowplug.runtime import create; create._be_ready('c1')", tmp_path)
    assert ("glowplug.runtime.restore_container" in found) is said_before


def test_a_restore_imports_nothing_slow_that_it_can_do_without(tmp_path: Path) -> None:
    found = imported(
        "from glowplug.runtime import create, restore_container\nfrom glowplug.restore import gpu\n"
        "from glowplug.criu import fill, processes\nfrom glowplug.restore.at_gate import steps\n"
        "from glowplug.host import own_settings",
        tmp_path,
    )
    assert found & SLOW == set()
    assert "glowplug.criu.fill" in found


def test_a_restore_is_on_its_way_to_criu_with_few_imports(tmp_path: Path) -> None:
    found = imported(
        "from glowplug.runtime import create, restore_container\nfrom glowplug.restore import gpu", tmp_path
    )
    assert found & BEFORE_CRIU == set()
    assert "glowplug.restore.steps" in found
