"""`glowplug node uninstall --purge`: the checkpoints, the settings and the prefix."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from glowplug import paths
from glowplug.containerd.installed import PREFIX_MARK
from glowplug.errors import NodeError
from glowplug.node import files, main_file, plan
from glowplug.node.install import Place

UNIT = "/etc/systemd/system/glowplug-agent.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/glowplug-agent.service"
"""The link that `systemctl enable` makes."""

COMMAND = "/usr/local/bin/glowplug"
"""A link of hack/bootstrap-node.sh's, so that `glowplug` is in everybody's PATH."""

FROM_SECRET = ".from-secret"
"""In the directory of keys: names of those that the installer's pod put there (runtime_config/image/on-node)."""

# What the store (cache/layout.py), the agent (outcomes/history.py) and restores (restore/attempt.py) make in the cache.
_IN_CACHE = (
    "checkpoints",
    "drafts",
    "trash",
    "state",
    "leases",
    "lock",
    "salt",
    "views",
    "history.jsonl",
    "history.jsonl.1",
    "learned.json",
    "registry",
    "compile",
)


def require_no_other(place: Place) -> None:
    """Raises NodeError where another handler's program is in the prefix too: its pods would lack their runtime."""
    try:
        was = plan.before(place.containerd, main_file.read(place.config, place.handler, place.prefix))
    except main_file.NoHandlerIn:
        return
    others = [
        name
        for name, table in was.handlers.items()
        if name != place.handler and _program(table).startswith(f"{place.prefix}/")
    ]
    if others:
        raise NodeError(
            f"can't purge {place.prefix}: the handler {others[0]} is made of it too: "
            f"uninstall that first (--handler {others[0]})"
        )


def _program(handler: Mapping[str, Any]) -> str:
    return str((handler.get("options") or {}).get("BinaryName") or "")


def require_no_agent() -> None:
    """Raises NodeError while it runs: it would make its directories again."""
    if os.path.exists(paths.agent_socket()) and _answers():
        raise NodeError("the agent still runs: stop it first (`systemctl disable --now glowplug-agent`)")


def purge(cache: str, prefix: str) -> list[str]:
    """Lines that say what was removed; files of others in the same directories stay. Raises NodeError.

    Only where no pod of the handler runs: it would lack its runtime.
    """
    targets = [f"{cache}/{name}" for name in _IN_CACHE]
    targets += [paths.CONFIG_FILE, paths.RUN_DIR, WANTED, UNIT]
    if os.path.exists(f"{prefix}/{PREFIX_MARK}"):
        targets.append(prefix)
    _require_no_mount(targets)
    lines = [f"removed {path}" for path in targets if _removed(path)]
    if os.path.islink(COMMAND) and os.readlink(COMMAND) == f"{prefix}/bin/glowplug" and _removed(COMMAND):
        lines.append(f"removed {COMMAND}")
    lines += _purge_keys(f"{os.path.dirname(paths.CONFIG_FILE)}/registry")
    for path in (cache, os.path.dirname(paths.CONFIG_FILE)):
        if os.path.isdir(path) and not os.listdir(path) and not os.path.ismount(path):
            os.rmdir(path)
            lines.append(f"removed {path}")
    return lines


def _purge_keys(folder: str) -> list[str]:
    """Those that came out of a Secret; what somebody else put there stays, and is listed."""
    record = f"{folder}/{FROM_SECRET}"
    names = (files.read(record) or b"").decode(errors="replace").splitlines()
    targets = [f"{folder}/{name}" for name in names if name == os.path.basename(name) and name.strip(".")]
    lines = [f"removed {path}" for path in targets if _removed(path)]
    _removed(record)
    with suppress(OSError):  # others' keys are in it, or it was never there
        os.rmdir(folder)
    left = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return lines + [f"left {folder}/{name}, which the installer did not put there" for name in left]


def _require_no_mount(targets: list[str]) -> None:
    """Raises NodeError: what is mounted there would be removed with it."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file]
    found = [point for point in points if any(f"{point}/".startswith(f"{target}/") for target in targets)]
    if found:
        raise NodeError(f"can't remove its directory: a mount at {found[0]}: unmount it first")


def _answers() -> bool:
    from glowplug.outcomes import ask  # only where all is removed

    try:
        ask.ask({"op": "history", "container": ""})
    except ask.NoAnswer:
        return False
    return True


def _removed(path: str) -> bool:
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        else:
            return False
    except OSError as error:
        raise NodeError(f"can't remove {path}: {error.strerror}: {error.filename}") from error
    return True
