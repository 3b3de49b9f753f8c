"""containerd started again, so that it reads its configuration: it has no other way to.

Pods live on: their shims are not containerd's children, and its unit kills none of them (KillMode=process).
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from glowplug.errors import NodeError
from glowplug.host import proc

SYSTEMD = "/run/systemd/system"
RESTARTS_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Method:
    """How containerd is restarted here; `command` None: it is not, and `why` says so to a person."""

    command: tuple[str, ...] | None
    why: str = ""


def method(
    command: str | None, forbidden: bool, units: tuple[str, ...], process: int | None = None
) -> Method:
    """`command`: what the caller gave, for /bin/sh; else that of these systemd units which runs. sd_booted(3).

    `process`: containerd's, where it runs: its unit may have a name of its own, as k3s' installer allows.
    """
    if forbidden:
        return Method(None, "containerd was not restarted, as requested")
    if command:
        return Method(("/bin/sh", "-c", command))
    if not os.path.isdir(SYSTEMD) or shutil.which("systemctl") is None:
        return Method(
            None,
            "no systemd here, so containerd was not restarted: restart it (or give --restart-command), "
            "then see `glowplug node status`",
        )
    active = next(filter(_is_active, units), None) or (unit_of(process) if process else None)
    if active is not None:
        return Method(("systemctl", "restart", active))
    return Method(
        None,
        f"none of the units {', '.join(units)} runs: containerd reads the new configuration when it starts",
    )


def _is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit]).returncode == 0


def unit_of(process: int) -> str | None:
    """The systemd service whose main process this is, or the child of it; None where there is none."""
    try:
        paths = [path for _, path in proc.cgroups(process)]
    except OSError:
        return None
    names = [part for path in paths for part in path.split("/") if part.endswith(".service")]
    for name in dict.fromkeys(names):
        command = ["systemctl", "show", "--property=MainPID", "--value", name]
        main = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        if main != "0" and main in (str(process), str(proc.parent(process))):
            return name
    return None


def run(command: tuple[str, ...]) -> None:
    """Raises NodeError with the last line that it said."""
    shown = " ".join(command)
    # A file and no pipe: a daemon that the command leaves behind would keep a pipe open.
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
