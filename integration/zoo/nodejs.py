"""Node.js: libuv's threads and epoll, a worker with a heap of its own, compiled code."""

from integration.pods import Container
from integration.zoo.program import Program


def healthy(container: Container) -> None:
    assert container.get("/healthz") == b"ok"


def plant(container: Container, token: str) -> None:
    container.get(f"/put/{token}")


def found(container: Container, token: str) -> bool:
    return token in container.get("/").decode().split()


PROGRAM = Program(
    name="nodejs",
    packages=("nodejs",),
    command=("node", "/zoo/keeper.mjs"),
    state="a string in a worker's heap",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
)
