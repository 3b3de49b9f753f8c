"""Mosquitto: a broker, and a subscriber of its own that stays connected to it."""

from integration.pods import Container
from integration.waiting import wait_until
from integration.zoo.program import Program, run

WITHIN_S = 20.0


def healthy(container: Container) -> None:
    uptime = run(container, "mosquitto_sub", "-C", "1", "-W", "10", "-t", "$SYS/broker/uptime")
    assert "seconds" in uptime, uptime


def plant(container: Container, token: str) -> None:
    run(container, "mosquitto_pub", "-r", "-t", f"zoo/{token}", "-m", token)


def found(container: Container, token: str) -> bool:
    """Retained by the broker; and what is published now reaches the subscriber, whose connection continued."""
    heard = f"heard {token}"
    run(container, "mosquitto_pub", "-t", "heard", "-m", heard)
    wait_until(
        lambda: heard in run(container, "cat", "/run/heard").splitlines(), WITHIN_S, "what was published"
    )
    return run(container, "mosquitto_sub", "-C", "1", "-W", "10", "-t", f"zoo/{token}") == token


PROGRAM = Program(
    name="mosquitto",
    packages=("mosquitto", "mosquitto-clients", "tini"),
    command=(
        "tini",
        "--",
        "sh",
        "-c",
        "mosquitto -c /zoo/mosquitto.conf & until mosquitto_pub -t begin -n; do :; done;"
        " mosquitto_sub -t heard >/run/heard & wait",
    ),
    state="a retained message, and a subscriber's connection",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
    ended=143,
)
