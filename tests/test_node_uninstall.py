"""Uninstall refuses what it can't know, and purge takes what is Glowplug's and no more."""

import fcntl
import os
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.containerd_served import Served
from tests.node_made import Machine

from glowplug import paths
from glowplug.containerd.installed import PREFIX_MARK
from glowplug.errors import NodeError, UsageError
from glowplug.node import purge as purge_module
from glowplug.node.install import install
from glowplug.node.purge import FROM_SECRET, purge, require_no_other
from glowplug.node.uninstall import uninstall


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_an_answer_of_containerd_nothing_is_taken_out(machine: Machine) -> None:
    """Pods outlive containerd: that none answers says nothing about them."""
    machine.put("debian.toml")
    machine.install()
    files = machine.files()
    with pytest.raises(NodeError, match="--force"):
        uninstall(machine.place, force=False)
    assert machine.files() == files


def test_where_nothing_is_there_nothing_is_done(machine: Machine) -> None:
    machine.put("debian.toml")
    files = machine.files()
    assert machine.uninstall() == [f"nothing to take out: {machine.config} has no handler glowplug of ours"]
    assert machine.files() == files


@pytest.mark.parametrize("name", ["docker-package.toml", "version-1.toml"])
def test_what_no_handler_could_be_put_in_keeps_nobody_from_a_purge(machine: Machine, name: str) -> None:
    """The bootstrap ended there, with its prefix and settings on the node; that containerd serves no CRI."""
    machine.put(name)
    files = machine.files()
    served = Served(str(machine.directory / "containerd.sock"))
    try:
        place = replace(machine.place, socket=served.socket)
        require_no_other(place)
        lines, is_unused = uninstall(place, force=False)
    finally:
        served.stop()
    assert lines[0].startswith("nothing to take out") and is_unused
    assert machine.files() == files


def test_ours_in_a_file_without_cri_is_left_to_a_person(machine: Machine) -> None:
    machine.put("debian.toml")
    machine.install()
    text = machine.config.read_text()
    machine.config.write_text(
        text.replace("version = 2", 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]', 1)
    )
    files = machine.files()
    with pytest.raises(NodeError, match="CRI plugin is off"):
        machine.uninstall()
    assert machine.files() == files


def test_two_at_once_are_one_too_many(machine: Machine) -> None:
    machine.put("debian.toml")
    folder = os.open(machine.etc, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(NodeError, match="try again later"):
            machine.install()
    finally:
        os.close(folder)


@pytest.mark.parametrize("path", ["config.toml", "", "/"])
def test_a_path_that_names_no_file_is_refused(machine: Machine, path: str) -> None:
    with pytest.raises(UsageError, match="--containerd-config"):
        install(replace(machine.place, config=path))


def test_a_containerd_that_is_not_there_is_reported(machine: Machine) -> None:
    machine.put("debian.toml")
    with pytest.raises(NodeError, match="--containerd"):
        install(replace(machine.place, containerd="/nowhere/containerd"))


@pytest.mark.parametrize("ours", [True, False])
def test_purge_takes_what_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool) -> None:
    """A prefix that the bootstrap did not make, and what others put beside the checkpoints, stay."""
    monkeypatch.setattr(paths, "CONFIG_FILE", str(tmp_path / "etc/config.toml"))
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    for name in (
        "cache/checkpoints/1/a",
        "cache/salt",
        "cache/learned.json",
        "cache/registry/x",
        "cache/compile/x",
        "cache/others/file",
        "etc/config.toml",
        "run/x",
        "opt/bin/y",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    if ours:
        (tmp_path / "opt" / PREFIX_MARK).write_text("")
    purge(str(tmp_path / "cache"), str(tmp_path / "opt"))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"cache/others/file", *([] if ours else ["opt/bin/y"])}
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize("others", [(), ("mine.pem",)])
def test_purge_takes_the_keys_that_came_out_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    """A key of somebody else's stays and is listed; a name in the record leads nowhere else."""
    monkeypatch.setattr(paths, "CONFIG_FILE", str(tmp_path / "etc/config.toml"))
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    keys, outside = tmp_path / "etc/registry", tmp_path / "outside"
    keys.mkdir(parents=True)
    outside.write_text("")
    for name in ("sign.key", "ca.pem", *others):
        (keys / name).write_text("")
    (keys / FROM_SECRET).write_text("sign.key\nca.pem\ngone.pem\n../../outside\n..\n")
    said = purge(str(tmp_path / "cache"), str(tmp_path / "opt"))
    assert {f"removed {keys}/sign.key", f"removed {keys}/ca.pem"} <= set(said)
    assert [line for line in said if line.startswith("left ")] == [
        f"left {keys}/{name}, which the installer did not put there" for name in others
    ]
    assert outside.exists() and (tmp_path / "etc").exists() == bool(others)
    assert sorted(path.name for path in keys.glob("*")) == list(others)


def test_purge_takes_a_unit_that_was_stopped_and_not_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit, wanted = tmp_path / "glowplug-agent.service", tmp_path / "wants/glowplug-agent.service"
    wanted.parent.mkdir()
    unit.write_text("")
    wanted.symlink_to(unit)
    for name, value in (("UNIT", unit), ("WANTED", wanted)):
        monkeypatch.setattr(purge_module, name, str(value))
    monkeypatch.setattr(paths, "CONFIG_FILE", str(tmp_path / "etc/config.toml"))
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    purge(str(tmp_path / "cache"), str(tmp_path / "opt"))
    assert not os.path.lexists(unit) and not os.path.lexists(wanted)


def test_purge_leaves_a_prefix_that_another_handler_uses(machine: Machine) -> None:
    machine.put("debian.toml")
    machine.install()
    require_no_other(machine.place)
    with pytest.raises(NodeError, match="--handler glowplug"):
        require_no_other(replace(machine.place, handler="second"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_purge_removes_nothing_where_a_disk_of_its_own_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CONFIG_FILE", str(tmp_path / "etc/config.toml"))
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    disk = tmp_path / "cache/checkpoints"
    disk.mkdir(parents=True)
    (tmp_path / "cache/drafts").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    try:
        (disk / "one").write_text("")
        with pytest.raises(NodeError, match="a mount at"):
            purge(str(tmp_path / "cache"), str(tmp_path / "opt"))
        assert os.listdir(disk) == ["one"] and (tmp_path / "cache/drafts").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_nothing_is_purged_while_the_agent_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make its directories again. The socket of one that was killed prevents nothing."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    purge_module.require_no_agent()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(paths.agent_socket())
        server.listen(1)
        answering = threading.Thread(target=_answer, args=(server,))
        answering.start()
        with pytest.raises(NodeError, match="the agent still runs"):
            purge_module.require_no_agent()
        answering.join(60)
    purge_module.require_no_agent()


def _answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rwb") as file:
        file.readline()
        file.write(b"{}\n")
