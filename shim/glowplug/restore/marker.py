"""The marker of a restored container: a file in runc's state directory, which is root's alone and goes with it.

The script of `glowplug-runtime` looks whether it is there; `delete` reads what it says.
"""

import os
import time

from glowplug import jsontext, paths


class Marker:
    """checkpoint: its name. bundle: the container's bundle, absolute; empty where the marker does not say.
    boot_s: when it was written, in seconds since boot; None where the marker does not say."""

    __slots__ = ("boot_s", "bundle", "checkpoint")

    def __init__(self, checkpoint: str, bundle: str, boot_s: float | None) -> None:
        self.checkpoint = checkpoint
        self.bundle = bundle
        self.boot_s = boot_s

    @property
    def age_s(self) -> float | None:
        """Seconds since the restore, or None where that is not known."""
        return None if self.boot_s is None else round(max(0.0, boot_time_s() - self.boot_s), 3)


def boot_time_s() -> float:
    """Seconds since boot, with the time that the node slept: no step of the wall clock changes it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def write(runc_root: str, container: str, checkpoint: str, bundle: str) -> None:
    """Put it there, completely or not at all. Raises OSError."""
    path = paths.marker(runc_root, container)
    said = {"checkpoint": checkpoint, "bundle": os.path.abspath(bundle), "boot_s": round(boot_time_s(), 3)}
    aside = f"{path}.new"
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(jsontext.dumps(said))
    os.rename(aside, path)


def read(runc_root: str, container: str) -> Marker | None:
    """None where there is none. One of an older Glowplug holds the checkpoint's name alone."""
    try:
        with open(paths.marker(runc_root, container), errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    try:
        said = jsontext.loads(text.encode())
    except (ValueError, RecursionError):
        return Marker(text, "", None)
    if not isinstance(said, dict):
        return Marker(text, "", None)
    checkpoint, bundle, boot_s = said.get("checkpoint"), said.get("bundle"), said.get("boot_s")
    return Marker(
        checkpoint if isinstance(checkpoint, str) else "",
        bundle if isinstance(bundle, str) and os.path.isabs(bundle) else "",
        boot_s if isinstance(boot_s, int | float) else None,
    )
