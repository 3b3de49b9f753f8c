"""A file open in a ConfigMap is recorded by the link that every pod's volume has."""

import pytest

from glowplug.criu import images, volume_paths
from glowplug.criu.images import Message


def dump(folder: str, *names: str) -> None:
    entries = []
    for number, name in enumerate(names):
        file = Message()
        file.put_integer(1, number)
        file.put_octets(6, name.encode())
        file.put_octets(99, b"of a newer CRIU")
        entry = Message()
        entry.put_integer(1, 1)
        entry.put_integer(2, number)
        entry.put_message(3, file)
        entries.append(entry)
    pipe = Message()
    pipe.put_integer(1, 3)
    pipe.put_integer(2, len(names))
    images.store(folder, "files.img", "files", [*entries, pipe])


def names(folder: str) -> list[str]:
    files = [entry.message(3) for entry in images.load(folder, "files.img", "files")]
    return [(file.octets(6) or b"").decode() for file in files if file is not None]


@pytest.mark.parametrize(
    ("dumped", "expected"),
    [
        ("/etc/app/..2026_11_22_10_00_00.123456789/a.conf", "/etc/app/..data/a.conf"),
        ("/etc/app/..2026/below/a.conf", "/etc/app/..data/below/a.conf"),
        ("/etc/app/..data/a.conf", "/etc/app/..data/a.conf"),
        ("/etc/app/a.conf", "/etc/app/a.conf"),
        ("/etc/app/below/..2026/a.conf", "/etc/app/below/..2026/a.conf"),
        ("/etc/app/..2026", "/etc/app/..data"),  # a working directory
        ("/etc/application/..2026/a.conf", "/etc/application/..2026/a.conf"),
        ("/srv/..2026/a.conf", "/srv/..2026/a.conf"),
    ],
)
def test_a_name(tmp_path: object, dumped: str, expected: str) -> None:
    folder = str(tmp_path)
    dump(folder, "/usr/bin/sh", dumped)
    assert volume_paths.name_by_link(folder, ["/etc/app", "/etc/other"]) == (dumped != expected)
    assert names(folder) == ["/usr/bin/sh", expected]


def test_nothing_is_read_where_there_is_no_such_volume(tmp_path: object) -> None:
    assert volume_paths.name_by_link(f"{tmp_path}/not there", []) == 0


def test_what_a_newer_criu_wrote_stays(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, "/etc/app/..2026/a")
    volume_paths.name_by_link(folder, ["/etc/app/"])
    (file, _) = (entry.message(3) for entry in images.load(folder, "files.img", "files"))
    assert file is not None and file.octets(99) == b"of a newer CRIU"


def watch(folder: str, number: int, wrap: int, *fields: int) -> None:
    """A file entry whose messages, one in another, are the fields; the innermost is a path."""
    inner: Message | bytes = b"/etc/app/..2026/a"
    for field in reversed(fields):
        outer = Message()
        if isinstance(inner, bytes):
            outer.put_octets(field, inner)
        else:
            outer.put_message(field, inner)
        inner = outer
    entry = Message()
    entry.put_integer(1, number)
    assert isinstance(inner, Message)
    entry.put_message(wrap, inner)
    images.store(folder, "files.img", "files", [entry])


@pytest.mark.parametrize(
    ("kind", "fields"), [(8, (13, 5, 7, 4)), (12, (14, 6, 7, 2, 4))], ids=["inotify", "fanotify"]
)
def test_a_watch_is_laid_by_the_link_too(tmp_path: object, kind: int, fields: tuple[int, ...]) -> None:
    folder = str(tmp_path)
    wrap, *inner = fields
    watch(folder, kind, wrap, *inner)
    assert volume_paths.name_by_link(folder, ["/etc/app"]) == 1
    (entry,) = images.load(folder, "files.img", "files")
    for field in fields[:-1]:
        found = entry.message(field)
        assert found is not None
        entry = found
    assert entry.octets(fields[-1]) == b"/etc/app/..data/a"


def test_what_is_open_of_an_older_moment_is_found_again_in_the_new_pod(tmp_path: object) -> None:
    """Not made and removed at the new pod's link, as CRIU does with removed files."""
    folder = str(tmp_path)
    dump(folder, "/usr/bin/sh", "/run/token/..2026/token", "/tmp/removed")
    remaps = []
    for original in (1, 2):
        remap = Message()
        for field, value in enumerate((original, 70 + original, 1), 1):
            remap.put_integer(field, value)
        remaps.append(remap)
    images.store(folder, "remap-fpath.img", "remap-fpath", remaps)
    assert volume_paths.name_by_link(folder, ["/run/token"]) == 1
    assert names(folder) == ["/usr/bin/sh", "/run/token/..data/token", "/tmp/removed"]
    assert [one.integer(1) for one in images.load(folder, "remap-fpath.img", "remap-fpath")] == [2]
