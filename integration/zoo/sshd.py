"""sshd: a session with a client in the same container, whose remote shell has a variable."""

from integration.pods import Container
from integration.waiting import wait_until
from integration.zoo.program import Program, run, shell

WITHIN_S = 20.0


def healthy(container: Container) -> None:
    """A new session can be made, and the old one is there."""
    assert run(container, "ssh", "-p", "2222", "localhost", "echo", "new") == "new"
    run(container, "test", "-e", "/run/said")


def plant(container: Container, token: str) -> None:
    """In the memory of the remote shell."""
    shell(container, 'echo "tokens=\\"\\$tokens $1\\"" >/run/lines', token)


def found(container: Container, token: str) -> bool:
    shell(container, "echo 'echo $tokens' >/run/lines")
    wait_until(
        lambda: token in run(container, "cat", "/run/said").split(), WITHIN_S, "the remote shell's answer"
    )
    return True


PROGRAM = Program(
    name="sshd",
    packages=("openssh-server", "openssh-client", "tini"),
    command=("tini", "--", "sh", "/zoo/sshd.sh"),
    state="a variable of the remote shell of a session that continues",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
    ended=143,
)
