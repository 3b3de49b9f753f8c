"""One try to restore one container: what it knows, and the journal that outlives it.

The journal lies in the run directory from before the first change until everything is either finished or
undone. The runtime holds an exclusive flock on it, so a journal that nobody holds was left by a killed
runtime, and whoever finds it (the next create in that pod, our delete, the agent's sweep) cleans up after it.
"""

import fcntl
import json
import os
import shutil
import time

from glowplug import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOURNAL = "journal.json"
LOCK = "lock"
PROGRESS = "progress"
BEGUN_WITHIN_S = 60.0


class Attempt:
    """Facts of one restore, all JSON values, so that a stranger can clean up after it.

    `facts`: id, sandbox, root (runc --root), bundle, rootfs, pid_file, cache, cgroups_path, systemd_cgroup (bool) and
    runc, the program.
    """

    __slots__ = ("facts", "lock")

    def __init__(self, facts: dict[str, object], lock: int) -> None:
        self.facts = facts
        self.lock = lock

    def text(self, name: str) -> str:
        value = self.facts.get(name)
        return value if isinstance(value, str) else ""

    @property
    def id(self) -> str:
        return self.text("id")

    @property
    def directory(self) -> str:
        return paths.attempt(self.id)

    @property
    def rootfs_record(self) -> str:
        """How the rootfs was mounted (mount(2)'s source, flags, options), should it have to be mounted again."""
        return f"{self.directory}/rootfs.json"

    @property
    def layer_record(self) -> str:
        """Where the layer room says what it changed, for the undo."""
        return f"{self.directory}/layer.json"

    @property
    def view(self) -> str:
        """The checkpoint's images as this pod gets them: links, on the cache's own file system."""
        return f"{self.text('cache')}/views/{self.id}"

    @property
    def shm_record(self) -> str:
        return f"{self.directory}/shm.json"

    @property
    def progress(self) -> str:
        """How far the memory has come, while it is written (progress.py)."""
        return f"{self.directory}/{PROGRESS}"

    def volume_record(self, number: int) -> str:
        return f"{self.directory}/volume-{number}.json"

    def volume_records(self) -> list[str]:
        """Those that were written, in the order of their volumes."""
        names = (name for name in os.listdir(self.directory) if name.startswith("volume-"))
        return [f"{self.directory}/{name}" for name in sorted(names) if name.endswith(".json")]

    def finish(self) -> None:
        """Nothing is left to undo."""
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self.lock)


def begin(facts: dict[str, object]) -> Attempt:
    """Write the journal. Raises OSError; nothing was changed then."""
    directory = paths.attempt(str(facts["id"]))
    os.makedirs(directory, 0o700, exist_ok=True)
    lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = f"{directory}/{JOURNAL}.new"
        with open(aside, "w") as file:
            json.dump(facts, file)
        os.rename(aside, f"{directory}/{JOURNAL}")
    except OSError:
        os.close(lock)
        raise
    return Attempt(facts, lock)


def abandoned(concerns: "Callable[[Attempt], bool]" = lambda attempt: True) -> "Iterator[Attempt]":
    """Attempts whose runtime is dead, each locked by us when it is its turn: another pod's, and one that we have not
    come to, are free for those who look for them at the same time.

    `concerns`: whether one is wanted, told by its facts alone.
    """
    try:
        names = os.listdir(paths.attempts())
    except FileNotFoundError:
        return
    for name in sorted(names):
        attempt = _adopt(f"{paths.attempts()}/{name}", concerns)
        if attempt is not None:
            yield attempt


def _adopt(directory: str, concerns: "Callable[[Attempt], bool]") -> Attempt | None:
    facts = _facts(directory)
    if facts is None:
        _remove_if_old(directory)
        return None
    if not concerns(Attempt(facts, -1)):
        return None
    try:
        lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None  # finished meanwhile
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return Attempt(facts, lock)
    except BlockingIOError:
        pass  # its runtime is at work
    os.close(lock)
    return None


def _remove_if_old(directory: str) -> None:
    """Without a journal it begins at this moment, and is not ours to lock, or was killed before its first change."""
    try:
        if time.time() - os.stat(directory).st_mtime > BEGUN_WITHIN_S:
            shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        return


def _facts(directory: str) -> dict[str, object] | None:
    """What its journal says; None where there is none that can be read."""
    try:
        with open(f"{directory}/{JOURNAL}") as file:
            facts = json.load(file)
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
