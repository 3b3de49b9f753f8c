"""An open directory /proc/PID has its name in the images, and not what lay behind it in CRIU's memory."""

import pytest

from glowplug.criu import images, proc_directories
from glowplug.criu.images import Message

DIRECTORY, FILE = 0o40555, 0o100444


@pytest.mark.parametrize(
    ("name", "mode", "then"),
    [
        (b"/proc/1/\x10", DIRECTORY, b"/proc/1"),
        (b"/proc/4711/", DIRECTORY, b"/proc/4711"),
        (b"/proc/1/x/y\nz", DIRECTORY, b"/proc/1"),
        (b"/proc/1/fd", DIRECTORY, b"/proc/1/fd"),
        (b"/proc/1/task/1/fd", DIRECTORY, b"/proc/1/task/1/fd"),
        (b"/proc/1/status", FILE, b"/proc/1/status"),
        (b"/proc/sys/kernel", DIRECTORY, b"/proc/sys/kernel"),
        (b"/proc/1", DIRECTORY, b"/proc/1"),
        (b"/data/proc/1/x", DIRECTORY, b"/data/proc/1/x"),
    ],
)
def test_a_name(tmp_path: object, name: bytes, mode: int, then: bytes) -> None:
    file = Message()
    file.put_octets(6, name)
    file.put_integer(10, mode)
    entry = Message()
    entry.put_message(3, file)
    images.store(str(tmp_path), "files.img", "files", [entry])
    assert proc_directories.apply(str(tmp_path)) == (name != then)
    (after,) = images.load(str(tmp_path), "files.img", "files")
    reg = after.message(3)
    assert reg is not None and (reg.octets(6), reg.integer(10)) == (then, mode)
