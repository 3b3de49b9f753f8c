"""What no CRIU can dump is reported with its process before anything is touched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from glowplug.cuda import undumpable


def test_an_open_object_is_reported_with_its_process_and_why() -> None:
    fd = os.open("/dev/fuse", os.O_RDONLY) if os.path.exists("/dev/fuse") else None
    if fd is None:
        pytest.skip("no /dev/fuse here")
    try:
        found = undumpable.before([os.getpid()])
    finally:
        os.close(fd)
    assert [(one.pid, one.what) for one in found] == [(os.getpid(), "/dev/fuse")]
    assert str(found[0]).startswith(f"process {os.getpid()} (")
    assert str(found[0]).endswith("holds /dev/fuse: CRIU can't dump a FUSE server")


def test_io_uring_is_seen() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    parameters = (ctypes.c_uint32 * 30)()
    fd = libc.syscall(425, 1, ctypes.byref(parameters))  # io_uring_setup
    if fd < 0:
        pytest.skip("no io_uring here")
    try:
        assert [one.what for one in undumpable.before([os.getpid()])] == ["anon_inode:[io_uring]"]
    finally:
        os.close(fd)


def test_an_innocent_process_and_one_that_is_gone_hold_nothing() -> None:
    assert undumpable.before([os.getpid(), 999999]) == []
    assert undumpable.after([os.getpid(), 999999]) == []


def test_after_the_cuda_checkpoint_any_open_nvidia_node_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidiactl", "/dev/null"])
    found = undumpable.after([os.getpid()])
    assert [one.what for one in found] == ["/dev/nvidiactl"]
    assert "opened by other means than CUDA" in found[0].why


def test_a_node_that_a_process_without_cuda_has_open_is_reported_with_the_drivers_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidia0", "/dev/null"])
    (found,) = undumpable.beside([os.getpid()], {})
    assert found.what == "/dev/nvidia0"
    assert "a fork of one with CUDA" in str(found)
    (found,) = undumpable.beside([os.getpid()], {os.getpid(): "operation not supported"})
    assert str(found).endswith("; the driver says: operation not supported")


def test_a_node_that_was_inherited_is_reported_with_the_process_that_uses_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidia0"])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        (found,) = undumpable.beside([child.pid], {}, [os.getpid()])
        child.communicate(b"\n", timeout=60)
    assert f"a fork of process {os.getpid()}" in found.why and "TORCHINDUCTOR_COMPILE_THREADS=1" in found.why


def test_a_compile_worker_is_reported_with_the_variable_that_does_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = "input(print(1, flush=True))"
    command = [sys.executable, "-c", ready, "torch/_inductor/compile_worker/__main__.py", "--workers=32"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"1\n"
        monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidia0"])
        (found,) = undumpable.beside([worker.pid], {})
        worker.communicate(b"\n", timeout=60)
    assert "torch.compile" in found.why and "TORCHINDUCTOR_COMPILE_THREADS=1" in found.why
