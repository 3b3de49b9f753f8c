"""CUDA processes for tests: targets on the fake driver, and the script that shows the driver what to do."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.fake_driver import build

from glowplug.cuda import process_group


class Script:
    """The fake driver's script and its log of calls."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.say()

    def say(self, *lines: str) -> None:
        """Replace the entire script."""
        with open(self.path + ".new", "w") as script:
            script.writelines(line + "\n" for line in lines)
        os.replace(self.path + ".new", self.path)

    def calls(self, name: str = "") -> list[str]:
        """The calls so far whose line starts with `name`."""
        if not os.path.exists(self.path + ".calls"):
            return []
        with open(self.path + ".calls") as calls:
            return [line.strip() for line in calls if line.startswith(name)]


class Target:
    """A running process that holds CUDA and whose threads count."""

    def __init__(self, folder: str, shared: str, threads: int = 1) -> None:
        self._shared = shared
        self._threads = threads
        with open(shared, "wb") as counters:
            counters.truncate(4096)
        self._process = subprocess.Popen(
            [f"{folder}/target", shared, str(threads)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.pid = self._process.pid

    def counters(self) -> tuple[int, ...]:
        with open(self._shared, "rb") as counters:
            return struct.unpack(f"{self._threads}Q", counters.read(8 * self._threads))

    def stop(self) -> None:
        """A group stop, as CRIU's leave-stopped leaves a process; returns once every thread has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def alive(self) -> bool:
        return self._process.poll() is None

    def ended(self) -> int:
        """Its exit status, once it has one."""
        return self._process.wait(timeout=60)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()


def as_criu_leaves(process: Target, driver: str) -> Target:
    """The same, with CUDA checkpointed and every thread in a group stop."""
    with process_group.ProcessGroup("driver", f"{driver}/libcuda.so.1") as group:
        group.attach([process.pid])
        group.lock(5)
        group.checkpoint(5)
    process.stop()
    return process


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the fake driver's libraries and programs."""
    folder = str(tmp_path_factory.mktemp("driver"))
    build.build(folder)
    return folder


@pytest.fixture
def script(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> Script:
    """An empty script for the fake driver, set in the environment."""
    monkeypatch.setattr(process_group, "_START", 120.0)  # a busy machine may take 20 s for a worker's start
    said = Script(os.path.join(tmp_path, "script"))
    monkeypatch.setenv("GLOWPLUG_FAKE_DRIVER", said.path)
    return said


@pytest.fixture
def plain() -> Iterator[int]:
    """The PID of a process without CUDA; ours has loaded the fake driver for other tests."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait(timeout=60)


@pytest.fixture
def target(driver: str, script: Script, tmp_path: os.PathLike[str]) -> Iterator[Callable[..., Target]]:
    """Starts CUDA processes; all are ended with the test."""
    started: list[Target] = []

    def start(threads: int = 1) -> Target:
        started.append(Target(driver, os.path.join(tmp_path, f"counters{len(started)}"), threads))
        return started[-1]

    yield start
    for process in started:
        process.end()
