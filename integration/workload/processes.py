"""Several processes and threads."""

import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable

THREADS = 8
ENDED_CODE = 3


def children() -> Callable[[], object]:
    """A child and a grandchild, each with a token in its memory and a counter that runs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    if os.fork() == 0:
        ours.close()
        _child(theirs)
    theirs.close()

    def ask() -> object:
        ours.send(b"?")
        return json.loads(ours.recv(4096))

    return ask


def _child(to_parent: socket.socket) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    if os.fork() == 0:
        to_parent.close()
        ours.close()
        os.setsid()
        _answer(theirs, lambda: None)
    theirs.close()

    def grandchild() -> object:
        ours.send(b"?")
        return json.loads(ours.recv(4096))

    _answer(to_parent, grandchild)


def _answer(asker: socket.socket, below: Callable[[], object]) -> None:
    token = secrets.token_hex(16)
    requests = 0
    while asker.recv(1):
        requests += 1
        facts = {"pid": os.getpid(), "session": os.getsid(0), "token": token, "requests": requests}
        asker.send(json.dumps({**facts, "child": below()}).encode())
    os._exit(0)


def ended() -> Callable[[], object]:
    """A child that has ended and was not waited for, and a shell whose children come to an end all the time."""
    zombie = os.fork()
    if zombie == 0:
        os._exit(ENDED_CODE)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    subprocess.Popen(["sh", "-c", "while :; do sleep 0.02; done"])

    def look() -> object:
        found = os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return {"zombie": zombie, "code": found.si_status if found else None}

    return look


def threads() -> Callable[[], object]:
    """Threads with a counter each; a try says which of them still count."""
    counters = [0] * THREADS

    def count(index: int) -> None:
        while True:
            counters[index] += 1
            time.sleep(0.005)

    for index in range(THREADS):
        threading.Thread(target=count, args=(index,), daemon=True).start()

    def look() -> object:
        before = list(counters)
        time.sleep(0.1)
        counting = sum(now > then for now, then in zip(counters, before, strict=True))
        return {"counters": before, "counting": counting}

    return look
