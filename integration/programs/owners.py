"""Open files that belong to somebody else than root."""

import os
import socket


def owned_by_nobody():
    """A pipe and a socket: the pipe is opened by name as its owner may."""
    reader, writer = os.pipe()
    listener = socket.create_server(("127.0.0.1", 0))
    for fd in (writer, listener.fileno()):
        os.fchown(fd, 1000, 1001)

    def check():
        for fd in (reader, listener.fileno()):
            of = os.fstat(fd)
            assert (of.st_uid, of.st_gid) == (1000, 1001), f"descriptor {fd} is {of.st_uid}:{of.st_gid}'s"

    return check
