"""What the handler `glowplug` costs cold pods that are started in a burst, against plain runc.

Pods whose sandboxes run get their container made and started, several at once, under the handlers `runc` and
`glowplug` in turns. StartContainer's medians, in milliseconds. By default as many at once as there are cores:
with more of them the starts wait for each other, and each millisecond of CPU time counts several times.
"""

import json
import os
import statistics
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration import images
from integration.captured import records
from integration.node import Node
from integration.pods import Pod, Pods

CORES = len(os.sched_getaffinity(0))


@click.command()
@click.option("--pods", "count", default=50, show_default=True, type=click.IntRange(2), help="In a burst.")
@click.option("--at-once", default=CORES, show_default=True, type=click.IntRange(1), help="Starts at a time.")
@click.option("--turns", default=2, show_default=True, type=click.IntRange(1), help="Bursts of each handler.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(count: int, at_once: int, turns: int, file: str | None) -> None:
    """StartContainer of cold pods in a burst, against plain runc."""
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
    figures = {
        "pods": count,
        "at_once": at_once,
        "cores": CORES,
        "runc_ms": round(medians["runc"], 1),
        "glowplug_ms": round(medians["glowplug"], 1),
        "start_overhead_ms": round(medians["glowplug"] - medians["runc"], 1),
        "outcomes": dict(outcomes),
        "agent_peak_mib": round(peak_mib, 1),
    }
    for handler, seconds in found.items():
        p90 = statistics.quantiles(seconds, n=10)[8] * 1000
        print(f"{handler:10} median {medians[handler]:6.1f} ms   p90 {p90:6.1f} ms   {len(seconds)} starts")
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _start(pod: Pod) -> float:
    """Seconds of StartContainer."""
    return pod.container(command=("sleep", "1000")).start()


def _peak_kib(pid: int) -> int:
    """The most memory that the process had at a time (proc_pid_status(5), VmHWM)."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
