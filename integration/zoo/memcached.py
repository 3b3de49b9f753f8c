"""memcached: all of its state in memory, a thread for each share of the connections."""

from integration.pods import Container
from integration.zoo.program import Program, run, shell

SERVER = "--servers=127.0.0.1"


def healthy(container: Container) -> None:
    run(container, "memcping", SERVER)


def plant(container: Container, token: str) -> None:
    shell(container, 'cd /tmp && echo "$1" >"$1" && memccp --servers=127.0.0.1 "$1" && rm "$1"', token)


def found(container: Container, token: str) -> bool:
    return run(container, "memccat", SERVER, token) == token


PROGRAM = Program(
    name="memcached",
    packages=("memcached", "libmemcached-tools"),
    command=("memcached", "-u", "root", "-l", "0.0.0.0", "-t", "4"),
    state="a value",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
)
