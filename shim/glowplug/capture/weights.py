"""What the weights are that an engine reads again after a restore: a digest of the files in the pod's own volumes.

With glowplug.dev/weights: reload a restored engine takes its weights from there, so the key holds what they are (the
size of a safetensors index is not enough: vllm-project/vllm#59647). A digest per file is kept by device, inode, size,
mtime and ctime, in the run directory: a file that was touched is read again, after a boot every one is. To read is
slow, so no start waits for it: threads of the agent do it behind, and until it is done the weights are unknown,
which is no match. hostPath, persistent volumes and image volumes alike: what a container mounts and does not carry.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from blake3 import blake3

from glowplug import paths
from glowplug.checkpoint import mounts
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.errors import CaptureRefused
from glowplug.layer.beneath import open_beneath

log = logging.getLogger("glowplug.agent")

NAME = "weights"
PATHS = "weights-path"
"""Annotation: the mount points with weights; without it every volume outside of SYSTEM is looked through."""
SYSTEM = (
    "/bin/",
    "/dev/",
    "/etc/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/proc/",
    "/sbin/",
    "/sys/",
    "/usr/",
    "/var/run/",
)
RELOAD = "reload"
UNKNOWN = f"extra {NAME}"
"""Its part among those of a key that are unknown."""
SUFFIXES = (".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth", ".gguf", ".ckpt", ".npz")
DEEPEST = 6
MOST_ENTRIES = 20_000
LISTED_WITHIN_S = 0.3
"""A dead volume holds up no start: its weights are unknown."""
FAILED_FOR_S = 60.0
"""What could not be read is tried again after so long."""
MOST_WAITING = 8
"""Looks, and reads, that a namespace may have waiting behind the one under way; others are unknown at once."""
_BUFFER = 16 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY

Stamp = tuple[int, int, int, int, int]
"""st_dev, st_ino, st_size, st_mtime_ns, st_ctime_ns."""


class Unread(CaptureRefused):
    """The weights are being read; ask again."""

    def __init__(self) -> None:
        super().__init__(
            "weights-unread", "its weights are still being read, so nobody can say yet what they are"
        )


class _Late(Exception):
    """Not known yet."""


def are_requested(facts: BundleFacts) -> bool:
    """Whether the container's engine reads its weights again."""
    name = OWN_ANNOTATIONS + NAME
    said = facts.annotations.get(f"{name}.{facts.container_name}") or facts.annotations.get(name, "")
    return said.strip() == RELOAD


def extras(facts: BundleFacts) -> Mapping[str, str | None]:
    """What the key has of them: nothing where none are wanted, None where they are not known yet.

    Where they are not, they are read behind.
    """
    if not are_requested(facts):
        return {}
    found = _READER.soon(facts)
    return {NAME: found}


def failure(facts: BundleFacts) -> str:
    """Why they could not be read behind, or ""."""
    return _READER.failure(facts)


def why_unknown(facts: BundleFacts) -> str:
    """The reason in a phrase."""
    return failure(facts) or "they are being read, for the next start"


def read(facts: BundleFacts) -> str:
    """The digest, now, however long it takes. Raises OSError."""
    known = _load()
    lines = []
    for destination, source in _volumes(facts):
        for path in _files(source):
            stamp, digest = _digest(source, path, known)
            lines.append([destination, path, stamp[2], digest])
            known[_key(stamp)] = digest
    _keep(known)
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def changed_since(facts: BundleFacts, moment: float) -> bool:
    """Whether a file of them was changed after that moment (Unix time). Raises OSError."""
    for _, source in _volumes(facts):
        for path in _files(source):
            fd = open_beneath(source, path, os.O_PATH)
            try:
                if os.fstat(fd).st_ctime > moment:
                    return True
            finally:
                os.close(fd)
    return False


def _quick(facts: BundleFacts) -> str:
    """The digest from what is known of each file. Raises OSError, and _Late where one was not read yet."""
    known = _load()
    lines = []
    for destination, source in _volumes(facts):
        for path in _files(source):
            fd = open_beneath(source, path, os.O_PATH)
            try:
                stamp = _stamp(os.fstat(fd))
            finally:
                os.close(fd)
            digest = known.get(_key(stamp))
            if digest is None:
                raise _Late
            lines.append([destination, path, stamp[2], digest])
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _volumes(facts: BundleFacts) -> list[tuple[str, str]]:
    """Mount point and directory on the host of what may have weights: mounted, and does not travel."""
    names = facts.annotations.get(OWN_ANNOTATIONS + PATHS, "").replace(",", " ").split()
    return sorted(
        (found.destination, found.source)
        for found in mounts.classify(facts)
        if found.kind == mounts.IDENTITY
        and found.how != "kernel"
        and (found.destination in names if names else not _is_of_the_system(found.destination))
        and os.path.isdir(found.source)
    )


def _is_of_the_system(destination: str) -> bool:
    return f"{destination}/".startswith(SYSTEM)


