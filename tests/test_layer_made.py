"""What was made in a directory that others write in is changed only if it is still what was made."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from glowplug.errors import LayerError
from glowplug.layer import attributes

SHIM = Path(__file__).parent.parent / "shim"


@pytest.fixture
def place(tmp_path: Path) -> int:
    (tmp_path / "victim").write_text("")
    (tmp_path / "victim").chmod(0o600)
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


def wanted(tmp_path: Path) -> os.stat_result:
    os.mkfifo(tmp_path / "captured")
    (tmp_path / "captured").chmod(0o666)
    os.utime(tmp_path / "captured", (5, 7))
    return os.lstat(tmp_path / "captured")


def test_a_fifo_gets_all_its_attributes(tmp_path: Path, place: int) -> None:
    os.mkfifo(tmp_path / "name", 0o600)
    attributes.set_on_made(place, "name", wanted(tmp_path), [])
    made = os.lstat(tmp_path / "name")
    assert (stat.S_IMODE(made.st_mode), made.st_mtime_ns) == (0o666, 7 * 10**9)


def test_a_symlink_s_owner_and_times_are_its_own(tmp_path: Path, place: int) -> None:
    os.symlink("victim", tmp_path / "captured")
    os.utime(tmp_path / "captured", (5, 7), follow_symlinks=False)
    os.symlink("victim", tmp_path / "name")
    before = (tmp_path / "victim").stat()
    attributes.set_on_made(place, "name", os.lstat(tmp_path / "captured"), [])
    assert os.lstat(tmp_path / "name").st_mtime_ns == 7 * 10**9
    assert (tmp_path / "victim").stat() == before


@pytest.mark.parametrize("instead", ["symlink", "hard link", "file", "directory"])
def test_anything_else_is_left_as_it_is(tmp_path: Path, place: int, instead: str) -> None:
    status = wanted(tmp_path)
    victim = tmp_path / "victim"
    if instead == "symlink":
        os.symlink(victim, tmp_path / "name")
    elif instead == "hard link":
        victim = tmp_path / "fifo of somebody else"
        os.mkfifo(victim, 0o600)
        os.link(victim, tmp_path / "name")
    elif instead == "file":
        (tmp_path / "name").write_text("")
    else:
        (tmp_path / "name").mkdir()
    before, there = victim.stat(), os.lstat(tmp_path / "name")
    with pytest.raises(LayerError, match="was replaced by another process"):
        attributes.set_on_made(place, "name", status, [])
    assert (victim.stat(), os.lstat(tmp_path / "name")) == (before, there)


IN_A_NAMESPACE = ["unshare", "--map-root-user", "--mount", "--propagation", "private"]


def has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, timeout=60).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="no mount namespaces for this user here")
@pytest.mark.parametrize("below", ["", "/a", "/a/b"])
def test_removal_stops_at_a_mount(tmp_path: Path, below: str) -> None:
    for name in ("kept", "ours"):
        (tmp_path / name / "a/b").mkdir(parents=True)
        (tmp_path / name / "a/b/file").write_text(name)
    program = (
        "import subprocess, sys; sys.path.insert(0, sys.argv[1])\n"
        "from glowplug.errors import LayerError\nfrom glowplug.layer import descent\n"
        "subprocess.run(['mount', '--bind', sys.argv[2], sys.argv[3]], check=True)\n"
        "try:\n    descent.remove(sys.argv[4])\n    sys.exit(7)\nexcept LayerError as error:\n    print(error)\n"
    )
    ours = str(tmp_path / "ours")
    words = [sys.executable, "-c", program, str(SHIM), str(tmp_path / "kept"), f"{ours}{below}", ours]
    done = subprocess.run([*IN_A_NAMESPACE, *words], check=True, capture_output=True, text=True, timeout=60)
    assert "something is mounted at" in done.stdout
    assert (tmp_path / "kept/a/b/file").read_text() == "kept"
