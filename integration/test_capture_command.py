"""`glowplug capture` as a person uses it: what it says, and `--stop`."""

import json
import os
import pty
import subprocess

from integration.captured import Captured, capture, captured
from integration.node import GLOWPLUG, Node
from integration.pods import Pods
from integration.waiting import wait_until

STEPS = ("find", "space", "freeze", "rewrite", "publish", "stop")


def test_json_is_one_object_with_what_was_measured(agent: Node, pods: Pods) -> None:
    made = captured(agent, pods, env={"WORKLOAD_MEMORY_MB": "32"})
    reported = made.result
    assert (reported["namespace"], reported["pod"], reported["container"]) == ("default", "pod", "main")
    assert len(reported["checkpoint"]) == 32
    assert reported["bytes"] > 32 << 20
    assert reported["pause_s"] > 0 and reported["predicted_pause_s"] > 0
    assert set(STEPS) <= set(reported["phases"])
    path = f"{agent.names.cache}/checkpoints/{reported['checkpoint']}"
    assert os.stat(path).st_mode & 0o777 == 0o700
    with open(f"{path}/manifest.json") as file:
        assert json.load(file)["measured"]["pause_s"] == reported["pause_s"]


def test_steps_are_reported_as_lines_in_a_pipe_and_as_one_that_changes_on_a_terminal(
    agent: Node, pods: Pods
) -> None:
    pods.run(name="shown").serving()
    command = [GLOWPLUG, "capture", "--config", agent.names.config, "--namespace", "default", "shown"]
    done = subprocess.run(command, env=agent.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    reported = dict.fromkeys(line.split(":")[0] for line in lines[:-1])
    assert [step for step in reported if step in STEPS] == [*STEPS]
    assert lines[-1].startswith("captured default/shown/main as ") and "paused" in lines[-1]
    main, side = pty.openpty()
    with subprocess.Popen(command, env={**agent.env, "TERM": "xterm"}, stdout=side, stderr=side) as running:
        os.close(side)
        shown = b""
        try:
            while more := os.read(main, 4096):
                shown += more
        except OSError:
            pass  # EIO: the terminal's other side was closed
        assert running.wait(60) == 0
    os.close(main)
    assert b"freeze" in shown and b"captured default/shown/main" in shown


def test_stop_ends_the_container_once_it_is_captured(agent: Node, pods: Pods) -> None:
    """By the signal that it expects, so that it may leave in order; the checkpoint is of before."""
    fields = {"env": {"WORKLOAD_TERM_CODE": "9", "CASE": "stopped"}}
    container = pods.run(name="stopped").serving(**fields)
    state = container.state()
    done = capture(agent, "default", "stopped", "--stop")
    assert done.returncode == 0, done.stderr
    assert container.ended().exit_code == 9
    assert [line.text for line in container.log() if line.stream == "stdout"] == ["terminated"]
    result = json.loads(done.stdout)
    Captured(result["checkpoint"], state, result, fields).restored(agent, pods)


def test_stop_kills_what_does_not_leave(agent: Node, pods: Pods) -> None:
    container = pods.run(name="deaf").container(
        command=("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
    )
    container.start()
    wait_until(container.log, 10, "its first line")
    done = capture(agent, "default", "deaf", "--stop")
    assert done.returncode == 0, done.stderr
    assert container.ended().exit_code == 128 + 9