def _files(source: str) -> Iterator[str]:
    """Paths below `source` of weights, sorted; links too, to be followed beneath it. Raises OSError for too many."""
    found = []
    entries = 0
    for folder, folders, names in os.walk(source, onerror=_raise):
        entries += len(names) + len(folders)
        if entries > MOST_ENTRIES:
            annotation = OWN_ANNOTATIONS + PATHS
            raise OSError(
                f"more than {MOST_ENTRIES} files below {source}: name the mount points that count in {annotation}"
            )
        place = os.path.relpath(folder, source)
        if place.count("/") >= DEEPEST:
            folders.clear()
        found += [os.path.normpath(f"{place}/{name}") for name in names if name.endswith(SUFFIXES)]
    yield from sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _digest(source: str, path: str, known: Mapping[str, str]) -> tuple[Stamp, str]:
    """Of one file, opened beneath its volume; read where it is not known. Raises OSError."""
    with open(open_beneath(source, path, _FLAGS), "rb", 0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} below {source} is not a regular file")
        stamp = _stamp(status)
        digest = known.get(_key(stamp))
        if digest is None:
            state = blake3(max_threads=blake3.AUTO)
            buffer = memoryview(bytearray(min(_BUFFER, max(status.st_size, 1 << 16))))
            while count := file.readinto(buffer):
                state.update(buffer[:count])
            if _stamp(os.fstat(file.fileno())) != stamp:
                raise OSError(f"{path} below {source} changed while it was read")
            digest = state.hexdigest()
    return stamp, digest


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _key(stamp: Stamp) -> str:
    return ":".join(map(str, stamp))


def _load() -> dict[str, str]:
    try:
        with open(paths.weights(), encoding="ascii") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}


_KEEPING = threading.Lock()


def _keep(known: Mapping[str, str]) -> None:
    aside = f"{paths.weights()}.{os.getpid()}.new"
    with _KEEPING:  # a start's thread and the reader's
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump({**_load(), **known}, file)
        os.rename(aside, paths.weights())


class _Reader:
    """Looks at files and reads them in threads, two for each namespace that needs them, which end when nothing waits.

    A volume that does not answer, or one with a file that never ends, delays its own namespace alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[tuple[str, str], deque[Callable[[], None]]] = {}
        self._waiting: set[str] = set()
        self._failed: dict[str, tuple[str, float]] = {}

    def soon(self, facts: BundleFacts) -> str | None:
        """The digest, if it is known within a moment; else it is read behind, once at a time for each place."""
        answer: list[str | None] = []
        done = threading.Event()
        namespace = facts.sandbox_namespace
        self._do("look", namespace, lambda: self._look(facts, answer, done))
        if done.wait(LISTED_WITHIN_S) and answer[0] is not None:
            return answer[0]
        name = json.dumps(_volume_names(facts))
        with self._lock:
            is_due = name not in self._waiting and time.monotonic() >= self._failed.get(name, ("", 0.0))[1]
            if is_due:
                self._waiting.add(name)
        if is_due and not self._do("read", namespace, lambda: self._read(facts, name)):
            with self._lock:
                self._waiting.discard(name)
        return None

    def _do(self, what: str, namespace: str, work: Callable[[], None]) -> bool:
        """Behind what the namespace has requested before; not if too much waits already."""
        lane = what, namespace
        with self._lock:
            queue = self._queues.get(lane)
            if queue is not None and len(queue) >= MOST_WAITING:
                return False
            if queue is None:
                thread = threading.Thread(target=self._run, args=(lane,), name="weights", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the node has no thread left
                    return False
                queue = self._queues[lane] = deque()
            queue.append(work)
        return True

    def _run(self, lane: tuple[str, str]) -> None:
        while True:
            with self._lock:
                queue = self._queues[lane]
                if not queue:
                    del self._queues[lane]
                    return
                work = queue.popleft()
            try:
                work()
            except Exception:
                log.exception("weights of namespace %s: an error of ours", lane[1])

    def _look(self, facts: BundleFacts, answer: list[str | None], done: threading.Event) -> None:
        try:
            answer.append(_quick(facts))
        except (_Late, OSError):
            answer.append(None)
        done.set()

    def _read(self, facts: BundleFacts, name: str) -> None:
        why = ""
        try:
            read(facts)
        except OSError as error:
            why = str(error)
            log.warning("the weights of container %s can't be read: %s", facts.container_name, why)
        with self._lock:
            self._waiting.discard(name)
            self._failed.pop(name, None)
            if why:
                self._failed[name] = why, time.monotonic() + FAILED_FOR_S

    def failure(self, facts: BundleFacts) -> str:
        """Why they could not be read, lately; or ""."""
        with self._lock:
            return self._failed.get(json.dumps(_volume_names(facts)), ("", 0.0))[0]


def _volume_names(facts: BundleFacts) -> list[str]:
    """Without looking at them."""
    return sorted(mount.source for mount in facts.mounts)


_READER = _Reader()
