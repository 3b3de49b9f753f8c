"""Most commands are root's."""

import os

from glowplug.errors import UsageError


def require_root(why: str) -> None:
    """Raises UsageError for anybody else."""
    if os.geteuid() != 0:
        raise UsageError(f"must run as root, as {why} (uid {os.geteuid()}): use sudo")
