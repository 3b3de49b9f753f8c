"""One capture by the agent: what it knows, and the journal that outlives it.

The journal is in the run directory from before the first hook until nothing of the capture is left to be
done. The process that captures holds an exclusive flock on it, so a journal that nobody holds was left by one
that was killed, and the agent sees to the rest (undo.py).
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from glowplug import paths
from glowplug.agent.captures import task
from glowplug.agent.captures.running import Running
from glowplug.capture.policy import Hook

JOURNAL = "journal.json"
LOCK = "lock"
HOOKS = ("canary", "before-capture", "after-capture", "reported", "end")
"""Steps that are the workload's own, and take as long as it likes."""
LOOKING = ("", "begin", "find", "gpu")
"""Steps before others of the node have to wait for it: they read what the workload has, and may take long, too."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What another process needs in order to finish or undo a capture. `runc_root`: runc's --root. `gpu`: whether the
    container has one assigned. `hook_timeout_s`: for each hook. `step`: the last one begun. `after`: the hook that has
    to be run, however the capture ends; None until before-capture begins, and once it has run.
    """

    running: Running
    runc_root: str
    gpu: bool
    hook_timeout_s: float
    step: str = ""
    after: Hook | None = None


def _facts(plain: Mapping[str, Any]) -> Facts | None:
    """What was written as JSON values; None where another version wrote it otherwise."""
    try:
        return Facts(
            Running(**plain["running"]),
            str(plain["runc_root"]),
            plain.get("gpu") is True,
            float(plain["hook_timeout_s"]),
            str(plain.get("step", "")),
            task.hook(plain.get("after")),
        )
    except (KeyError, TypeError, ValueError):
        return None


class Journal:
    """`facts`: None where another version wrote them otherwise."""

    def __init__(self, directory: str, facts: Facts | None, lock: int) -> None:
        self.facts = facts
        self._directory = directory
        self._lock = lock

    @property
    def container(self) -> str:
        """Its id."""
        return os.path.basename(self._directory)

    @property
    def last_step(self) -> str:
        """The last one begun; "" for none."""
        return self.facts.step if self.facts else ""

    def step(self, name: str) -> None:
        """Note that a step begins. Raises OSError."""
        assert self.facts is not None
        self._write(replace(self.facts, step=name))

    def step_with_hook(self, name: str, after: Hook | None) -> None:
        """The same, and which hook has to be run from now on, however the capture ends. Raises OSError."""
        assert self.facts is not None
        self._write(replace(self.facts, step=name, after=after))

    def _write(self, facts: Facts) -> None:
        self.facts = facts
        aside = f"{self._directory}/{JOURNAL}.new"
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(asdict(facts), file)
        os.rename(aside, f"{self._directory}/{JOURNAL}")

    def finish(self) -> None:
        """Nothing is left to be done."""
        _remove(self._directory, self._lock)

    def leave(self) -> None:
        """Let it be seen to another time."""
        os.close(self._lock)


def begin(container: str, facts: Facts) -> Journal:
    """Raises BlockingIOError where a capture of it is under way, OSError."""
    directory = paths.capturing_one(container)
    lock = _made(directory)
    journal = Journal(directory, facts, lock)
    try:
        journal.step("begin")
    except OSError:
        os.close(lock)
        raise
    return journal


def _made(directory: str) -> int:
    """The directory with its lock. A look for abandoned ones locks it for a moment, too."""
    tries = 20
    while True:
        tries -= 1
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            lock = _locked(directory)
            if os.fstat(lock).st_nlink:
                return lock
            os.close(lock)
        # FileExistsError: it was there, and gone when makedirs looked what it is.
        except (BlockingIOError, FileNotFoundError, FileExistsError):
            if tries < 0:
                raise
        time.sleep(0.02)


def abandoned() -> list[Journal]:
    """Those whose process is dead, each locked by us now."""
    return [journal for name in _names() if (journal := _adopt(paths.capturing_one(name)))]


def step_of(container: str) -> str:
    """The step that a capture of it is at; "" where there is none, or none yet."""
    try:
        with open(f"{paths.capturing_one(container)}/{JOURNAL}") as file:
            return str(json.load(file).get("step"))
    except (OSError, ValueError, AttributeError):
        return ""


def _names() -> list[str]:
    try:
        return sorted(os.listdir(paths.capturing()))
    except FileNotFoundError:
        return []


def _adopt(directory: str) -> Journal | None:
    try:
        lock = _locked(directory)
    except OSError:
        return None  # under way, or it ended just now
    if not os.fstat(lock).st_nlink:
        os.close(lock)
        return None  # it ended between our open and our lock; what is there now is another's
    try:
        with open(f"{directory}/{JOURNAL}") as file:
            plain = json.load(file)
        if isinstance(plain, dict):
            return Journal(directory, _facts(plain), lock)
    except (OSError, ValueError):
        pass
    _remove(directory, lock)  # killed before its first step
    return None


def _remove(directory: str, lock: int) -> None:
    """The lock last: until it is gone no other process can have one there, and nothing that is removed is another's."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory), key=lambda name: name == LOCK):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    os.close(lock)


def _locked(directory: str) -> int:
    lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
