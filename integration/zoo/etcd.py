"""etcd: a Go server, whose listeners are MPTCP's by default, with connections to itself and a log on disk."""

import re

from integration.pods import Container
from integration.zoo.program import Program, run


def healthy(container: Container) -> None:
    """Built by a Go that takes MPTCP for listeners (1.24 and newer)."""
    built = re.search(r"Go Version: go1\.(\d+)", run(container, "etcd", "--version"))
    assert built and int(built[1]) >= 24, built
    assert '"health":"true"' in container.get("/health", 2379).decode()
    run(container, "etcdctl", "endpoint", "health")


def plant(container: Container, token: str) -> None:
    run(container, "etcdctl", "put", f"/{token}", token)


def found(container: Container, token: str) -> bool:
    return run(container, "etcdctl", "get", "--print-value-only", f"/{token}") == token


PROGRAM = Program(
    name="etcd",
    packages=("etcd-server", "etcd-client"),
    command=(
        "etcd",
        "--data-dir=/var/lib/etcd/zoo",
        "--listen-client-urls=http://0.0.0.0:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
    ),
    state="a key",
    healthy=healthy,
    plant=plant,
    found=found,
)
