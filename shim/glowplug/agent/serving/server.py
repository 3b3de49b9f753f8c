"""The agent's socket: one JSON object on a line each way, root only.

A question is `{"op": NAME, …}`; the answer to one that fails is `{"error": TEXT}`. Each connection has a
thread of its own, so that a slow question holds up nobody.
"""

import json
import logging
import os
import socket
import socketserver
import struct
import sys
from collections.abc import Callable, Mapping

from glowplug import paths
from glowplug.errors import GlowplugError, UsageError

log = logging.getLogger("glowplug.agent")

Answer = Callable[[Mapping[str, object]], Mapping[str, object]]

LONGEST_QUESTION = 1 << 20
IDLE_S = 10.0


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens in the run directory. Raises UsageError when another agent does already."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        os.makedirs(paths.RUN_DIR, 0o700, exist_ok=True)
        os.chmod(paths.RUN_DIR, 0o700)
        _make_way(paths.agent_socket())
        before = os.umask(0o177)
        try:
            super().__init__(paths.agent_socket(), _Connection)
        finally:
            os.umask(before)

    def server_close(self) -> None:
        """Close the socket and remove its file."""
        super().server_close()
        os.unlink(paths.agent_socket())

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that stopped waiting is no event; an answer that can't be made is."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a question can't be answered")


class _Connection(socketserver.StreamRequestHandler):
    timeout = IDLE_S

    def handle(self) -> None:
        assert isinstance(self.server, Server)
        if _peer_uid(self.request) != 0:
            return
        line = self.rfile.readline(LONGEST_QUESTION)
        if line.endswith(b"\n"):
            self.wfile.write(json.dumps(_answer(self.server.answers, line)).encode() + b"\n")


def _answer(answers: Mapping[str, Answer], line: bytes) -> Mapping[str, object]:
    try:
        question = json.loads(line)
        operation = question["op"]
        answer = answers[operation]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"error": f"expected a JSON object whose op is one of: {', '.join(sorted(answers))}"}
    try:
        return answer(question)
    except (GlowplugError, OSError) as error:
        return {"error": str(error)}


def _make_way(path: str) -> None:
    """Remove the socket of an agent that is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise UsageError(f"can't listen on {path}: another agent listens there: stop it first")


def _peer_uid(connection: socket.socket) -> int:
    """SO_PEERCRED (unix(7)): the other end's user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
