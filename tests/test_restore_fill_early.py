"""Memory is written while CRIU takes its last stages, and that of a tree that stays stopped for longer: what fails
meanwhile is said as what it is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from glowplug import paths
from glowplug.criu.action_script import Gate
from glowplug.errors import CriuError, LayerError, NotForced
from glowplug.restore import beside_criu, pipeline, steps
from glowplug.restore.result import Reporter, Result


def never() -> bool:
    return False


class Stages:
    """CRIU, by what its gate hears: the first process once it is made, and at the gate; None: it failed before."""

    def __init__(self, made: int | None, paused: int | None, happened: list[str]) -> None:
        self.made = made
        self.paused = paused
        self.happened = happened

    def wait_made(self, _until: float, _over: object) -> int | None:
        self.happened.append("made")
        return self.made

    def wait(self, _until: float, _over: object) -> int | None:
        self.happened.append("paused")
        return self.paused

    def open(self) -> None:
        self.happened.append("opened")


class Extents:
    """As fill.Fill and what it begins; `error`: of the memory that is waited for."""

    def __init__(self, happened: list[str], error: Exception | None) -> None:
        self.happened = happened
        self.error = error
        self.ended = None
        self.bytes = 4096

    def begin(self, hosts: dict[int, int], _until: float, urgent: list[int]) -> "Extents":
        self.happened.append(f"begun in {hosts}, first {urgent}")
        return self

    def wait(self, _report: object) -> "Extents":
        self.happened.append("all waited for")
        if self.error is not None:
            raise self.error
        return self

    def wait_urgent(self, _report: object) -> None:
        self.happened.append("urgent waited for")

    def __exit__(self, *_: object) -> None:
        self.happened.append("closed")


class Restore:
    """A restore's work with a gate and extents that note what happens to them."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        made: int | None = 7,
        paused: int | None = 7,
        error: Exception | None = None,
        stopped: bool = False,
    ) -> None:
        self.happened: list[str] = []
        self.gate = cast(Gate, Stages(made, paused, self.happened))
        monkeypatch.setattr("glowplug.host.process.members", lambda init: {1: init})
        self.folders: list[str | None] = []

        def got_ready(*folders: str | None) -> Extents:
            self.folders += folders
            return Extents(self.happened, error)

        monkeypatch.setattr("glowplug.criu.fill.Fill", got_ready)
        monkeypatch.setattr("os.path.isdir", lambda folder: True)
        monkeypatch.setattr(beside_criu, "_prepare_for_the_gate", lambda work, stopped: None)
        monkeypatch.setattr(beside_criu, "stays_stopped", lambda work: stopped)
        processes = [SimpleNamespace(pid=5, cuda=True), SimpleNamespace(pid=1, cuda=False)]
        self.work: Any = SimpleNamespace(
            checkpoint="/checkpoint",
            attempt=SimpleNamespace(progress="/nowhere"),
            until=0.0,
            processes=processes,
            memory=None,
            shm=None,
            forced=False,
            gpu=None,
            measured={},
            begin_part=lambda name: self.happened.append(f"stage {name}"),
        )

    def at_gate(self) -> list[str]:
        beside_criu.at_gate(self.work, self.gate, never)
        return self.happened


BEGUN = ["stage memory", "stage criu", "made", "begun in {1: 7}, first [5]"]


def test_it_is_written_as_soon_as_the_tree_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Restore(monkeypatch)
    beside_criu._begin_memory(restore.work, restore.gate, never)
    assert restore.happened == BEGUN


@pytest.mark.parametrize("forced", [True, False])
def test_what_criu_leaves_to_a_write_by_force_is_written(
    monkeypatch: pytest.MonkeyPatch, forced: bool
) -> None:
    restore = Restore(monkeypatch)
    restore.work.forced = forced
    beside_criu._begin_memory(restore.work, restore.gate, never)
    assert restore.folders == ["/checkpoint/memory", "/checkpoint/images" if forced else None]


