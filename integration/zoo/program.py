"""What the zoo has to know of a program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from integration.cri_specs import Security
from integration.pods import Container

CLIENT_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Program:
    """Software of Debian's packages, queried by its own clients.

    `packages`: the first one's version is the program's. `state`: what is planted, in words. `plant` and `found` take
    a token; `healthy` raises AssertionError for what is wrong. `users`: so many its processes have, at least.
    `ended`: the exit code after SIGTERM.
    """

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    state: str
    healthy: Callable[[Container], None]
    plant: Callable[[Container, str], None]
    found: Callable[[Container, str], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    security: Security = field(default_factory=Security)
    users: int = 1
    slow: bool = False
    ended: int = 0


def run(container: Container, *command: str) -> str:
    """Output of a client in the container. Raises AssertionError with what it said when it fails."""
    done = container.pod.cri.exec_sync(container.id, command, CLIENT_WITHIN_S)
    said = (done.stdout + done.stderr).decode(errors="backslashreplace")
    assert done.exit_code == 0, f"{' '.join(command)}: status {done.exit_code}: {said}"
    return done.stdout.decode(errors="backslashreplace").strip()


def shell(container: Container, script: str, *arguments: str) -> str:
    """The same for a line of shell."""
    return run(container, "sh", "-euc", script, "sh", *arguments)
