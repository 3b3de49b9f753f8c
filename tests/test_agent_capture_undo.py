"""CUDA given back where a capture was killed with all that should have done so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.cuda_target import Target

from glowplug.agent import capture_undo
from glowplug.cuda import gang

pytest_plugins = ["tests.cuda_target"]


@pytest.mark.parametrize("left", ["running", "locked", "checkpointed"])
def test_a_process_without_cuda_has_it_again(
    left: str, driver: str, target: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ("driver", f"{driver}/libcuda.so.1", f"{driver}/cuda-checkpoint")
    monkeypatch.setattr(capture_undo, "ENGINE", engine)
    holder = target()
    with gang.Gang(*engine) as crew:
        crew.enlist([holder.pid])
        if left != "running":
            crew.lock(5)
        if left == "checkpointed":
            crew.checkpoint(5)
        assert crew.states(5) == {holder.pid: left}
    capture_undo.give_cuda_back(holder.pid)
    with gang.Gang(*engine) as crew:
        crew.enlist([holder.pid])
        assert crew.states(5) == {holder.pid: "running"}
