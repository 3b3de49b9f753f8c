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

from glowplug import paths

JOURNAL = "journal.json"
LOCK = "lock"
HOOKS = ("canary", "before-capture", "after-capture", "reported", "end")
"""Steps that are the workload's own, and take as long as it likes."""
LOOKING = ("", "begin", "find", "gpu")
"""Steps before others of the node have to wait for it: they read what the workload has, and may take long, too."""

Facts = Mapping[str, object]


class Journal:
    """`facts`: what another process needs in order to finish or undo it, JSON values; `step`: the last one
    begun."""

    def __init__(self, directory: str, facts: dict[str, object], lock: int) -> None:
        self.facts = facts
        self._directory = directory
        self._lock = lock

    @property
    def container(self) -> str:
        """Its id."""
        return os.path.basename(self._directory)

    def step(self, name: str, **more: object) -> None:
        """Note that a step begins, and what is to be known of it. Raises OSError."""
        self.facts.update(more, step=name)
        aside = f"{self._directory}/{JOURNAL}.new"
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(self.facts, file)
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
    journal = Journal(directory, dict(facts), lock)
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
            facts = json.load(file)
        if isinstance(facts, dict):
            return Journal(directory, facts, lock)
    except (OSError, ValueError):
        pass
    _remove(directory, lock)  # killed before its first step
    return None


def _remove(directory: str, lock: int) -> None:
    """The lock last: until it is gone nobody else can have one there, and nothing that is removed is another's."""
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
