"""What the handler `glowplug` costs cold pods that are started in a burst, against plain runc.

Pods whose sandboxes run get their container made and started, several at once, under the handlers `runc` and
`glowplug` alternating. StartContainer's medians, in milliseconds. By default as many at once as there are cores:
with more of them the starts wait for each other, and each millisecond of CPU time counts several times.

With --restored: bursts of pods of a captured workload instead, each made and started as a kubelet does it. How long
each start took until it had its checkpoint (the restore's phase `resolve`: the agent's answer, or what a restore
imports meanwhile, whichever takes longer), and its outcome.
"""

import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration import images
from integration.captured import Captured, captured, records
from integration.node import Node
from integration.pods import Pod, Pods, generated_name
from integration.waiting import wait_until

CORES = len(os.sched_getaffinity(0))


@click.command()
@click.option("--pods", "count", default=50, show_default=True, type=click.IntRange(2), help="In a burst.")
@click.option("--at-once", default=CORES, show_default=True, type=click.IntRange(1), help="Starts at a time.")
@click.option("--turns", default=2, show_default=True, type=click.IntRange(1), help="Bursts of each handler.")
@click.option(
    "--restored", is_flag=True, help="Of a captured workload: so many turns of so many pods at once."
)
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(count: int, at_once: int, turns: int, restored: bool, file: str | None) -> None:
    """StartContainer of cold pods in a burst, against plain runc."""
    figures = _restored(at_once, turns) if restored else _cold(count, at_once, turns)
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _cold(count: int, at_once: int, turns: int) -> dict[str, object]:
    found: dict[str, list[float]] = {"runc": [], "glowplug": []}
    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        pods = Pods(node)
        for turn in range(turns + 1):
            for handler, seconds in found.items():
                warm_up = turn == 0
                made = [
                    pods.run(name=f"burst-{number}", handler=handler)
                    for number in range(2 if warm_up else count)
                ]
                with ThreadPoolExecutor(at_once) as starters:
                    took = list(starters.map(_start, made))
                if not warm_up:
                    seconds += took
                pods.remove_all()
        outcomes = Counter(str(record["outcome"]) for record in records(node) if "outcome" in record)
        peak_mib = _peak_kib(node.agent_pid or 0) / 1024
    medians = {handler: statistics.median(seconds) * 1000 for handler, seconds in found.items()}
    for handler, seconds in found.items():
        p90 = statistics.quantiles(seconds, n=10)[8] * 1000
        print(f"{handler:10} median {medians[handler]:6.1f} ms   p90 {p90:6.1f} ms   {len(seconds)} starts")
    return {
        "pods": count,
        "at_once": at_once,
        "cores": CORES,
        "runc_ms": round(medians["runc"], 1),
        "glowplug_ms": round(medians["glowplug"], 1),
        "start_overhead_ms": round(medians["glowplug"] - medians["runc"], 1),
        "outcomes": dict(outcomes),
        "agent_peak_mib": round(peak_mib, 1),
    }


def _restored(at_once: int, turns: int) -> dict[str, object]:
    """One burst more than `turns`, of which the first is for warming up."""
    starts: list[Mapping[str, Any]] = []
    with Node(settings={"min_free_bytes": 0}) as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        pods = Pods(node)
        made = captured(node, pods, name=generated_name("burst"))
        node.start_agent()
        for turn in range(turns + 1):
            with ThreadPoolExecutor(at_once) as starters:
                ids = list(starters.map(lambda _: _made_and_started(pods, made), range(at_once)))
            if turn:
                starts += [_outcome(node, container) for container in ids]
            pods.remove_all()
    waited = sorted(start["phases"]["resolve"] * 1000 for start in starts if start["outcome"] == "restored")
    outcomes = Counter(str(start["outcome"]) for start in starts)
    if not waited:
        raise click.ClickException(f"expected restored starts, got {dict(outcomes)}")
    return {
        "at_once": at_once,
        "starts": len(starts),
        "cores": CORES,
        "outcomes": dict(outcomes),
        "resolve_p50_ms": round(statistics.median(waited), 1),
        "resolve_max_ms": round(waited[-1], 1),
    }


def _made_and_started(pods: Pods, made: Captured) -> str:
    """The container's id."""
    pod = pods.run(name=generated_name("burst"))
    container = pod.container(**made.fields, mounts=made.mounts(pod))
    container.start()
    return container.id


def _outcome(node: Node, container: str) -> Mapping[str, Any]:
    """The record of its start, once the agent has it."""

    def found() -> Mapping[str, Any] | None:
        return next((one for one in records(node, container) if "outcome" in one), None)

    record = wait_until(found, 30, f"the outcome of {container}")
    assert record is not None
    return record


def _start(pod: Pod) -> float:
    """Seconds of StartContainer."""
    return pod.container(command=("sleep", "1000")).start()


def _peak_kib(pid: int) -> int:
    """The most memory that the process had at a time (proc_pid_status(5), VmHWM)."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
