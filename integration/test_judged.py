"""A capture goes by what was decided at the container's start, from the bundle that runc got."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import images
from integration.captured import capture, captured, outcome, records
from integration.cri_specs import Mount
from integration.kubelet import PodDirectory, write_atomically
from integration.node import RUNTIME, Node
from integration.pods import Pod, Pods
from integration.waiting import wait_until

EDITING = """#!/bin/sh
# As nvidia-container-runtime does: edits the bundle behind containerd's record, then calls its low-level runtime.
for word; do
    case $before in --bundle | -b) bundle=$word ;; esac
    before=$word
done
case " $* " in
    *" create "*) sed -i 's/"EDITED=no"/"EDITED=yes"/' "$bundle/config.json" ;;
esac
grep -qz '^PWD=' "/proc/$$/environ" 2>/dev/null || unset PWD
exec RUNTIME "$@"
"""


def settings_of(agent: Node, pod: Pod, text: str) -> tuple[Mount, ...]:
    return (PodDirectory(agent, pod.spec.uid).config_map("settings", {"a.conf": text}, "/etc/settings"),)


def test_a_config_map_that_changed_since_the_start_refuses_the_capture(agent: Node, pods: Pods) -> None:
    """The process has read the first one: with the key of the second it would serve pods that have the second."""
    pod = pods.run(name="reloaded")
    container = pod.container(env={"CASE": "reloaded"}, mounts=settings_of(agent, pod, "one"))
    container.start()
    container.serves()
    write_atomically(container.spec.mounts[0].host_path, {"a.conf": "two"})
    done = capture(agent, "default", "reloaded")
    assert done.returncode == 2 and "mounts./etc/settings" in done.stderr, done.stderr
    write_atomically(container.spec.mounts[0].host_path, {"a.conf": "one"})
    assert capture(agent, "default", "reloaded").returncode == 0
    pod.remove()
    again = pods.run(name="reloaded")
    second = again.container(env={"CASE": "reloaded"}, mounts=settings_of(agent, again, "two"))
    second.start()
    assert outcome(agent, second) == "cold:no-checkpoint"


def test_a_judgement_goes_with_its_container(agent: Node, pods: Pods) -> None:
    container = pods.run().serving()
    kept = Path(agent.names.run_dir, "containers", f"{container.id}.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    container.pod.remove()
    wait_until(lambda: not kept.exists(), 40, "the judgement gone")


@pytest.fixture
def chained(tmp_path: Path) -> Iterator[Node]:
    """A node whose handler is a runtime that edits the spec and then calls ours."""
    program = tmp_path / "glowplug-runtime-chained"
    program.write_text(EDITING.replace("RUNTIME", RUNTIME))
    program.chmod(0o755)
    with Node(runtime=str(program)) as made:
        made.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        yield made


def test_behind_a_runtime_that_edits_the_spec_a_container_is_captured_and_restored(chained: Node) -> None:
    chained.start_agent()
    pods = Pods(chained)
    try:
        first = captured(chained, pods, env={"EDITED": "no"})
        _, container = first.restored(chained, pods)
        assert container.exec("sh", "-c", "tr '\\0' '\\n' </proc/1/environ").stdout.count(b"EDITED=yes") == 1
        assert records(chained, container.id)[0]["checkpoint"] == first.checkpoint
    finally:
        pods.remove_all()
        chained.stop_agent()
    assert os.path.isdir(chained.names.run_dir)
