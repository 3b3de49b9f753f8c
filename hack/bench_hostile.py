"""How much pods that hang whoever waits for them (integration/hostile.py) hold up another's start and capture.

In turns on one node: the median of StartContainer of cold pods, and the seconds from a start until the capture is on
record, without hostile pods and with one of each kind at work. Milliseconds.
"""

import json
import os
import statistics
import sys
import time

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration import hostile, images
from integration.node import Node
from integration.pods import Pods
from integration.test_automatic import annotated, captures, env
from integration.waiting import wait_until

WITHIN_S = 120.0


@click.command()
@click.option("--starts", default=15, show_default=True, type=click.IntRange(3), help="Cold starts, each way.")
@click.option("--captures", "count", default=5, show_default=True, type=click.IntRange(2), help="Each way.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(starts: int, count: int, file: str | None) -> None:
    """Starts and captures beside hostile pods."""
    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        pods = Pods(node)
        _start_ms(pods, 2)
        quiet = {"start_ms": _start_ms(pods, starts), "capture_ms": _capture_ms(node, pods, count)}
        evil = [begin(pods) for begin in hostile.ALL.values()]
        time.sleep(3.0)
        beside = {"start_ms": _start_ms(pods, starts), "capture_ms": _capture_ms(node, pods, count)}
        for one in evil:
            hostile.unblock(one)
        pods.remove_all()
    figures = {
        "hostile": len(evil),
        "files": hostile.FILES,
        "quiet": quiet,
        "beside": beside,
        "start_delay_ms": round(beside["start_ms"] - quiet["start_ms"], 1),
        "capture_delay_ms": round(beside["capture_ms"] - quiet["capture_ms"], 1),
    }
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _start_ms(pods: Pods, starts: int) -> float:
    took = []
    for _ in range(starts):
        pod = pods.run(name="other")
        took.append(pod.container(command=("sleep", "1000")).start())
        pod.remove()
    return round(statistics.median(took) * 1000, 1)


def _capture_ms(node: Node, pods: Pods, count: int) -> float:
    """From the first answer of a pod until its capture is on record."""
    took = []
    for number in range(count):
        pod = pods.run(name=f"captured-{number}-{time.monotonic_ns()}", annotations=annotated())
        container = pod.container(env=env())
        container.start()
        container.serves()
        began = time.monotonic()
        found = wait_until(lambda: captures(node, pod), WITHIN_S, "word of the capture")  # noqa: B023
        took.append(time.monotonic() - began)
        if found[0]["result"] != "captured":
            raise click.ClickException(f"expected a capture, got {found}")
        pod.remove()
    return round(statistics.median(took) * 1000, 1)


if __name__ == "__main__":
    main()
