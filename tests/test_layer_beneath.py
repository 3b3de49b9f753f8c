"""No path of a container leads out of its root."""

import os
import stat

import pytest

from glowplug.layer import beneath


@pytest.fixture
def root(tmp_path: object) -> str:
    """A container's root, beside a host file that its symlinks would like to reach."""
    os.makedirs(f"{tmp_path}/root/etc")
    os.makedirs(f"{tmp_path}/outside")
    for name, content in (("outside/secret", "host"), ("root/etc/file", "container")):
        with open(f"{tmp_path}/{name}", "w") as file:
            file.write(content)
    os.symlink(f"{tmp_path}/outside", f"{tmp_path}/root/absolute")
    os.symlink("../../../../../../.." + f"{tmp_path}/outside", f"{tmp_path}/root/relative")
    os.symlink("/etc", f"{tmp_path}/root/inside")
    os.symlink("/proc/self/root", f"{tmp_path}/root/magic")
    return f"{tmp_path}/root"


def read(root: int | str, path: str) -> str:
    with open(beneath.open_beneath(root, path, os.O_RDONLY)) as file:
        return file.read()


@pytest.mark.parametrize(
    "path", ["/etc/file", "etc/file", "//inside/file", "inside/../inside/file", "../../etc/file"]
)
def test_opens_what_the_container_would(root: str, path: str) -> None:
    assert read(root, path) == "container"
    fd = os.open(root, os.O_PATH)
    try:
        assert read(fd, path) == "container"
        assert os.get_inheritable(beneath.open_beneath(fd, path, os.O_RDONLY)) is False
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "path", ["absolute/secret", "relative/secret", "../outside/secret", "magic/etc/hostname"]
)
def test_reads_nothing_outside(root: str, path: str) -> None:
    with pytest.raises(OSError) as caught:
        read(root, path)
    assert caught.value.errno is not None
    assert caught.value.filename == path


def test_refuses_the_magic_links_of_proc() -> None:
    with pytest.raises(OSError, match="symbolic links"):
        beneath.open_beneath("/", "/proc/self/root/etc", os.O_PATH)


def test_makes_nothing_outside(root: str, tmp_path: object) -> None:
    for path in ("absolute/new", "relative/new"):
        for make in (beneath.mkdir, beneath.unlink, beneath.rmdir):
            with pytest.raises(OSError):
                make(root, path)
    with pytest.raises(OSError):
        beneath.unlink(root, "absolute/secret")
    assert os.listdir(f"{tmp_path}/outside") == ["secret"]


def test_makes_and_removes_inside(root: str) -> None:
    beneath.mkdir(root, "/inside/new/", 0o750)
    os.close(beneath.open_beneath(root, "inside/new/file", os.O_CREAT | os.O_WRONLY, 0o600))
    assert os.path.isfile(f"{root}/etc/new/file")
    beneath.unlink(root, "/etc/new/file")
    beneath.rmdir(root, "/etc/new")
    beneath.unlink(root, "inside")
    assert os.path.exists(f"{root}/etc/file")


@pytest.mark.parametrize("path", ["", "/", "..", "etc/..", "etc/."])
def test_a_path_must_name_an_entry(root: str, path: str) -> None:
    with pytest.raises(ValueError, match="names no entry"):
        beneath.unlink(root, path)


def test_create_takes_a_mode(root: str) -> None:
    os.close(beneath.open_beneath(root, "inside/created", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    assert stat.S_IMODE(os.lstat(f"{root}/etc/created").st_mode) == 0o600
