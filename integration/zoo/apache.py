"""Apache: a master, processes of many threads each, a scoreboard that they share, locks between them."""

from integration.pods import Container
from integration.zoo.program import Program, run, shell

COMMAND = ("apache2", "-f", "/zoo/apache.conf")


def healthy(container: Container) -> None:
    run(container, *COMMAND, "-t")
    said = container.get("/status?auto", 80).decode()
    assert "IdleWorkers" in said and "ServerMPM: event" in said, said


def plant(container: Container, token: str) -> None:
    """A page, asked for once: the scoreboard remembers how many were."""
    shell(container, 'echo "$1" >"/srv/www/$1"', token)
    assert container.get(f"/{token}", 80).decode().strip() == token


def found(container: Container, token: str) -> bool:
    """The page is served, by the processes that a graceful restart makes anew as well."""
    served = container.get(f"/{token}", 80).decode().strip() == token
    run(container, *COMMAND, "-k", "graceful")
    return served and container.get(f"/{token}", 80).decode().strip() == token


PROGRAM = Program(
    name="apache",
    packages=("apache2", "curl", "tini"),
    command=("tini", "--", "sh", "-c", "mkdir -p /srv/www && exec apache2 -f /zoo/apache.conf -D FOREGROUND"),
    state="a page, and what the scoreboard counts",
    healthy=healthy,
    plant=plant,
    found=found,
    users=2,
    slow=True,
)
