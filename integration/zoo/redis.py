"""Redis: a server that gives up root, with an append-only file, a Unix socket and threads for input and output."""

from integration.pods import Container
from integration.zoo.program import Program, run

CLIENT = ("redis-cli", "-s", "/var/lib/redis/redis.sock")


def healthy(container: Container) -> None:
    assert run(container, "redis-cli", "-h", "127.0.0.1", "ping") == "PONG"
    said = run(container, *CLIENT, "info", "persistence")
    assert "aof_last_write_status:ok" in said and "aof_enabled:1" in said, said


def plant(container: Container, token: str) -> None:
    run(container, *CLIENT, "set", f"key-{token}", token)
    run(container, *CLIENT, "rpush", "queue", token)
    run(container, *CLIENT, "expire", f"key-{token}", "3600")


def found(container: Container, token: str) -> bool:
    queue = run(container, *CLIENT, "lrange", "queue", "0", "-1").split()
    return run(container, *CLIENT, "get", f"key-{token}") == token and token in queue


PROGRAM = Program(
    name="redis",
    packages=("redis-server", "redis-tools"),
    command=("setpriv", "--reuid=redis", "--regid=redis", "--init-groups", "redis-server", "/zoo/redis.conf"),
    state="a key with a time to live, an entry of a list",
    healthy=healthy,
    plant=plant,
    found=found,
)
