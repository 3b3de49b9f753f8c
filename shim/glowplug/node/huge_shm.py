"""Huge pages for shared memory, which is what CUDA's pinned memory is: turned on by `install --huge-shm`, and put back.

The kernel's setting goes with its boot, so a line for systemd-tmpfiles(8) sets it at every one. What was there before
is kept beside Glowplug, until `uninstall` puts it back where nobody has changed it since.
"""

import json
import os

from glowplug.errors import NodeError

SETTING = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
AT_BOOT = "/etc/tmpfiles.d/glowplug-huge-shm.conf"
ADVISE = "advise"
_SMALL = ("never", "deny")


def turn_on(prefix: str, setting: str = SETTING, at_boot: str = AT_BOOT) -> list[str]:
    """Lines that say what was done. Raises NodeError."""
    before = _chosen(setting)
    if before not in _SMALL:
        return [f"{setting} is {before}: shared memory may have huge pages already"]
    record = _record(prefix)
    try:
        if not os.path.exists(record):
            with open(f"{record}.new", "w") as file:
                json.dump({"before": before}, file)
            os.rename(f"{record}.new", record)
        with open(at_boot, "w") as file:
            file.write(f"w {setting} - - - - {ADVISE}\n")
        with open(setting, "w") as file:
            file.write(ADVISE)
    except OSError as error:
        put_back(prefix, setting, at_boot)
        raise NodeError(
            f"huge pages for shared memory can't be turned on: {error}; all is as before"
        ) from error
    return [f"{setting} is {ADVISE} now, and at every boot by {at_boot}; it was {before}"]


def put_back(prefix: str, setting: str = SETTING, at_boot: str = AT_BOOT) -> list[str]:
    """The same for the way back; nothing where it was not turned on here. Raises NodeError."""
    try:
        with open(_record(prefix)) as file:
            before = str(json.load(file)["before"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NodeError(
            f"{_record(prefix)} can't be read: {error}; set {setting} by hand, and remove it"
        ) from error
    lines = []
    try:
        if os.path.exists(at_boot):
            os.unlink(at_boot)
        if _chosen(setting) == ADVISE and before in _SMALL:
            with open(setting, "w") as file:
                file.write(before)
            lines.append(f"{setting} is {before} again")
        os.unlink(_record(prefix))
    except OSError as error:
        raise NodeError(f"{setting} can't be put back to {before}: {error}") from error
    return lines or [f"left {setting} as it is: somebody has changed it since"]


def _record(prefix: str) -> str:
    return f"{prefix}/huge-shm.json"


def _chosen(setting: str) -> str:
    """The word in brackets. Raises NodeError."""
    try:
        with open(setting) as file:
            text = file.read()
    except OSError as error:
        raise NodeError(f"this kernel has no huge pages for shared memory: {error}") from error
    chosen = text.partition("[")[2].partition("]")[0]
    return chosen or text.strip()
