"""Whether the handler is active is queried from containerd, and what is not known changes nothing."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from integration.waiting import wait_until
from tests.containerd_served import Served

from glowplug.agent import handler_watch
from glowplug.agent.handler_watch import HandlerWatch, Report
from glowplug.containerd import installed, methods
from glowplug.containerd.installed import Installed
from glowplug.containerd.protos import cri_pb2

OURS = "/opt/glowplug/bin/glowplug-runtime"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(str(tmp_path / "containerd.sock"))
    yield found
    found.stop()


def has(served: Served, **programs: str) -> None:
    """containerd with these handlers."""
    runtimes = {name: {"options": {"BinaryName": program}} for name, program in programs.items()}
    conditions = [cri_pb2.RuntimeCondition(type="RuntimeReady", status=True)]
    served.answer(
        methods.CRI_STATUS,
        cri_pb2.StatusResponse(
            status=cri_pb2.RuntimeStatus(conditions=conditions),
            info={"config": json.dumps({"containerd": {"runtimes": runtimes}})},
        ),
    )


def record(prefix: Path, handler: str = "glowplug") -> None:
    """As an install leaves it; a repair of it fails, as its containerd is none."""
    path = Path(installed.path(str(prefix), handler))
    path.parent.mkdir(parents=True)
    config = str(prefix / "config.toml")
    (prefix / "config.toml").write_text("")
    found = Installed(handler, config, "/none", "", str(prefix), "", "", "", (config,))
    path.write_bytes(installed.dumps(found))


def test_a_handler_is_active_where_containerd_says_so(served: Served, tmp_path: Path) -> None:
    changes: list[bool | None] = []
    watch = HandlerWatch(served.socket, str(tmp_path))
    watch.changed.append(lambda: changes.append(watch.active))
    for programs, expected in (
        ({"runc": ""}, False),
        ({"runc": "", "other-name": OURS}, True),
        ({"glowplug": "/usr/bin/runc"}, False),
    ):
        has(served, **programs)
        watch.look()
        assert watch.active is expected
    assert changes == [False, True, False]


def test_who_labels_the_node_is_answered_of_this_moment(served: Served, tmp_path: Path) -> None:
    """An uninstall takes the handler out, and then the labels: none is put back because the last look was before."""
    record(tmp_path)
    watch = HandlerWatch(served.socket, str(tmp_path))
    has(served, glowplug=OURS)
    watch.look()
    assert watch.ask() is True
    Path(installed.path(str(tmp_path), "glowplug")).unlink()
    has(served, runc="")
    assert (watch.active, watch.ask()) == (True, False)
    served.stop()
    assert watch.ask() is None
    watch.stop()
    assert watch.ask() is None


def test_a_containerd_that_is_away_changes_nothing(served: Served, tmp_path: Path) -> None:
    watch = HandlerWatch(served.socket, str(tmp_path))
    has(served, glowplug=OURS)
    watch.look()
    served.stop()
    watch.look()
    assert watch.active is True
    assert HandlerWatch(str(tmp_path / "none"), str(tmp_path)).active is None


def test_a_handler_that_is_gone_and_can_t_come_back_is_reported_once(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler_watch, "FIRST_REST_S", 0.0)
    record(tmp_path)
    watch = HandlerWatch(served.socket, str(tmp_path))
    reports: list[Report] = []
    watch.reporters.append(reports.append)
    has(served, runc="")
    for _ in range(3):
        watch.look()
    assert watch.active is False
    assert [(one.kind, one.reason) for one in reports] == [("Warning", "HandlerMissing")]
    assert "glowplug is not in containerd's configuration" in reports[0].message


def test_a_program_that_removes_it_again_and_again_keeps_it_away_for_a_minute_at_most(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods of the class can't be created meanwhile."""
    now = [1000.0]
    repairs: list[float] = []

    def repair(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        repairs.append(now[0])
        return subprocess.CompletedProcess(command, 0, "put the handler\n", "")

    monkeypatch.setattr(handler_watch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(subprocess, "run", repair)
    record(tmp_path)
    watch = HandlerWatch(served.socket, str(tmp_path))
    has(served, runc="")
    for _ in range(200):
        watch.look()
        now[0] += handler_watch.LOOKS_EVERY_S
    waits = [after - before for before, after in itertools.pairwise(repairs)]
    assert waits[:3] == [10.0, 20.0, 40.0] and set(waits[3:]) == {60.0}


def test_an_untouched_file_of_an_active_handler_is_not_worked_on(served: Served, tmp_path: Path) -> None:
    record(tmp_path)
    watch = HandlerWatch(served.socket, str(tmp_path))
    reports: list[Report] = []
    watch.reporters.append(reports.append)
    has(served, glowplug=OURS)
    watch.look()
    watch.look()
    assert (watch.active, reports) == (True, [])
    (tmp_path / "config.toml").write_text("version = 2")
    watch.look()
    assert [one.reason for one in reports] == ["HandlerMissing"]
    assert "was changed in its files" in reports[0].message


def test_an_answer_that_is_invalid_does_not_end_the_watch(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handler_watch, "LOOKS_EVERY_S", 0.01)
    conditions = [cri_pb2.RuntimeCondition(type="RuntimeReady", status=True)]
    status = cri_pb2.RuntimeStatus(conditions=conditions)
    served.answer(methods.CRI_STATUS, cri_pb2.StatusResponse(status=status, info={"config": "{"}))
    watch = HandlerWatch(served.socket, str(tmp_path))
    watch.start()
    wait_until(lambda: "can't be looked at" in caplog.text, 20, "the error logged")
    has(served, glowplug=OURS)
    wait_until(lambda: watch.active, 20, "the handler seen")
    watch.stop()


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record(tmp_path, "a")
    record(tmp_path / "x", "b")
    found = installed.load(str(tmp_path), "a")
    assert found is not None and installed.all_of(str(tmp_path)) == [found]
    Path(installed.path(str(tmp_path), "a")).write_text("{")
    assert installed.load(str(tmp_path), "a") is None and installed.all_of(str(tmp_path)) == []


def test_the_prefix_is_where_this_program_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOWPLUG_PREFIX", raising=False)
    assert installed.prefix() == installed.DEFAULT_PREFIX
    monkeypatch.setattr("sys.prefix", f"{tmp_path}/versions/1")
    (tmp_path / installed.PREFIX_MARK).touch()
    assert installed.prefix() == str(tmp_path)
    monkeypatch.setenv("GLOWPLUG_PREFIX", "/x")
    assert installed.prefix() == "/x"
