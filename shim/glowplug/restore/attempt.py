"""One try to restore one container: a directory that says, by place, everything that has to be taken back.

It appears complete (rename) before the first change, and is gone when nothing is left to be done. While it is there,
nobody runs `runc create` for that container: it is taken back first (take_back.py).

    journal.json     whose attempt it is (journal.py)
    lock             flocked by the runtime and by the process that restores; free when both have ended
    runc             number and start of the `runc restore` that was begun
    failed.json      why it failed, where the runtime knows: the outcome's own words
    reported         the outcome has been recorded
    opened           the tree is let go: number and start of its first process. Up to here all is undone
    done             all is well: what is left is only to tidy up. From here on nothing is undone
    *.json           undo records of the layer package, and how the rootfs was mounted

Used by the runtime: standard library only.
"""

import fcntl
import os
import time

from glowplug import jsontext, paths
from glowplug.host import process_life
from glowplug.outcomes import outcome
from glowplug.outcomes.outcome import Outcome
from glowplug.restore import journal as journals
from glowplug.restore.journal import Journal

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JOURNAL = "journal.json"
LOCK = "lock"
PROGRESS = "progress"
VARIABLE = "GLOWPLUG_ATTEMPT"
"""In the environment of runc and of what it starts, CRIU for one: the container's id."""
BEGUN_WITHIN_S = 60.0
LOCK_POLL_S = 0.01
_NEW, _GONE = ".new-", ".gone-"


class Attempt:
    """An attempt and its lock, which the owner of this object has (-1: nobody)."""

    __slots__ = ("journal", "lock")

    def __init__(self, journal: Journal, lock: int) -> None:
        self.journal = journal
        self.lock = lock

    @property
    def id(self) -> str:
        """The attempt's id."""
        return self.journal.id

    @property
    def directory(self) -> str:
        """The attempt's directory."""
        return paths.attempt(self.id)

    @property
    def rootfs_record(self) -> str:
        """How the rootfs was mounted (mount(2)'s source, flags, options), should it have to be mounted again."""
        return f"{self.directory}/rootfs.json"

    def note_rootfs(self, recipe: "Mapping[str, object]") -> None:
        """Completely or not at all: one that is killed meanwhile has changed nothing yet. Raises OSError."""
        _write(self.rootfs_record, jsontext.dumps(recipe))

    @property
    def layer_record(self) -> str:
        """Where the layer package says what it changed, for the undo."""
        return f"{self.directory}/layer.json"

    @property
    def images(self) -> str:
        """The checkpoint's images as this pod gets them: links, on the cache's own file system."""
        return f"{self.journal.cache}/views/{self.id}"

    @property
    def shm_record(self) -> str:
        """How to undo what was done to /dev/shm."""
        return f"{self.directory}/shm.json"

    @property
    def progress(self) -> str:
        """How far the memory has come, while it is written (progress.py)."""
        return f"{self.directory}/{PROGRESS}"

    @property
    def runc_record(self) -> str:
        """The pid of the `runc restore` under way."""
        return f"{self.directory}/runc"

    @property
    def opened_record(self) -> str:
        """Present once the gate was opened."""
        return f"{self.directory}/opened"

    def volume_record(self, number: int) -> str:
        """How to undo what was done to one volume."""
        return f"{self.directory}/volume-{number}.json"

    def volume_records(self) -> list[str]:
        """Those that were written, in the order of their volumes."""
        names = (name for name in os.listdir(self.directory) if name.startswith("volume-"))
        return [f"{self.directory}/{name}" for name in sorted(names) if name.endswith(".json")]

    def open(self, init: int) -> None:
        """The tree of this first process (host pid) is let go. Raises OSError."""
        _write(self.opened_record, jsontext.dumps([init, process_life.start_time(init)]))

    def opened(self) -> tuple[int, int] | None:
        """The first process that was let go: its pid and start."""
        return read_process(self.opened_record)

    def complete(self) -> None:
        """All is well. Raises OSError."""
        _write(f"{self.directory}/done", "")

    @property
    def is_complete(self) -> bool:
        """Whether the restore succeeded; only tidying is left."""
        return os.path.lexists(f"{self.directory}/done")

    def note_failure(self, failed: Outcome) -> None:
        """What the outcome will say, once it is taken back. One that can't be written is not the start's business."""
        try:
            _write(f"{self.directory}/failed.json", jsontext.dumps(failed.to_json()))
        except OSError:
            return

    def failure(self) -> Outcome | None:
        """As it was noted; None where it was not, or can't be read."""
        fields = _object(f"{self.directory}/failed.json")
        return outcome.from_json(fields) if fields is not None else None

    @property
    def is_reported(self) -> bool:
        """Whether its outcome has been recorded."""
        return os.path.lexists(f"{self.directory}/reported")

    def note_reported(self) -> None:
        """One that can't be noted may be reported twice."""
        try:
            _write(f"{self.directory}/reported", "")
        except OSError:
            return

    def is_waited_for(self) -> bool:
        """Whether the script that would run `runc create` is still there: then only it takes back."""
        script = self.journal.script
        return script is not None and process_life.is_running(*script)

    def finish(self) -> None:
        """Nothing is left to be done: it goes in one step, and then what it was made of."""
        gone = f"{paths.attempts()}/{_GONE}{self.id}.{os.getpid()}"
        try:
            os.rename(self.directory, gone)
            _remove(gone)
        except FileNotFoundError:
            pass
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the lock: it is another's to take back."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def begin(journal: Journal) -> Attempt:
    """Make it. Raises OSError, also where there is one of this container; nothing was changed then."""
    directory = f"{paths.attempts()}/{_NEW}{journal.id}.{os.getpid()}"
    os.makedirs(directory, 0o700)
    lock = -1
    try:
        lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(f"{directory}/{JOURNAL}", jsontext.dumps(journal.to_json()))
        os.rename(directory, paths.attempt(journal.id))
    except OSError:
        _remove(directory)
        if lock >= 0:
            os.close(lock)
        raise
    return Attempt(journal, lock)


