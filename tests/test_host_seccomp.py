"""A runc without seccomp gets no rule written into its specs."""

import json
import os
from pathlib import Path

import pytest
from tests.checkpoint_made import spec

from glowplug import paths
from glowplug.capture.runc import knows_seccomp
from glowplug.host import seccomp
from glowplug.runtime import edit


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def runc(directory: Path, *lines: str, status: int = 0) -> str:
    path = directory / "runc"
    path.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines) + f"exit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_runc_says_what_it_was_built_with(tmp_path: Path) -> None:
    assert knows_seccomp(runc(tmp_path, "runc version 1.1.5", "libseccomp: 2.5.4"))
    assert not knows_seccomp(runc(tmp_path, "runc version 1.1.5", "go: go1.19.8"))


def test_one_that_can_t_be_queried_is_taken_for_a_distribution_s(tmp_path: Path) -> None:
    assert knows_seccomp(str(tmp_path / "nowhere"))
    assert knows_seccomp(runc(tmp_path, "no such flag", status=1))


@pytest.mark.parametrize("notes", [[], [True], [False], [False, True], [True, False]])
def test_the_last_note_counts(tmp_path: Path, notes: list[bool]) -> None:
    for one in notes:
        seccomp.note(one)
    is_known = notes[-1] if notes else True
    assert seccomp.machine() == (os.uname().machine if is_known else "")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(spec()))
    edit.apply(str(bundle), spec())
    is_edited = json.loads((bundle / "config.json").read_text()) != spec()
    assert is_edited is (is_known and os.uname().machine in ("x86_64", "aarch64"))
