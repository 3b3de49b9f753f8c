"""Volumes that a tenant can write to: read beneath their root, within limits, or unknown at once with the reason."""

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import descriptors

from glowplug.capture import readers, volume_answers
from glowplug.capture.readers import Readers
from glowplug.capture.volume_files import Budget, Unreadable, Volume
from glowplug.checkpoint import content, mounts
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.host import workers
from glowplug.layer import mountinfo

POD = SandboxFacts(name="web", namespace="models", uid="0c5f2a8e-6a53-4a0e-9a55-6d6d2a1b7c11")
SOON = 60.0


def reported(source: Path, how: str, started_before: float | None = None) -> str | None:
    return volume_answers.answer(str(source), how, POD, time.monotonic() + SOON, started_before)


def subpath(pod: Path, volume: str = "data") -> Path:
    directory = pod / "pods" / POD.uid / "volume-subpaths" / volume / "main" / "0"
    directory.mkdir(parents=True)
    return directory


def a_fifo(at: Path) -> None:
    os.mkfifo(at)


def a_socket(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        before = os.getcwd()
        os.chdir(at.parent)  # a socket's path has 107 bytes at most
        try:
            one.bind(at.name)
        finally:
            os.chdir(before)


def a_device(at: Path) -> None:
    os.mknod(at, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


def a_link_out(at: Path) -> None:
    at.symlink_to("/etc/shadow")


def a_climbing_link(at: Path) -> None:
    at.symlink_to("../../../../../../../../etc/shadow")


def deep(at: Path) -> None:
    for _ in range(100):
        at.mkdir()
        at = at / "d"


HOSTILE: list[tuple[Callable[[Path], None], str]] = [
    (a_fifo, "x is a FIFO"),
    (a_socket, "x is a socket"),
    (a_device, "x is a device"),
    (a_link_out, "x is a link out of the volume"),
    (a_climbing_link, "x is a link out of the volume"),
    (deep, "directories are nested more than 64 deep"),
]


@pytest.mark.parametrize(("make", "why"), HOSTILE)
@pytest.mark.parametrize("how", [mounts.CONTENT_OR_BACKING, mounts.EMPTY_DIR])
def test_what_is_no_file_makes_a_volume_unknown_with_the_reason(
    tmp_path: Path, make: Callable[[Path], None], why: str, how: str
) -> None:
    directory = subpath(tmp_path)
    make(directory / "x")
    with pytest.raises(Unreadable, match=why):
        reported(directory, how)


def test_a_file_that_is_exchanged_for_a_device_is_not_opened(tmp_path: Path) -> None:
    """Its state is read from the descriptor that is read, not of a name that may be another file's by now."""
    (tmp_path / "x").write_text("a file")
    with Volume(str(tmp_path), Budget(10, 100, time.monotonic() + SOON)) as volume:
        (entry,) = volume.entries()
        (tmp_path / "x").unlink()
        a_device(tmp_path / "x")
        with pytest.raises(Unreadable, match="x is a device"):
            volume.read(entry)


def test_a_directory_that_is_exchanged_for_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with Volume(str(tmp_path), Budget(10, 100, time.monotonic() + SOON)) as volume:
        entries = volume.entries()
        next(entries)
        (tmp_path / "d").rmdir()
        (tmp_path / "d").symlink_to("/etc")
        with pytest.raises(OSError):
            next(entries)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_what_somebody_mounted_into_a_volume_is_not_entered(tmp_path: Path) -> None:
    """It may be another file system, of another tenant, or a server that does not answer."""
    (tmp_path / "inside").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "inside"], check=True)
    try:
        (tmp_path / "inside" / "x").write_text("x")
        with pytest.raises(Unreadable, match=r"^inside: Invalid cross-device link"):
            reported(tmp_path, mounts.EMPTY_DIR)
    finally:
        subprocess.run(["umount", tmp_path / "inside"], check=True)


