"""The container's stdin, stdout and stderr, as `runc restore` gets them for the restored processes.

A runc that fails prints its last words to its stderr, whatever `--log` says, and that is the container's: they
would stand in the container's log. So it gets the same pipe opened for reading, where a write is an error that
it does not mind. The restored processes get theirs for writing: CRIU opens an inherited pipe anew with the flags
of the captured descriptor (criu/pipes.c, reopen_pipe).
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

Stdio = tuple[int, int, int]


@contextmanager
def for_runc(own: Stdio) -> Iterator[Stdio]:
    """The descriptors to start runc with; `own` are the container's as the runtime was given them."""
    stdin, stdout, stderr = own
    if not stat.S_ISFIFO(os.fstat(stderr).st_mode):
        yield own  # a file or /dev/null: CRIU opens those by name
        return
    reading = os.open(f"/proc/self/fd/{stderr}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield stdin, stdout, reading
    finally:
        os.close(reading)
