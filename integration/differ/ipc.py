"""System V and POSIX IPC of a container, as the kernel lists it in its own namespace."""

import subprocess
from collections.abc import Iterator

KINDS = ("shm", "sem", "msg")


def of(pid: int) -> Iterator[tuple[str, str]]:
    """Each object by its key and number: rights, size or count, owner."""
    for kind in KINDS:
        done = subprocess.run(
            ["nsenter", "--target", str(pid), "--ipc", "cat", f"/proc/sysvipc/{kind}"],
            capture_output=True,
            text=True,
        )
        head, *lines = done.stdout.splitlines() or [""]
        names = head.split()
        for line in lines:
            fields = dict(zip(names, line.split(), strict=False))
            kept = [
                f"{name}={value}"
                for name, value in fields.items()
                if name
                in ("perms", "size", "nsems", "uid", "gid", "cuid", "cgid", "nattch", "qnum", "cbytes")
            ]
            yield f"{kind}/{fields['key']}", " ".join(kept)
