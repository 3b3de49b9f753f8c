"""What a capture would hang in is refused before it is begun."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from glowplug.capture import subject
from glowplug.errors import UsageError
from glowplug.host import cgroup


@pytest.fixture
def stopped() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    yield process.pid
    process.kill()
    process.wait(timeout=10)


def test_a_stopped_process_on_cgroup_v1(stopped: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "version", lambda: 1)
    subject.require_none_stopped([os.getpid(), 999999])
    with pytest.raises(UsageError, match=f"its process {stopped} is stopped by a signal"):
        subject.require_none_stopped([os.getpid(), stopped])


def test_it_is_no_hindrance_on_cgroup_v2(stopped: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "version", lambda: 2)
    subject.require_none_stopped([stopped])
