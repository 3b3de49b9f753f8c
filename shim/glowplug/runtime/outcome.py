"""Outcomes: one JSON file per start in the spool (DESIGN: `restored`, `cold:…`, `fallback:…`).

HOT. The spool outlives the agent; an outcome that can't be written costs no container its start.
"""

import os
import time

from glowplug import jsontext, paths
from glowplug.checkpoint.bundle import BundleFacts

FORMAT = 1


def names(container: str, facts: BundleFacts) -> dict[str, object]:
    """Whose start it is: the fields that every record of one has."""
    return {
        "container_id": container,
        "sandbox_id": facts.sandbox_id,
        "namespace": facts.sandbox_namespace,
        "pod": facts.sandbox_name,
        "pod_uid": facts.sandbox_uid,
        "container": facts.container_name,
    }


def append(record: dict[str, object]) -> bool:
    """Put one record into the spool, whole or not at all. False where it can't be."""
    now = time.time()
    text = jsontext.dumps({"format": FORMAT, "time": round(now, 3), **record})
    name = f"{paths.spool()}/{now:.6f}-{os.getpid()}"
    try:
        os.makedirs(paths.spool(), 0o700, exist_ok=True)
        fd = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(text)
        os.rename(f"{name}.new", f"{name}.json")
    except OSError:
        _drop(f"{name}.new")
        return False
    return True


def _drop(path: str) -> None:
    """What could not be written whole: on a full disk nothing takes it away later."""
    try:
        os.unlink(path)
    except OSError:
        return


def tell_containerd(log: str | None, message: str) -> bool:
    """The error as runc would log it: containerd shows the last one of the file that `--log` names.

    False where it can't be written: what was refused stays refused, without words.
    """
    if log is None:
        return False
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with open(log, "a") as file:
            file.write(jsontext.dumps({"level": "error", "msg": f"glowplug: {message}", "time": now}) + "\n")
    except OSError:
        return False
    return True
