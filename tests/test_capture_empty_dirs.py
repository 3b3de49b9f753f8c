"""What others put into an emptyDir before a container starts, and what it wrote itself."""

import os
import time
from pathlib import Path

import pytest
from tests.test_capture_volumes import POD, SOON, a_fifo, reported, subpath

from glowplug.capture import volume_answers
from glowplug.capture.volume_files import Unreadable
from glowplug.checkpoint import mounts
from glowplug.checkpoint.noise import SandboxFacts


def test_an_empty_dir_is_what_others_put_into_it_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    assert reported(tmp_path / "1", mounts.EMPTY_DIR) == volume_answers.EMPTY
    (tmp_path / "1" / "model").write_bytes(b"x" * (2 << 20))
    (tmp_path / "2" / "model").write_bytes(b"x" * (2 << 20))
    found = reported(tmp_path / "1", mounts.EMPTY_DIR)
    assert volume_answers.is_filled(found)
    assert found == reported(tmp_path / "2", mounts.EMPTY_DIR)
    (tmp_path / "2" / "model").write_bytes(b"y" * (2 << 20))
    assert found != reported(tmp_path / "2", mounts.EMPTY_DIR)


def test_a_large_one_is_known_by_names_sizes_and_times(tmp_path: Path) -> None:
    def filled(name: str, size: int, moment: int) -> str | None:
        (tmp_path / name).mkdir()
        with (tmp_path / name / "model").open("wb") as file:
            file.truncate(size)
        os.utime(tmp_path / name / "model", (moment, moment))
        return reported(tmp_path / name, mounts.EMPTY_DIR)

    over = volume_answers.FILLED_BYTES + 1
    one = filled("1", over, 1)
    assert one
    assert one == filled("2", over, 1)
    assert one != filled("3", over, 2)
    assert one != filled("4", over + 1, 1)


def test_what_a_container_wrote_itself_travels(tmp_path: Path) -> None:
    (tmp_path / "written").write_text("by it")
    assert reported(tmp_path, mounts.EMPTY_DIR, started_before=time.time() - 60) == volume_answers.EMPTY
    assert volume_answers.is_filled(reported(tmp_path, mounts.EMPTY_DIR, started_before=time.time() + 60))


def test_what_an_init_container_wrote_about_its_own_pod_is_noise(tmp_path: Path) -> None:
    """As injected agents (Dynatrace, Consul) and templates do, in an emptyDir and in a subPath of a volume."""

    def filled(where: str, pod: str, address: str, model: str) -> list[str | None]:
        facts = SandboxFacts(name=pod, namespace="models", uid="", ips=(address,), hostname=pod)
        found = []
        for directory, how in (
            (tmp_path / where / "empty", mounts.EMPTY_DIR),
            (subpath(tmp_path / where), mounts.CONTENT_OR_BACKING),
        ):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "agent.conf").write_text(f"k8s_podname {pod}\nlisten={address}:80\nmodel={model}\n")
            found.append(volume_answers.answer(str(directory), how, facts, time.monotonic() + SOON, None))
        return found

    one = filled("1", "web-7d9f8c6b5d-x2k4q", "10.1.2.3", "llama")
    assert one == filled("2", "web-7d9f8c6b5d-m7vtb", "10.1.2.9", "llama")
    other = filled("3", "web-7d9f8c6b5d-m7vtb", "10.1.2.9", "other")
    assert not set(one) & set(other)


def test_what_others_filled_and_it_wrote_to_can_t_be_known(tmp_path: Path) -> None:
    (tmp_path / "by the init container").write_text("x")
    own = tmp_path / "by the server"
    moment = os.stat(tmp_path / "by the init container").st_ctime
    own.write_text("x")
    while os.stat(own).st_ctime <= moment:  # the kernel's clock for files ticks in milliseconds
        own.write_text("x")
    with pytest.raises(Unreadable, match="others filled it before the start"):
        reported(tmp_path, mounts.EMPTY_DIR, started_before=os.stat(own).st_ctime)


def test_a_subpath_of_an_empty_dir_is_as_the_empty_dir(tmp_path: Path) -> None:
    directory = subpath(tmp_path, "scratch")
    assert not (reported(directory, mounts.CONTENT_OR_BACKING) or "").startswith("empty-dir:")
    (tmp_path / "pods" / POD.uid / "volumes" / "kubernetes.io~empty-dir" / "scratch").mkdir(parents=True)
    assert reported(directory, mounts.CONTENT_OR_BACKING) == "empty-dir:empty"
    (directory / "x").write_text("x")
    assert volume_answers.is_filled(reported(directory, mounts.CONTENT_OR_BACKING))
    a_fifo(directory / "fifo")
    assert reported(directory, mounts.CONTENT_OR_BACKING, time.time() - 60) == "empty-dir:empty"
