"""`hack/bench engine` measures what it says, with the stand-in engine on the fake driver."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.bare import REPOSITORY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers")


def test_each_phase_of_a_restore_has_its_seconds_and_its_floor(scratch: Path) -> None:
    out, drawn = scratch / "figures.json", scratch / "phases.svg"
    made = scratch / "made"
    made.mkdir()
    gpu_check = ("--skip-empty", "--criu", f"{REPOSITORY}/.build/criu/bin/criu", "--scratch", str(made))
    done = subprocess.run(
        [
            *(sys.executable, f"{REPOSITORY}/hack/bench_engine.py", "--fake", "--restores", "1"),
            *("--json", str(out), "--picture", str(drawn), "--", *gpu_check),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(out.read_text())
    rows = {row["phase"]: row for row in found["rows"]}
    assert set(rows) >= {"CRIU", "the driver", "weights read again", "waking", "the answer"}
    assert rows["CRIU"]["s"] == round(found["phases"]["criu"], 3)
    assert rows["the answer"]["floor_s"] == found["awake_answer_s"]
    assert rows["the driver"]["floor_s"] is None, "the fake driver has no bus"
    assert "| phase | s | floor, s | |" in done.stdout
    assert drawn.read_text().count("<rect") == 1 + 2 * len(rows)
    assert os.listdir(made) == []
