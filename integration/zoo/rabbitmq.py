"""RabbitMQ: an Erlang machine of many schedulers, a daemon of its own beside it, a shell in front."""

from integration.pods import Container
from integration.zoo.program import Program, run, shell

QUEUE = "zoo"
# Takes all messages, says them, and puts them back.
LOOK = """
while message=$(amqp-get -q zoo); do
    set -- "$@" "$message"
done
for message in "$@"; do
    amqp-publish -r zoo -p -b "$message"
    echo "$message"
done
"""


def healthy(container: Container) -> None:
    run(container, "rabbitmq-diagnostics", "-q", "check_running")
    run(container, "rabbitmq-diagnostics", "-q", "check_port_connectivity")


def plant(container: Container, token: str) -> None:
    run(container, "amqp-declare-queue", "-q", QUEUE, "-d")
    run(container, "amqp-publish", "-r", QUEUE, "-p", "-b", token)


def found(container: Container, token: str) -> bool:
    return token in shell(container, LOOK).split()


PROGRAM = Program(
    name="rabbitmq",
    packages=("rabbitmq-server", "amqp-tools"),
    command=(
        "setpriv",
        "--reuid=rabbitmq",
        "--regid=rabbitmq",
        "--init-groups",
        "/usr/lib/rabbitmq/bin/rabbitmq-server",
    ),
    state="a message of a durable queue",
    healthy=healthy,
    plant=plant,
    found=found,
    env={"RABBITMQ_NODENAME": "rabbit@localhost", "HOME": "/var/lib/rabbitmq"},
    slow=True,
)
