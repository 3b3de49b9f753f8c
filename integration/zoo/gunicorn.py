"""gunicorn: workers that share listeners and memory with their master, and beat its heart by removed files."""

from integration.pods import Container
from integration.zoo.program import Program, run

COMMAND = (
    "gunicorn",
    "--preload",
    "--workers=2",
    "--threads=2",
    "--bind=0.0.0.0:8000",
    "--bind=unix:/run/app.sock",
    "--chdir=/zoo",
    "app:app",
)


def healthy(container: Container) -> None:
    assert container.get("/healthz") == b"ok"
    assert run(container, "curl", "-sS", "--unix-socket", "/run/app.sock", "http://localhost/healthz") == "ok"


def plant(container: Container, token: str) -> None:
    run(container, "curl", "-sSf", "-d", token, "http://127.0.0.1:8000/")


def found(container: Container, token: str) -> bool:
    return token in container.get("/").decode().split()


PROGRAM = Program(
    name="gunicorn",
    packages=("gunicorn", "curl"),
    command=(*COMMAND, "--user=www-data", "--group=www-data"),
    state="lines in memory that two workers share",
    healthy=healthy,
    plant=plant,
    found=found,
    users=2,
)
