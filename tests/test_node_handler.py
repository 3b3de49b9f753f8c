"""The handler is as the one that it builds on, and its program reaches that one's."""

import os
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.node_made import Machine

from glowplug.errors import NodeError, UsageError
from glowplug.node import effective
from glowplug.node.install import Place, install


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def handler(machine: Machine) -> dict[str, object]:
    return dict(effective.parse(machine.dump()).handlers["glowplug"])


def options(machine: Machine) -> dict[str, object]:
    found = handler(machine)["options"]
    assert isinstance(found, dict)
    return {key: value for key, value in found.items() if value}


def test_on_the_stock_handler_the_program_is_the_runtime_itself(machine: Machine) -> None:
    machine.put("kubeadm-v2.toml")
    machine.install()
    assert options(machine) == {
        "BinaryName": f"{machine.prefix}/bin/glowplug-runtime",
        "SystemdCgroup": True,
    }
    assert handler(machine)["pod_annotations"] == ["glowplug.dev/*"]


def test_settings_options_and_annotations_of_the_base_are_inherited(machine: Machine) -> None:
    machine.put("by-hand-v2.toml")
    machine.install()
    found = options(machine)
    assert found.pop("BinaryName") == f"{machine.prefix}/bin/glowplug-runtime-glowplug"
    assert found == {"NoPivotRoot": True}
    assert handler(machine)["pod_annotations"] == ["example.com/*", "glowplug.dev/*"]


def test_another_runc_is_reached_through_the_runtime(machine: Machine) -> None:
    machine.put("by-hand-v2.toml")
    record = machine.directory / "record"
    machine.program(
        machine.toolkit / "fast-runc",
        f'#!/bin/sh\necho runc version 1.3\necho "$@" >>{record}\n[ -z "${{PWD+set}}" ] || echo PWD >>{record}\n',
    )
    machine.install()
    record.unlink()
    program = str(options(machine)["BinaryName"])
    subprocess.run([program, "--root", "/r", "state", "a b"], check=True, env={"PATH": os.environ["PATH"]})
    # a shell that gets no PWD makes one, which it must not pass on
    assert record.read_text().splitlines()[0] == "--root /r state a b"


def test_nvidia_comes_before_the_runtime(machine: Machine) -> None:
    """containerd → nvidia-container-runtime, which edits the spec → glowplug-runtime → runc."""
    machine.put("nvidia-v2.toml")
    config = machine.toolkit / ".config/nvidia-container-runtime/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "# the operator's\naccept-nvidia-visible-devices-as-volume-mounts = true\n[nvidia-container-runtime] # ours\n"
        'log-level = "info"\nruntimes = [\n  "docker-runc", "runc",\n]\nmode = "cdi"\n'
        "[nvidia-container-runtime.modes.cdi]\n"
    )
    machine.install()
    copy = tomllib.loads((machine.prefix / "etc/glowplug/nvidia-container-runtime/config.toml").read_text())
    wanted = tomllib.loads(config.read_text())
    wanted["nvidia-container-runtime"]["runtimes"] = [f"{machine.prefix}/bin/glowplug-runtime"]
    assert copy == wanted
    program = str(options(machine)["BinaryName"])
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    assert said.startswith("runc version")
    assert options(machine)["SystemdCgroup"] is True
    assert handler(machine)["pod_annotations"] == ["nvidia.cdi.k8s.io/*", "glowplug.dev/*"]


def test_the_gpu_operator_s_own_script_is_not_queried(machine: Machine) -> None:
    """It sets the configuration again, and calls runc where no driver is loaded."""
    machine.put("nvidia-v2.toml")
    (machine.toolkit / "nvidia-container-runtime").rename(machine.toolkit / "nvidia-container-runtime.real")
    machine.program(machine.toolkit / "nvidia-container-runtime", "#!/bin/sh\nexit 9\n")
    machine.install()
    said = subprocess.run(
        [str(options(machine)["BinaryName"]), "--version"], check=True, capture_output=True, text=True
    )
    assert said.stdout.startswith("runc version")


def test_a_base_is_chosen_by_name(machine: Machine) -> None:
    machine.put("nvidia-v2.toml")
    lines = machine.install(base="runc")
    assert options(machine)["BinaryName"] == f"{machine.prefix}/bin/glowplug-runtime"
    assert "--base nvidia" in lines[-1]
    with pytest.raises(UsageError, match="got 'kata'"):
        machine.install(base="kata")


def test_a_program_that_reaches_no_runc_leaves_all_as_it_was(machine: Machine) -> None:
    machine.put("by-hand-v2.toml")
    machine.program(machine.toolkit / "fast-runc", "#!/bin/sh\necho no such thing >&2; exit 127\n")
    files = machine.files()
    with pytest.raises(NodeError, match="no such thing"):
        machine.install()
    assert machine.files() == files


def test_the_program_of_pods_that_may_run_stays_when_an_uninstall_was_forced(machine: Machine) -> None:
    machine.put("nvidia-v2.toml")
    machine.install()
    program = str(options(machine)["BinaryName"])
    machine.uninstall()
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    assert said.startswith("runc version")


@pytest.mark.parametrize("name", ["", "Glow", "a.b", "-a", "a" * 64, 'a"b', "a\nb"])
def test_a_name_that_kubernetes_would_not_take_is_refused(machine: Machine, name: str) -> None:
    machine.put("debian.toml")
    files = machine.files()
    with pytest.raises(UsageError, match="--handler"):
        install(Place(config=str(machine.config), prefix=str(machine.prefix), handler=name, no_restart=True))
    assert machine.files() == files


def test_a_runtime_that_is_not_there_is_refused(machine: Machine) -> None:
    machine.put("debian.toml")
    (machine.prefix / "bin/glowplug-runtime").unlink()
    with pytest.raises(UsageError, match="bootstrap-node"):
        machine.install()


def test_a_relative_prefix_is_refused_untouched(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the runtime's path is set: the handler's script would be in whatever directory this is."""
    machine.put("by-hand-v2.toml")
    monkeypatch.chdir(machine.directory)
    files = machine.files()
    with pytest.raises(UsageError, match="--prefix: expected an absolute path"):
        install(replace(machine.place, prefix="opt"), str(machine.prefix / "bin/glowplug-runtime"))
    assert machine.files() == files


def test_a_program_that_says_what_is_no_text_is_a_line(machine: Machine) -> None:
    machine.put("debian.toml")
    program = machine.directory / "odd"
    machine.program(program, "#!/bin/sh\nprintf '\\377\\376' >&2\nexit 1\n")
    with pytest.raises(NodeError, match="to reach runc"):
        install(machine.place, str(program))


def test_two_handlers_share_a_file(machine: Machine) -> None:
    machine.put("debian.toml")
    files = machine.files()
    machine.install()
    place = Place(
        config=str(machine.config),
        socket=str(machine.directory / "none.sock"),
        prefix=str(machine.prefix),
        handler="second",
        no_restart=True,
    )
    install(place)
    assert {"glowplug", "second"} <= set(effective.parse(machine.dump()).handlers)
    from glowplug.node.uninstall import uninstall

    machine.uninstall()
    assert "glowplug" not in effective.parse(machine.dump()).handlers
    uninstall(place, force=True)
    assert machine.files() == files
