"""Walking a tree follows nothing out of it."""

import os

import pytest
from tests import descriptors

from glowplug.errors import LayerError
from glowplug.layer import descent
from glowplug.layer.descent import ENTER, ENTRY, LEAVE, Descent


@pytest.fixture
def tree(tmp_path: object) -> str:
    os.makedirs(f"{tmp_path}/tree/a/b")
    os.makedirs(f"{tmp_path}/outside/kept")
    for name in ("tree/a/b/file", "tree/z", "outside/kept/file"):
        with open(f"{tmp_path}/{name}", "w"):
            pass
    os.symlink(f"{tmp_path}/outside", f"{tmp_path}/tree/a/link")
    return f"{tmp_path}/tree"


def test_order_of_a_walk(tree: str) -> None:
    with Descent(tree) as place:
        steps = [(step, name) for step, name, _ in descent.walk(place)]
    a = [(ENTER, "a"), (ENTER, "b"), (ENTRY, "file"), (LEAVE, "b"), (ENTRY, "link"), (LEAVE, "a")]
    assert steps == [*a, (ENTRY, "z"), (LEAVE, "")]


def test_a_walk_of_selected_paths(tree: str) -> None:
    with Descent(tree) as place:
        steps = [(step, name) for step, name, _ in descent.walk(place, {"a", "a/link"})]
    assert steps == [(ENTER, "a"), (ENTRY, "link"), (LEAVE, "a"), (LEAVE, "")]


def test_no_symlink_is_gone_down(tree: str) -> None:
    with Descent(f"{tree}/a") as place, pytest.raises(OSError):
        place.down("link")
    with pytest.raises(OSError):
        Descent(f"{tree}/a/link")


def test_a_directory_moved_away_is_noticed(tree: str, tmp_path: object) -> None:
    with Descent(tree) as place:
        place.down("a")
        place.down("b")
        os.rename(f"{tree}/a/b", f"{tmp_path}/outside/b")
        with pytest.raises(LayerError, match="'b' was moved"):
            place.up()


def test_remove_takes_the_tree_and_nothing_else(tree: str, tmp_path: object) -> None:
    descent.remove(f"{tree}/a")
    assert os.listdir(tree) == ["z"]
    assert os.listdir(f"{tmp_path}/outside/kept") == ["file"]
    descent.remove(f"{tree}/z")
    descent.remove(f"{tree}/z")
    descent.remove(tree)
    assert not os.path.exists(tree)


def test_no_descriptor_is_left_open(tree: str) -> None:
    with descriptors.none_left():
        with Descent(tree) as place:
            for _ in descent.walk(place):
                pass
        descent.remove(tree)
