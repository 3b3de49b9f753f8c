"""Memory: stock `runc restore` against ours, alternating, on this machine.

For each size and kind of memory a container fills it with random pages and is captured once. Then it is
restored by stock `runc restore` from CRIU's own images and by ours from memory extents, alternating, with a warm
and a cold page cache; after each restore the container hashes its memory. Seconds are those from the start of
`runc restore` until the tree runs. A first pair of restores is not counted: a virtual machine's first touch
of its own memory is slow.
"""

import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from typing import Any

import click

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "shim"]

from integration.bare import Bare, usable

from glowplug.criu import rewrite

GIB = 1 << 30
_PEAK = ("memory.max_usage_in_bytes", "memory.peak")
_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage"


@click.command()
@click.option("--gib", type=click.FloatRange(0.01), multiple=True, help="Size to measure; may be repeated.")
@click.option(
    "--kind",
    type=click.Choice(["private", "shared", "file"]),
    multiple=True,
    help="Which memory; private and shared by default. file: changed pages of a private mapping of a file.",
)
@click.option(
    "--cache", type=click.Choice(["warm", "cold"]), multiple=True, help="Page cache; both by default."
)
@click.option(
    "--turns",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Restores of each to take the median of.",
)
@click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False),
    help="Where checkpoints go; by default the system's.",
)
@click.option("--json", "out", metavar="FILE", help="Write the figures there too.")
def main(
    gib: tuple[float, ...],
    kind: tuple[str, ...],
    cache: tuple[str, ...],
    turns: int,
    scratch: str | None,
    out: str | None,
) -> None:
    """Gigabytes restored: stock runc restore against ours."""
    why = usable()
    if why is not None:
        raise click.ClickException(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that containers and checkpoints are removed
    settings = f"huge pages: {_setting('enabled')}, of shared memory: {_setting('shmem_enabled')}"
    print(f"{len(os.sched_getaffinity(0))} cores; {settings}")
    figures = []
    for size in gib or (1, 4, 8):
        for what in kind or ("private", "shared"):
            folder = tempfile.mkdtemp(prefix="glowplug-bench-", dir=scratch)
            try:
                figures += _measure(folder, what, size, cache or ("warm", "cold"), turns)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures))
    if out:
        with open(out, "w") as file:
            json.dump(figures, file)


def _measure(folder: str, kind: str, gib: float, caches: tuple[str, ...], turns: int) -> list[dict[str, Any]]:
    pages = int(gib * GIB) // 4096
    scratch = f"{folder}/container"
    os.mkdir(scratch)
    with Bare(
        scratch, {"mappings": [{"kind": kind, "pages": pages, "runs": [[0, pages, "random"]]}]}
    ) as container:
        container.start()
        expected = container.hash()
        stock, ours, memory = f"{folder}/stock", f"{folder}/ours", f"{folder}/memory"
        container.dump(stock)
        container.remove()
        shutil.copytree(stock, ours)
        rewrite.extract(ours, memory)
        os.sync()  # what is not written yet can't leave the page cache
        figures = []
        for cache in caches:
            seconds: dict[str, list[float]] = {"stock": [], "ours": []}
            fills: list[float] = []
            peaks = {"stock": 0, "ours": 0}
            for turn in range(turns + 1):
                for way, images, extents in (("stock", stock, None), ("ours", ours, memory)):
                    _set_cache(cache, [path for path in (images, extents) if path])
                    took = container.restore(images, extents)
                    if container.hash() != expected:
                        raise click.ClickException(
                            f"{kind} memory of {gib:g} GiB came back changed ({way}, {cache})"
                        )
                    peaks[way] = max(peaks[way], container.cgroup_file(_PEAK) or 0)
                    container.remove()
                    if turn:
                        seconds[way].append(took)
                        if way == "ours":
                            fills.append(container.filled.bytes / container.filled.seconds / 1e9)
            figures.append(_figure(gib, kind, cache, seconds, fills, peaks))
    return figures


def _figure(
    gib: float,
    kind: str,
    cache: str,
    seconds: dict[str, list[float]],
    fills: list[float],
    peaks: dict[str, int],
) -> dict[str, Any]:
    stock, ours = statistics.median(seconds["stock"]), statistics.median(seconds["ours"])
    figure = {
        "gib": gib,
        "kind": kind,
        "cache": cache,
        "stock_s": round(stock, 3),
        "ours_s": round(ours, 3),
        "ratio": round(stock / ours, 2),
        "stock_gb_s": round(gib * GIB / stock / 1e9, 2),
        "ours_gb_s": round(gib * GIB / ours / 1e9, 2),
        "fill_gb_s": round(statistics.median(fills), 2),
        "stock_peak_bytes": peaks["stock"],
        "ours_peak_bytes": peaks["ours"],
    }
    print(
        f"{gib:5g} GiB {kind:7} {cache:4}  stock {stock:7.2f} s   ours {ours:6.2f} s   {stock / ours:5.1f}x"
        f"   {figure['ours_gb_s']:5.2f} GB/s (fill alone {figure['fill_gb_s']:5.2f})"
        f"   peak {peaks['stock'] / GIB:.2f} and {peaks['ours'] / GIB:.2f} GiB",
        flush=True,
    )
    return figure


def _files(folders: list[str]) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in os.listdir(folder)]


def _set_cache(cache: str, folders: list[str]) -> None:
    for path in _files(folders):
        if not os.path.isfile(path):
            continue
        with open(path, "rb", buffering=0) as file:
            if cache == "cold":
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(16 << 20):
                    pass


def _setting(name: str) -> str:
    """The chosen word of a huge-page setting: the one in brackets."""
    try:
        with open(f"{_HUGE_PAGES}/{name}") as file:
            return file.read().partition("[")[2].partition("]")[0]
    except OSError:
        return "unknown"


if __name__ == "__main__":
    main()
