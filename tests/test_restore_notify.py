"""The file and the signal that report a process that it was restored."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.layer_made import needs_root

from glowplug.checkpoint import bundle
from glowplug.host import process
from glowplug.restore import notify

SPEC: dict[str, Any] = {"process": {"user": {"uid": 1000, "gid": 1001}}}
FACTS = bundle.read(SPEC)
FILE = "run/glowplug/restored"


@needs_root
def test_each_file_has_its_own_values_and_is_the_users_alone(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        assert notify.write_file(str(tmp_path), FACTS)
        status = (tmp_path / FILE).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 1001, 0o400)
        found.append(json.loads((tmp_path / FILE).read_text()))
    assert {len(bytes.fromhex(one["random"])) for one in found} == {32}
    assert found[0]["generation"] != found[1]["generation"] and found[0]["random"] != found[1]["random"]
    assert os.listdir(tmp_path / "run/glowplug") == ["restored"]


@needs_root
def test_it_says_which_pod_the_process_is_now(tmp_path: Path) -> None:
    names = {"name": "web-1", "namespace": "shop", "uid": "u-1"}
    annotations = {f"io.kubernetes.cri.sandbox-{name}": value for name, value in names.items()}
    facts = bundle.read({**SPEC, "annotations": annotations})
    assert notify.write_file(str(tmp_path), facts, ["10.1.2.3"])
    assert json.loads((tmp_path / FILE).read_text())["pod"] == {**names, "addresses": ["10.1.2.3"]}


@needs_root
def test_a_narrow_umask_hides_it_from_nobody(tmp_path: Path) -> None:
    """The shim's umask is ours; the process need not be root."""
    before = os.umask(0o077)
    try:
        assert notify.write_file(str(tmp_path), FACTS)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / place).stat().st_mode) for place in ("run", "run/glowplug")] == [
        0o755
    ] * 2


@needs_root
def test_directories_that_were_there_keep_their_modes(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run").chmod(0o711)
    assert notify.write_file(str(tmp_path), FACTS)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o711


@needs_root
def test_a_link_in_the_container_leads_nowhere_outside(tmp_path: Path) -> None:
    rootfs, outside = tmp_path / "rootfs", tmp_path / "outside"
    for directory in (rootfs, outside):
        directory.mkdir()
    (rootfs / "run").symlink_to(outside)
    with pytest.raises(OSError):
        notify.write_file(str(rootfs), FACTS)
    (rootfs / "run").unlink()
    (rootfs / "run/glowplug").mkdir(parents=True)
    (outside / "file").write_text("before")
    (rootfs / FILE).symlink_to(outside / "file")
    assert notify.write_file(str(rootfs), FACTS)
    assert (outside / "file").read_text() == "before"
    assert not (rootfs / FILE).is_symlink()


@pytest.mark.parametrize("place", ["/run", "/run/", "/var/run", "/run/glowplug", "/run/glowplug/restored"])
def test_under_a_volume_nothing_is_written(tmp_path: Path, place: str) -> None:
    assert not notify.write_file(str(tmp_path), bundle.read({**SPEC, "mounts": [{"destination": place}]}))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({notify.SIGNAL: "USR1"}, signal.SIGUSR1),
        ({notify.SIGNAL: "SIGHUP"}, signal.SIGHUP),
        ({notify.SIGNAL: "HUP", f"{notify.SIGNAL}.main": "USR2"}, signal.SIGUSR2),
        ({notify.SIGNAL: "HUP", f"{notify.SIGNAL}.other": "USR2"}, signal.SIGHUP),
        ({notify.SIGNAL: "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_signal_is_the_pods_choice(said: dict[str, str], number: int | None) -> None:
    annotations = {"io.kubernetes.cri.container-name": "main", **said}
    assert notify.signal_of(bundle.read({"annotations": annotations})) == number


def test_a_process_without_a_handler_is_not_signalled() -> None:
    program = (
        "import signal; signal.signal(signal.SIGUSR1, lambda *_: exit(7)); print(flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        notify.send_signal(child.pid, signal.SIGUSR2)
        assert process.is_alive(child.pid)
        notify.send_signal(child.pid, signal.SIGUSR1)
        assert child.wait(60) == 7
