"""Restores and captures that are under way on this node, as their files in the run directory show.

A restore or capture under way locks such a file. Looked up in /proc/locks (proc_locks(5)) and never tried: a lock that
is tried is taken for a moment, and could be in the way of the one that needs it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from glowplug import paths
from glowplug.restore import progress
from glowplug.restore.attempt import JOURNAL, LOCK, PROGRESS

RESTORE = "restore"
CAPTURE = "capture"

_Inode = tuple[int, int, int]  # major, minor, number


@dataclass(frozen=True, slots=True)
class UnderWay:
    """`kind`: RESTORE or CAPTURE. `since`: seconds since the epoch. `memory`: bytes that a restore has written, and
    has to write in all; None while it writes none."""

    kind: str
    container_id: str
    since: float
    memory: tuple[int, int] | None = None


def read() -> list[UnderWay]:
    """The oldest first. What a killed process left is not under way. Raises OSError."""
    locks = _locks()
    return sorted([*_restores(locks), *_captures(locks)], key=lambda one: one.since)


def restores_running() -> int:
    """How many restores are under way; what a killed one left is none. Raises OSError."""
    return sum(1 for _ in _restores(_locks())) if _entries(paths.attempts()) else 0


def _restores(locks: set[_Inode]) -> Iterator[UnderWay]:
    for directory in _entries(paths.attempts()):
        since = _locked_since(f"{directory}/{LOCK}", locks)
        if since is not None and not os.path.basename(directory).startswith(paths.TRIAL):
            written = progress.read(f"{directory}/{PROGRESS}")
            yield UnderWay(RESTORE, _container_of(directory), since, written)


def _captures(locks: set[_Inode]) -> Iterator[UnderWay]:
    for path in _entries(paths.captures()):
        since = _locked_since(path, locks)
        if since is not None:
            yield UnderWay(CAPTURE, os.path.basename(path), since)


def _container_of(directory: str) -> str:
    try:
        with open(f"{directory}/{JOURNAL}") as file:
            return str(json.load(file)["id"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return os.path.basename(directory)


def _locked_since(lock: str, locks: set[_Inode]) -> float | None:
    """When the lock file was made, where somebody holds it."""
    try:
        found = os.stat(lock)
    except OSError:
        return None  # over meanwhile
    inode = (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
    return found.st_mtime if inode in locks else None


def _locks() -> set[_Inode]:
    """The files that are flocked. A line: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`."""
    found = set()
    with open("/proc/locks") as file:
        for line in file:
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK":
                major, minor, inode = words[5].split(":")
                found.add((int(major, 16), int(minor, 16), int(inode)))
    return found


def _entries(directory: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if not name.startswith(".")]
    except FileNotFoundError:
        return []
