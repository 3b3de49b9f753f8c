"""What a container has open, mapped and on its disk is there again after a restore."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integration.captured import captured
from integration.node import Node
from integration.pods import Container, Pods

FEATURES = (
    "layer",
    "unlinked",
    "gone_image",
    "gone_directory",
    "gone_linked",
    "gone_copied",
    "memfd",
    "shm_map",
    "inotify",
    "descriptors",
)


@dataclass(frozen=True, slots=True)
class Twins:
    """What the workload reported just before the capture, and twice after the restore."""

    before: Any
    first: Any
    second: Any
    restored: Container


@pytest.fixture(scope="module")
def twins(node: Node) -> Iterator[Twins]:
    """All features in one container, captured, and restored in another pod."""
    node.ensure_agent()
    pods = Pods(node)
    try:
        zoo = captured(node, pods, env={"WORKLOAD": ",".join(FEATURES), "WORKLOAD_MEMORY_MB": "4"})
        _, container = zoo.restored(node, pods)
        yield Twins(zoo.state, container.state(), container.state(), container)
    finally:
        pods.remove_all()


def test_memory_layer_and_shared_memory_are_the_captured_ones(twins: Twins) -> None:
    assert twins.first["token"] == twins.before["token"]
    assert not [value for value in twins.before["token"].values() if "Error" in value]


def test_the_process_is_the_same_one(twins: Twins) -> None:
    """All that a process can ask of itself, except for its host's name and the time."""
    facts = ("pid", "ids", "capabilities", "no_new_privs", "seccomp", "umask", "nofile", "cwd", "args", "env")
    for fact in facts:
        assert twins.first["process"][fact] == twins.before["process"][fact], fact
    assert twins.first["process"]["monotonic"] > twins.before["process"]["monotonic"]


def test_the_layer_has_every_change(twins: Twins) -> None:
    """Owners, modes, times, attributes, links, kinds; deleted files and a directory made again."""
    layer = twins.first["layer"]
    assert layer == twins.before["layer"]
    assert layer["/data/made/added"]["mode"] == "0o104711"
    assert layer["/data/made/added"]["mtime_ns"] == 2_000_000_002
    assert layer["/data/made/added"]["links"] == 2
    assert layer["/data/made/below"]["owner"] == [1000, 1000]
    assert layer["/data/opaque/new"]["owner"] == [1000, 2000]
    assert list(layer["/data/opaque/new"]["xattrs"]) == ["security.capability"]
    assert "/data/deleted" not in layer
    assert "/data/opaque/old" not in layer and "/data/opaque/below/old" not in layer


def test_a_hole_stays_a_hole(twins: Twins) -> None:
    assert twins.restored.exec("stat", "-c", "%s %b", "/data/made/hole").stdout == b"1048576 0\n"


def test_two_names_are_one_file(twins: Twins) -> None:
    reported = twins.restored.exec(
        "stat", "-c", "%i", "/data/made/added", "/data/made/below/hard"
    ).stdout.split()
    assert reported[0] == reported[1]


@pytest.mark.parametrize("feature", ["unlinked", "gone_directory", "gone_linked", "gone_copied"])
def test_an_open_file_without_its_name_continues(twins: Twins, feature: str) -> None:
    before, first, second = (reported[feature] for reported in (twins.before, twins.first, twins.second))
    assert first == {**before, "added": first["added"]} and first["added"] > before["added"]
    assert second == {**first, "added": first["added"] + 1}
    assert before.get("has_name", True)


def test_an_open_file_of_the_image_without_its_name_continues(twins: Twins) -> None:
    assert twins.first["gone_image"] == {"content": "from the image\n"}


def test_no_name_is_left_that_criu_made(twins: Twins) -> None:
    names = twins.restored.exec("ls", "-a", "/srv/gone", "/tmp", "/data").stdout.decode()
    assert "link_remap" not in names and ".criu" not in names
    assert twins.restored.exec("ls", "/srv/gone").stdout == b"copied.second\nsecond\n"


@pytest.mark.parametrize(("feature", "same"), [("memfd", "same_by_descriptor"), ("shm_map", "same_by_name")])
def test_shared_memory_continues(twins: Twins, feature: str, same: str) -> None:
    before, first, second = (reported[feature] for reported in (twins.before, twins.first, twins.second))
    assert first == {**before, "tries": first["tries"]} and first["tries"] > before["tries"]
    assert second == {**first, "tries": first["tries"] + 1}
    assert second[same]


def test_watches_continue(twins: Twins) -> None:
    assert twins.before["inotify"] == twins.first["inotify"] == twins.second["inotify"]
    assert all(twins.first["inotify"].values()), json.dumps(twins.first["inotify"])


def test_pipes_events_and_polls_continue(twins: Twins) -> None:
    assert twins.first["descriptors"] == twins.before["descriptors"]
    assert twins.first["descriptors"] == {"ready": True, "event": 7, "pipe": "kept"}


def test_nothing_is_open_that_was_not(twins: Twins) -> None:
    assert twins.second["process"]["fds"] == twins.before["process"]["fds"]
