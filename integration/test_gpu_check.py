"""hack/gpu-check on the fake driver: the real runtime, agent, capture, runc and CRIU; NVIDIA's driver alone is
another.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.images import REPOSITORY

CRIU = f"{REPOSITORY}/.build/criu/bin/criu"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers")


@pytest.mark.parametrize("check", ["a", "c", "d", "f", "g", "h", "i"])
def test_a_check_holds_on_the_fake_driver(check: str, tmp_path: Path) -> None:
    """a: tokens over two captures; c: two CUDA workers; d: a failed CUDA restore ends in a cold start;
    f: `checkpoint` of a paused container; g: in pods of a real containerd;
    h, i: engines that the agent captures through annotations alone.
    """
    results = tmp_path / "results.json"
    done = subprocess.run(
        [
            sys.executable,
            f"{REPOSITORY}/hack/gpu-check",
            *("--fake", "--only", check, "--json", str(results)),
            *("--criu", CRIU, "--scratch", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(results.read_text())[check]["ok"] is True
