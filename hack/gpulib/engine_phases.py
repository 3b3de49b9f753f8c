"""The phases of one engine's restore, in the order of their time, with what they can't be faster than."""

from __future__ import annotations

from typing import Any

from hack import bars
from hack.gpulib.engines import WEIGHTS_GB

CUDA = ("cuda", "cuda_attach", "cuda_hold", "cuda_restore", "cuda_unlock")
RELOADS = ("POST /collective_rpc", "POST /update_weights_from_disk")
WIDTH, LEFT, RIGHT = 860, 250, 150
Row = dict[str, Any]
"""`phase`, `s`, `floor_s` (None: it moves no bytes of a known number) and `floor`, what that is made of."""


def rows(found: dict[str, Any], shape: str, bandwidths: dict[str, float | None]) -> list[Row]:
    """Of hack/gpu-check's result and two bandwidths in GB/s (None: not measured)."""
    phases, hook = found["phases"], found["hook_seconds"]
    memory = (phases.get("memory", 0.0), found["memory_bytes"] / 1e9, bandwidths["memory_gb_s"])
    device = (
        sum(phases.get(name, 0.0) for name in CUDA),
        found["gpu_memory_bytes"] / 1e9,
        bandwidths["bus_gb_s"],
    )
    reload = (sum(hook.get(name, 0.0) for name in RELOADS), WEIGHTS_GB[shape], bandwidths["bus_gb_s"])
    ours = ("resolve", "criu", "memory", *CUDA)
    # What no step of ours says is containerd's, the shim's, runc's and the interpreters'.
    rest = max(0.0, found["start_s"] - sum(phases.values()))
    wakes = sum(seconds for name, seconds in hook.items() if name not in (*RELOADS, "canary"))
    made = [
        _row("containerd, shim, runc, Python", rest),
        _row("finding the checkpoint", phases.get("resolve", 0.0)),
        _row("CRIU", phases.get("criu", 0.0)),
        _moved("memory", *memory),
        _moved("the driver", *device),
        _row("other steps of the runtime", sum(s for name, s in phases.items() if name not in ours)),
        _row("waking", wakes),
        _moved("weights read again", *reload),
        _row(
            "the answer", found["restored_median_s"] - found["awake_s"], found["awake_answer_s"], "when awake"
        ),
    ]
    return [row for row in made if row["s"] >= 0.0005]


def table(found: dict[str, Any], phases: list[Row]) -> str:
    """For a terminal, and Markdown as it is."""
    cold = [f"{found[name]:.1f} s" for name in ("cold_empty_s", "cold_warm_s") if name in found]
    first = (
        f"{found['engine']} {found['shape']}, {found['weights']}: cold {' and '.join(cold)}, "
        f"restored {found['restored_median_s']:.2f} s, {found['times_faster_than_warm']:.1f} times"
    )
    lines = [first, "", "| phase | s | floor, s | |", "|---|---|---|---|"]
    for row in phases:
        floor = "–" if row["floor_s"] is None else f"{row['floor_s']:.2f}"
        lines.append(f"| {row['phase']} | {row['s']:.2f} | {floor} | {row['floor']} |")
    return "\n".join([*lines, ""])


def picture(found: dict[str, Any], phases: list[Row]) -> str:
    """A bar for each phase, where it begins; its floor in a darker colour."""
    scale = (WIDTH - LEFT - RIGHT) / sum(row["s"] for row in phases)
    lines = []
    left = float(LEFT)
    for number, row in enumerate(phases):
        width = max(1.0, row["s"] * scale)
        floor = min(row["floor_s"] or 0.0, row["s"]) * scale
        says = f"{row['s']:.2f} s" + ("" if row["floor_s"] is None else f" (floor {row['floor_s']:.2f})")
        lines.append(
            [
                bars.label(number, LEFT - 10, row["phase"]),
                bars.bar(number, left, width, "#f0a48f"),
                bars.bar(number, left, floor, "#e4572e"),
                bars.value(number, left + width + 8, says),
            ]
        )
        left += row["s"] * scale
    title = f"{found['engine']} {found['shape']}, {found['weights']}: seconds of a restore, and their floor"
    return bars.picture(title, WIDTH, lines)


def _moved(phase: str, seconds: float, gigabytes: float, bandwidth: float | None) -> Row:
    if not bandwidth:
        return _row(phase, seconds)
    return _row(phase, seconds, gigabytes / bandwidth, f"{gigabytes:.1f} GB at {bandwidth:.1f} GB/s")


def _row(phase: str, seconds: float, floor: float | None = None, what: str = "") -> Row:
    return {
        "phase": phase,
        "s": round(seconds, 3),
        "floor_s": None if floor is None else round(floor, 3),
        "floor": what,
    }
