"""`hack/bench gpu` measures what it says, on the fake driver: a digest that differs would end it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.bare import REPOSITORY, usable

pytestmark = pytest.mark.skipif(usable() is not None, reason=usable() or "")

KINDS = {"device", "pinned"}


def test_both_ways_of_both_kinds_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    sizes = ("--gib", "0.06", "--pinned-gib", "0.05", "--turns", "2")
    done = subprocess.run(
        [
            *(sys.executable, f"{REPOSITORY}/hack/bench_gpu.py", "--fake", *sizes),
            *("--scratch", os.fspath(tmp_path), "--json", os.fspath(out)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {figure["kind"]: figure for figure in json.loads(out.read_text())}
    assert set(figures) == KINDS
    for figure in figures.values():
        assert figure["memory_bytes"] >= figure["gib"] * (1 << 30) * 0.99
        assert set(figure["ours"]) >= {"criu", "memory", "cuda_restore", "cuda_unlock"}
        assert set(figure["stock"]) >= {"criu", "cuda_restore", "cuda_unlock"}
        assert figure["ratio"] > 0
    assert done.stdout.count("every byte is as it was") == len(KINDS) * 2 * 2
    assert os.listdir(tmp_path) == [out.name]
