"""HAProxy: a master and a worker in a chroot, a control socket that was renamed after its bind."""

from integration.pods import Container
from integration.zoo.program import Program, run, shell

COMMAND = ("haproxy", "-W", "-db", "-f", "/zoo/haproxy.cfg")
CONTROL = "/run/haproxy.sock"


def healthy(container: Container) -> None:
    run(container, "haproxy", "-c", "-f", "/zoo/haproxy.cfg")
    said = ask(container, "show info")
    assert "Name: HAProxy" in said and "Stopping: 0" in said, said
    assert container.get("/", 80) is not None


def plant(container: Container, token: str) -> None:
    ask(container, f"add map /zoo/tokens.map /{token} {token}")


def found(container: Container, token: str) -> bool:
    """Of the worker's memory alone: the map's file stays empty."""
    return container.get(f"/{token}", 80).decode() == token


def ask(container: Container, question: str) -> str:
    return shell(container, f'echo "$1" | socat - UNIX-CONNECT:{CONTROL}', question)


PROGRAM = Program(
    name="haproxy",
    packages=("haproxy", "socat"),
    command=(*COMMAND, "-f", "/zoo/haproxy-users.cfg"),
    state="an entry of a map, in memory",
    healthy=healthy,
    plant=plant,
    found=found,
    users=2,
)
