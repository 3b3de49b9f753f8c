"""hack/gpu-check on the fake driver: the real runtime, agent, capture, runc and CRIU; NVIDIA's driver alone is
another.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.images import REPOSITORY

CRIU = f"{REPOSITORY}/.build/criu/bin/criu"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers")


FEW = {"h": ("--restores", "1"), "i": ("--skip-empty", "--restores", "1")}
"""What is enough of a check here."""


@pytest.mark.parametrize("check", ["a", "c", "d", "f", "g", "h", "i"])
def test_a_check_holds_on_the_fake_driver(check: str, scratch: Path) -> None:
    """a: tokens over two captures; c: two CUDA workers; d: a failed CUDA restore ends in a cold start;
    f: `checkpoint` of a paused container; g: in pods of a real containerd;
    h, i: engines that the agent captures through annotations alone; h also cold with empty caches.
    """
    assert checked(scratch, check, *FEW.get(check, ()))[check]["ok"] is True


def test_engines_on_two_gpus_and_in_turns_hold_on_the_fake_driver(scratch: Path) -> None:
    """j: a core on each of two GPUs; k: restored on the GPU that it was not captured on; l: alternating."""
    found = checked(scratch, "j,k,l", "--skip-empty", "--restores", "1")
    assert [found[name]["ok"] for name in "jkl"] == [True] * 3


def checked(scratch: Path, only: str, *more: str) -> dict[str, Any]:
    """The results of a run that passed."""
    results = scratch / "results.json"
    done = subprocess.run(
        [
            sys.executable,
            f"{REPOSITORY}/hack/gpu-check",
            *("--fake", "--only", only, "--json", str(results)),
            *("--criu", CRIU, "--scratch", str(scratch), *more),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(results.read_text())
    return found
