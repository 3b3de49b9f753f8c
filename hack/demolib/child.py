"""Programs that the demo runs and waits for."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from hack.demolib.interrupt import ENDING

ENDS_WITHIN_S = 15.0


class Failed(Exception):
    """A program that ended with another status than 0. The message has the end of what it wrote."""


def output(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Standard output of a program. Raises Failed.

    Whatever interrupts the wait ends the program too, by SIGTERM, so that it can put away what it began.
    A session of its own keeps Ctrl-C from it: it would hear twice.
    """
    program = _started(command, env)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
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


def _started(command: Sequence[str], env: Mapping[str, str] | None) -> "subprocess.Popen[str]":
    """With the signals of ENDING blocked, for the caller to unblock: one that came between would leave the program."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING),
        )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        raise


def python(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Standard output of this Python with these arguments."""
    return output([sys.executable, *arguments], env)
