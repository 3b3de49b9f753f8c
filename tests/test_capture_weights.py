"""A digest of the weights that an engine reads again: by content, read once per file, never in a start's way."""

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.checkpoint_made import spec

from glowplug import paths
from glowplug.capture import weights
from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import BundleFacts


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(weights, "_READER", weights._Reader())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """As a hub's cache has it: names that link to blobs."""
    folder = tmp_path / "model"
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots/one").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "blobs" / name).write_text(name * 1000)
        (folder / "snapshots/one" / f"{name}.safetensors").symlink_to(f"../../blobs/{name}")
    (folder / "snapshots/one/README.md").write_text("no weights")
    return folder


def facts(model: Path, said: str = "reload", namespace: str = "team") -> BundleFacts:
    made = spec()
    made["annotations"]["io.kubernetes.cri.sandbox-namespace"] = namespace
    made["annotations"]["glowplug.dev/weights"] = said
    made["mounts"] = [
        {"destination": "/models", "type": "bind", "source": str(model), "options": ["rbind", "ro"]}
    ]
    return bundle.read(made)


def known(of: BundleFacts) -> str:
    """The digest, once it was read behind."""
    until = time.monotonic() + 60
    while (found := weights.extras(of)[weights.NAME]) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def test_nothing_is_read_where_no_engine_reads_its_weights_again(model: Path) -> None:
    assert weights.extras(facts(model, "keep")) == weights.extras(facts(model, "")) == {}


def test_they_are_unknown_until_they_were_read_behind(model: Path) -> None:
    of = facts(model)
    assert weights.extras(of) == {weights.NAME: None}
    assert weights.why_unknown(of) == "they are being read, for the next start"
    assert known(of) == weights.read(of)


def test_another_content_is_another_digest_and_a_touched_file_is_read_again(model: Path) -> None:
    of = facts(model)
    before = weights.read(of)
    os.utime(model / "blobs/a", ns=(1, 1))
    assert weights.extras(of) == {weights.NAME: None}
    assert weights.read(of) == before
    (model / "blobs/a").write_text("c" * 1000)
    assert weights.extras(of) != {weights.NAME: before}
    assert weights.read(of) != before


def test_a_file_is_read_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = facts(model)
    before = weights.read(of)
    monkeypatch.setattr(weights, "blake3", None)
    assert weights.read(of) == before == known(of)


def test_no_link_leads_out_of_the_volume_and_no_pipe_delays_anybody(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").write_text("the node's")
    (model / "out.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(OSError):
        weights.read(facts(model))
    (model / "out.safetensors").unlink()
    os.mkfifo(model / "pipe.safetensors")
    with pytest.raises(OSError, match="not a regular file"):
        weights.read(facts(model))
    assert weights.extras(facts(model)) == {weights.NAME: None}


def test_a_change_since_a_moment_is_seen(model: Path) -> None:
    of = facts(model)
    assert weights.changed_since(of, 0.0)
    assert not weights.changed_since(of, time.time() + 60)


def test_a_pod_may_name_the_volumes_that_count(model: Path, tmp_path: Path) -> None:
    made = facts(model)
    other = spec()
    other["annotations"] |= {"glowplug.dev/weights": "reload", "glowplug.dev/weights-path": "/models, /more"}
    other["mounts"] = [
        {"destination": place, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
        for place, source in (("/models", model), ("/usr/lib", tmp_path), ("/opt", tmp_path))
    ]
    assert weights.read(bundle.read(other)) == weights.read(made)


def test_a_volume_that_does_not_answer_delays_no_start(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(weights, "_quick", lambda facts: answers.wait())
    try:
        assert weights.extras(facts(model)) == weights.extras(facts(model)) == {weights.NAME: None}
    finally:
        answers.set()


def test_a_volume_that_does_not_answer_delays_no_other_namespace(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a file that takes forever to be read; and no start of its own namespace waits in a row for it."""
    (tmp_path / "dead").mkdir()
    dead, answers = facts(tmp_path / "dead", namespace="hostile"), threading.Event()
    quick, read = weights._quick, weights.read

    def but_for(work: Callable[[BundleFacts], str], of: BundleFacts) -> str:
        if of.sandbox_namespace == "hostile":
            answers.wait()
        return work(of)

    monkeypatch.setattr(weights, "_quick", partial(but_for, quick))
    monkeypatch.setattr(weights, "read", partial(but_for, read))
    monkeypatch.setattr(weights, "LISTED_WITHIN_S", 0.05)
    try:
        for _ in range(2 * weights.MOST_WAITING):
            assert weights.extras(dead) == {weights.NAME: None}
        assert len(weights._READER._queues["look", "hostile"]) == weights.MOST_WAITING
        monkeypatch.setattr(weights, "LISTED_WITHIN_S", 60)
        assert known(facts(model)) == read(facts(model))
    finally:
        answers.set()
    until = time.monotonic() + 60
    while weights._READER._queues:
        assert time.monotonic() < until, "threads that have nothing to do"
        time.sleep(0.01)
