"""Hooks end in time, and what they say holds nothing of what they had to run."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.containerd_served import Served, refuse

from glowplug.agent.captures import hooks, ready
from glowplug.agent.captures.running import Running
from glowplug.capture import policy
from glowplug.containerd import methods
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.containerd.protos import cri_pb2
from glowplug.errors import HookError

RUNNING = Running("c0" * 32, 1, "", "")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(f"{tmp_path}/socket")
    yield server
    server.stop()


def run(served: Served, text: str, timeout_s: float = 10) -> None:
    with Containerd(served.socket) as containerd, Cri(served.socket) as cri:
        hooks.run(policy.hook(text), RUNNING, containerd, cri, timeout_s)


def test_a_command_is_run_as_it_is_and_its_status_counts(served: Served) -> None:
    served.answer(methods.EXEC_SYNC, cri_pb2.ExecSyncResponse(exit_code=0))
    run(served, "exec:wake 'the engine'", 7)
    assert (list(served.requests[0].cmd), served.requests[0].timeout) == (["wake", "the engine"], 7)
    served.answer(methods.EXEC_SYNC, cri_pb2.ExecSyncResponse(exit_code=3, stderr=b"s3cret"))
    with pytest.raises(HookError) as error:
        run(served, "exec:wake")
    assert str(error.value) == "exec: the command ended with status 3; 0 is success"


def test_a_program_that_is_invalid_is_not_reported(served: Served) -> None:
    """Who takes the command for a shell's sets a variable in front of it."""
    detail = 'failed to start exec: exec: "TOKEN=s3cret": executable file not found in $PATH'
    served.answer(methods.EXEC_SYNC, refuse(grpc.StatusCode.UNKNOWN, detail))
    with pytest.raises(HookError, match="containerd could not start") as error:
        run(served, "exec:TOKEN=s3cret wake")
    assert "s3cret" not in str(error.value)


def test_a_command_that_leaves_somebody_behind_is_waited_for_briefly(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """containerd answers when nobody holds its output any more."""
    monkeypatch.setattr(hooks, "EXEC_GRACE_S", 0.2)
    monkeypatch.setattr(ready, "EXEC_GRACE_S", 0.2)
    monkeypatch.setattr(ready, "ANSWER_WITHIN_S", 1.0)
    served.answer(methods.EXEC_SYNC, served.hang)
    with pytest.raises(HookError, match="did not end within 1 s"):
        run(served, "exec:wake", 0.5)
    with Cri(served.socket) as cri:
        assert not ready.question(policy.ready("exec:test -e /up"), RUNNING, cri, 0.0, "models")(0.0)
    assert not served.stopping.is_set()
