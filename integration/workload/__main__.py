"""Draws tokens, starts what the environment asks for, serves."""

import hashlib
import os

from integration.workload import features, logs, server, signals, state, tokens


def main() -> None:
    work(int(os.environ.get("WORKLOAD_WORK", "0")))
    drawn = tokens.draw(int(os.environ.get("WORKLOAD_MEMORY_MB", "0")))
    signals.install()
    names = [name for name in os.environ.get("WORKLOAD", "").split(",") if name]
    # Processes are forked before there is a thread; multiprocessing's queues have threads.
    names.sort(key=lambda name: (name != "processes", name == "semaphores_multiprocess"))
    started = {name: features.FEATURES[name]() for name in names}
    logs.start(int(os.environ.get("WORKLOAD_LOG_MS", "0")))
    server.serve(lambda: state.collect(drawn, started), drawn.memory)


def work(rounds: int) -> None:
    """Computing, as an import of a large library is."""
    if rounds:
        hashlib.pbkdf2_hmac("sha256", b"work", b"salt", rounds)


if __name__ == "__main__":
    main()
