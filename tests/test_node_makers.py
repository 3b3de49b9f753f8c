"""Distributions that bring their own containerd: the handler goes where they take it from, and all goes back."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.node_made import Machine, containerd_major

from glowplug.errors import NodeError
from glowplug.node import daemon, effective, found, makers

K0S_MAIN = """# k0s_managed=true
# This is a placeholder configuration for k0s managed containerD.
version = {version}
imports = [
	"{merged}",
]
"""
K0S_MERGED = """version = 2
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "quay.io/k0sproject/pause:3.8"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/opt/cni/bin"
"""
SNAP = """version = 2
oom_score = 0
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.7"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "{runtime}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{data}/opt/cni/bin"
"""


LISTENS = """import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
time.sleep(60)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def k0s(machine: Machine) -> Path:
    """A node of k0s; the file that k0s merges drop-ins into."""
    merged = machine.directory / "run/containerd-cri.toml"
    merged.parent.mkdir()
    merged.write_text(K0S_MERGED)
    machine.config = machine.etc / "containerd.toml"
    machine.config.write_text(K0S_MAIN.format(version=2, merged=merged))
    return merged


def test_k0s_gets_a_drop_in_and_its_own_files_stay(machine: Machine) -> None:
    merged = k0s(machine)
    before, files = effective.parse(machine.dump()), machine.files()
    lines = machine.install()
    drop_in = machine.etc / "containerd.d/glowplug.toml"
    assert lines[0].startswith(f"put the handler glowplug in {drop_in}") and "k0s makes" in lines[-1]
    assert (machine.config.read_text(), merged.read_text()) == (
        K0S_MAIN.format(version=2, merged=merged),
        K0S_MERGED,
    )
    assert drop_in.read_text().startswith("version = 2\n")
    # What k0s does when it starts: tables of the drop-in, without comments, in the file that is imported.
    tables = [line for line in drop_in.read_text().splitlines() if not line.startswith(("#", "version"))]
    merged.write_text(K0S_MERGED + "\n".join(tables) + "\n")
    after = effective.parse(machine.dump())
    assert "glowplug" in after.handlers
    assert effective.differences(before, after, "glowplug") == []
    stamps = machine.stamps()
    assert machine.install()[0].startswith("found the handler")
    assert machine.stamps() == stamps
    machine.uninstall()
    assert machine.files() == files


def test_k0s_that_never_started_is_refused_untouched(machine: Machine) -> None:
    k0s(machine).unlink()
    files = machine.files()
    with pytest.raises(NodeError, match="start k0s first"):
        machine.install()
    assert machine.files() == files


def test_a_k0s_whose_file_was_taken_over_is_a_plain_one(machine: Machine) -> None:
    """Without its first line the file is its owner's, as k0s says in it."""
    merged = k0s(machine)
    machine.config.write_text(machine.config.read_text().partition("\n")[2])
    files = machine.files()
    machine.install()
    assert "glowplug" in effective.parse(machine.dump()).handlers
    machine.uninstall()
    assert machine.files() == files
    assert merged.read_text() == K0S_MERGED


def test_microk8s_gets_it_in_its_template(machine: Machine) -> None:
    machine.config = machine.etc / "containerd.toml"
    machine.config.write_text(SNAP.format(runtime="runc", data="/var/snap/microk8s/1"))
    template = machine.etc / "containerd-template.toml"
    template.write_text(SNAP.format(runtime="${RUNTIME}", data="${SNAP_DATA}"))
    files, main = machine.files(), machine.config.read_bytes()
    assert "MicroK8s makes" in machine.install()[-1]
    assert machine.config.read_bytes() == main
    assert '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.glowplug]' in template.read_text()
    machine.uninstall()
    assert machine.files() == files


def test_a_read_only_configuration_is_refused_with_what_to_do(machine: Machine) -> None:
    """As on Bottlerocket and other systems whose files are the image's."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    machine.put("debian.toml")
    said = machine.install_read_only(machine.etc)
    assert len(said.splitlines()) == 1 and "read-only" in said and "image" in said


@contextmanager
def listening(path: Path, *arguments: str) -> Iterator[None]:
    """A process with this command line that listens on a socket."""
    program = path.with_suffix(".py")
    program.write_text(LISTENS)
    process = subprocess.Popen([sys.executable, program, str(path), *arguments])
    try:
        until = time.monotonic() + 60
        while daemon.pid(str(path)) != process.pid and time.monotonic() < until:
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "way", [["--config", "@"], ["--config=@"], ["-c", "@"], ["-config", "@"]], ids="-".join
)
def test_the_running_containerd_says_where_its_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: list[str]
) -> None:
    """kOps starts the distribution's with another file, k3s and others bring their own program."""
    address, config = tmp_path / "c.sock", str(tmp_path / "config-kops.toml")
    monkeypatch.setattr(
        makers,
        "ALL",
        (makers.Maker("", str(tmp_path / "none"), (), ""), makers.Maker("", str(address), (), "")),
    )
    with listening(address, *[word.replace("@", config) for word in way]):
        chosen = found.chosen(None, None, None)
        assert (chosen.config, chosen.socket) == (config, str(address))
        assert os.path.basename(chosen.program).startswith("python")
        assert found.chosen("/chosen", None, None) == found.Found("/chosen", "containerd", None)
        assert found.chosen(None, "/a/containerd", None).program == "/a/containerd"


def test_a_running_containerd_s_file_is_written_as_its_next_upgrade_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MicroK8s: the revision's directory is on the command line, and goes with an upgrade."""
    address, config = tmp_path / "c.sock", tmp_path / "microk8s/6089/args/containerd.toml"
    config.parent.mkdir(parents=True)
    config.write_text("")
    (tmp_path / "microk8s/current").symlink_to("6089")
    monkeypatch.setattr(makers, "ALL", (makers.Maker("", str(address), (), ""),))
    with listening(address, "--config", str(config)):
        assert found.chosen(None, None, None).config == str(
            tmp_path / "microk8s/current/args/containerd.toml"
        )


def test_where_none_runs_the_usual_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = str(tmp_path / "none")
    monkeypatch.setattr(makers, "ALL", (makers.Maker("k", none, (), str(tmp_path / "k.toml")),))
    assert found.chosen(None, None, None) == found.Found("/etc/containerd/config.toml", "containerd", None)
    (tmp_path / "k.toml").write_text("")
    assert found.chosen(None, None, None).config == str(tmp_path / "k.toml")


def test_containerd_2_s_k0s_too(machine: Machine) -> None:
    if containerd_major() < 2:
        pytest.skip("containerd 1.x reads no version 3")
    merged = k0s(machine)
    merged.write_text('version = 3\n[plugins."io.containerd.cri.v1.runtime"]\n  enable_selinux = false\n')
    machine.config.write_text(K0S_MAIN.format(version=3, merged=merged))
    files = machine.files()
    machine.install()
    assert (machine.etc / "containerd.d/glowplug.toml").read_text().startswith("version = 3\n")
    machine.uninstall()
    assert machine.files() == files
