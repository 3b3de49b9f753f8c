"""The container's stdin, stdout and stderr, as `runc restore` gets them for the restored processes.

A runc that fails prints its last words to its stderr, whatever `--log` says, and that is the container's: they
would be in the container's log. So it gets the same pipe opened for reading, where a write is an error that
it does not mind. The restored processes get theirs for writing: CRIU opens an inherited pipe again with the flags
of the captured descriptor (criu/pipes.c, reopen_pipe).
"""

import os
import stat

Stdio = tuple[int, int, int]


class ForRunc:
    """The descriptors to start runc with; `own` are the container's as the runtime got them. A context."""

    __slots__ = ("_own", "_reading")

    def __init__(self, own: Stdio) -> None:
        self._own = own
        self._reading = -1

    def __enter__(self) -> Stdio:
        stdin, stdout, stderr = self._own
        if not stat.S_ISFIFO(os.fstat(stderr).st_mode):
            return self._own  # a file or /dev/null: CRIU opens those by name
        self._reading = os.open(f"/proc/self/fd/{stderr}", os.O_RDONLY | os.O_CLOEXEC)
        return stdin, stdout, self._reading

    def __exit__(self, *_: object) -> None:
        if self._reading >= 0:
            os.close(self._reading)


def give_to_user(own: Stdio, uid: int) -> None:
    """They belong to the user that the container's first process was started as, as `runc init` has it
    (libcontainer/init_linux.go, fixStdioPermissions): or it could not open /dev/stdout, a pipe, by its name.

    One that can't be changed (a read-only file system, a file that is nobody's) stays as it is, as with runc.
    """
    null = os.stat(os.devnull).st_rdev
    for fd in own:
        there = os.fstat(fd)
        if there.st_uid == uid or (stat.S_ISCHR(there.st_mode) and there.st_rdev == null):
            continue
        try:
            os.fchown(fd, uid, -1)
        except OSError:
            continue
