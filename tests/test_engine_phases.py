"""What hack/bench engine says of each phase of a restore: its seconds, and what it can't be faster than."""

from typing import Any

import pytest
from hack.gpulib import engine_phases

FOUND: dict[str, Any] = {
    "engine": "vllm",
    "shape": "8b",
    "weights": "reload",
    "cold_empty_s": 150.0,
    "cold_warm_s": 70.0,
    "restored_median_s": 1.9,
    "times_faster_than_warm": 36.8,
    "start_s": 1.1,
    "awake_s": 1.75,
    "awake_answer_s": 0.12,
    "memory_bytes": 3_000_000_000,
    "gpu_memory_bytes": 2_000_000_000,
    "phases": {
        "resolve": 0.05,
        "criu": 0.2,
        "memory": 0.2,
        "cuda_restore": 0.5,
        "layer": 0.02,
        "check": 0.01,
    },
    "hook_seconds": {"POST /wake_up?tags=weights": 0.04, "POST /collective_rpc": 0.5, "canary": 0.1},
}


def test_a_floor_is_the_bytes_over_the_bandwidth() -> None:
    rows = by_phase({"bus_gb_s": 50.0, "memory_gb_s": 30.0})
    assert rows["memory"]["floor_s"] == 0.1
    assert rows["the driver"]["floor_s"] == 0.04
    assert rows["weights read again"]["floor_s"] == pytest.approx(16.4 / 50, abs=0.001)
    assert rows["the answer"] == {"phase": "the answer", "s": 0.15, "floor_s": 0.12, "floor": "when awake"}
    assert rows["CRIU"]["floor_s"] is None


def test_what_no_phase_says_is_the_rest() -> None:
    rows = by_phase({"bus_gb_s": 50.0, "memory_gb_s": 30.0})
    assert rows["containerd, shim, runc, Python"]["s"] == pytest.approx(1.1 - 0.98)
    assert rows["other steps of the runtime"]["s"] == 0.03
    assert rows["waking"]["s"] == 0.04, "the canary is the answer, not a wake-up"


def test_without_a_bandwidth_there_is_no_floor() -> None:
    rows = by_phase({"bus_gb_s": None, "memory_gb_s": 30.0})
    assert (rows["the driver"]["floor_s"], rows["the driver"]["floor"]) == (None, "")


def test_the_table_has_a_line_for_each_phase() -> None:
    phases = engine_phases.rows(FOUND, "8b", {"bus_gb_s": 50.0, "memory_gb_s": 30.0})
    said = engine_phases.table(FOUND, phases)
    assert said.startswith("vllm 8b, reload: cold 150.0 s and 70.0 s, restored 1.90 s, 36.8 times")
    assert "| memory | 0.20 | 0.10 | 3.0 GB at 30.0 GB/s |" in said
    assert engine_phases.picture(FOUND, phases).count("<rect") == 1 + 2 * len(phases)


def by_phase(bandwidths: dict[str, float | None]) -> dict[str, dict[str, Any]]:
    return {row["phase"]: row for row in engine_phases.rows(FOUND, "8b", bandwidths)}
