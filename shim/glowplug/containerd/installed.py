"""What `glowplug node install` was called with, kept beside the handler: so that the agent can put the handler back as
it was, when another program has rewritten containerd's configuration.

One file for each handler, `PREFIX/etc/HANDLER/installed.json`. It is there from an install to its uninstall.
"""

import glob
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

DEFAULT_PREFIX = "/opt/glowplug"
PREFIX_MARK = ".glowplug-prefix"
"""A file that hack/bootstrap-node.sh leaves in the prefix: all in that directory is ours."""

_NAME = "installed.json"


@dataclass(frozen=True, slots=True)
class Installed:
    """The options of `glowplug node install`; an empty string is an option that was not set.

    `files`: those of containerd's files that have the handler, or lead to it.
    """

    handler: str
    config: str
    containerd: str
    socket: str
    prefix: str
    restart_command: str
    runtime: str
    base: str
    files: tuple[str, ...]


def prefix() -> str:
    """Where the Glowplug is that this process runs from: $GLOWPLUG_PREFIX, or as hack/bootstrap-node.sh makes it."""
    prefix = os.environ.get("GLOWPLUG_PREFIX", "")
    if prefix:
        return prefix
    above = os.path.dirname(os.path.dirname(sys.prefix))  # PREFIX/versions/VERSION
    return above if os.path.exists(f"{above}/{PREFIX_MARK}") else DEFAULT_PREFIX


def path(prefix: str, handler: str) -> str:
    """Of one handler's file."""
    return f"{prefix}/etc/{handler}/{_NAME}"


def dumps(installed: Installed) -> bytes:
    """As the file holds it."""
    return (json.dumps(asdict(installed), indent=1) + "\n").encode()


def load(prefix: str, handler: str) -> Installed | None:
    """None where that handler is not installed, or the file is damaged."""
    try:
        with open(path(prefix, handler), "rb") as file:
            return _read(json.load(file))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def all_of(prefix: str) -> list[Installed]:
    """Every handler that is installed with this prefix, by name."""
    names = sorted(name.split("/")[-2] for name in glob.glob(path(glob.escape(prefix), "*")))
    return [found for name in names if (found := load(prefix, name)) is not None]


def _read(found: Mapping[str, object]) -> Installed:
    listed = found["files"]
    if not isinstance(listed, list):
        raise TypeError("files is not a list")
    texts = {one.name: str(found[one.name]) for one in fields(Installed) if one.name != "files"}
    return Installed(**texts, files=tuple(map(str, listed)))
