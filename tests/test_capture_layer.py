"""The layer is copied beside CRIU's dump, in which CRIU makes links of its own there."""

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from glowplug.capture import layer
from glowplug.capture.subject import Subject
from glowplug.errors import LayerError
from glowplug.layer import tree


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    made = tmp_path / "upper"
    made.mkdir()
    (made / "file").write_text("written")
    return made


@pytest.fixture
def into(tmp_path: Path) -> Path:
    made = tmp_path / "draft"
    made.mkdir()
    return made


def copy_of(upper: Path, into: Path) -> layer.Copy:
    return layer.Copy(cast(Subject, SimpleNamespace(upper=str(upper))), str(into))


def index(into: Path) -> Any:
    return json.loads((into / "layer/index.json").read_text())


def test_it_is_copied_beside_what_follows(upper: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dumped, capture = threading.Event(), tree.capture

    def after_the_dump(source: str, dest: str) -> tree.Summary:
        assert dumped.wait(60)
        return capture(source, dest)

    monkeypatch.setattr(tree, "capture", after_the_dump)
    with copy_of(upper, into) as copy:
        copy.begin()
        dumped.set()
        written = copy.finish([])
    assert (into / "layer/tree/file").read_text() == "written"
    assert (written.entries, index(into)) == (1, {"fingerprint": written.fingerprint, "links": []})


def test_links_of_the_dump_are_not_taken_along(upper: Path, into: Path) -> None:
    """CRIU has taken them away when it is done."""
    os.link(upper / "file", upper / "link_remap.7")
    with copy_of(upper, into) as copy:
        copy.begin()
        assert copy._thread is not None
        copy._thread.join(60)
        (upper / "link_remap.7").unlink()
        written = copy.finish([("file", "link_remap.7")])
    assert os.listdir(into / "layer/tree") == ["file"]
    assert index(into) == {"fingerprint": written.fingerprint, "links": [["file", "link_remap.7"]]}


def test_a_copy_that_failed_is_made_again(upper: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that CRIU took away may have been the reason."""
    capture, failures = tree.capture, [LayerError("no such file")]

    def once(source: str, dest: str) -> tree.Summary:
        if failures:
            raise failures.pop()
        return capture(source, dest)

    monkeypatch.setattr(tree, "capture", once)
    with copy_of(upper, into) as copy:
        copy.begin()
        assert copy.finish([]).entries == 1


def test_what_fails_again_is_said(upper: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, dest: str) -> tree.Summary:
        raise LayerError("no space left")

    monkeypatch.setattr(tree, "capture", full)
    with copy_of(upper, into) as copy:
        copy.begin()
        with pytest.raises(LayerError, match="no space left"):
            copy.finish([])


def test_nothing_is_copied_after_it(upper: Path, into: Path) -> None:
    """A dump that failed: its draft is removed next."""
    with pytest.raises(RuntimeError), copy_of(upper, into) as copy:
        copy.begin()
        raise RuntimeError("CRIU failed")
    assert "layer" not in [thread.name for thread in threading.enumerate()]


def test_one_that_was_not_begun_copies_nothing(upper: Path, into: Path) -> None:
    with copy_of(upper, into):
        pass
    assert os.listdir(into) == []
