"""Pause a restored tree at the last moment before it runs, without any process noticing; and say when it is made.

CRIU runs its action script at `pre-resume`, when all is restored and every task is still in a ptrace
stop (criu/cr-restore.c). The script here notifies us, and returns when we let it: no signal is sent, no parent
sees a child stopped. Should we die in between, the script kills the tree, which must not run half made; but where
the record of the opening is there, it lets the tree run, so that this file alone says how it ended.

At `post-restore`, some stages earlier, every task has its memory and its threads and does nothing but wait for the
others. The script notifies us of that, too, and CRIU continues: memory may be written from then on.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import os
import select
import time

from glowplug.errors import CriuError

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT_NAME = "gate.sh"
_SCRIPT = """\
#!/bin/sh
case $CRTOOLS_SCRIPT_ACTION in
    post-restore) echo "made $CRTOOLS_INIT_PID" >{paused}; exit 0 ;;
    pre-resume) ;;
    *) exit 0 ;;
esac
echo "paused $CRTOOLS_INIT_PID $$" >{paused}
read -r go <{go} || [ -e {opened} ] || kill -KILL "$CRTOOLS_INIT_PID"
"""
_POLL_S = 0.05


def script_in(directory: str) -> str:
    """The path of the script of a gate in this directory, for `config.restore(script=…)`."""
    return os.path.join(directory, SCRIPT_NAME)


class Gate:
    """One gate for one restore. A context, to be left when the restore has ended.

    Its files and descriptors go with it. Left without `open`, it makes a waiting script kill the tree, unless the
    file `opened` is there.
    """

    def __init__(self, directory: str, opened: str) -> None:
        """Make the script and its pipes in ``directory``, which only root may enter. Raises CriuError."""
        self.script = script_in(directory)
        self._script_pid = 0
        self.was_opened = False
        self._paused_path = os.path.join(directory, "gate.paused")
        self._go_path = os.path.join(directory, "gate.go")
        self._paused = self._go = -1
        self._said: list[list[bytes]] = []
        self._unfinished = b""
        try:
            os.mkfifo(self._paused_path, 0o600)
            os.mkfifo(self._go_path, 0o600)
            self._paused = os.open(self._paused_path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            self._go = os.open(self._go_path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(
                os.open(self.script, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700), "w"
            ) as file:
                file.write(
                    _SCRIPT.format(
                        paused=_quoted(self._paused_path),
                        go=_quoted(self._go_path),
                        opened=_quoted(opened),
                    )
                )
        except OSError as error:
            self.close()
            raise CriuError(f"the gate for a restore can't be made: {error.strerror}") from error

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_made(self, until: float, over: Callable[[], bool]) -> int | None:
        """Wait for the tree to have its memory and its threads, some of CRIU's stages before it stands at the gate: its
        first process, as seen here. None where the restore has ended. `until`, `over`, CriuError: as of `wait`."""
        words = self._hear(until, over)
        if words is not None and words[0] != b"made":
            self._said.insert(0, words)
        return None if words is None else _number(words[1:2])

    def wait(self, until: float, over: Callable[[], bool]) -> int | None:
        """Wait for the tree to reach the gate: its first process, as seen here.

        until: time.monotonic() at which to give up with CriuError. over: whether the restore has ended; then
        None, for it failed before it got here.
        """
        words = self._hear(until, over)
        while words is not None and words[0] == b"made":
            words = self._hear(until, over)
        if words is None:
            return None
        self._script_pid = _number(words[2:])
        return _number(words[1:2])

    def _hear(self, until: float, over: Callable[[], bool]) -> list[bytes] | None:
        """The words of the next line that the script wrote."""
        while not self._said:
            left = until - time.monotonic()
            if left <= 0:
                raise CriuError("CRIU did not bring the tree back in time")
            if select.select([self._paused], [], [], min(left, _POLL_S))[0]:
                *lines, self._unfinished = (self._unfinished + os.read(self._paused, 256)).split(b"\n")
                self._said += [line.split() or [b""] for line in lines]
            elif over():
                return None
        return self._said.pop(0)

    def require_paused(self) -> None:
        """Raises CriuError where the script is gone, killed by somebody: CRIU lets the tree run then."""
        if not os.path.exists(f"/proc/{self._script_pid}"):
            raise CriuError("the script that holds the restored tree was killed")

    def open(self) -> None:
        """Let the tree run."""
        os.write(self._go, b"go\n")
        self.was_opened = True

    def close(self) -> None:
        """Remove the gate. Names first: a script that is not at the pipe yet then finds none, and kills too."""
        for path in (self._go_path, self._paused_path, self.script):
            if os.path.lexists(path):
                os.unlink(path)
        for fd in (self._paused, self._go):
            if fd >= 0:
                os.close(fd)
        self._paused = self._go = -1


def _number(words: list[bytes]) -> int:
    if len(words) != 1 or not words[0].isdigit():
        raise CriuError("CRIU reported no first process of the restored tree")
    return int(words[0])


def _quoted(path: str) -> str:
    """A word of a shell; `shlex` would import regular expressions for it."""
    return "'" + path.replace("'", "'\\''") + "'"
