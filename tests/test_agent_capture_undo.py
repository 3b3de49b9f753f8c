"""What a killed capture left is seen to: CUDA put back, and nothing kept that nobody can see to."""

from __future__ import annotations

import json
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
FACTS = {
    "running": RUNNING,
    "runc_root": "/r",
    "gpu": False,
    "hook_timeout_s": 1,
    "step": "freeze",
    "after": None,
}


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
        {**FACTS, "running": {"id": ID, "pid": 1}},
        {**FACTS, "hook_timeout_s": "soon"},
        {**FACTS, "after": {"kind": "signal"}},
        {**FACTS, "after": ["wake"]},
        {**FACTS, "runc_root": "/no/such/root"},
    ],
)
def test_a_journal_of_another_version_or_of_a_container_that_is_gone_is_foreign(
    facts: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one's pid is alive, and another process's."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    os.makedirs(paths.capturing_one(ID))
    Path(paths.capturing_one(ID), journal.JOURNAL).write_text(json.dumps(facts))
    (left,) = journal.abandoned()
    assert (left.facts is None) is (facts.get("runc_root") != "/no/such/root")
    config = Config(runc="/no/such/runc")
    with Containerd(f"{tmp_path}/none") as containerd, Cri(f"{tmp_path}/none") as cri:
        assert undo.undo(left, config, containerd, cri)
    assert os.listdir(paths.capturing()) == []
