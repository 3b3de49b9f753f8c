"""Memory is written while CRIU takes its last stages: what fails meanwhile is said as what it is."""

from typing import Any, cast

import pytest

from glowplug.criu.action_script import Gate
from glowplug.errors import CriuError
from glowplug.restore import memory


def never() -> bool:
    return False


class Stages:
    """CRIU, by what its gate hears: the first process once it is made, and at the gate; None: it failed before."""

    def __init__(self, made: int | None, paused: int | None) -> None:
        self.made = made
        self.paused = paused
        self.heard: list[str] = []

    def wait_made(self, _until: float, _over: object) -> int | None:
        self.heard.append("made")
        return self.made

    def wait(self, _until: float, _over: object) -> int | None:
        self.heard.append("paused")
        return self.paused


def fill(
    stages: Stages,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None = None,
    begun: list[str] | None = None,
) -> list[str]:
    """What was begun, in order; it is added to `begun`."""
    stages_begun: list[str] = [] if begun is None else begun

    class Extents:
        def write(self, members: object, _until: float, _report: object) -> None:
            stages_begun.append(f"written into {members}")
            if error is not None:
                raise error

    monkeypatch.setattr("glowplug.host.process.members", lambda init: {1: init})
    memory.write(
        cast(Any, Extents()), cast(Gate, stages), never, 0.0, stages_begun.append, lambda _done, _total: None
    )
    return stages_begun


def test_it_is_written_as_soon_as_the_tree_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Stages(7, 7)
    assert fill(stages, monkeypatch) == ["memory", "written into {1: 7}", "criu"]
    assert stages.heard == ["made"]


def test_nothing_is_written_where_criu_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fill(Stages(None, None), monkeypatch) == []


def test_where_criu_fails_meanwhile_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are gone, and who writes into them only sees that."""
    gone = CriuError("memory: no such process")
    assert fill(Stages(7, None), monkeypatch, gone) == ["memory", "written into {1: 7}", "criu"]


def test_where_criu_comes_to_its_end_the_memory_was_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    with pytest.raises(CriuError, match="cut short"):
        fill(Stages(7, 7), monkeypatch, CriuError("an extent is cut short"), begun)
    assert begun == ["memory", "written into {1: 7}"], "another stage would be reported"
