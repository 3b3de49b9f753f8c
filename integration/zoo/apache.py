"""Apache: a master, processes of many threads each, a scoreboard that they share, locks between them."""

from integration.pods import Container
from integration.waiting import wait_until
from integration.zoo.program import Program, run, shell

REPLACED_WITHIN_S = 30.0
COMMAND = ("apache2", "-f", "/zoo/apache.conf")


def healthy(container: Container) -> None:
    run(container, *COMMAND, "-t")
    said = container.get("/status?auto", 80).decode()
    assert "IdleWorkers" in said and "ServerMPM: event" in said, said


def plant(container: Container, token: str) -> None:
    """A page, requested once: the scoreboard remembers how many were."""
    shell(container, 'echo "$1" >"/srv/www/$1"', token)
    assert container.get(f"/{token}", 80).decode().strip() == token


def found(container: Container, token: str) -> bool:
    """The page is served, by the processes that a graceful restart makes again as well."""
    served = container.get(f"/{token}", 80).decode().strip() == token
    generation = status(container)["ParentServerMPMGeneration"]
    run(container, *COMMAND, "-k", "graceful")
    wait_until(
        lambda: is_replaced(container, generation), REPLACED_WITHIN_S, "new processes, and the old ones gone"
    )
    return served and container.get(f"/{token}", 80).decode().strip() == token


def is_replaced(container: Container, generation: str) -> bool:
    now = status(container)
    return now["ParentServerMPMGeneration"] != generation and (now["Processes"], now["Stopping"]) == (
        "2",
        "0",
    )


def status(container: Container) -> dict[str, str]:
    """What mod_status says, by its names."""
    lines = container.get("/status?auto", 80).decode().splitlines()
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


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
