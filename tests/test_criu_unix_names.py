"""Unix sockets are bound, in a restore, to the names that their files have at the capture."""

import pytest

from glowplug.criu import images, unix_names
from glowplug.criu.images import Message
from glowplug.errors import ImageError


def dump(folder: str, inode: int, name: bytes, directory: bytes = b"", deleted: bool = False) -> None:
    sock = Message()
    sock.put_integer(2, inode)
    sock.put_octets(11, name)
    if directory:
        sock.put_octets(14, directory)
    if deleted:
        sock.put_integer(15, 1)
    entry = Message()
    entry.put_integer(1, 5)
    entry.put_message(16, sock)
    images.store(folder, "files.img", "files", [entry])


def socket_in(folder: str) -> Message:
    (entry,) = images.load(folder, "files.img", "files")
    sock = entry.message(16)
    assert sock is not None
    return sock


def test_a_renamed_one_has_its_present_name_alone(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, 7, b"x.sock.12", b"/run", deleted=True)
    assert unix_names.rename(folder, {7: "/run/x.sock", 8: "/else"}) == 1
    sock = socket_in(folder)
    assert (sock.octets(11), sock.octets(14), sock.integer(15)) == (b"/run/x.sock\0", None, None)


def test_another_one_stays_as_it_is(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, 7, b"/run/gone", deleted=True)
    assert unix_names.rename(folder, {8: "/else"}) == unix_names.rename(folder, {}) == 0
    assert socket_in(folder).integer(15) == 1


def test_a_long_name_is_bound_from_within_its_directory(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, 7, b"s", b"/")
    deep = "/" + "d" * 120
    unix_names.rename(folder, {7: f"{deep}/s.sock"})
    sock = socket_in(folder)
    assert (sock.octets(11), sock.octets(14)) == (b"s.sock\0", deep.encode())
    with pytest.raises(ImageError, match="too long"):
        unix_names.rename(folder, {7: "/" + "n" * 120})
