"""What one check has found: a level, what is there, what is expected, and what fixes it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "wrong"]
"""ok: as needed. warning: restores work, slower or not for all containers. wrong: nothing is restored,
or on a node with GPUs nothing that has one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is in a table, so it is short. `want` and `fix` are empty where all is well.

    `fix`: a command to type where there is one, else what to do in a few words.
    """

    level: Level
    found: str
    want: str = ""
    fix: str = ""


def ok(found: str) -> Finding:
    """As it should be."""
    return Finding("ok", found)


def warning(found: str, want: str, fix: str) -> Finding:
    """Restores work, but not for all, or not as fast as they could."""
    return Finding("warning", found, want, fix)


def wrong(found: str, want: str, fix: str) -> Finding:
    """As long as it is so, every start is cold."""
    return Finding("wrong", found, want, fix)
