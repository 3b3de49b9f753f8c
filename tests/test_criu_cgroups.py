"""Of the dumped cgroups only the root of a private cgroup namespace stays."""

import os

import pytest

from glowplug.criu import cgroups, images
from glowplug.criu.images import Message
from glowplug.errors import ImageError


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


def member(name: str, path: str, prefix: int = 0) -> Message:
    made = Message()
    made.put_octets(1, name.encode())
    made.put_octets(2, path.encode())
    if prefix:
        made.put_integer(3, prefix)
    return made


def write(folder: str, sets: dict[int, list[Message]], controllers: list[str]) -> None:
    image = Message()
    found = []
    for number, members in sets.items():
        one = Message()
        one.put_integer(1, number)
        one.put_messages(2, members)
        found.append(one)
    image.put_messages(1, found)
    listed = []
    for name in controllers:
        prop, folder_entry, controller = Message(), Message(), Message()
        prop.put_octets(1, b"memory.limit_in_bytes")
        prop.put_octets(2, b"1048576")
        folder_entry.put_octets(1, b"pod/old")
        folder_entry.put_messages(3, [prop])
        controller.put_octets(1, name.encode())
        controller.put_messages(2, [folder_entry])
        listed.append(controller)
    image.put_messages(2, listed)
    images.store(folder, "cgroup.img", "cgroup", [image])


def test_without_a_namespace_nothing_is_left(folder: str) -> None:
    write(folder, {1: [member("memory", "/pod/old")], 2: [member("memory", "/pod/old/sub")]}, ["memory"])
    assert cgroups.apply(folder) is False
    left = images.load(folder, "cgroup.img", "cgroup")[0]
    assert [one.messages(2) for one in left.messages(1)] == [[], []]
    assert left.messages(2) == []


def test_the_root_of_the_namespace_stays_without_properties(folder: str) -> None:
    sets = {
        1: [member("", "/"), member("pids", "/")],
        2: [member("", "/pod/old", 8), member("pids", "/")],
        3: [member("", "/pod/old/below", 8), member("pids", "/")],
    }
    write(folder, sets, ["pids", ""])
    assert cgroups.apply(folder) is True
    left = images.load(folder, "cgroup.img", "cgroup")[0]
    assert [[m.octets(2) for m in one.messages(2)] for one in left.messages(1)] == [[b"/pod/old"]] * 3
    assert [one.integer(1) for one in left.messages(1)] == [1, 2, 3]
    controllers = left.messages(2)
    assert [c.strings(1) for c in controllers] == [[b""]]
    assert [d.octets(1) for d in controllers[0].messages(2)] == [b"pod/old"]
    assert controllers[0].messages(2)[0].messages(3) == []


def in_set(number: int) -> Message:
    thread, core = Message(), Message()
    thread.put_integer(16, number)
    core.put_message(5, thread)
    return core


def test_every_thread_is_in_the_set_of_the_first_process(folder: str) -> None:
    """CRIU dumps a set for each, and would move one after the other."""
    sets = {
        1: [member("", "/agent")],
        2: [member("", "/pod/old", 8)],
        3: [member("", "/pod/old")],
        4: [member("", "/pod/old/below")],
    }
    write(folder, sets, [""])
    for pid, number in ((1, 2), (7, 3), (8, 4)):
        images.store(folder, f"core-{pid}.img", "core", [in_set(number)])
    images.store(folder, "core-9.img", "core", [Message()])  # a zombie
    assert cgroups.apply(folder) is True
    found = {}
    for pid in (1, 7, 8, 9):
        (core,) = images.load(folder, f"core-{pid}.img", "core")
        thread = core.message(5)
        found[pid] = thread and thread.integer(16)
    assert found == {1: 2, 7: 2, 8: 2, 9: None}


def test_a_thread_with_other_hierarchies_keeps_its_set(folder: str) -> None:
    sets = {
        1: [member("", "/"), member("pids", "/")],
        2: [member("", "/pod/old", 8), member("pids", "/pod/old", 8)],
        3: [member("", "/pod/old/below", 8)],
    }
    write(folder, sets, ["pids", ""])
    images.store(folder, "core-7.img", "core", [in_set(3)])
    assert cgroups.apply(folder) is True
    (core,) = images.load(folder, "core-7.img", "core")
    thread = core.message(5)
    assert thread is not None
    assert thread.integer(16) == 3


def test_without_a_namespace_the_threads_stay(folder: str) -> None:
    write(folder, {1: [member("memory", "/pod/old")], 2: [member("memory", "/pod/old")]}, ["memory"])
    images.store(folder, "core-7.img", "core", [in_set(2)])
    before = images.read(folder, "core-7.img")
    assert cgroups.apply(folder) is False
    assert images.read(folder, "core-7.img") == before


def test_a_dump_without_cgroups(folder: str) -> None:
    assert cgroups.apply(folder) is False


def test_a_damaged_image(folder: str) -> None:
    images.write(folder, "cgroup.img", b"garbage")
    with pytest.raises(ImageError, match=r"cgroup\.img"):
        cgroups.apply(folder)
