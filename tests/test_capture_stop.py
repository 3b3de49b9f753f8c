"""A container is ended after its capture by the signal that its image names."""

import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from glowplug.capture import stop
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("", signal.SIGTERM),
        ("SIGQUIT", signal.SIGQUIT),
        ("QUIT", signal.SIGQUIT),
        ("sigint", signal.SIGINT),
        ("3", signal.SIGQUIT),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMIN+3", signal.SIGRTMIN + 3),
        ("0", signal.SIGTERM),
        ("65", signal.SIGTERM),
        ("-9", signal.SIGTERM),
        ("RTMIN+99", signal.SIGTERM),
        ("QUIT+1", signal.SIGTERM),
        ("NONE", signal.SIGTERM),
        ("²", signal.SIGTERM),
    ],
)
def test_a_stop_signal_by_its_name(name: str, number: int) -> None:
    assert stop.number_of(name) == number


class Kills:
    """Stands for containerd: passes signals on to a process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.sent: list[int] = []

    def kill(self, container: str, number: int, *, everyone: bool = False) -> None:
        self.sent.append(number)
        if self.process.poll() is not None:
            raise NotFound("process already finished: not found")
        self.process.send_signal(number)


# A shell that does, also where these tests run in the background of one, which ignores it for what it starts there.
MINDS_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv("/bin/sh", ["sh", "-c", sys.argv[1]])
"""


def stopped(command: str, monkeypatch: pytest.MonkeyPatch, wait: bool = False) -> Kills:
    monkeypatch.setattr(stop, "GRACE_S", 0.2)
    process = subprocess.Popen(
        [sys.executable, "-c", MINDS_SIGINT, f"{command}; echo; exec sleep 60"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as said:
        said.readline()
    if wait:
        process.kill()
        process.wait(timeout=60)
    kills = Kills(process)
    record: Any = SimpleNamespace(id="c1", cri=SimpleNamespace(stop_signal="SIGINT"))
    stop.stop(cast(Containerd, kills), cast(ContainerRecord, record), process.pid)
    assert process.wait(timeout=60) < 0
    return kills


def test_one_that_minds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopped(":", monkeypatch).sent == [signal.SIGINT]


def test_one_that_does_not_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopped("trap '' INT", monkeypatch).sent == [signal.SIGINT, signal.SIGKILL]


def test_one_that_had_ended_before_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopped(":", monkeypatch, wait=True).sent == [signal.SIGINT]
