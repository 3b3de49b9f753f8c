"""Each program is captured with planted state, continues, and is found as it was in two new pods."""

import json
import secrets
import time
from collections.abc import Callable
from functools import partial

import pytest

from glowplug.errors import ContainerdError
from glowplug.host import proc, process
from integration import differ
from integration.captured import capture, outcome
from integration.node import Node
from integration.pods import Container, Pod, Pods
from integration.waiting import wait_until
from integration.zoo import image
from integration.zoo.all import PROGRAMS
from integration.zoo.program import Program
from integration.zoo.report import Row

TRIED = {"glowplug.dev/trial": "always"}
HEALTHY_WITHIN_S = 120.0
AT_REST_WITHIN_S, STOPS_WITHIN_S = 20.0, 60
REPORTED = 40  # lines


def started(pods: Pods, program: Program, case: str) -> tuple[Pod, Container]:
    pod = pods.run(name=program.name, annotations=TRIED)
    container = pod.container(
        image=image.reference("slow" if program.slow else "quick"),
        command=program.command,
        env={**program.env, "CASE": case},
        security=program.security,
        annotations=TRIED,
    )
    container.start()
    return pod, container


def healthy(program: Program, container: Container) -> None:
    """Returns when its own check passes. Raises TimeoutError with what the check said, and with the log."""
    said = ""

    def passes() -> bool:
        nonlocal said
        if container.status().state == "exited":
            raise TimeoutError(f"it ended: {container.status()}")
        try:
            program.healthy(container)
        except (AssertionError, ContainerdError, OSError, ValueError) as error:
            said = str(error)
            return False
        return True

    try:
        wait_until(passes, HEALTHY_WITHIN_S, f"{program.name} healthy")
    except TimeoutError as error:
        log = "\n".join(line.text for line in container.log()[-30:])
        raise TimeoutError(f"{error}\n{said}\n{log}") from None


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_it_continues_in_two_new_pods(
    several_users: Node,
    pods: Pods,
    program: Program,
    zoo_image: Callable[[bool], dict[str, str]],
    into_table: Callable[[Row], None],
) -> None:
    versions = zoo_image(program.slow)
    case, token = secrets.token_hex(4), secrets.token_hex(8)
    before = time.monotonic()
    pod, container = started(pods, program, case)
    healthy(program, container)
    cold_s = time.monotonic() - before
    program.plant(container, token)
    assert program.found(container, token)
    users = {proc.status(pid)["Uid"].split()[1] for pid in process.tree(container.pid)}
    assert len(users) >= program.users, users
    facts = differ.steady(partial(differ.of, container.pid), AT_REST_WITHIN_S)
    done = capture(several_users, pod.spec.namespace, program.name)
    assert done.returncode == 0, done.stderr
    captured = json.loads(done.stdout)
    assert program.found(container, token)
    healthy(program, container)
    pod.remove()
    restored_s, differs = [], []
    for _ in range(2):
        later = secrets.token_hex(8)
        before = time.monotonic()
        pod, container = started(pods, program, case)
        assert outcome(several_users, container) == "restored"
        differs.append(differ.at_rest(facts, partial(differ.of, container.pid), AT_REST_WITHIN_S))
        healthy(program, container)
        restored_s.append(time.monotonic() - before)
        assert program.found(container, token)
        program.plant(container, later)
        assert program.found(container, later)
        assert container.stop(STOPS_WITHIN_S).exit_code == program.ended
        pod.remove()
    into_table(Row(program, versions[program.packages[0]], cold_s, captured, restored_s))
    for lines in differs:
        assert not lines, "\n".join(lines[:REPORTED])
