#!/usr/bin/env python3
"""The figures of docs/engine-runs.json, which are `result` lines of hack/gpu-check, as a table and as a picture.

hack/engine_figures.py            prints the table of docs/engines.md, writes docs/engines.svg
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [REPOSITORY]

from hack import bars

DOCS = f"{REPOSITORY}/docs"
WIDTH, LEFT, RIGHT = 900, 370, 70
COLOURS = {"cold, empty caches": "#9aa4b2", "cold, warm caches": "#c3cad4", "restored": "#e4572e"}
NAMES = {"vllm": "vLLM", "sglang": "SGLang"}


def main() -> None:
    with open(f"{DOCS}/engine-runs.json") as file:
        runs = json.load(file)
    print(table(runs))
    with open(f"{DOCS}/engines.svg", "w") as file:
        file.write(picture(runs))


def table(runs: list[dict[str, Any]]) -> str:
    lines = [
        "| engine, shape | weights | cold, empty caches | cold, warm caches | restored: median (each) | times faster "
        "| checkpoint, pause |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        found = run["result"]
        empty = f"{found['cold_empty_s']:.1f} s" if "cold_empty_s" in found else "–"
        each = ", ".join(f"{one:.2f}" for one in found["restored_s"])
        lines.append(
            f"| {title(found)} | {found['weights']}{run.get('with', '')} | {empty} | {found['cold_warm_s']:.1f} s "
            f"| **{found['restored_median_s']:.2f} s** ({each}) | {found['times_faster_than_warm']:.1f} "
            f"| {found['checkpoint_bytes'] / 1e9:.1f} GB, {found['pause_s']:.1f} s |"
        )
    return "\n".join(lines)


def picture(runs: list[dict[str, Any]]) -> str:
    """Bars of seconds, one scale for all; of the runs that have a label."""
    measured: list[tuple[str, str, float]] = []
    for run in runs:
        if "label" not in run:
            continue
        found, label = run["result"], run["label"]
        for what, name in (("cold, empty caches", "cold_empty_s"), ("cold, warm caches", "cold_warm_s")):
            if name in found:
                measured.append((f"{label}: {what}", what, found[name]))
        measured.append((f"{label}: restored", "restored", found["restored_median_s"]))
    scale = (WIDTH - LEFT - RIGHT) / max(seconds for _, _, seconds in measured)
    lines = [
        [
            bars.label(number, LEFT - 10, text),
            bars.bar(number, LEFT, max(2.0, seconds * scale), COLOURS[what]),
            bars.value(number, LEFT + seconds * scale + 8, f"{seconds:.1f} s"),
        ]
        for number, (text, what, seconds) in enumerate(measured)
    ]
    return bars.picture("Seconds from create to the first correct answer", WIDTH, lines)


def title(found: dict[str, Any]) -> str:
    return f"{NAMES[found['engine']]} {found['shape'].upper()}"


if __name__ == "__main__":
    main()
