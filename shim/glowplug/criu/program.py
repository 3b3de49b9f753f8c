"""The CRIU program and its version."""

import re
import subprocess

from glowplug.errors import CriuError

MINIMUM = (4, 1)
"""Oldest CRIU that Glowplug works with."""

_VERSION = re.compile(r"^Version:\s*(\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)


def version(criu: str) -> tuple[int, int, int]:
    """The version of the CRIU program at path ``criu``. CriuError if it is missing, hangs or names none."""
    try:
        said = subprocess.run(
            [criu, "--version"], capture_output=True, text=True, timeout=10, check=True, errors="replace"
        ).stdout
    except FileNotFoundError:
        raise CriuError(f"CRIU is not installed at {criu}; install CRIU 4.1 or newer") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise CriuError(f"{criu} --version failed: {type(error).__name__}; install CRIU 4.1") from error
    found = _VERSION.search(said)
    if found is None:
        raise CriuError(f"{criu} --version names no version; install CRIU 4.1 or newer")
    return int(found[1]), int(found[2]), int(found[3] or 0)
