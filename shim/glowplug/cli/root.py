"""Most commands are root's."""

import os

from glowplug.errors import UsageError


def require_root(why: str) -> None:
    """Raises UsageError for anybody else."""
    if os.geteuid() != 0:
        raise UsageError(f"wanted to be run by root ({why}), found user id {os.geteuid()}: use sudo")