def test_more_files_than_the_limit_are_not_listed_to_the_end(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    with (
        Volume(str(tmp_path), Budget(10, 0, time.monotonic() + SOON)) as volume,
        pytest.raises(Unreadable, match="more than 10 files"),
    ):
        list(volume.entries())


def test_time_is_a_limit_too(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with (
        Volume(str(tmp_path), Budget(10, 100, time.monotonic() - 1)) as volume,
        pytest.raises(Unreadable, match="not read in time"),
    ):
        list(volume.entries())


def test_a_link_within_a_volume_is_what_it_says(tmp_path: Path) -> None:
    one, other = subpath(tmp_path / "1"), subpath(tmp_path / "2")
    for directory, target in ((one, "a"), (other, "b")):
        (directory / "a").write_text("same")
        (directory / "b").write_text("same")
        (directory / "current").symlink_to(target)
    assert reported(one, mounts.CONTENT_OR_BACKING) != reported(other, mounts.CONTENT_OR_BACKING)
    assert reported(one, mounts.CONTENT_OR_BACKING) == reported(one, mounts.CONTENT_OR_BACKING)


def test_a_subpath_that_is_one_file_is_its_bytes(tmp_path: Path) -> None:
    def file(name: str, text: str, mode: int = 0o644) -> str | None:
        path = subpath(tmp_path / name).parent / "1"
        path.write_text(text)
        path.chmod(mode)
        return reported(path, mounts.CONTENT_OR_BACKING)

    assert file("1", "one") == file("2", "one")
    assert file("1a", "one") != file("3", "two")
    assert file("1b", "one") != file("4", "one", 0o600)


def test_a_config_map_is_read_through_its_links_and_no_further(tmp_path: Path) -> None:
    def config_map(name: str, moment: str, text: str) -> Path:
        directory = tmp_path / name
        (directory / moment).mkdir(parents=True)
        (directory / moment / "a.conf").write_text(text)
        (directory / "..data").symlink_to(moment)
        (directory / "a.conf").symlink_to("..data/a.conf")
        return directory

    one = reported(config_map("1", "..2026_01", "one"), mounts.CONTENT)
    assert one == reported(config_map("2", "..2026_02", "one"), mounts.CONTENT)
    assert one != reported(config_map("3", "..2026_02", "two"), mounts.CONTENT)
    out = config_map("4", "..2026_02", "one")
    (out / "b.conf").symlink_to("/etc/passwd")
    with pytest.raises(Unreadable, match=r"b\.conf"):
        reported(out, mounts.CONTENT)
    loop = config_map("5", "..2026_02", "one")
    (loop / "c").symlink_to("c")
    with pytest.raises(Unreadable, match="c: "):
        reported(loop, mounts.CONTENT)


# -- the state of a volume that is written to --


def test_the_state_of_a_volume_changes_with_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "dump.rdb"
    file.write_text("day 1")
    os.utime(file, (1, 1))
    before = reported(tmp_path, mounts.STATE)
    assert before == reported(tmp_path, mounts.STATE)
    os.utime(file, (1, 2))
    assert before != reported(tmp_path, mounts.STATE)
    os.utime(file, (1, 1))
    assert before == reported(tmp_path, mounts.STATE)
    (tmp_path / "below" / "new").touch()
    assert before != reported(tmp_path, mounts.STATE)


def test_a_socket_or_device_of_the_node_has_no_state(tmp_path: Path) -> None:
    a_socket(tmp_path / "s")
    assert reported(tmp_path / "s", mounts.STATE) == "none"
    assert reported(Path("/dev/null"), mounts.STATE) == "none"


# -- the volume behind a device --


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Makes an ext4 with that UUID and mounts it where it is wanted."""
    mounted: list[Path] = []

    def make(name: str, uuid: str) -> Path:
        image, at = tmp_path / f"{name}.img", tmp_path / name
        with image.open("wb") as file:
            file.truncate(4 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-U", uuid, str(image)], check=True)
        at.mkdir()
        done = subprocess.run(["mount", "-o", "loop", str(image), str(at)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop devices here: {done.stderr.strip()}")
        mounted.append(at)
        return at

    yield make
    for at in reversed(mounted):
        subprocess.run(["umount", str(at)], check=True)


def test_a_large_volume_is_its_file_system_whatever_the_device(disk: Callable[[str, str], Path]) -> None:
    """Two volumes attached in turn as /dev/sdb are two."""
    one = reported(disk("1", "11111111-2222-3333-4444-555555555555"), mounts.BACKING)
    assert one and "/dev/" not in one
    assert "1111111122223333" in one.replace("-", "")
    assert one != reported(disk("2", "99999999-2222-3333-4444-555555555555"), mounts.BACKING)


def test_a_large_subpath_is_the_volume_behind_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PV A and PV B, attached in turn as /dev/sdb with the same subPath, are two."""

    def attached(handle: str) -> str | None:
        pod = tmp_path / handle
        directory = subpath(pod)
        with (directory / "model").open("wb") as file:
            file.truncate(content.LIMIT + 1)
        volume = pod / "pods" / POD.uid / "volumes" / "kubernetes.io~csi" / "pv"
        volume.mkdir(parents=True)
        (volume / "vol_data.json").write_text(json.dumps({"driverName": "disk", "volumeHandle": handle}))
        lines = (
            f"30 1 8:16 / {volume}/mount rw - ext4 /dev/sdb rw",
            f"31 1 8:16 /model {directory} rw - ext4 /dev/sdb rw",
            f"32 1 8:32 / {tmp_path}/elsewhere rw - ext4 /dev/sdc rw",
        )
        found = [mountinfo.Mount(line.encode()) for line in lines]
        monkeypatch.setattr(mountinfo, "read", lambda: found)
        return reported(directory, mounts.CONTENT_OR_BACKING)

    one = attached("a")
    assert one and "/dev/" not in one and one.endswith(" /model")
    assert one != attached("b")


# -- processes that read --


@pytest.fixture
def pool() -> Iterator[Readers]:
    found = Readers()
    yield found
    found.close()


def ask(
    pool: Readers, source: str, how: str = mounts.STATE, owner: str = "models", deadline_s: float = SOON
) -> str:
    (answer,) = pool.ask(owner, [(source, how)], POD, None, deadline_s)
    return answer.text or f"({answer.why})"


def test_answers_come_from_readers(pool: Readers, tmp_path: Path) -> None:
    assert ask(pool, str(tmp_path)) == reported(tmp_path, mounts.STATE)
    assert ask(pool, f"{tmp_path}/gone") == "(No such file or directory)"


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that hang, as on a dead file server: they never answer, except for one question before."""
    (tmp_path / "hanging.py").write_text(
        'import time\ndef main():\n print()\n print(\'["first", ""]\', flush=True)\n time.sleep(1000)\n'
    )
    monkeypatch.setattr(workers, "_SOURCES", str(tmp_path))
    monkeypatch.setattr(readers, "READER", "hanging")


@pytest.mark.usefixtures("hanging")
def test_a_volume_that_hangs_is_unknown_and_what_came_before_is_not() -> None:
    pool = Readers()
    questions = [("/a", mounts.STATE), ("/dead", mounts.STATE), ("/c", mounts.STATE)]
    answers = pool.ask("models", questions, POD, None, 5.0)
    assert [answer.text for answer in answers] == ["first", None, None]
    assert answers[1].why == readers.TOO_LATE
    pool.close()


def test_an_owner_with_too_many_is_reported(pool: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool._workers, "_most_of_one", 0)
    assert ask(pool, "/dead") == f"({readers.TOO_MANY})"


def test_a_reader_imports_nothing_of_others() -> None:
    """It is started while a container waits."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import glowplug.capture.volume_reader; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program, workers._SOURCES], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - {"glowplug"} <= set(sys.stdlib_module_names) | {
        "__main__",
        "_distutils_hack",
        "sitecustomize",
    }


def test_a_volume_takes_no_descriptors_for_good(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with descriptors.none_left():
        for how in (mounts.STATE, mounts.EMPTY_DIR, mounts.CONTENT):
            reported(tmp_path, how)
        a_fifo(tmp_path / "y")
        with pytest.raises(Unreadable):
            reported(tmp_path, mounts.EMPTY_DIR)


def test_a_file_system_s_uuid_is_udev_s_where_the_kernel_does_not_say_it(tmp_path: Path) -> None:
    """FS_IOC_GETFSUUID is of Linux 6.9. /dev/null stands for a disk."""
    (tmp_path / "0a-1b").symlink_to("/dev/zero")
    (tmp_path / "2c-3d").symlink_to("/dev/null")
    device = os.stat("/dev/null").st_rdev
    assert volume_answers._uuid_by_link(device, str(tmp_path)) == "2c-3d"
    assert volume_answers._uuid_by_link(1, str(tmp_path)) is None
    assert volume_answers._uuid_by_link(device, f"{tmp_path}/none") is None
