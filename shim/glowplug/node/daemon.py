"""The containerd that serves a socket, as a process: what it finds in its PATH, its shims find."""

import os
import socket
import struct

_CONNECTS_WITHIN_S = 5.0


def pid(address: str) -> int | None:
    """Who listens there (SO_PEERCRED, unix(7)); None where nobody does, or it is of another PID namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_CONNECTS_WITHIN_S)
        try:
            connection.connect(address)
        except OSError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0]) or None


def search_path(address: str) -> str | None:
    """PATH in the environment of that process; None where there is none, or it can't be read."""
    found = pid(address)
    if found is None:
        return None
    try:
        with open(f"/proc/{found}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return None
    return next((os.fsdecode(one[5:]) for one in variables if one.startswith(b"PATH=")), None)
