"""For programs that hack/fresh-node and hack/systemd-node run on a node: a line said at once, a command's output."""

import subprocess
import sys


def say(text: str) -> None:
    """A line on standard output, now."""
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


def run(*command: str) -> str:
    """Its standard output. Raises AssertionError with all that it wrote where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout
