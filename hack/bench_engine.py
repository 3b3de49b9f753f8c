"""Where the seconds of a stock engine's restore go, with the floor of each phase beside it, on this machine.

Runs hack/gpu-check's (h) for each shape and way of parking: cold with empty and with warm compile caches, captured by
the agent, restored. In the same run it measures what the phases can't be faster than: the bus (pinned memory to the
device), memory (a file in the page cache to new memory), and an answer of the engine that was never parked. A phase's
floor is its bytes over that bandwidth; phases that move no bytes of a known number have none. Arguments behind `--` go
to hack/gpu-check (--caches, --scratch, --vllm).
"""

import json
import mmap
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import click

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [REPOSITORY, f"{REPOSITORY}/shim"]

from hack.gpulib.engine_phases import picture, rows, table
from hack.gpulib.engines import SHAPES

MEBIBYTE = 1 << 20
COPIED = 2048 * MEBIBYTE
TIMES = 8
BUS = """
import time, torch
host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
device = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
best = 0.0
for _ in range(8):
    torch.cuda.synchronize()
    began = time.perf_counter()
    device.copy_(host, non_blocking=True)
    torch.cuda.synchronize()
    best = max(best, (1 << 30) / 1e9 / (time.perf_counter() - began))
print(best)
"""


@click.command()
@click.option("--model-shape", type=click.Choice(sorted(SHAPES)), multiple=True, help="May be repeated.")
@click.option("--weights", type=click.Choice(["reload", "keep"]), multiple=True, help="May be repeated.")
@click.option("--restores", type=click.IntRange(1), default=5, show_default=True, help="Of each.")
@click.option("--fake", is_flag=True, help="The stand-in engine on the fake driver instead of vLLM on a GPU.")
@click.option("--picture", "drawn", metavar="FILE", help="Write the phases of the last one there, as SVG.")
@click.option("--json", "out", metavar="FILE", help="Write the figures there too.")
@click.argument("more", nargs=-1)
def main(
    model_shape: tuple[str, ...],
    weights: tuple[str, ...],
    restores: int,
    fake: bool,
    drawn: str | None,
    out: str | None,
    more: tuple[str, ...],
) -> None:
    """A stock engine: cold, warm and restored, phase by phase, with the floor of each phase."""
    bandwidths = {"bus_gb_s": None if fake else _bus(), "memory_gb_s": _memory()}
    print(json.dumps(bandwidths), flush=True)
    figures = []
    for shape in model_shape or ("0.6b",):
        for way in weights or ("reload",):
            found = _checked(shape, way, ["--restores", str(restores), *(["--fake"] if fake else []), *more])
            phases = rows(found, shape, bandwidths)
            figures.append({**found, **bandwidths, "rows": phases})
            print(table(found, phases), flush=True)
            if drawn:
                with open(drawn, "w") as file:
                    file.write(picture(found, phases))
            if out:
                with open(out, "w") as file:
                    json.dump(figures, file)


def _checked(shape: str, weights: str, arguments: list[str]) -> dict[str, Any]:
    """The result of hack/gpu-check's (h). Raises ClickException with its last lines."""
    with tempfile.TemporaryDirectory(prefix="glowplug-bench-") as folder:
        wanted = [
            "--only",
            "h",
            "--model-shape",
            shape,
            "--weights",
            weights,
            "--json",
            f"{folder}/results.json",
        ]
        done = subprocess.run(
            [sys.executable, f"{REPOSITORY}/hack/gpu-check", *wanted, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise click.ClickException(f"hack/gpu-check ended with {done.returncode}:\n{done.stdout[-3000:]}")
        with open(f"{folder}/results.json") as file:
            found: dict[str, Any] = json.load(file)["h"]
    return found


def _bus() -> float:
    """GB/s from pinned host memory to the device: the best of eight copies of 1 GiB, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", BUS], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise click.ClickException(f"the bus could not be measured: {done.stderr.strip()[-500:]}")
    return round(float(done.stdout), 1)


def _memory() -> float:
    """GB/s from a memory file into new memory, by a process for each core: the best of eight.

    The first are slower on a virtual machine, whose memory was never touched. Threads of one process would be slower
    too: they wait for each other where pages are new.
    """
    count = len(os.sched_getaffinity(0))
    source = os.memfd_create("glowplug-bench")
    try:
        block = os.urandom(MEBIBYTE)
        for _ in range(COPIED // MEBIBYTE):
            os.write(source, block)
        size = COPIED // count // MEBIBYTE * MEBIBYTE
        pieces = [(source, number * size, size) for number in range(count)]
        with multiprocessing.get_context("fork").Pool(count) as pool:
            return round(max(_copied(pool.starmap(_copy, pieces, 1), size) for _ in range(TIMES)), 1)
    finally:
        os.close(source)


def _copy(source: int, offset: int, size: int) -> tuple[float, float]:
    """When it began and when it ended: time.monotonic() of all processes is one clock."""
    with mmap.mmap(-1, size) as target:
        target.madvise(mmap.MADV_HUGEPAGE)
        began = time.monotonic()
        os.preadv(source, [target], offset)
        return began, time.monotonic()


def _copied(times: list[tuple[float, float]], size: int) -> float:
    """GB/s of all together."""
    return len(times) * size / 1e9 / (max(ended for _, ended in times) - min(began for began, _ in times))


if __name__ == "__main__":
    main()
