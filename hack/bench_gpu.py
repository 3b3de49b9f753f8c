"""A CUDA process: stock `runc restore` and cuda-checkpoint against ours, on this machine.

Two containers, each with one process: one holds device memory, the other pinned host memory, random data. Each
is captured once, then restored alternating by stock parts, from CRIU's own images, and by ours, from memory
extents; after each restore the process makes a digest of all that it holds, on the GPU. Seconds are those from
the start of `runc restore` until every thread runs. Both are made at the same time, and restored one after the
other, with the images in the page cache.
"""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import click

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [REPOSITORY, f"{REPOSITORY}/shim"]

from hack.gpulib import setup
from hack.gpulib.bare_cuda import BareCuda
from hack.gpulib.pods import Failed
from integration.bare import usable

from glowplug.criu import rewrite

GIB = 1 << 30
BESIDE_S = 45.0
"""Seconds that a container which is ready waits for the other to be, at most: they would disturb each other."""
_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage"


@click.command()
@click.option(
    "--gib", type=click.FloatRange(0.0), default=24.0, show_default=True, help="Device memory; 0: none."
)
@click.option(
    "--pinned-gib",
    type=click.FloatRange(0.0),
    default=16.0,
    show_default=True,
    help="Pinned host memory; 0: none.",
)
@click.option("--turns", type=click.IntRange(1), default=1, show_default=True, help="Restores of each.")
@click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False),
    default="/dev/shm",
    show_default=True,
    help="Where images go.",
)
@click.option("--fake", is_flag=True, help="The fake driver instead of a GPU.")
@click.option("--json", "out", metavar="FILE", help="Write the figures there too.")
def main(gib: float, pinned_gib: float, turns: int, scratch: str, fake: bool, out: str | None) -> None:
    """A CUDA process restored: stock runc and cuda-checkpoint against ours, phase by phase."""
    why = usable()
    if why is not None:
        raise click.ClickException(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that containers and images are removed
    folder = tempfile.mkdtemp(prefix="glowplug-bench-", dir=scratch)
    library = tempfile.mkdtemp(prefix="gpu-check-fake-") if fake else ""
    try:
        if library:
            os.environ.update(setup.build_fake(library))
        gpu = (setup.FAKE_GPUS if library else setup.gpu_nodes())[0]
        print(f"{len(os.sched_getaffinity(0))} cores; huge pages: {_setting()}; {_gpu(fake)}", flush=True)
        sizes = {kind: size for kind, size in (("device", gib), ("pinned", pinned_gib)) if size}
        figures = _together(folder, gpu, library, sizes, turns, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if library:
            shutil.rmtree(library)
    print(json.dumps(figures))
    if len(figures) < len(sizes):
        sys.exit(1)


def _together(
    folder: str, gpu: str, library: str, sizes: dict[str, float], turns: int, out: str | None
) -> list[dict[str, Any]]:
    """Make all containers at once, then let one after the other be restored."""
    context = multiprocessing.get_context("fork")
    workers = []
    for kind, gib in sizes.items():
        ours, theirs = context.Pipe()
        one = context.Process(target=_alone, args=(theirs, folder, gpu, library, kind, gib, turns))
        one.start()
        theirs.close()
        workers.append((one, ours))
    figures: list[dict[str, Any]] = []
    try:
        for _, ours in workers:
            ours.poll(None if ours is workers[0][1] else BESIDE_S)
        for one, ours in workers:
            with contextlib.suppress(EOFError, BrokenPipeError):  # it has said why
                ours.send("go")
                ours.recv()
                figures.append(ours.recv())
                _show(figures[-1])
                _write(out, figures)
            one.join()
    finally:
        for one, _ in workers:
            if one.is_alive():
                one.terminate()
            one.join()
    return figures


def _alone(
    theirs: Connection, folder: str, gpu: str, library: str, kind: str, gib: float, turns: int
) -> None:
    """One container, in a process of its own: it becomes the parent of the restored ones."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def report(what: str) -> None:
        print(f"  {time.monotonic() - began:6.1f} s  {kind}: {what}", flush=True)

    try:
        figure = _measure(theirs, f"{folder}/{kind}", gpu, library, kind, gib, turns, report)
    except Exception as error:  # noqa: BLE001 - the other container's figures must not be lost
        report(f"FAILED: {type(error).__name__}: {error}")
        sys.exit(1)
    theirs.send(figure)


def _measure(
    theirs: Connection,
    folder: str,
    gpu: str,
    library: str,
    kind: str,
    gib: float,
    turns: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    os.makedirs(f"{folder}/container")
    stock, memory = f"{folder}/stock", f"{folder}/memory"
    ours = stock if turns == 1 else f"{folder}/ours"  # one turn: rewritten in place, half the space
    workload = setup.workload([gpu], library, kind, "gigabytes.py")
    workload.args += [kind, str(gib)]
    with BareCuda(f"{folder}/container", workload) as container:
        container.start()
        expected = container.hash()
        report(f"holds {gib:g} GiB")
        container.dump_away(stock)
        figure: dict[str, Any] = {"kind": kind, "gib": gib, "capture": container.seconds}
        report(f"captured: {container.seconds}")
        theirs.send("ready")
        theirs.recv()
        seconds: dict[str, list[float]] = {"stock": [], "ours": []}
        parts: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}

        def turn(way: str, restore: Callable[[], float]) -> None:
            seconds[way].append(restore())
            parts[way].append(container.seconds)
            report(f"{way}: {seconds[way][-1]:.2f} s {container.seconds}")
            if container.hash() != expected:
                raise Failed(f"{kind} memory of {gib:g} GiB came back changed ({way})")
            report(f"{way}: every byte is as it was")
            container.remove()

        if ours != stock:
            shutil.copytree(stock, ours)
        turn("stock", lambda: container.restore_stock(stock))
        began = time.monotonic()
        taken = rewrite.extract(ours, memory)
        figure["capture"]["rewrite"] = round(time.monotonic() - began, 4)
        report(f"rewritten in {figure['capture']['rewrite']} s: {taken}")
        turn("ours", lambda: container.restore_ours(ours, memory))
        for _ in range(turns - 1):
            turn("stock", lambda: container.restore_stock(stock))
            turn("ours", lambda: container.restore_ours(ours, memory))
    return {**figure, **_summary(taken.moved, seconds, parts)}


def _summary(
    moved: int, seconds: dict[str, list[float]], parts: dict[str, list[dict[str, float]]]
) -> dict[str, Any]:
    """Medians; GB/s of the memory that was taken out: CRIU and fill together, and the device's restore."""
    found: dict[str, Any] = {"memory_bytes": moved}
    for way in ("stock", "ours"):
        middle = {part: statistics.median(one[part] for one in parts[way]) for part in parts[way][0]}
        cpu = middle["criu"] + middle.get("memory", 0.0)
        found[way] = middle
        found[f"{way}_s"] = round(statistics.median(seconds[way]), 3)
        found[f"{way}_cpu_s"] = round(cpu, 3)
        found[f"{way}_gb_s"] = round(moved / cpu / 1e9, 2)
        found[f"{way}_cuda_gb_s"] = round(moved / middle["cuda_restore"] / 1e9, 2)
    found["fill_gb_s"] = round(moved / found["ours"]["memory"] / 1e9, 2)
    found["ratio"] = round(found["stock_s"] / found["ours_s"], 2)
    found["cpu_ratio"] = round(found["stock_cpu_s"] / found["ours_cpu_s"], 2)
    return found


def _show(figure: dict[str, Any]) -> None:
    print(
        f"{figure['gib']:5g} GiB {figure['kind']:7} stock {figure['stock_s']:6.2f} s   ours {figure['ours_s']:6.2f} s"
        f"   {figure['ratio']:4.1f}x   without CUDA {figure['stock_cpu_s']:.2f} s and {figure['ours_cpu_s']:.2f} s,"
        f" {figure['cpu_ratio']:.1f}x, {figure['ours_gb_s']} GB/s (fill alone {figure['fill_gb_s']})",
        flush=True,
    )


def _write(out: str | None, figures: list[dict[str, Any]]) -> None:
    if out:
        with open(out, "w") as file:
            json.dump(figures, file, indent=1)


def _setting() -> str:
    """The chosen words of the huge-page settings: those in brackets; private and shared memory."""
    chosen = []
    for name in ("enabled", "shmem_enabled"):
        with open(f"{_HUGE_PAGES}/{name}") as file:
            chosen.append(file.read().partition("[")[2].partition("]")[0])
    return ", of shared memory ".join(chosen)


def _gpu(fake: bool) -> str:
    if fake:
        return "the fake driver"
    from glowplug.cuda import facts

    found = facts.read()
    return f"{found.devices[0].gpu.product}, driver {found.driver}"


if __name__ == "__main__":
    main()
