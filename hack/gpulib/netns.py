"""HTTP to a server inside a pod's network namespace, without any network between here and there."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import threading
from typing import Any

CLONE_NEWNET = 0x40000000


HTTPException = http.client.HTTPException


class Connected(http.client.HTTPConnection):
    """A connection over a socket that was made elsewhere."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("pod")
        self.sock = connected


def ask(pid: int, path: str, timeout: float, method: str = "GET", port: int = 8000) -> Any:
    """The JSON that a server in the network namespace of `pid` answers. Raises OSError or ValueError."""
    connection = Connected(connect(pid, timeout, port))
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path}: status {answer.status}: {body[:500]!r}")
        return json.loads(body)
    except http.client.HTTPException as error:
        raise OSError(f"{path}: {error!r}") from error
    finally:
        connection.close()


def connect(pid: int, timeout: float, port: int, address: str = "127.0.0.1") -> socket.socket:
    """A TCP connection to a port of the pod, made by a thread that joins its namespace."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def there() -> None:
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace, CLONE_NEWNET) < 0:
                    raise OSError(ctypes.get_errno(), "setns into the pod's network namespace")
                made.append(socket.create_connection((address, port), timeout))
            finally:
                os.close(namespace)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=there)  # the namespace is the thread's, and ends with it
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
