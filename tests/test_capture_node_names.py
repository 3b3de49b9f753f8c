"""The names of the node: its own, and the one in Kubernetes where the agent noted another."""

import os
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.capture import node_names


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))


def test_the_name_in_kubernetes_is_known_once_it_was_noted() -> None:
    own = os.uname().nodename
    assert node_names.known() == (own,)
    node_names.note("ip-10-0-3-17.ec2.internal")
    assert node_names.known() == (own, "ip-10-0-3-17.ec2.internal")
    node_names.note(own)
    assert node_names.known() == (own,)
