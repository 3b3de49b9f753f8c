"""How containerd is restarted, and what is said where it is not."""

import os
import signal
from pathlib import Path

import pytest

from glowplug.errors import NodeError
from glowplug.node import restart


def test_what_the_caller_gave_goes_before_all_else() -> None:
    assert restart.way("service containerd restart", False, ("containerd",)).command == (
        "/bin/sh",
        "-c",
        "service containerd restart",
    )


def test_an_image_build_restarts_nothing() -> None:
    assert restart.way("exit 1", True, ("containerd",)).command is None


def test_without_systemd_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "SYSTEMD", "/nowhere")
    found = restart.way(None, False, ("containerd",))
    assert found.command is None and "--restart-command" in found.why and "\n" not in found.why


def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(NodeError, match="status 3 and said: no such unit"):
        restart.run(("/bin/sh", "-c", "echo trying; echo no such unit >&2; exit 3"))
    with pytest.raises(NodeError, match="FileNotFoundError"):
        restart.run(("/nowhere/at/all",))


def test_a_daemon_that_the_command_leaves_behind_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "RESTARTS_WITHIN_S", 5.0)
    restart.run(("/bin/sh", "-c", f"sleep 60 & echo $! >{tmp_path}/pid"))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
