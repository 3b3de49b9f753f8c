"""Outcomes: one JSON file per start in the spool (DESIGN: `restored`, `cold:…`, `fallback:…`).

HOT. The spool outlives the agent; an outcome that can't be written costs no container its start. It is in memory,
and without an agent nobody empties it: so the oldest records go when there are too many.
"""

import os
import time

from glowplug import jsontext, paths

FORMAT = 1
MOST = 10_000
"""Records that wait for an agent; some 10 MB."""

_ENTRY_BYTES = 20  # of a directory of tmpfs per name in it (BOGO_DIRENT_SIZE); of others more


def append(record: dict[str, object]) -> bool:
    """Put one record into the spool, completely or not at all. False where it can't be."""
    now = time.time()
    text = jsontext.dumps({"format": FORMAT, "time": round(now, 3), **record})
    name = f"{paths.spool()}/{now:.6f}-{os.getpid()}"
    try:
        os.makedirs(paths.spool(), 0o700, exist_ok=True)
        fd = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(text)
        os.rename(f"{name}.new", f"{name}.json")
        if os.stat(paths.spool()).st_size > MOST * _ENTRY_BYTES:
            _make_space()
    except OSError:
        _drop(f"{name}.new")
        return False
    return True


def _make_space() -> None:
    """The oldest go, a tenth of all at once: this looks at every name."""
    records = sorted(name for name in os.listdir(paths.spool()) if name.endswith(".json"))
    if len(records) > MOST:
        for name in records[: len(records) - MOST + MOST // 10]:
            _drop(f"{paths.spool()}/{name}")


def _drop(path: str) -> None:
    """What could not be written completely: on a full disk nothing takes it away later."""
    try:
        os.unlink(path)
    except OSError:
        return
