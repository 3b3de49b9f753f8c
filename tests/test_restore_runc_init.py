"""What `runc init` gives a container and `runc restore` does not: docs/edits.md has the table."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glowplug.host import keyring
from glowplug.restore import stdio

SHIM = str(Path(__file__).parent.parent / "shim")
KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING = 0, -3
DESCRIBE = f"""
import ctypes, sys
sys.path.insert(0, {SHIM!r})
from glowplug.host import keyring
serial = keyring._keyctl({KEYCTL_GET_KEYRING_ID}, {KEY_SPEC_SESSION_KEYRING}, 0)
text = ctypes.create_string_buffer(256)
keyring._keyctl(keyring.KEYCTL_DESCRIBE, serial, text, 256)
print(serial, text.value.decode())
"""


def session() -> list[str]:
    """Serial number, and type, owner, permissions and name, of the session keyring that a child of ours has."""
    said = subprocess.run([sys.executable, "-c", DESCRIBE], capture_output=True, text=True, check=True)
    serial, _, described = said.stdout.strip().partition(" ")
    return [serial, *described.split(";")]


def in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_children_have_a_session_keyring_of_the_container_s_own() -> None:
    """Or all restored pods of a node would read, change and revoke the keys of containerd's."""
    try:
        before = session()
    except subprocess.CalledProcessError:
        pytest.skip("the kernel has no keyrings here, or forbids them")

    def work() -> None:
        assert keyring.join("_ses.c1")
        inside = session()
        assert inside[0] != before[0]
        assert (inside[1], inside[5]) == ("keyring", "_ses.c1")
        assert int(inside[4], 16) & keyring.KEY_USR_SEARCH

    in_child(work)
    assert session()[0] == before[0]


def test_a_kernel_without_keyrings_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_NR_KEYCTL", {})
    assert keyring.join("_ses.c1") == 0


def test_pipes_of_the_container_belong_to_its_user() -> None:
    """Who opens /dev/stdout by name needs it (checkpoint-restore/criu#2984)."""
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    before = os.fstat(null)
    stdio.give_to_user((null, write, write), 1234)
    assert (os.fstat(write).st_uid, os.fstat(write).st_gid) == (1234, 0)
    assert (os.fstat(null).st_uid, os.fstat(null).st_gid) == (before.st_uid, before.st_gid)
    for fd in (read, write, null):
        os.close(fd)


def test_stdio_whose_owner_can_not_change_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    read, write = os.pipe()
    monkeypatch.setattr(os, "fchown", refuse)
    stdio.give_to_user((read, write, write), 1234)
    os.close(read)
    os.close(write)
