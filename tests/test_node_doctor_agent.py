"""The doctor looks at the agent's own process: what its shell may do says nothing of what the agent may."""

import os
import socket
import threading
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.config import Config
from glowplug.errors import HostError
from glowplug.node.doctor import agent
from glowplug.node.doctor.probes import Probes


@pytest.mark.parametrize(("mode", "level"), [("0", "ok"), ("1", "wrong"), ("2", "wrong")])
def test_a_filter_is_wrong(mode: str, level: str) -> None:
    assert agent.judge_seccomp(7, {"Name": "glowplug", "Seccomp": mode}).level == level


@pytest.mark.parametrize(("bit", "level"), [("0", "ok"), ("1", "warning")])
def test_no_new_privs_is_for_trials_alone(bit: str, level: str) -> None:
    assert agent.judge_privileges(7, {"NoNewPrivs": bit}).level == level


def test_a_kernel_that_does_not_say_is_not_known() -> None:
    with pytest.raises(HostError):
        agent.judge_seccomp(7, {"Name": "glowplug"})


def test_the_process_is_the_one_behind_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    with pytest.raises(HostError, match="can't be queried"):
        agent.seccomp(Probes(Config()))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(paths.agent_socket())
        listener.listen()
        accepting = threading.Thread(target=listener.accept)
        accepting.start()
        found = agent.seccomp(Probes(Config()))
        accepting.join()
    assert str(os.getpid()) in found.found
