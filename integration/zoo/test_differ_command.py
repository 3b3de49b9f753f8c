"""hack/differ POD, as a person would run it."""

import secrets
import subprocess
from collections.abc import Callable

from integration.images import REPOSITORY
from integration.node import Node
from integration.pods import Pods
from integration.waiting import wait_until
from integration.zoo import redis
from integration.zoo.test_zoo import healthy, started

COMPARES_WITHIN_S = 90.0


def test_it_captures_a_pod_and_compares_the_one_that_is_restored(
    agent: Node, pods: Pods, zoo_image: Callable[[bool], dict[str, str]]
) -> None:
    zoo_image(False)
    case = secrets.token_hex(4)
    pod, container = started(pods, redis.PROGRAM, case)
    healthy(redis.PROGRAM, container)
    command = [f"{REPOSITORY}/hack/differ", "--within", "60", pod.spec.name]
    with subprocess.Popen(
        command, env=agent.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stderr
            said = wait_until(run.stderr.readline, COMPARES_WITHIN_S, "a word of hack/differ")
            assert "waits for a pod" in said, said + run.stderr.read()
            started(pods, redis.PROGRAM, case)
            out, err = run.communicate(timeout=COMPARES_WITHIN_S)
        finally:
            run.kill()
    assert (run.returncode, out) == (0, "no difference but the known ones\n"), out + err


def test_a_pod_that_is_not_there_is_one_line(agent: Node) -> None:
    done = subprocess.run(
        [f"{REPOSITORY}/hack/differ", "nobody"],
        env=agent.env,
        capture_output=True,
        text=True,
        timeout=COMPARES_WITHIN_S,
    )
    assert done.returncode == 2
    assert done.stderr == "differ: pod default/nobody has 0 running containers, expected 1\n"
