"""Work done side by side by forked processes: one interpreter alone would not use a second CPU.

A child gets a number at a time and answers with the bytes that it did, or why it could not; it ends with its
parent, at the latest with what it is at. It has all that the parent had when it was forked, its locks and open files
among them.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from glowplug.errors import CacheError, GlowplugError, RegistryError, RegistryMiss
from glowplug.host import process_life

Work = Callable[[int], int]
"""Does one of the numbers; the bytes of it. Raises GlowplugError."""

_MESSAGE = 16 << 10  # bytes; of an answer
_CUT = 2000  # characters of an error's text


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    connection: socket.socket


def run(
    numbers: Sequence[int],
    processes: int,
    begin: Callable[[int], Work],
    done: Callable[[int], None] = lambda size: None,
) -> None:
    """All numbers, by as many processes. `begin`: called with the child's own number in it; its result does the work.
    `done`: called with each answer.

    Raises the first error of a child once all have ended what they were at; RegistryError for one that was killed.
    """
    waiting = list(reversed(numbers))
    failed: GlowplugError | None = None
    with _children(min(processes, len(waiting)), begin) as children, selectors.DefaultSelector() as selector:
        for child in children:
            _give(child, waiting)
            selector.register(child.connection, selectors.EVENT_READ, child)
        while selector.get_map():
            for key, _ in selector.select():
                child = key.data
                try:
                    done(_answer(child.connection))
                except GlowplugError as error:
                    failed = failed or error
                    waiting.clear()
                if not waiting:
                    selector.unregister(child.connection)
                else:
                    _give(child, waiting)
    if failed is not None:
        raise failed


@contextlib.contextmanager
def _children(count: int, begin: Callable[[int], Work]) -> Iterator[list[_Child]]:
    """Each ends when its connection does."""
    children: list[_Child] = []
    try:
        for number in range(count):
            children.append(_forked(number, begin, [one.connection for one in children]))
        yield children
    except BaseException:  # somebody's Ctrl-C: what they are at may take minutes
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
        raise
    finally:
        for child in children:
            child.connection.close()
        for child in children:
            os.waitpid(child.pid, 0)


def _forked(number: int, begin: Callable[[int], Work], others: Sequence[socket.socket]) -> _Child:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        try:
            process_life.die_with_parent(parent)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
            for connection in (ours, *others):
                connection.close()
            _serve(its, begin(number))
        except Exception:  # noqa: BLE001 - it must not continue as a second parent; the parent reports that it ended
            traceback.print_exc()
        finally:
            os._exit(0)
    its.close()
    return _Child(pid, ours)


def _serve(connection: socket.socket, work: Work) -> None:
    while message := connection.recv(_MESSAGE):
        answer: dict[str, object]
        try:
            answer = {"bytes": work(int(message))}
        except RegistryMiss as error:
            answer = {"slug": error.slug, "error": str(error)[:_CUT]}
        except (GlowplugError, OSError) as error:
            kind = "cache" if isinstance(error, CacheError | OSError) else "registry"
            answer = {"kind": kind, "error": str(error)[:_CUT]}
        try:
            connection.send(json.dumps(answer).encode())
        except BrokenPipeError:
            return


def _give(child: _Child, waiting: list[int]) -> None:
    with contextlib.suppress(BrokenPipeError):  # it was killed: the next answer says so
        child.connection.send(str(waiting.pop()).encode())


def _answer(connection: socket.socket) -> int:
    """The bytes that were done. Raises GlowplugError."""
    try:
        message = connection.recv(_MESSAGE)
    except ConnectionResetError:
        message = b""
    if not message:
        raise RegistryError("a process that fetched was killed: the next pull continues where it was")
    answer = json.loads(message)
    if "slug" in answer:
        raise RegistryMiss(answer["slug"], answer["error"])
    if "error" in answer:
        raise CacheError(answer["error"]) if answer["kind"] == "cache" else RegistryError(answer["error"])
    return int(answer["bytes"])
