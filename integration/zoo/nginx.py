"""nginx: a master as root, workers of another user, shared memory between them, a listener on a Unix socket."""

import re

from integration.pods import Container
from integration.zoo.program import Program, run, shell

COMMAND = ("nginx", "-c", "/zoo/nginx.conf")


def healthy(container: Container) -> None:
    run(container, "nginx", "-t", "-c", "/zoo/nginx.conf")
    assert b"Active connections" in container.get("/status", 80)
    said = run(container, "curl", "-sS", "--unix-socket", "/run/nginx.sock", "http://localhost/status")
    handled = re.search(r"\d+ (\d+) \d+", said)
    assert handled and int(handled[1]) > 1, said


def plant(container: Container, token: str) -> None:
    shell(container, 'mkdir -p /srv/www && echo "$1" >"/srv/www/$1"', token)


def found(container: Container, token: str) -> bool:
    """The page is served, also by workers that the master makes again."""
    served = container.get(f"/{token}", 80).decode().strip() == token
    run(container, "nginx", "-s", "reload", "-c", "/zoo/nginx.conf")
    return served and container.get(f"/{token}", 80).decode().strip() == token


PROGRAM = Program(
    name="nginx",
    packages=("nginx", "curl"),
    command=(*COMMAND, "-g", "user www-data;"),
    state="a page",
    healthy=healthy,
    plant=plant,
    found=found,
    users=2,
)
