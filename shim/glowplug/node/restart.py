"""containerd started again, so that it reads its configuration: it has no other way to.

Pods live on: their shims are not containerd's children, and its unit kills none of them (KillMode=process).
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from glowplug.errors import NodeError

SYSTEMD = "/run/systemd/system"
RESTARTS_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Way:
    """How containerd is restarted here; `command` None: it is not, and `why` says so to a person."""

    command: tuple[str, ...] | None
    why: str = ""


def way(command: str | None, forbidden: bool, units: tuple[str, ...]) -> Way:
    """`command`: what the caller gave, for /bin/sh; else that of these systemd units which runs. sd_booted(3)."""
    if forbidden:
        return Way(None, "containerd was not restarted, as asked for")
    if command:
        return Way(("/bin/sh", "-c", command))
    if not os.path.isdir(SYSTEMD) or shutil.which("systemctl") is None:
        return Way(
            None,
            "no systemd here, so containerd was not restarted: restart it (or give --restart-command), "
            "then see `glowplug node status`",
        )
    for unit in units:
        if subprocess.run(["systemctl", "is-active", "--quiet", unit]).returncode == 0:
            return Way(("systemctl", "restart", unit))
    return Way(
        None,
        f"none of the units {', '.join(units)} runs: containerd reads the new configuration when it starts",
    )


def run(command: tuple[str, ...]) -> None:
    """Raises NodeError with the last line that it said."""
    shown = " ".join(command)
    # A file and no pipe: a daemon that the command leaves behind would hold a pipe open.
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=RESTARTS_WITHIN_S
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NodeError(f"{shown} failed: {type(error).__name__}") from error
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
    if done.returncode != 0:
        raise NodeError(f"{shown} ended with status {done.returncode} and said: {lines[-1]}")
