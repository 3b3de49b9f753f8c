"""The dump is made by the CRIU that was configured, through a record of the container that is runc's own."""

import json
from pathlib import Path

import pytest

from glowplug.capture import runc
from glowplug.capture.runc import Runc
from glowplug.criu import criu_symlink
from glowplug.errors import CriuError, RuncError

GAVE_UP = "unable to freeze"


def program(path: Path, script: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """runc's, with a container that was restored: its record names the options of that restore."""
    made = tmp_path / "root"
    (made / "c1").mkdir(parents=True)
    labels = ["bundle=/b", "org.criu.config=/of/its/restore"]
    (made / "c1/state.json").write_text(json.dumps({"id": "c1", "config": {"labels": labels}}))
    return made


@pytest.mark.parametrize("name", ["criu", "criu-4.2.1"])
def test_it_is_the_configured_criu_whatever_its_name(name: str, tmp_path: Path, root: Path) -> None:
    criu = program(tmp_path / "opt" / name, f"echo it >{tmp_path}/called")
    one = Runc(program(tmp_path / "runc", "criu swrk 3"), str(root), criu)
    (tmp_path / "work").mkdir()
    assert one.start_checkpoint("c1", "/images", f"{tmp_path}/work", "/options").wait(timeout=60) == 0
    assert (tmp_path / "called").read_text() == "it\n"


def test_runc_reads_our_options_and_its_own_record_stays(tmp_path: Path, root: Path) -> None:
    before = (root / "c1/state.json").read_text()
    found = program(tmp_path / "runc", f'cp "$2/c1/state.json" {tmp_path}/seen')
    (tmp_path / "work").mkdir()
    one = Runc(found, str(root), program(tmp_path / "criu", ""))
    one.start_checkpoint("c1", "/images", f"{tmp_path}/work", "/options").wait(timeout=60)
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == {"id": "c1", "config": {"labels": ["bundle=/b", "org.criu.config=/options"]}}
    assert (root / "c1/state.json").read_text() == before


def test_a_freezer_that_runc_gave_up_too_soon_is_tried_again(tmp_path: Path) -> None:
    """A process that a busy node has not scheduled comes to the freezer later."""
    twice = f"echo turn >>{tmp_path}/turns; [ $(wc -l <{tmp_path}/turns) -gt 2 ] || {{ echo {GAVE_UP} >&2; exit 1; }}"
    Runc(program(tmp_path / "runc", twice), "/root", "").pause("c1")
    assert (tmp_path / "turns").read_text() == "turn\n" * 3


@pytest.mark.parametrize(("said", "within_s"), [(GAVE_UP, -1.0), ("no such container", 60.0)])
def test_what_can_not_be_frozen_is_reported(
    said: str, within_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runc, "PAUSED_WITHIN_S", within_s)
    with pytest.raises(RuncError, match=said):
        Runc(program(tmp_path / "runc", f"echo {said} >&2; exit 1"), "/root", "").pause("c1")


@pytest.mark.parametrize("text", ["", "[]", '{"config": 7}'])
def test_a_record_that_is_invalid_is_reported(text: str, tmp_path: Path, root: Path) -> None:
    (root / "c1/state.json").write_text(text)
    one = Runc("/none/runc", str(root), program(tmp_path / "criu", ""))
    (tmp_path / "work").mkdir()
    with pytest.raises(RuncError, match="expected runc's record of container c1"):
        one.start_checkpoint("c1", "/images", f"{tmp_path}/work", "/options")


def test_no_criu_is_reported(root: Path) -> None:
    with pytest.raises(CriuError, match="CRIU is not installed at /none/criu"):
        Runc("/none/runc", str(root), "/none/criu").start_checkpoint("c1", "/i", "/w", "/o")


def test_a_link_that_is_there_serves(tmp_path: Path) -> None:
    for _ in range(2):
        assert criu_symlink.directory("/opt/criu-4", str(tmp_path)) == f"{tmp_path}/bin"
    assert (tmp_path / "bin/criu").readlink() == Path("/opt/criu-4")
