"""What an engine's capture costs it: how long it sleeps, how long it is paused, and what takes how long.

A stand-in for vLLM (integration/workload/engine.py) with memory, threads, and files in its layer, in a pod of a real
containerd. The agent puts it to sleep, captures it and wakes it, as it does any engine. `asleep_s`: from the request to
sleep until it is awake again. `until_published_s`: until its checkpoint is published as well, which it slept for when
the hook after a capture came last. `phases`: seconds of each step; those of one name behind a dot are parts of it.
Medians over the turns; each is a new pod.
"""

import json
import os
import secrets
import statistics
import sys
from typing import Any

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from hack import engine_shape
from integration import images
from integration.node import Node
from integration.pods import Pods, generated_name
from integration.test_automatic import annotated, captures
from integration.waiting import wait_until

WITHIN_S = 300.0
ENGINE = f"""{engine_shape.PROGRAM}
import runpy
runpy.run_module("integration.workload.engine", run_name="__main__")
"""


@click.command()
@click.option("--gib", default=1.0, show_default=True, type=click.FloatRange(0.01), help="Memory it has.")
@click.option("--threads", default=700, show_default=True, type=click.IntRange(0), help="As vLLM has.")
@click.option(
    "--files", default=656, show_default=True, type=click.IntRange(0), help="Of 100 kB, in its layer."
)
@click.option("--turns", default=3, show_default=True, type=click.IntRange(1))
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(gib: float, threads: int, files: int, turns: int, file: str | None) -> None:
    """An engine's sleep and pause while it is captured."""
    sizes = {
        "MIB": str(int(gib * 1024)),
        "THREADS": str(threads),
        "FILES": str(files),
        "FILE_BYTES": "100000",
    }
    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        node.start_agent()
        pods = Pods(node)
        found = [_captured(node, pods, sizes) for _ in range(turns)]
    names = dict.fromkeys(name for one in found for name in one["phases"])
    phases = {name: _median([one["phases"].get(name, 0.0) for one in found]) for name in names}
    figures = {
        "gib": gib,
        "threads": threads,
        "files": files,
        "asleep_s": phases.pop("asleep"),
        "until_published_s": _median([one["until_published_s"] for one in found]),
        "pause_s": _median([one["pause_s"] for one in found]),
        "phases": phases,
    }
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)


def _captured(node: Node, pods: Pods, sizes: dict[str, str]) -> dict[str, Any]:
    """The agent's record of one capture. Raises ClickException where there is none."""
    pod = pods.run(
        name=generated_name("engine"),
        annotations=annotated(engine="vllm", ready="http://:8000/health", trial="never"),
    )
    container = pod.container(
        env={"CASE": secrets.token_hex(4), **sizes}, command=(f"/{images.PYTHON}", "-c", ENGINE)
    )
    container.start()
    record = wait_until(lambda: captures(node, pod), WITHIN_S, "word of the capture")[0]
    pod.remove()
    if record["result"] != "captured":
        raise click.ClickException(f"expected a capture, got {record}")
    phases = record["phases"]
    after = sum(phases[name] for name in ("rewrite", "trial", "publish", "compile-cache"))
    return {**record, "until_published_s": phases["asleep"] + after}


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


if __name__ == "__main__":
    main()
