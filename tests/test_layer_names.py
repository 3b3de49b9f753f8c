"""A file that a container holds is found by the name that it has left in the layer, and linked again."""

import os

import pytest
from tests.layer_made import Overlay, needs_root

from glowplug.errors import LayerError
from glowplug.layer import names, tree

pytestmark = needs_root


@pytest.fixture
def made(tmp_path: object) -> Overlay:
    lower = f"{tmp_path}/lower"
    os.mkdir(lower)
    with open(f"{lower}/of the image", "w") as file:
        file.write("from the image")
    return Overlay(f"{tmp_path}/snapshot", lower)


def test_a_file_that_was_copied_up_is_found_by_the_number_that_the_container_sees(made: Overlay) -> None:
    with made:
        os.mkdir(f"{made.merged}/below")
        os.link(f"{made.merged}/of the image", f"{made.merged}/below/kept")
        with open(f"{made.merged}/of the image", "a") as opened:
            opened.write("changed")
            os.unlink(f"{made.merged}/of the image")
            facts = os.fstat(opened.fileno())
            wanted = facts.st_dev, facts.st_ino
            assert names.of_inodes(made.upper, made.merged, {wanted}) == {wanted: "below/kept"}
            assert os.lstat(f"{made.upper}/below/kept").st_ino != wanted[1]


def test_a_file_without_a_name_is_not_found(made: Overlay) -> None:
    with made, open(f"{made.merged}/new", "w") as opened:
        os.unlink(f"{made.merged}/new")
        facts = os.fstat(opened.fileno())
        assert names.of_inodes(made.upper, made.merged, {(facts.st_dev, facts.st_ino)}) == {}


def test_a_link_is_added_to_an_applied_tree_and_undone_with_it(made: Overlay, tmp_path: object) -> None:
    captured, record = f"{tmp_path}/captured", f"{tmp_path}/record"
    os.makedirs(f"{captured}/below")
    with open(f"{captured}/below/kept", "w") as file:
        file.write("kept")
    tree.apply(captured, made.upper, record, links=[("below/kept", "below/link_remap.7")])
    with made:
        assert os.path.samefile(f"{made.merged}/below/kept", f"{made.merged}/below/link_remap.7")
    assert not os.path.exists(f"{captured}/below/link_remap.7")
    tree.undo(record)
    assert os.listdir(made.upper) == []


@pytest.mark.parametrize("link", [("below", "aside"), ("missing", "aside"), ("kept", "missing/aside")])
def test_a_link_that_can_t_be_made_leaves_the_layer_as_it_was(
    made: Overlay, tmp_path: object, link: tuple[str, str]
) -> None:
    """A symlink is no way: what it leads to is none of the tree's."""
    captured = f"{tmp_path}/captured"
    os.mkdir(captured)
    os.symlink("/", f"{captured}/below")
    with open(f"{captured}/kept", "w"):
        pass
    way = (f"{link[0]}/etc/passwd", link[1]) if link[0] == "below" else link
    with pytest.raises(LayerError, match="can't put the layer in place"):
        tree.apply(captured, made.upper, f"{tmp_path}/record", links=[way])
    assert os.listdir(made.upper) == []
