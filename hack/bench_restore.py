"""What a restore takes, phase by phase: a container of plain Python, and one with the shape of an inference engine.

Each is captured once, and then started again and again, each time in a new pod of a real containerd. `start_s` is
StartContainer; `runtime_s` is from `create`'s first line to its last, and `phases` are its parts. What is left of
`start_s` is containerd, the shim, and the interpreter's own start. Medians, in seconds. The engine's shape: several
processes, threads, mappings, memory, files in its layer and in /dev/shm.

`--against DIR`: the same with the runtime and the agent of another checkout (with its own .venv), alternating, and the
ratio of both.
"""

import json
import os
import statistics
import sys
from typing import Any
from unittest.mock import patch

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from hack import engine_shape
from integration import captured as capturing
from integration import images
from integration import node as nodes
from integration.captured import Captured, captured, records
from integration.node import Node
from integration.pods import Pods

ENGINE = f"""
import mmap, os, runpy, signal
for _ in range(int(os.environ["PROCESSES"])):
    if os.fork() == 0:
        signal.pause()
        os._exit(0)
shared = [mmap.mmap(-1, 8192) for _ in range(int(os.environ["MAPPINGS"]))]
for one in shared:
    one[0] = 1
{engine_shape.PROGRAM}
file = open("/dev/shm/open", "wb")
file.write(os.urandom(1 << 20))
file.flush()
runpy.run_module("integration.workload", run_name="__main__")
"""
SIZES = {"PROCESSES": 3, "MIB": 256, "MAPPINGS": 500, "THREADS": 300, "FILES": 600, "FILE_BYTES": 10_000}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "engine": {
        "command": (f"/{images.PYTHON}", "-c", ENGINE),
        "env": {name: str(value) for name, value in SIZES.items()},
    },
}


class Version:
    """A node with one checkout's runtime and agent, and what was captured there."""

    def __init__(self, name: str, root: str) -> None:
        self.name = name
        self.glowplug = f"{root}/.venv/bin/glowplug"
        self.node = Node(runtime=f"{root}/shim/glowplug-runtime")
        self.captured: dict[str, Captured] = {}
        self.starts: dict[str, list[dict[str, float]]] = {shape: [] for shape in SHAPES}

    def capture(self) -> None:
        """Of each shape, once."""
        self.node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        with (
            patch.object(nodes, "GLOWPLUG", self.glowplug),
            patch.object(capturing, "GLOWPLUG", self.glowplug),
        ):
            self.node.start_agent()
            for shape, fields in SHAPES.items():
                self.captured[shape] = captured(self.node, Pods(self.node), name=shape, **fields)

    def start(self, shape: str) -> None:
        """One start of a new pod, measured. Raises AssertionError where it is no restore."""
        pods = Pods(self.node)
        pod, container = self.captured[shape].again(pods)
        took = container.start()
        (record,) = (one for one in records(self.node, container.id) if "outcome" in one)
        assert record["outcome"] == "restored", record
        pod.remove()
        measured = {"start_s": took, "runtime_s": record["total_s"], **record["phases"]}
        self.starts[shape].append(measured)

    def figures(self, shape: str) -> dict[str, Any]:
        """Medians, without the first start."""
        starts = self.starts[shape][1:]
        found = {name: round(statistics.median([one[name] for one in starts]), 4) for name in starts[0]}
        totals = {name: found.pop(name) for name in ("start_s", "runtime_s")}
        return {**totals, "phases": found}


@click.command()
@click.option(
    "--turns", default=7, show_default=True, type=click.IntRange(2), help="Starts, after a warm-up."
)
@click.option("--against", metavar="DIR", help="Another checkout.")
@click.option("--json", "file", metavar="FILE", help="Write the figures there too.")
def main(turns: int, against: str | None, file: str | None) -> None:
    """StartContainer of restored containers, phase by phase."""
    versions = [Version("this", images.REPOSITORY)]
    if against:
        versions.insert(0, Version("other", os.path.abspath(against)))
    figures: dict[str, Any] = {"turns": turns, **SIZES}
    try:
        for version in versions:
            version.node.start()
            version.capture()
        for shape in SHAPES:
            for _ in range(turns + 1):
                for version in versions:
                    version.start(shape)
            figures[shape] = {version.name: version.figures(shape) for version in versions}
            _show(shape, figures[shape])
    finally:
        left = [line for version in versions for line in version.node.stop()]
    print(json.dumps(figures))
    if file:
        with open(file, "w") as opened:
            json.dump(figures, opened)
    if left:
        raise click.ClickException("; ".join(left))


def _show(shape: str, found: dict[str, Any]) -> None:
    this, other = found["this"], found.get("other")
    for name in ("start_s", "runtime_s"):
        against = f"   other {other[name]:.3f}   ratio {other[name] / this[name]:.2f}" if other else ""
        print(f"{shape:7} {name:10} {this[name]:.3f}{against}", flush=True)
    for name, seconds in this["phases"].items():
        before = f"   other {other['phases'].get(name, 0.0):.4f}" if other else ""
        if seconds >= 0.001 or (other and other["phases"].get(name, 0.0) >= 0.001):
            print(f"        {name:16} {seconds:.4f}{before}", flush=True)


if __name__ == "__main__":
    main()
