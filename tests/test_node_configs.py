"""Install on the configurations that nodes have: the handler comes, nothing else changes, all goes back byte for byte.

containerd itself says what it makes of each file.
"""

import re
from pathlib import Path

import pytest
from tests.node_made import Machine, containerd_major

from glowplug.errors import NodeError
from glowplug.node import effective
from glowplug.node.effective import Effective

V2 = [
    "debian",
    "kubeadm-v2",
    "nvidia-v2",
    "k3s-v2",
    "k3s-v2-template",
    "by-hand-v2",
    "windows-lines",
    "comments",
    "empty",
]
V3 = ["kubeadm-v3", "nvidia-v3", "rke2-v3", "by-hand-v3"]
REFUSED = {
    "broken": "expected TOML",
    "docker-package": "CRI plugin is off.* take it out of disabled_plugins in .*config.toml",
    "version-1": "`containerd config dump` writes it so",
    "unknown-runtime": "name one with --base",
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def put(machine: Machine, name: str) -> None:
    """The configuration of that name, with the files that it imports."""
    machine.put(f"{name.removesuffix('-template')}.toml")
    if name == "k3s-v2-template":
        machine.put("k3s-template.tmpl", "config.toml.tmpl")
    if name.endswith("-v3") and containerd_major() < 2:
        pytest.skip("containerd 1.x reads no version 3")
    if name == "nvidia-v3":
        machine.put("nvidia-v3-drop-in.toml", "conf.d/99-nvidia.toml")
    if name == "by-hand-v3":
        for team in ("a", "b"):
            machine.put("empty.toml", f"teams/{team}.toml")
            (machine.etc / f"teams/{team}.toml").write_text("version = 3\noom_score = -1\n")


def in_force(machine: Machine) -> Effective:
    """What containerd reads; where k3s or RKE2 writes that, what they would make of the template."""
    template = next(machine.etc.glob("*.tmpl"), None)
    if template is None:
        return effective.parse(machine.dump())
    rendered = machine.config.read_bytes()
    made = template.read_bytes().replace(b'{{ template "base" . }}\n', rendered)
    return effective.read("containerd", made, str(machine.config))


@pytest.mark.parametrize("name", V2 + V3)
def test_only_the_handler_comes_and_all_goes_back(machine: Machine, name: str) -> None:
    put(machine, name)
    before, files = in_force(machine) if name != "comments" else None, machine.files()
    machine.install()
    found = in_force(machine)
    assert "glowplug" in found.handlers and found.handlers["glowplug"]["options"]["BinaryName"]
    if before is not None:
        assert set(before.handlers) == set(found.handlers) - {"glowplug"}
        assert effective.differences(before, found, "glowplug") == []
    machine.uninstall()
    assert machine.files() == files


@pytest.mark.parametrize("name", V2 + V3)
def test_a_second_install_changes_nothing(machine: Machine, name: str) -> None:
    put(machine, name)
    machine.install()
    once = machine.files()
    stamps = machine.stamps()
    assert machine.install()[0].startswith("found the handler")
    assert machine.files() == once
    assert machine.stamps() == stamps


@pytest.mark.parametrize("name", V2 + V3)
def test_the_file_as_it_was_is_kept(machine: Machine, name: str) -> None:
    put(machine, name)
    before = machine.files()
    machine.install()
    edited = [path for path, content in machine.files().items() if path in before and content != before[path]]
    for path in edited:
        assert machine.files()[f"{path}.glowplug-original"][0] == before[path][0]


def test_no_file_is_one_without_a_word(machine: Machine) -> None:
    files = machine.files()
    machine.install()
    found = in_force(machine)
    assert {"glowplug", "runc"} <= set(found.handlers)
    machine.uninstall()
    assert machine.files() == files


def test_what_others_changed_since_stays(machine: Machine) -> None:
    put(machine, "kubeadm-v2")
    machine.install()
    text = machine.config.read_text()
    changed = text.replace("oom_score = 0", "oom_score = -7") + '\n[debug]\n  level = "info"\n'
    machine.config.write_text("# looked at on a Monday\n" + changed)
    machine.uninstall()
    left = machine.config.read_text()
    assert left.startswith("# looked at") and "oom_score = -7" in left and left.endswith('level = "info"\n')
    assert "lowplug" not in left
    effective.parse(machine.dump())


def test_lines_joined_to_our_block_stay_lines(machine: Machine) -> None:
    """Somebody filled the blank line before the block, and wrote on behind it."""
    put(machine, "debian")
    machine.install()
    head, _, tail = machine.config.read_text().partition("\n# BEGIN")
    machine.config.write_text(f"{head}[debug]\n# BEGIN{tail}[timeouts]\n")
    machine.uninstall()
    assert machine.config.read_text() == f"{head}[debug]\n[timeouts]\n"


@pytest.mark.parametrize("lost", ["BEGIN", "END"])
def test_a_block_that_lost_a_mark_is_left_to_a_person(machine: Machine, lost: str) -> None:
    put(machine, "debian")
    machine.install()
    lines = machine.config.read_text().splitlines(keepends=True)
    machine.config.write_text("".join(line for line in lines if f"# {lost} glowplug" not in line))
    files = machine.files()
    for act in (machine.install, machine.uninstall):
        with pytest.raises(NodeError, match="by hand"):
            act()
    assert machine.files() == files


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_t_be_built_on_is_refused_untouched(machine: Machine, name: str) -> None:
    machine.put(f"{name}.toml")
    files = machine.files()
    with pytest.raises(NodeError, match=REFUSED[name]):
        machine.install()
    assert machine.files() == files


def test_another_runtime_than_runc_by_default_is_refused_untouched(machine: Machine) -> None:
    """crun, which some distributions prefer: it takes runc's command line, and knows nothing of runc's checkpoints."""
    crun = machine.directory / "crun"
    machine.program(crun, "#!/bin/sh\necho crun version 1.14\n")
    table = '[plugins."io.containerd.grpc.v1.cri".containerd'
    names = "".join(
        f'{table}.runtimes.{name}]\n  runtime_type = "io.containerd.runc.v2"\n' for name in ("runc", "crun")
    )
    options = f'{table}.runtimes.crun.options]\n  BinaryName = "{crun}"\n'
    machine.config.write_text(f'version = 2\n{table}]\n  default_runtime_name = "crun"\n{names}{options}')
    files = machine.files()
    with pytest.raises(NodeError, match=r"'crun version 1\.14' of --version.*--base"):
        machine.install()
    assert machine.files() == files
    machine.install(base="runc")
    machine.uninstall()
    assert machine.files() == files


def test_a_file_that_containerd_refuses_is_refused_untouched(machine: Machine) -> None:
    """TOML it is, and containerd does not start with it."""
    machine.config.write_text('version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = 7\n')
    files = machine.files()
    with pytest.raises(NodeError, match="containerd refuses"):
        machine.install()
    assert machine.files() == files


def test_an_imported_section_that_would_hide_the_handler_gets_it(machine: Machine) -> None:
    """On containerd 1.x an imported CRI section replaces the one of the main file; on 2.x they are merged."""
    machine.put("nvidia-v2.toml", "conf.d/99-nvidia.toml")
    machine.config.write_text(
        f'version = 2\nimports = [ # ]\n  "{machine.etc}/conf.d/*.toml", "absent/*.toml"]\n[plugins]\n'
    )
    before, files = in_force(machine), machine.files()
    machine.install()
    found = in_force(machine)
    assert "glowplug" in found.handlers and effective.differences(before, found, "glowplug") == []
    machine.uninstall()
    assert machine.files() == files


def test_a_section_that_is_imported_later_gets_the_handler_again(machine: Machine) -> None:
    """The operator came after us: what we wrote into the main file counts no more, and goes."""
    machine.config.write_text(f'version = 2\nimports = ["{machine.etc}/conf.d/*.toml"]\n')
    alone = machine.files()
    machine.install()
    machine.put("nvidia-v2.toml", "conf.d/99-nvidia.toml")
    machine.install()
    assert "glowplug" in in_force(machine).handlers and "glowplug" not in machine.config.read_text()
    machine.uninstall()
    assert set(machine.files()) == {*alone, "etc/containerd/conf.d", "etc/containerd/conf.d/99-nvidia.toml"}
    assert machine.files()["etc/containerd/config.toml"] == alone["etc/containerd/config.toml"]


def test_an_empty_directory_for_imports_stays_where_the_handler_did_not_go_there(machine: Machine) -> None:
    put(machine, "debian")
    (machine.etc / "conf.d").mkdir()
    files = machine.files()
    machine.install()
    machine.uninstall()
    assert machine.files() == files


@pytest.mark.parametrize("imports", ["5", "[5]", '"/etc/x.toml"', '["a\\u0000b"]', '[""]'])
def test_imports_that_are_none_are_refused_untouched(machine: Machine, imports: str) -> None:
    machine.config.write_text(f"version = 2\nimports = {imports}\n")
    files = machine.files()
    with pytest.raises(NodeError):
        machine.install()
    assert machine.files() == files


def test_an_imported_file_of_another_shape_is_containerd_s_to_judge(machine: Machine) -> None:
    (machine.etc / "conf.d").mkdir()
    (machine.etc / "conf.d/50-other.toml").write_text("version = 2\nplugins = 5\n")
    machine.config.write_text(f'version = 2\nimports = ["{machine.etc}/conf.d/*.toml"]\n')
    files = machine.files()
    with pytest.raises(NodeError, match="containerd refuses"):
        machine.install()
    assert machine.files() == files


def test_a_handler_of_that_name_that_is_not_ours_is_left(machine: Machine) -> None:
    put(machine, "debian")
    machine.install()
    text = "\n".join(line for line in machine.config.read_text().splitlines() if "# " not in line)
    machine.config.write_text(
        re.sub(r"BinaryName = .*glowplug-runtime.*", 'BinaryName = "/usr/bin/other"', text)
    )
    files = machine.files()
    with pytest.raises(NodeError, match="is not in our prefix"):
        machine.install()
    assert machine.files() == files


def test_a_link_stays_one(machine: Machine) -> None:
    put(machine, "debian")
    machine.config.rename(machine.directory / "real.toml")
    machine.config.symlink_to(machine.directory / "real.toml")
    files = machine.files()
    machine.install()
    assert machine.config.is_symlink()
    machine.uninstall()
    assert machine.config.is_symlink() and machine.files() == files


def test_the_file_keeps_its_mode(machine: Machine) -> None:
    put(machine, "debian")
    machine.config.chmod(0o640)
    machine.install()
    assert machine.config.stat().st_mode & 0o777 == 0o640


def test_a_drop_in_of_that_name_that_is_not_ours_is_left(machine: Machine) -> None:
    put(machine, "nvidia-v3")
    (machine.etc / "conf.d/glowplug.toml").write_text("version = 3\n")
    files = machine.files()
    with pytest.raises(NodeError, match="not ours"):
        machine.install()
    assert machine.files() == files
