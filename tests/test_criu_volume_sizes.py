"""Sizes of files on volumes are left out of the images, except for those that are mapped or carried."""

from glowplug.criu import images, volume_sizes
from glowplug.criu.images import Message


def dump(folder: str, mapped: int, *names: str) -> None:
    entries = []
    for number, name in enumerate(names, 1):
        file = Message()
        file.put_integer(1, number)
        file.put_octets(6, name.encode())
        file.put_integer(8, 300)
        entry = Message()
        entry.put_integer(1, 1)
        entry.put_integer(2, number)
        entry.put_message(3, file)
        entries.append(entry)
    images.store(folder, "files.img", "files", entries)
    vma, mm = Message(), Message()
    vma.put_integer(4, mapped)
    mm.put_integer(12, 77)
    mm.put_messages(14, [vma])
    images.store(folder, "mm-1.img", "mm", [mm])


def with_size(folder: str) -> list[str]:
    files = [entry.message(3) for entry in images.load(folder, "files.img", "files")]
    return [
        (one.octets(6) or b"").decode() for one in files if one is not None and one.integer(8) is not None
    ]


def test_only_what_is_read_on_a_volume_of_its_own_may_have_grown(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, 3, "/usr/bin/sh", "/data/log", "/data/weights", "/database/log")
    assert volume_sizes.apply(folder, ["/data/"]) == 1
    assert with_size(folder) == ["/usr/bin/sh", "/data/weights", "/database/log"]


def test_a_file_that_is_a_mount_of_its_own(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, 9, "/etc/passwd")
    assert volume_sizes.apply(folder, ["/etc/passwd"]) == 1


def test_nothing_is_read_where_there_is_no_volume(tmp_path: object) -> None:
    assert volume_sizes.apply(f"{tmp_path}/not there", []) == 0
