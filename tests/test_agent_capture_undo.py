"""What a killed capture left is seen to: CUDA put back, and nothing kept that nobody can see to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cuda_target import Target

from glowplug import paths
from glowplug.agent.captures import journal, undo
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.cuda import process_group

pytest_plugins = ["tests.cuda_target"]

ID = "c0" * 32
RUNNING = {"id": ID, "pid": os.getpid(), "network": "", "log": ""}


@pytest.mark.parametrize("left", ["running", "locked", "checkpointed"])
def test_a_process_without_cuda_has_it_again(
    left: str, driver: str, target: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ("driver", f"{driver}/libcuda.so.1", f"{driver}/cuda-checkpoint")
    monkeypatch.setattr(undo, "ENGINE", engine)
    holder = target()
    with process_group.ProcessGroup(*engine) as group:
        group.attach([holder.pid])
        if left != "running":
            group.lock(5)
        if left == "checkpointed":
            group.checkpoint(5)
        assert group.states(5) == {holder.pid: left}
    undo.give_cuda_back(holder.pid)
    with process_group.ProcessGroup(*engine) as group:
        group.attach([holder.pid])
        assert group.states(5) == {holder.pid: "running"}


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"running": {"id": ID, "pid": 1}, "runc_root": "/r", "hook_timeout_s": 1},
        {"running": RUNNING, "runc_root": "/r", "hook_timeout_s": "soon"},
        {"running": RUNNING, "runc_root": "/r", "hook_timeout_s": 1, "after": {"kind": "signal"}},
        {"running": RUNNING, "runc_root": "/no/such/root", "hook_timeout_s": 1},
    ],
)
def test_a_journal_of_another_version_or_of_a_container_that_is_gone_is_foreign(
    facts: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one's pid is alive, and another process's."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    journal.begin(ID, facts).leave()
    (left,) = journal.abandoned()
    config = Config(runc="/no/such/runc")
    with Containerd(f"{tmp_path}/none") as containerd, Cri(f"{tmp_path}/none") as cri:
        assert undo.undo(left, config, containerd, cri)
    assert os.listdir(paths.capturing()) == []
