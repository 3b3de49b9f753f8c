"""A parent that serves, without CUDA, and two worker processes that use it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

import device_state
import serving


def work(requests: Connection) -> None:
    """Answer `tokens` and `step` until the parent is gone."""
    memory = os.urandom(16).hex()
    device = device_state.allocate()
    while True:
        try:
            question = requests.recv()
        except EOFError:
            return
        if question == "tokens":
            requests.send({"memory": memory, "device": device.token(), "pid": os.getpid()})
        else:
            requests.send(device.step())


def main() -> None:
    """GET /tokens and /step ask both workers."""
    spawn = multiprocessing.get_context("spawn")  # a forked child can't use its parent's CUDA
    ours = []
    for _ in range(2):
        here, there = spawn.Pipe()
        spawn.Process(target=work, args=(there,), daemon=True).start()
        ours.append(here)

    def ask(question: str) -> list[object]:
        for pipe in ours:
            pipe.send(question)
        return [pipe.recv() for pipe in ours]

    ask("tokens")
    serving.serve({"/tokens": lambda: ask("tokens"), "/step": lambda: ask("step")})


if __name__ == "__main__":
    main()
