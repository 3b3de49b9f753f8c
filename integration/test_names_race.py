"""A process of the pod puts links under the names that a restore makes in a shared volume: nothing outside changes.

The race itself, with an unprivileged process and the real code that fills an emptyDir (mode 0777, as the kubelet makes
it): it renames a link to a file of root's over each FIFO, socket and device node as fast as it can.
"""

import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.errors import LayerError
from glowplug.layer import carried

NOBODY = 65534
TRIES = 3000
PER_FILL = 30

# Waits for a name, then renames a link over it; says at its end how often that came about.
ATTACKER = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
volume, victim = sys.argv[1:]
os.chdir(volume)
print("ready", flush=True)
won = 0
os.set_blocking(0, False)
def is_over():
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False
turn = 0
while not is_over():
    for name in os.listdir("."):
        if not name.startswith("made"):
            continue
        turn += 1
        link = f"link{turn}"
        try:
            os.symlink(victim, link)
            os.rename(link, name)
            won += 1
        except OSError:
            pass
        try:
            os.unlink(link)
        except OSError:
            pass
print(won)
"""


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "roots.own"
    path.write_text("secret")
    path.chmod(0o600)
    os.utime(path, (1, 1))
    return path


@pytest.fixture(params=["fifo", "socket", "device"])
def captured(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a checkpoint carries: entries whose mode an attacker chose before the capture."""
    directory = tmp_path / "captured"
    directory.mkdir()
    for number in range(PER_FILL):
        path = directory / f"made{number}"
        if request.param == "fifo":
            os.mkfifo(path)
        elif request.param == "socket":
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(path))
            server.close()
        else:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(path, NOBODY, NOBODY)
        os.chmod(path, 0o4666)
    os.chmod(directory, 0o777)
    return directory


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    path.chmod(0o777)
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)
    return path


@pytest.fixture
def attacker(volume: Path, victim: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-IS", "-c", ATTACKER, str(volume), str(victim)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_a_name_that_is_replaced_leads_nowhere(
    captured: Path, volume: Path, victim: Path, attacker: subprocess.Popen[str], tmp_path: Path
) -> None:
    before = victim.stat()
    for number in range(TRIES // PER_FILL):
        record = str(tmp_path / f"record-{number}")
        with contextlib.suppress(LayerError):  # what was replaced is refused
            carried.apply(str(captured), str(volume), record, replace=False)
            carried.undo(record)
        for name in os.listdir(volume):
            (volume / name).unlink(missing_ok=True)
        after = victim.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert (after.st_mtime_ns, after.st_ctime_ns, after.st_nlink) == (
            before.st_mtime_ns,
            before.st_ctime_ns,
            before.st_nlink,
        )
    said, _ = attacker.communicate("", timeout=60)
    assert int(said) > 0, "the attacker never came in between: this run says nothing"
