"""What a capture would hang in is refused before it is begun."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from glowplug import paths
from glowplug.capture import subject
from glowplug.capture.request import Request
from glowplug.config import Config
from glowplug.errors import UsageError
from glowplug.host import cgroup


@pytest.fixture
def stopped() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    yield process.pid
    process.kill()
    process.wait(timeout=60)


def test_a_stopped_process_on_cgroup_v1(stopped: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "version", lambda: 1)
    subject.require_none_stopped([os.getpid(), 999999])
    with pytest.raises(UsageError, match=f"its process {stopped} is stopped by a signal"):
        subject.require_none_stopped([os.getpid(), stopped])


def test_it_is_no_hindrance_on_cgroup_v2(stopped: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "version", lambda: 2)
    subject.require_none_stopped([stopped])


def test_one_capture_of_a_container_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    with (
        subject.alone("c1"),
        subject.alone("c2"),
        pytest.raises(UsageError, match="a capture of it is under way"),
        subject.alone("c1"),
    ):
        pass
    assert os.listdir(paths.captures()) == []


def test_a_lock_whose_name_was_taken_away_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The capture before it ended between its open and its lock; a third one would open a new file."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    lock = fcntl.flock
    taken: list[int] = []

    def late(fd: int, how: int) -> None:
        if not taken:
            taken.append(fd)
            os.unlink(f"{paths.captures()}/c1")
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with subject.alone("c1"), pytest.raises(UsageError), subject.alone("c1"):
        pass
    assert taken


@pytest.mark.parametrize(
    ("names", "what"),
    [(("main", "other"), "name one"), (("main", "main"), "a pod of that name is on its way out, try again")],
)
def test_several_are_reported_with_what_to_do(names: tuple[str, ...], what: str) -> None:
    """A StatefulSet's pods follow each other under one name."""
    found = tuple(SimpleNamespace(cri=SimpleNamespace(container_name=name)) for name in names)
    containerd: Any = SimpleNamespace(find=lambda namespace, pod, container: found)
    with pytest.raises(UsageError) as raised:
        subject.find(Config(), containerd, Request("default", "web"))
    assert str(raised.value) == f"expected one container, got 2 in pod web ({', '.join(names)}): {what}"


def test_larger_pages_than_were_tried_are_refused() -> None:
    subject.require_page_size(4096)
    with pytest.raises(UsageError, match="pages of 65536 bytes"):
        subject.require_page_size(65536)
