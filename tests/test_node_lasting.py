"""Files of a distribution that has a directory for each of its versions: written so that an upgrade keeps the name."""

from pathlib import Path

import pytest

from glowplug.node.lasting import lasting


def file(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.write_text("")
    return str(path)


def test_the_link_to_the_current_version_is_written(tmp_path: Path) -> None:
    """k3s: data/DIGEST/bin; MicroK8s: /snap/microk8s/REVISION, and its settings below /var/snap/microk8s/REVISION."""
    program = file(tmp_path / "k3s/data/d1a2/bin/runc")
    settings = file(tmp_path / "snap/microk8s/6089/args/containerd.toml")
    (tmp_path / "k3s/data/current").symlink_to("d1a2")
    (tmp_path / "snap/microk8s/current").symlink_to("6089")
    assert lasting(program) == str(tmp_path / "k3s/data/current/bin/runc")
    assert lasting(settings) == str(tmp_path / "snap/microk8s/current/args/containerd.toml")


def test_rke2_s_link_beside_its_versions(tmp_path: Path) -> None:
    program = file(tmp_path / "rke2/data/v1.31.4-rke2r1-abc/bin/containerd")
    (tmp_path / "rke2/bin").symlink_to("data/v1.31.4-rke2r1-abc/bin")
    assert lasting(program) == str(tmp_path / "rke2/bin/containerd")


@pytest.mark.parametrize("current", ["d0", None], ids=["of-another-version", "none"])
def test_a_link_to_another_version_is_not(tmp_path: Path, current: str | None) -> None:
    program = file(tmp_path / "k3s/data/d1/bin/runc")
    file(tmp_path / "k3s/data/d0/bin/runc")
    if current:
        (tmp_path / "k3s/data/current").symlink_to(current)
    assert lasting(program) == program


@pytest.mark.parametrize("path", ["/usr/bin/env", "/bin/sh", "/nowhere/at/all", "runc", ""])
def test_any_other_file_keeps_its_name(path: str) -> None:
    assert lasting(path) == path