def adopt(container: str, wait_s: float) -> Attempt | None:
    """The attempt of this container, its lock taken; waits so long for who has it. None: there is none (any more).

    Its journal has nothing but the id where it can't be read. Raises TimeoutError where somebody holds it
    for longer, and OSError.
    """
    directory = paths.attempt(container)
    until = time.monotonic() + wait_s
    try:
        lock = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TimeoutError(f"{directory} is locked for more than {wait_s:g} s") from None
                time.sleep(LOCK_POLL_S)
        if _is_of(lock, f"{directory}/{LOCK}"):
            return Attempt(journal_of(directory) or Journal(container), lock)
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None  # finished meanwhile


def left() -> "Iterator[Journal]":
    """Attempts that are there, under way or not, by their journals; one whose journal can't be read has an id alone."""
    for name in names():
        yield journal_of(f"{paths.attempts()}/{name}") or Journal(name)


def names() -> list[str]:
    """The containers for which there is an attempt."""
    try:
        return sorted(name for name in os.listdir(paths.attempts()) if not name.startswith("."))
    except FileNotFoundError:
        return []


def remove_fragments() -> None:
    """What was killed before it was an attempt, or after it had been one. Raises OSError."""
    try:
        found = [name for name in os.listdir(paths.attempts()) if name.startswith((_NEW, _GONE))]
    except FileNotFoundError:
        return
    for name in found:
        path = f"{paths.attempts()}/{name}"
        try:
            if time.time() - os.stat(path).st_mtime > BEGUN_WITHIN_S:
                _remove(path)
        except FileNotFoundError:
            continue


def note_process(path: str) -> None:
    """Write down who we are, for `read_process`. Raises OSError."""
    _write(path, jsontext.dumps([os.getpid(), process_life.start_time(os.getpid())]))


def read_process(path: str) -> tuple[int, int] | None:
    """Number and start of a process; None where nothing (complete) was written."""
    try:
        with open(path) as file:
            found = jsontext.loads(file.read())
        if not isinstance(found, list):
            return None
        pid, started = found
        return int(pid), int(started)
    except (OSError, ValueError, TypeError):
        return None


def journal_of(directory: str) -> Journal | None:
    """An attempt's journal; None where it can't be read, or is another's."""
    found = _object(f"{directory}/{JOURNAL}")
    try:
        read = journals.from_json(found) if found else None
    except (TypeError, ValueError):
        return None
    return read if read and read.id == os.path.basename(directory) else None


def _object(path: str) -> "dict[str, object] | None":
    try:
        with open(path) as file:
            found = jsontext.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: str, text: str) -> None:
    """Completely or not at all."""
    aside = f"{path}.new"
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    os.rename(aside, path)


def _is_of(fd: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    opened = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def _remove(directory: str) -> None:
    """A directory of files, flat as an attempt is; what can't be removed is left to `remove_fragments`."""
    try:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    except OSError:
        return
