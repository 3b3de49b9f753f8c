"""System V IPC of a container, as the kernel lists it in its own namespace, with what is in the objects."""

import os
import subprocess
import sys
from collections.abc import Iterator

from integration.differ import ipc_contents

NUMBER = {"shm": "shmid", "sem": "semid", "msg": "msqid"}
KEPT = ("perms", "size", "nsems", "uid", "gid", "cuid", "cgid", "nattch", "qnum", "cbytes")


def of(pid: int) -> Iterator[tuple[str, str]]:
    """Each object by its key and number: rights, size or count, owner; and what it holds."""
    for kind in NUMBER:
        head, *lines = _inside(pid, "cat", f"/proc/sysvipc/{kind}") or [""]
        names = head.split()
        for line in lines:
            fields = dict(zip(names, line.split(), strict=False))
            rights = " ".join(f"{name}={value}" for name, value in fields.items() if name in KEPT)
            yield f"{kind}/{fields['key']}/{fields[NUMBER[kind]]}", rights
    for line in _inside(pid, sys.executable, "-IS", os.path.abspath(ipc_contents.__file__)):
        name, _, holds = line.partition(" ")
        yield name, holds


def _inside(pid: int, *command: str) -> list[str]:
    done = subprocess.run(
        ["nsenter", "--target", str(pid), "--ipc", *command], capture_output=True, text=True
    )
    return done.stdout.splitlines()
