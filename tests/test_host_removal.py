"""Directories of ours are removed without a step onto another mount or through a link."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glowplug.host import removal

SHIM = Path(__file__).parent.parent / "shim"


def filled(directory: Path) -> Path:
    (directory / "a/b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (directory / name).write_text(name)
    os.mkfifo(directory / "a/fifo")
    (directory / "a/link").symlink_to("/nowhere")
    return directory


def test_all_of_it_goes_and_nothing_beside_it(tmp_path: Path) -> None:
    filled(tmp_path / "ours")
    (tmp_path / "beside").write_text("")
    assert removal.remove_tree(str(tmp_path / "ours"))
    assert os.listdir(tmp_path) == ["beside"]
    assert removal.remove_tree(str(tmp_path / "ours")), "nothing there is as good as removed"
    assert removal.remove_tree(str(tmp_path / "no/where"))


def test_a_link_is_removed_and_what_it_names_is_not(tmp_path: Path) -> None:
    kept = filled(tmp_path / "kept")
    (tmp_path / "ours").symlink_to(kept)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/link").symlink_to(kept)
    assert removal.remove_tree(str(tmp_path / "ours"))
    assert removal.remove_tree(str(tmp_path / "more"))
    assert os.listdir(tmp_path) == ["kept"]
    assert (kept / "a/b/three").read_text() == "a/b/three"


def test_a_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert removal.remove_tree(f"{tmp_path}/file")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["", ".", "..", "/", "a/..", "a/."])
def test_a_path_that_names_no_entry_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(tmp_path)
    assert not removal.remove_tree(path)
    assert (tmp_path / "a/b/three").exists()


IN_A_NAMESPACE = ["unshare", "--map-root-user", "--mount", "--propagation", "private"]


def has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, timeout=60).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="no mount namespaces for this user here")
@pytest.mark.parametrize("place", [".", "a", "a/b", "one"])
def test_what_is_mounted_below_stays(tmp_path: Path, place: str) -> None:
    """Also a bind mount of the same file system, which has the same device number."""
    kept, ours = filled(tmp_path / "kept"), filled(tmp_path / "ours")
    source = kept / "one" if place == "one" else kept
    program = (
        "import subprocess, sys; sys.path.insert(0, sys.argv[1])\n"
        "from glowplug.host import removal\n"
        "subprocess.run(['mount', '--bind', sys.argv[2], sys.argv[3]], check=True)\n"
        "assert not removal.remove_tree(sys.argv[4])\n"
    )
    words = [str(SHIM), str(source), str(ours / place), str(ours)]
    subprocess.run([*IN_A_NAMESPACE, sys.executable, "-c", program, *words], check=True, timeout=60)
    assert (kept / "one").read_text() == "one"
    assert (kept / "a/b/three").read_text() == "a/b/three"
