"""How much pods that block anything that waits for them (integration/hostile.py) delay another's start and capture.

In turns on one node: StartContainer of cold pods, and the seconds from a pod's first answer until its capture is on
record: alone, beside as many peaceful pods, and beside one hostile pod of each kind. More pods cost something under
any runtime (mounts, cgroups, addresses), so a delay is against the peaceful ones. Medians, in milliseconds; cpu_ms is
what the agent and its children used in that time, for each start.
"""

import json
import os
import statistics
import sys
import time
from typing import Any

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration import hostile, images
from integration.node import Node
from integration.pods import Pod, Pods
from integration.test_automatic import annotated, captures, env
from integration.waiting import wait_until

from integration.cri_specs import Mount

WITHIN_S = 120.0
AT_WORK_S = 1.0


@click.command()
@click.option(
    "--turns", default=3, show_default=True, type=click.IntRange(1), help="Of each kind of neighbours."
)
@click.option(
    "--starts", default=12, show_default=True, type=click.IntRange(3), help="Cold starts in a turn."
)
@click.option("--captures", "count", default=2, show_default=True, type=click.IntRange(0), help="In a turn.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(hostile.ALL)), help="Only these [all]."
)
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(turns: int, starts: int, count: int, kinds: tuple[str, ...], file: str | None) -> None:
    """Starts and captures beside hostile pods."""
    evil = [hostile.ALL[kind] for kind in kinds or hostile.ALL]
    beside: dict[str, list[hostile.Hostile]] = {
        "alone": [],
        "peaceful": [hostile.peaceful] * len(evil),
        "hostile": evil,
    }
    found: dict[str, _Found] = {name: _Found() for name in beside}
    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        pods = Pods(node)
        _starts(node, pods, 2, _Found())
        for _ in range(turns):
            for name, neighbours in beside.items():
                made = [begin(pods) for begin in neighbours]
                time.sleep(AT_WORK_S)
                _starts(node, pods, starts, found[name])
                _captures(node, pods, count, found[name])
                for one in made:
                    hostile.unblock(one)
                pods.remove_all()
    figures: dict[str, Any] = {"files": hostile.FILES, **{name: one.medians() for name, one in found.items()}}
    for what in ("start_ms", "capture_ms"):
        if count or what == "start_ms":
            late = figures["hostile"][what] - figures["peaceful"][what]
            figures[f"delay_{what}"] = round(late, 1)
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


class _Found:
    def __init__(self) -> None:
        self.start_ms: list[float] = []
        self.capture_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def medians(self) -> dict[str, float]:
        return {name: round(statistics.median(values), 1) for name, values in vars(self).items() if values}


def _starts(node: Node, pods: Pods, starts: int, found: _Found) -> None:
    before = _cpu_s(node)
    for _ in range(starts):
        pod = pods.run(name="other")
        container = pod.container(command=("sleep", "1000"), mounts=(_volume(node, pod),))
        found.start_ms.append(container.start() * 1000)
        pod.remove()
    found.cpu_ms.append((_cpu_s(node) - before) * 1000 / starts)


def _volume(node: Node, pod: Pod) -> Mount:
    """An emptyDir: something that has to be looked into before the start."""
    path = f"{node.names.state}/kubelet/pods/{pod.spec.uid}/volumes/kubernetes.io~empty-dir/scratch"
    os.makedirs(path)
    return Mount(container_path="/scratch", host_path=path)


def _cpu_s(node: Node) -> float:
    """That the agent and its children have used, as far as those are over (proc_pid_stat(5))."""
    with open(f"/proc/{node.agent_pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _captures(node: Node, pods: Pods, count: int, found: _Found) -> None:
    """From the first answer of a pod until its capture is on record."""
    for number in range(count):
        pod = pods.run(name=f"captured-{number}-{time.monotonic_ns()}", annotations=annotated())
        container = pod.container(env=env())
        container.start()
        container.serves()
        began = time.monotonic()
        reported = wait_until(lambda: captures(node, pod), WITHIN_S, "word of the capture")  # noqa: B023
        found.capture_ms.append((time.monotonic() - began) * 1000)
        if reported[0]["result"] != "captured":
            raise click.ClickException(f"expected a capture, got {reported}")
        pod.remove()


if __name__ == "__main__":
    main()
