"""The options that a handler was installed with are the defaults of every later command for it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.containerd_served import Served
from tests.node_made import Machine
from tests.test_agent_handler_watch import has

from glowplug.containerd import installed
from glowplug.containerd.installed import Installed
from glowplug.node import found, makers
from glowplug.node.install import built_on, install, repair

CRI = 'plugins."io.containerd.grpc.v1.cri".containerd.runtimes'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With two handlers to build on."""
    made = Machine(tmp_path)
    made.config.write_text(
        f'version = 2\n[{CRI}.runc]\n  runtime_type = "io.containerd.runc.v2"\n'
        f'[{CRI}.fast]\n  runtime_type = "io.containerd.runc.v2"\n'
        f'[{CRI}.fast.options]\n  BinaryName = "{made.toolkit}/fast-runc"\n'
    )
    return made


def record(machine: Machine) -> Installed:
    read = installed.load(str(machine.prefix), "glowplug")
    assert read is not None
    return read


@pytest.mark.skipif(os.geteuid() != 0, reason="containerd's configuration is root's")
def test_the_status_is_of_the_handler_that_was_installed(machine: Machine) -> None:
    """The installer's pod asks for it without the options that it was installed with: else it is never ready."""
    machine.install(base="fast")
    program = f"{Path(sys.executable).parent}/glowplug"
    command = [
        program,
        "node",
        "status",
        "--prefix",
        str(machine.prefix),
        "--socket",
        machine.place.socket or "",
    ]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    assert "building on fast" in said and f"in {machine.config}" in said
    assert "would write it now" not in said


def test_a_second_install_without_options_builds_on_the_same(machine: Machine) -> None:
    machine.install(base="fast")
    files = machine.files()
    runtime, base = built_on(machine.place, None, None)
    assert (runtime, base) == (None, "fast")
    assert install(machine.place, runtime, base)[0].startswith("found the handler")
    assert machine.files() == files
    assert built_on(machine.place, "/other", "runc") == ("/other", "runc")
    assert built_on(replace(machine.place, config="/etc/other.toml"), None, None) == (None, None)


def test_the_containerd_that_it_was_installed_for_is_meant(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although another one lies at a usual place; not so where that of before is gone."""
    machine.install()
    other = machine.directory / "other.toml"
    other.write_text("version = 2\n")
    none = str(machine.directory / "none")
    monkeypatch.setattr(makers, "ALL", (makers.Maker("k", none, (), str(other)),))
    assert found.chosen(None, None, None).config == str(other)
    assert found.chosen(None, None, None, record(machine)).config == str(machine.config)
    assert found.chosen("/said.toml", None, None, record(machine)).config == "/said.toml"
    machine.config.unlink()
    assert found.chosen(None, None, None, record(machine)).config == str(other)


def test_a_configuration_of_nvidia_s_that_was_written_again_is_copied_again(machine: Machine) -> None:
    """The operator writes it at each start of its pod; the agent watches the files of the record, and repairs."""
    machine.put("nvidia-v2.toml")
    config = machine.toolkit / ".config/nvidia-container-runtime/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[nvidia-container-runtime]\nmode = "legacy"\n')
    machine.install()
    before = record(machine)
    assert str(config) in before.files
    served = Served(str(machine.directory / "containerd.sock"))
    try:
        has(served, glowplug=str(machine.prefix / "bin/glowplug-runtime-glowplug"))
        path = Path(installed.path(str(machine.prefix), "glowplug"))
        path.write_bytes(installed.dumps(replace(before, socket=served.socket)))
        assert repair(str(machine.prefix), "glowplug") == []
        config.write_text('[nvidia-container-runtime]\nmode = "cdi"\n')
        assert repair(str(machine.prefix), "glowplug")
    finally:
        served.stop()
    copy = machine.prefix / "etc/glowplug/nvidia-container-runtime/config.toml"
    assert 'mode = "cdi"' in copy.read_text()


def test_a_program_that_went_with_an_upgrade_is_found_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install()
    monkeypatch.setattr(makers, "ALL", ())
    gone = replace(record(machine), containerd="/var/lib/rancher/k3s/data/d0/bin/containerd", socket="")
    assert found.as_installed(gone) == found.Found(str(machine.config), "containerd", None)
    kept = replace(gone, containerd="/bin/sh")
    assert found.as_installed(kept).program == "/bin/sh"
