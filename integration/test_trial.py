"""The trial of a fresh checkpoint: what can't be restored is never published, and a trial leaves nothing anywhere."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from integration.captured import capture, records
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pod, Pods
from integration.processes import pids_naming
from integration.test_automatic import annotated, captures, env, started
from integration.test_automatic_killed import ahead_of_others, capturing, journal
from integration.test_kept import TRIED, node_volume, said, serving, start
from integration.waiting import wait_until

WITHIN_S = 60.0
GOOD, BAD = ("addresses:of_the_pod",), ("volumes:followed_file",)


def left(node: Node, container: Container) -> list[str]:
    """What there is of a trial of this container."""
    name = f"glowplug-trial-{container.id}"
    cgroups = [*list(Path("/sys/fs/cgroup").glob(f"*/{name}")), Path("/sys/fs/cgroup") / name]
    places = [Path(node.names.cache) / "views" / f"{name}.place", Path(node.names.cache) / "views" / name]
    attempts = [Path(node.names.run_dir) / "restores" / name]
    files = [str(path) for path in (*cgroups, *places, *attempts) if path.exists()]
    return files + [f"process {pid}" for pid in pids_naming(name)]


def nothing_left(node: Node, container: Container) -> bool:
    return not left(node, container) and not os.listdir(f"{node.names.cache}/drafts")


def start_bad(node: Node, pods: Pods, said: Mapping[str, str]) -> tuple[Pod, Container]:
    """A process that reads a file of a directory of the node, in whose place there is another one without it by now.

    The container has the old one mounted, so it can be dumped; a restore does not find the file.
    """
    pod, container = start(node, pods, BAD, secrets.token_hex(4), said)
    serving(container)
    os.rename(node_volume(node), f"{node_volume(node)}.{secrets.token_hex(4)}")
    os.mkdir(node_volume(node))
    return pod, container


def test_what_can_not_be_restored_is_not_published(agent: Node, pods: Pods) -> None:
    """The container continues; the command, the history and explain say why."""
    _, container = start_bad(agent, pods, TRIED)
    pid, listed = container.pid, os.listdir(f"{agent.names.cache}/checkpoints")
    done = capture(agent, "default", "kept")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "can't be restored, so it is not kept" in done.stderr and "node/log" in done.stderr
    assert container.pid == pid and container.exec("true").exit_code == 0
    assert os.listdir(f"{agent.names.cache}/checkpoints") == listed
    assert nothing_left(agent, container)
    (record,) = [one for one in records(agent) if one.get("event") == "capture" and one["pod"] == "kept"][-1:]
    assert (record["result"], record["slug"]) == ("failed", "not-restorable")
    command = [GLOWPLUG, "explain", "--config", agent.names.config, "--namespace", "default", "kept"]
    explained = subprocess.run(command, env=agent.env, capture_output=True, text=True, timeout=60)
    assert "failed (not-restorable)" in explained.stdout, explained.stdout + explained.stderr


def test_without_a_trial_it_is_published(agent: Node, pods: Pods) -> None:
    """So the capture alone does not see it."""
    start_bad(agent, pods, {"glowplug.dev/trial": "never"})
    done = capture(agent, "default", "kept")
    assert done.returncode == 0 and json.loads(done.stdout)["trial"] == "", done


def test_the_first_one_of_a_workload_is_tried_and_the_second_is_not(agent: Node, pods: Pods) -> None:
    _, container = start(agent, pods, GOOD, secrets.token_hex(4), {"glowplug.dev/trial": "first"})
    serving(container)
    trials = [json.loads(capture(agent, "default", "kept").stdout)["trial"] for _ in range(2)]
    assert trials == ["passed", ""]
    assert not left(agent, container)


def test_a_capture_that_is_stopped_in_its_trial_leaves_nothing(agent: Node, pods: Pods) -> None:
    _, container = start(agent, pods, GOOD, secrets.token_hex(4), TRIED)
    serving(container)
    command = [GLOWPLUG, "capture", "--config", agent.names.config, "--namespace", "default", "kept"]
    with subprocess.Popen(
        command, env=agent.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        wait_until(partial(left, agent, container), WITHIN_S, "a trial under way")
        running.send_signal(signal.SIGTERM)
        running.wait(WITHIN_S)
    assert nothing_left(agent, container)
    assert said(container) == {GOOD[0]: ""}


def test_the_agent_and_its_capture_are_killed_in_a_trial(agent: Node, pods: Pods) -> None:
    """The next agent takes the trial back, and captures after all."""
    container = started(pods, env(), annotated(trial="always"))
    with ahead_of_others():
        wait_until(lambda: journal(agent, container).get("step") == "trial", WITHIN_S, "a trial")
        child = capturing(agent)
        os.kill(child, signal.SIGSTOP)
    agent.kill_agent_with(child)
    agent.start_agent()
    wait_until(lambda: captures(agent, container.pod), WITHIN_S, "a capture after all")
    assert captures(agent, container.pod)[-1]["trial"] == "passed"
    assert not left(agent, container)


def test_on_a_node_whose_mounts_are_shared() -> None:
    """As systemd makes them: a container's mounts are slaves there, and CRIU puts those of a trial into a group, too.

    The test of a first trial once more, in a mount namespace that is so.
    """
    test = f"{__file__}::{test_the_first_one_of_a_workload_is_tried_and_the_second_is_not.__name__}"
    shared = ["unshare", "--mount", "--propagation", "shared", sys.executable, "-m", "pytest", "-q"]
    done = subprocess.run([*shared, "-p", "no:cacheprovider", test], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
