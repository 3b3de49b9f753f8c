"""Outcomes survive a dead agent and a full disk, and are taken in once."""

import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.outcomes import report
from glowplug.outcomes.history import PREPARED, History, read, version


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    yield tmp_path


def start(container: str, said: str, sandbox: str = "s1") -> None:
    assert report.append(
        {"container_id": container, "sandbox_id": sandbox, "container": "main", "outcome": said}
    )


def test_what_was_recorded_without_an_agent_is_there_later(tmp_path: Path) -> None:
    start("c1", "cold:no-agent")
    history = History(str(tmp_path))
    assert [record["outcome"] for record in history.take_in()] == ["cold:no-agent"]
    assert history.take_in() == []
    assert [record["outcome"] for record in History(str(tmp_path)).records("c1")] == ["cold:no-agent"]


def test_a_container_that_was_restored_in_this_pod_is_known_after_a_restart(tmp_path: Path) -> None:
    start("c1", "restored")
    start("c2", "cold:no-checkpoint", sandbox="s2")
    History(str(tmp_path)).take_in()
    history = History(str(tmp_path))
    assert history.has_restored("s1", "main")
    assert not history.has_restored("s2", "main")
    assert not history.has_restored("s1", "sidecar")


def test_a_failed_restore_counts_as_one(tmp_path: Path) -> None:
    start("c1", "fallback:criu")
    history = History(str(tmp_path))
    history.take_in()
    assert history.has_restored("s1", "main")


def test_a_journal_that_can_t_be_written_loses_nothing(tmp_path: Path) -> None:
    history = History(str(tmp_path))
    (tmp_path / "history.jsonl").mkdir()  # as unwritable as a full disk
    start("c1", "restored")
    assert len(history.take_in()) == 1
    assert history.take_in() == []
    assert history.has_restored("s1", "main")
    (tmp_path / "history.jsonl").rmdir()
    assert history.take_in() == []
    assert [
        json.loads(line)["outcome"] for line in (tmp_path / "history.jsonl").read_text().splitlines()
    ] == ["restored"]


def test_a_disk_that_fills_in_the_middle_of_a_record_has_none_of_it_twice(tmp_path: Path) -> None:
    """What was written in part is taken back: it is written again once there is space."""
    history, journal = History(str(tmp_path)), tmp_path / "history.jsonl"
    start("c1", "restored")
    history.take_in()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    complete = journal.read_bytes()
    start("c2", "restored")
    start("c3", "restored")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(complete) * 5 // 2, before[1]))
        history.take_in()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert journal.read_bytes() == complete
    history.take_in()
    found = [json.loads(line)["container_id"] for line in journal.read_text().splitlines() if line]
    assert found == ["c1", "c2", "c3"]


def test_a_journal_cut_off_by_a_crash_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    start("c1", "restored")
    History(str(tmp_path)).take_in()
    with open(tmp_path / "history.jsonl", "a") as journal:
        journal.write('{"outcome": "resto')
    assert len(History(str(tmp_path)).records()) == 1


def test_garbage_in_the_spool_is_no_record(tmp_path: Path) -> None:
    start("c1", "restored")
    Path(paths.spool(), "0.json").write_text("{")
    Path(paths.spool(), "1.json").write_text("[]")
    Path(paths.spool(), "2.json").write_text("[" * 100_000)
    Path(paths.spool(), "3.json").write_bytes(b"\xff\xfe")
    assert len(History(str(tmp_path)).take_in()) == 1


def test_a_prepared_start_counts_when_it_was_used_and_once(tmp_path: Path) -> None:
    ready = Path(paths.prepared_start("c1"))
    ready.mkdir(parents=True)
    (ready / "outcome.json").write_text('{"container_id": "c1", "outcome": "cold:no-checkpoint"}')
    history = History(str(tmp_path))
    assert history.take_in() == []
    marker = Path(paths.spool()) / f"c1{PREPARED}"
    marker.parent.mkdir()
    marker.write_text("")
    assert read(str(tmp_path))[0]["outcome"] == "cold:no-checkpoint"
    os.utime(marker, (7.25, 7.25))
    assert [record["time"] for record in history.take_in()] == [7.25]
    assert not ready.exists() and not marker.exists()
    assert history.take_in() == []


def test_what_a_killed_agent_saved_and_left_in_the_spool_is_not_taken_in_again(tmp_path: Path) -> None:
    start("c1", "restored")
    left = next(Path(paths.spool()).iterdir())
    content = left.read_bytes()
    History(str(tmp_path)).take_in()
    left.write_bytes(content)  # as if it had died before the removal
    history = History(str(tmp_path))
    assert history.take_in() == []
    assert len(history.records()) == 1
    assert not left.exists()


def test_a_record_behind_a_line_that_was_cut_off_has_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"outcome": "resto')
    start("c1", "restored")
    History(str(tmp_path)).take_in()
    assert [record["container_id"] for record in History(str(tmp_path)).records()] == ["c1"]


def test_the_journal_keeps_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glowplug.outcomes.history.JOURNAL_LIMIT_BYTES", 1000)
    history = History(str(tmp_path))
    for number in range(100):
        start(f"c{number}", "cold:no-checkpoint")
        history.take_in()
    sizes = [file.stat().st_size for file in tmp_path.glob("history.jsonl*")]
    assert len(sizes) == 2
    assert max(sizes) < 1000 + 200  # one record over
    assert History(str(tmp_path)).records()[-1]["container_id"] == "c99"


def test_what_was_tried_is_known_longer_than_the_records_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glowplug.outcomes.history.KEPT", 10)
    monkeypatch.setattr("glowplug.outcomes.history.TRIED", 50)
    for number in range(100):
        start(f"c{number}", "restored", sandbox=f"s{number}")
    History(str(tmp_path)).take_in()
    history = History(str(tmp_path))
    assert len(history.records()) == 10
    assert [history.has_restored(f"s{number}", "main") for number in (0, 49, 50, 99)] == [
        False,
        False,
        True,
        True,
    ]


def test_records_are_reported_in_the_order_of_their_times_whatever_their_files_are_called(
    tmp_path: Path,
) -> None:
    os.makedirs(paths.spool())
    for name, time in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        Path(paths.spool(), f"{name}.json").write_text(json.dumps({"time": time}))
    assert [record["time"] for record in History(str(tmp_path)).take_in()] == [1.0, 2.0, 3.0]


def test_the_version_changes_with_what_is_there_to_read(tmp_path: Path) -> None:
    seen = [version(str(tmp_path))]
    start("c1", "restored")
    seen.append(version(str(tmp_path)))
    history = History(str(tmp_path))
    history.take_in()
    seen.append(version(str(tmp_path)))
    assert len(set(seen)) == 3
    assert version(str(tmp_path)) == seen[-1]


def test_a_mark_of_what_is_gone_does_not_stay_forever(tmp_path: Path) -> None:
    marker = Path(paths.spool()) / f"c1{PREPARED}"
    marker.parent.mkdir(parents=True)
    marker.write_text("")
    assert History(str(tmp_path)).take_in() == []
    assert not marker.exists()
