"""The outcome of every start: read from the runtime's spool, kept in memory and in a journal beside the cache."""

import contextlib
import json
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from glowplug import paths
from glowplug.outcomes.record import Record, kind, number, text

KEPT = 2_000
"""Records in memory, 4 kB each; the journal has more."""

TRIED = 10_000
"""Containers of which it is known whether they were restored before."""

JOURNAL_LIMIT_BYTES = 16 << 20

PREPARED = ".prepared"
"""Ends the name of an empty file that says: the prepared start of the container of that name was used."""


@dataclass(frozen=True, slots=True)
class Restore:
    """`at`: when, in Unix time. `container`: the id of the one that was restored."""

    checkpoint: str
    at: float
    container: str


Reporter = Callable[[Record], None]
"""Gets each new record, once, and returns soon; it raises nothing."""


class History:
    """Thread-safe. Records are the runtime's (outcomes/report.py), in the order in which they were taken in.

    `reporters`: who gets each new one. Only ingest.py takes records in.
    """

    def __init__(self, directory: str) -> None:
        self.reporters: list[Reporter] = []
        self._journal = f"{directory}/history.jsonl"
        self._lock = threading.Lock()
        self._records: deque[Record] = deque(maxlen=KEPT)
        self._unsaved: set[str] = set()
        self._tried: dict[tuple[str, str], Restore | None] = {}  # in the order in which they were tried
        self.unjudged: list[Record] = []
        os.makedirs(directory, 0o700, exist_ok=True)
        for journal in (f"{self._journal}.1", self._journal):
            self._add(_read(journal))
        self._drop_saved()

    def take_in(self) -> list[Record]:
        """Move what is in the spool into the journal; the new records."""
        with self._lock:
            found = ((path, record) for path in _spooled() if (record := _parse(path)) is not None)
            taken = dict(sorted(found, key=lambda one: number(one[1], "time") or 0.0))
            new = [record for path, record in taken.items() if path not in self._unsaved]
            self._add(new)
            try:
                self._write(list(taken.values()))
            except OSError:
                self._unsaved = set(taken)  # a full disk: they stay in the spool, and are saved another time
                return new
            self._unsaved = set()
            for path in taken:
                _remove(path)
            return new

    def answer(self, question: Mapping[str, object]) -> Mapping[str, object]:
        """`{"op": "history", "container": ID or nothing}` → `{"records": […]}`."""
        container = question.get("container")
        return {"records": self.records(container if isinstance(container, str) else None)}

    def records(self, container: str | None = None) -> list[Record]:
        """All that is known, or of one container id, the oldest first."""
        with self._lock:
            return [record for record in self._records if container in (None, record.get("container_id"))]

    def has_restored(self, sandbox: str, container_name: str) -> bool:
        """Whether this container of this pod was restored, or tried to be, before: then it starts cold."""
        with self._lock:
            return (sandbox, container_name) in self._tried

    def take_restore(self, sandbox: str, container_name: str) -> Restore | None:
        """The restore of this container of this pod, once; None where there was none, or only the try of one."""
        with self._lock:
            found = self._tried.get((sandbox, container_name))
            if found is not None:
                self._tried[sandbox, container_name] = None
            return found

    def forget_restore(self, container: str) -> None:
        """That the container of this id was restored; that it was tried stays known."""
        with self._lock:
            for names, found in self._tried.items():
                if found is not None and found.container == container:
                    self._tried[names] = None

    def _add(self, records: Iterable[Record]) -> None:
        """Keep them. What was tried is known without a search: each start asks for it."""
        for record in records:
            self._records.append(record)
            self._tried.update(_tried([record]))
            if len(self._tried) > TRIED:
                del self._tried[next(iter(self._tried))]

    def _drop_saved(self) -> None:
        """What an agent had written to the journal when it was killed, and not yet taken from the spool."""
        spooled = {path: record for path in _spooled() if (record := _parse(path)) is not None}
        saved = {_contents(record) for record in self._records} if spooled else set()
        for path, record in spooled.items():
            if _contents(record) in saved:
                _remove(path)
        for path in _spooled():
            prepared = _prepared_start(path)
            if prepared and not os.path.isdir(prepared):
                os.unlink(path)  # it marks what is gone, so nothing is known of it

    def _write(self, records: list[Record]) -> None:
        """Append them, on lines of their own also behind one that was cut off. Raises OSError."""
        if not records:
            return
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._journal).st_size > JOURNAL_LIMIT_BYTES:
                os.rename(self._journal, f"{self._journal}.1")
        fd = os.open(self._journal, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            lead = b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""
            left = memoryview(lead + b"".join(json.dumps(record).encode() + b"\n" for record in records))
            try:
                while left:
                    left = left[os.write(fd, left) :]
            except OSError:
                os.ftruncate(fd, size)  # what was written in part would be there twice
                raise
        finally:
            os.close(fd)


def _tried(records: Iterable[Record]) -> Iterator[tuple[tuple[str, str], Restore | None]]:
    """(sandbox, container name) of every start that was a restore, with it, or the try of one."""
    for record in records:
        sandbox, container = record.get("sandbox_id"), record.get("container")
        if (
            kind(record)[0] in ("restored", "fallback")
            and isinstance(sandbox, str)
            and isinstance(container, str)
        ):
            restored = kind(record)[0] == "restored"
            at, id = number(record, "time") or 0.0, text(record, "container_id")
            found = Restore(text(record, "checkpoint"), at, id) if restored else None
            yield (sandbox, container), found


def read(directory: str) -> list[Record]:
    """What is known of every start, the oldest first, without an agent: the spool and the journal.

    Both are files of root's, so this is the same whether an agent runs or not. A record that is taken in at
    this moment is in both: it counts once. Raises OSError.
    """
    spooled = [record for path in _spooled() if (record := _parse(path)) is not None]
    found = [*_read(f"{directory}/history.jsonl.1"), *_read(f"{directory}/history.jsonl")]
    ids = {text(record, "container_id") for record in spooled}
    saved = (
        {_contents(record) for record in found if text(record, "container_id") in ids} if spooled else set()
    )
    found += [record for record in spooled if _contents(record) not in saved]
    return sorted(found, key=lambda record: number(record, "time") or 0.0)


def version(directory: str) -> tuple[object, ...]:
    """Changes whenever `read` would find other records."""
    journals = [f"{directory}/history.jsonl.1", f"{directory}/history.jsonl"]
    found = [os.stat(path) for path in journals if os.path.exists(path)]
    return (*((one.st_ino, one.st_size) for one in found), *_spooled())


def _contents(record: Record) -> str:
    """Alike for the same record only."""
    return json.dumps(record, sort_keys=True)


def _spooled() -> list[str]:
    try:
        names = os.listdir(paths.spool())
    except FileNotFoundError:
        return []
    return [f"{paths.spool()}/{name}" for name in sorted(names) if name.endswith((".json", PREPARED))]


def _parse(path: str) -> Record | None:
    """None: no record of ours; it is left where it is."""
    prepared = _prepared_start(path)
    try:
        with open(f"{prepared}/outcome.json" if prepared else path) as file:
            record = json.load(file)
        if isinstance(record, dict) and prepared:
            record["time"] = round(os.stat(path).st_mtime, 3)
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _prepared_start(path: str) -> str | None:
    """The directory of the prepared start that `path` marks as used; None for another file of the spool."""
    name = os.path.basename(path)
    return paths.prepared_start(name.removesuffix(PREPARED)) if name.endswith(PREPARED) else None


def _remove(path: str) -> None:
    """Of the spool, with what it stands for."""
    prepared = _prepared_start(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    if prepared:
        shutil.rmtree(prepared, ignore_errors=True)


def _read(journal: str) -> Iterator[Record]:
    """Line by line: two full journals at once would be most of the agent's memory."""
    try:
        with open(journal, errors="replace") as file:
            for line in file:
                record = _object(line)
                if record is not None:
                    yield record
    except FileNotFoundError:
        return


def _object(line: str) -> Record | None:
    """None for what is no record, such as the line of a journal that was cut off by a crash."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
