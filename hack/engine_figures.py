#!/usr/bin/env python3
"""The figures of docs/engine-runs.json, which are `result` lines of hack/gpu-check, as a table and as a picture.

hack/engine_figures.py            prints the table of docs/engines.md, writes docs/engines.svg
"""

from __future__ import annotations

import json
import os
from typing import Any

DOCS = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/docs"
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 900, 290, 90, 22, 8, 50
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
    """Bars of seconds, one scale for all."""
    bars: list[tuple[str, str, float]] = []
    for run in runs:
        found = run["result"]
        label = run.get("label") or f"{title(found)}, {found['weights']}"
        for what, name in (("cold, empty caches", "cold_empty_s"), ("cold, warm caches", "cold_warm_s")):
            if name in found:
                bars.append((f"{label}: {what}", what, found[name]))
        bars.append((f"{label}: restored", "restored", found["restored_median_s"]))
    scale = (WIDTH - LEFT - RIGHT) / max(seconds for _, _, seconds in bars)
    height = TOP + len(bars) * (BAR + GAP) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="28" font-size="16" fill="#222222">Seconds from create to the first correct answer</text>',
    ]
    for number, (label, what, seconds) in enumerate(bars):
        top = TOP + number * (BAR + GAP)
        parts += [
            f'<text x="{LEFT - 10}" y="{top + 16}" text-anchor="end" fill="#222222">{label}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{max(2.0, seconds * scale):.1f}" height="{BAR}" '
            f'fill="{COLOURS[what]}"/>',
            f'<text x="{LEFT + seconds * scale + 8:.1f}" y="{top + 16}" fill="#222222">{seconds:.1f} s</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def title(found: dict[str, Any]) -> str:
    return f"{NAMES[found['engine']]} {found['shape'].upper()}"


if __name__ == "__main__":
    main()
