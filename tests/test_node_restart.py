"""How containerd is restarted, and what is said where it is not."""

import os
import signal
from pathlib import Path

import pytest

from glowplug.errors import NodeError
from glowplug.host import proc
from glowplug.node import restart


def test_what_the_caller_gave_goes_before_all_else() -> None:
    assert restart.method("service containerd restart", False, ("containerd",)).command == (
        "/bin/sh",
        "-c",
        "service containerd restart",
    )


def test_an_image_build_restarts_nothing() -> None:
    assert restart.method("exit 1", True, ("containerd",)).command is None


def test_without_systemd_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "SYSTEMD", "/nowhere")
    found = restart.method(None, False, ("containerd",))
    assert found.command is None and "--restart-command" in found.why and "\n" not in found.why


@pytest.mark.parametrize(
    ("main", "line", "found"),
    [
        ("self", "1:name=systemd:/system.slice/k3s-gpu.service", True),
        ("parent", "0::/system.slice/k3s-gpu.service/k3s", True),
        ("1", "0::/system.slice/k3s-gpu.service", False),
        ("self", "0::/user.slice/user-0.slice/session-1.scope", False),
    ],
    ids=["its-main-process", "child-of-that", "somewhere-below", "of-no-service"],
)
def test_a_unit_of_another_name_is_known_by_containerd_s_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: str, line: str, found: bool
) -> None:
    """INSTALL_K3S_NAME=gpu makes k3s-gpu.service. A shell of ssh.service that started it is not to be restarted."""
    process, parent = 4712, 4711
    pid = {"self": process, "parent": parent}.get(main, main)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        f'#!/bin/sh\ncase "$*" in\nshow*k3s-gpu.service) echo {pid} ;;\n*) exit 3 ;;\nesac\n'
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(restart, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(proc, "parent", lambda _: parent)
    monkeypatch.setattr(proc, "cgroups", lambda _: [proc.cgroup("4:memory:/"), proc.cgroup(line)])
    command = restart.method(None, False, ("k3s", "k3s-agent"), process).command
    assert command == (("systemctl", "restart", "k3s-gpu.service") if found else None)


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
