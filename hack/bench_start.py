"""What the handler `glowplug` costs where there is nothing to restore, against plain runc.

StartContainer of the same container under the handlers `runc` and `glowplug`, alternating; and one verb that is
passed through (`state`), called as the shim would, alternating. Medians, in milliseconds. The runtime is called with
containerd's environment: `--environment-kb` says how much larger than usual.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration import images
from integration.node import RUNTIME, Node
from integration.pods import Pods


@click.command()
@click.option(
    "--runs", default=15, show_default=True, type=click.IntRange(3), help="Of each, after a warm-up."
)
@click.option("--environment-kb", default=0, show_default=True, type=click.IntRange(0, 1000))
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(runs: int, environment_kb: int, file: str | None) -> None:
    """StartContainer and pass-through under the handler, against plain runc."""
    os.environ.update({f"BENCH_{number}": "x" * 1000 for number in range(environment_kb)})
    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        pods = Pods(node)
        starts = _starts(pods, runs)
        verbs = _verbs(node, pods, runs * 4)
        pods.remove_all()
    figures = {
        "start_overhead_ms": _overhead(starts),
        "passthrough_overhead_ms": _overhead(verbs),
        "environment_kb": environment_kb,
        "runs": runs,
    }
    for name, found in (("StartContainer", starts), ("runc state", verbs)):
        print(
            f"{name:15} runc {_median(found['runc']):6.1f} ms   glowplug {_median(found['glowplug']):6.1f} ms"
        )
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _starts(pods: Pods, runs: int) -> dict[str, list[float]]:
    """Seconds of StartContainer by handler; the first of each is the warm-up."""
    found: dict[str, list[float]] = {"runc": [], "glowplug": []}
    for turn in range(runs + 1):
        for handler, seconds in found.items():
            pod = pods.run(name=f"bench-{turn}", handler=handler)
            took = pod.container().start()
            pod.remove()
            if turn:
                seconds.append(took)
    return found


def _verbs(node: Node, pods: Pods, runs: int) -> dict[str, list[float]]:
    """Seconds of `state` of a running container by program."""
    container = pods.run(name="verbs").container()
    container.start()
    found: dict[str, list[float]] = {"runc": [], "glowplug": []}
    programs = {"runc": "runc", "glowplug": RUNTIME}
    for turn in range(runs + 1):
        for name, seconds in found.items():
            before = time.monotonic()
            command = [programs[name], "--root", f"{node.names.runc_root}/k8s.io", "state", container.id]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=node.env)
            if turn:
                seconds.append(time.monotonic() - before)
    return found


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def _overhead(found: dict[str, list[float]]) -> float:
    return round(_median(found["glowplug"]) - _median(found["runc"]), 2)


if __name__ == "__main__":
    main()
