"""supervisord: the first process of a container with several users, pipes to each child, a socket that was linked."""

import xmlrpc.client
from typing import Any

from integration.pods import Container
from integration.waiting import wait_until
from integration.zoo.program import Program, run

ANSWERS_WITHIN_S = 30.0
CONTROL = ("supervisorctl", "-c", "/zoo/supervisord.conf")


def healthy(container: Container) -> None:
    """Status 0: all programs run."""
    said = run(container, *CONTROL, "status")
    assert said.count("RUNNING") == 3, said


def plant(container: Container, token: str) -> None:
    server(container).sendProcessStdin("keeper", f"{token}\n")


def found(container: Container, token: str) -> bool:
    """The child's memory, by its pipes: it answers an empty line with all lines that it had."""
    server(container).clearProcessLogs("keeper")
    server(container).sendProcessStdin("keeper", "\n")
    said = wait_until(lambda: answer(container), ANSWERS_WITHIN_S, "the child's answer")
    return token in said.split()


def answer(container: Container) -> str:
    said = str(server(container).readProcessStdoutLog("keeper", 0, 0))
    return said if said.endswith(".\n") else ""


def server(container: Container) -> Any:
    return xmlrpc.client.ServerProxy(f"http://{container.pod.ip}:9001/RPC2").supervisor


PROGRAM = Program(
    name="supervisord",
    packages=("supervisor", "tini"),
    command=("tini", "--", "supervisord", "-n", "-c", "/zoo/supervisord.conf"),
    env={"KEEPERS_USER": "nobody", "CLOCKS_USER": "daemon", "WEBS_USER": "www-data"},
    state="lines in the memory of a child, by its standard input",
    healthy=healthy,
    plant=plant,
    found=found,
    users=4,
)