@pytest.mark.parametrize(
    ("error", "noted"), [(NotForced("not taken"), True), (CriuError("no memory"), False)]
)
def test_a_refusal_to_be_written_by_force_is_noted_for_later_restores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: CriuError, noted: bool
) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    restore = Restore(monkeypatch, error=error)
    with pytest.raises(CriuError):
        restore.at_gate()
    assert (tmp_path / "no-force").exists() == noted


def test_a_tree_that_stays_stopped_is_let_go_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """CRIU's last stages, and the end of runc, need none of it."""
    assert Restore(monkeypatch, stopped=True).at_gate() == [*BEGUN, "paused", "stage criu", "opened"]


def test_one_that_runs_at_the_gate_has_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Restore(monkeypatch, error=CriuError("an extent is cut short"))
    with pytest.raises(CriuError, match="cut short"):
        restore.at_gate()
    assert restore.happened == [*BEGUN, "stage memory", "all waited for", "paused"], (
        "another stage is reported"
    )


@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_is_written_where_criu_failed_before(monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    restore = Restore(monkeypatch, made=None, paused=None, stopped=stopped)
    assert not [one for one in restore.at_gate() if one.startswith(("begun", "opened"))]
    restore.work.memory.wait()
    restore.work.memory.wait_urgent()
    assert restore.happened[-1] == "paused"


def test_where_criu_fails_meanwhile_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are gone, and who writes into them only sees that."""
    restore = Restore(monkeypatch, paused=None, error=CriuError("memory: no such process"))
    assert "opened" not in restore.at_gate()
    assert restore.happened[-1] == "paused"


def test_what_a_stopped_tree_waits_for_is_memorys_stage_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done beside the writing takes no time of its own."""
    clock = iter([100.0, 103.0, 105.0, 110.0, 110.5, 110.75])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    restore = Restore(monkeypatch, stopped=True, error=CriuError("an extent is cut short"))
    restore.at_gate()  # it begins at 100
    assert restore.work.memory.spent() == 3.0
    restore.happened.clear()
    beside_criu.await_urgent_memory(restore.work)
    assert restore.work.measured["memory"] == 2.0
    assert restore.happened == ["stage memory", "urgent waited for", "stage cuda"]
    restore.work.measured.clear()
    with pytest.raises(CriuError, match="cut short"):
        beside_criu.await_memory(restore.work, "cuda")
    assert restore.happened[3:] == ["stage memory", "all waited for"], "another stage would be reported"
    assert restore.work.measured["memory"] == 0.5


def test_however_a_restore_ends_nothing_is_written_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Restore(monkeypatch, stopped=True)
    restore.at_gate()
    steps.release(restore.work)
    assert restore.happened[-2:] == ["closed", "closed"]


def test_seconds_of_two_steps_are_one_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is written in the step `criu`, and waited for in `cuda`."""
    said: list[Result] = []
    monkeypatch.setattr(Reporter, "end", lambda self, result: said.append(result))
    monkeypatch.setattr(steps, "release", lambda work: None)
    work: Any = SimpleNamespace(measured={}, memory=None, begin_part=None)

    def criu(work: Any) -> None:
        work.measured["memory"] = 20.0

    def cuda(work: Any) -> None:
        work.measured["memory"] = 1.5

    assert pipeline.run(work, Reporter(-1), (("criu", criu), ("cuda", cuda))) == 0
    assert said[0].phases["memory"] == 21.5


def test_a_restore_that_fails_leaves_nobody_writing_into_dev_shm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written beside the layer."""
    ended: list[str] = []
    work: Any = SimpleNamespace(
        shm=SimpleNamespace(end=lambda: ended.append("shm")), memory=None, gpu=None, measured={}
    )

    def layer(work: Any) -> None:
        raise LayerError("no space left")

    said: list[Result] = []
    monkeypatch.setattr(Reporter, "end", lambda self, result: said.append(result))
    assert pipeline.run(work, Reporter(-1), (("layer", layer),)) == 1
    assert (ended, said[0].detail) == (["shm"], "no space left")
