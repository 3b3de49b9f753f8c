"""Running a program to hear what it says of itself: bounded in time, nothing on its standard input."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from glowplug.errors import HostError

ENDS_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended and what it wrote, errors after output."""

    status: int
    text: str


def run(arguments: Sequence[str]) -> Said:
    """Raises HostError: no such program, one that can't be run, or one that does not end."""
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ENDS_WITHIN_S,
        )
    except OSError as error:
        raise HostError(f"{arguments[0]} can't be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise HostError(f"{' '.join(arguments)} was not done after {ENDS_WITHIN_S:g} s") from None
    return Said(done.returncode, done.stdout + done.stderr)


def version_numbers(text: str) -> tuple[int, ...]:
    """(1, 6, 20) of "1.6.20~ds1", "v1.6.20-rc.1+deb", …. Raises HostError where there are no numbers."""
    words = text.strip().lstrip("v").replace("-", " ").replace("~", " ").replace("+", " ").split()
    parts = words[0].split(".") if words else []
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit()]
    if not numbers or len(numbers) != len(parts):
        raise HostError(f"expected a version, got {text.strip()[:60]!r}")
    return tuple(numbers)
