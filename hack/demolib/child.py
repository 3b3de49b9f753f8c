"""Programs that the demo runs and waits for."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

ENDS_WITHIN_S = 15.0


class Failed(Exception):
    """A program that ended with another status than 0. The message has the end of what it wrote."""


def output(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Standard output of a program. Raises Failed.

    Whatever interrupts the wait ends the program too, by SIGTERM, so that it can put away what it began.
    A session of its own keeps Ctrl-C from it: it would hear twice.
    """
    program = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        written, complaint = program.communicate()
    except BaseException:
        program.terminate()
        try:
            program.communicate(timeout=ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()
        raise
    if program.returncode:
        last = (complaint or written).strip().splitlines()[-1:] or ["it wrote nothing"]
        raise Failed(f"{command[0]} ended with status {program.returncode}: {last[0]}")
    return written


def python(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Standard output of this Python with these arguments."""
    return output([sys.executable, *arguments], env)
