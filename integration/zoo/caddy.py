"""Caddy: a Go server that takes a new configuration without a new process."""

from integration.pods import Container
from integration.zoo.program import Program, run

ADMIN = "http://localhost:2019"


def healthy(container: Container) -> None:
    assert container.get("/healthz") == b"ok"
    assert '"listen":[":8000"]' in run(container, "curl", "-sSf", f"{ADMIN}/config/")


def plant(container: Container, token: str) -> None:
    page = f":8000\nrespond /healthz ok\nrespond /{token} {token}"
    run(
        container,
        "curl",
        "-sSf",
        "-H",
        "Content-Type: text/caddyfile",
        "--data-binary",
        page,
        f"{ADMIN}/load",
    )


def found(container: Container, token: str) -> bool:
    return container.get(f"/{token}").decode() == token


PROGRAM = Program(
    name="caddy",
    packages=("caddy", "curl"),
    command=("caddy", "run", "--config", "/zoo/Caddyfile"),
    state="a configuration, in memory",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
)
