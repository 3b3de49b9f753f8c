"""Processes that a driver could not restore are reported before a capture would end them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.cuda import processes, sharing

ALONE = {"NCCL_P2P_DISABLE": "1", "NCCL_CUMEM_ENABLE": "0", "NCCL_CUMEM_HOST_ENABLE": "0"}
IDLE = "import sys; sys.stdin.read()"
KEEPS_OPEN = "import sys; file = open(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def ipc_file() -> Iterator[str]:
    path = f"/dev/shm/cuda.shm.0.{os.getpid():x}.1"
    with open(path, "w"):
        yield path
    os.unlink(path)


def test_cuda_ipc_is_reported_with_its_process(ipc_file: str) -> None:
    found = sharing.by_ipc([os.getpid()])
    assert [(one.pid, one.what) for one in found] == [(os.getpid(), ipc_file)]
    assert "driver before 610" in str(found[0])


def test_a_driver_that_restores_it_is_let_do_so(ipc_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "library_version", lambda pid: "610.57.04")
    assert sharing.by_ipc([os.getpid()]) == []


@pytest.mark.parametrize(
    ("library", "env", "devices", "is_reported"),
    [
        ("libnccl.so.2", {}, [{0}, {1}], True),
        ("libnccl.so.2", {"NCCL_P2P_DISABLE": "1"}, [{0}, {1}], True),
        ("libnccl.so.2", ALONE, [{0}, {1}], False),
        ("libother.so.2", {}, [{0}, {1}], False),
        ("libnccl.so.2", {}, [{0}, {0}], False),
        ("libnccl.so.2", {}, [{0, 1}], False),
        ("libnccl.so.2", {}, [set(), set()], False),
        ("libnccl.so.2", {}, [set(), {0}], False),
        ("libnccl.so.2", {}, [set(), {0}, {0}], False),
    ],
)
def test_nccl_counts_where_processes_sit_on_different_gpus(
    library: str, env: dict[str, str], devices: list[set[int]], is_reported: bool, tmp_path: Path
) -> None:
    path = tmp_path / library
    path.write_bytes(b"")
    command = [sys.executable, "-c", KEEPS_OPEN, str(path)]
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
        )
        for _ in devices
    ]
    try:
        for process in started:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        found = sharing.by_nccl({process.pid: own for process, own in zip(started, devices, strict=True)}, {})
    finally:
        for process in started:
            process.communicate(timeout=60)
    assert [one.pid for one in found] == ([process.pid for process in started] if is_reported else [])


def test_the_containers_environment_counts_where_the_process_has_written_over_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As setproctitle does, which vLLM's workers call."""
    monkeypatch.setattr(sharing, "objects", lambda pid: {"/usr/lib/libnccl.so.2"})
    with subprocess.Popen([sys.executable, "-c", IDLE], stdin=subprocess.PIPE) as other:
        pids = {os.getpid(): {0}, other.pid: {1}}
        assert len(sharing.by_nccl(pids, {})) == 2
        assert len(sharing.by_nccl(pids, {**ALONE, "NCCL_P2P_DISABLE": "0"})) == 2
        assert sharing.by_nccl(pids, ALONE) == []
