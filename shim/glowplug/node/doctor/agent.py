"""The agent: whether it answers, as fast as the runtime wants it."""

import time

from glowplug.node.doctor.asked import Asked
from glowplug.node.doctor.finding import Finding, ok, wrong
from glowplug.runtime import ask

START = "systemctl start glowplug-agent"

_QUESTION: dict[str, object] = {"op": "history", "container": ""}


def answers(_: Asked) -> Finding:
    """Asked with the deadline that it has when a container is created."""
    before = time.monotonic()
    try:
        ask.ask(_QUESTION)
    except ask.NoAnswer as error:
        return wrong(error.detail, "an agent that answers: without one every start is cold", START)
    return ok(f"answers, {1000 * (time.monotonic() - before):.0f} ms")
