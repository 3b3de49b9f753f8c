"""The index of memory extents: what was saved is loaded, and what is damaged is an ImageError."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glowplug.criu import extents
from glowplug.criu.extents import PAGE, Extent
from glowplug.errors import ImageError


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


def saved(folder: str, *runs: tuple[int, int, int], size: int = 8 * PAGE) -> list[Extent]:
    with open(f"{folder}/pages-1.extent", "wb") as file:
        file.truncate(size)
    found = [Extent("pages-1.extent", 1, extents.flat(runs), private=True)]
    extents.save(folder, found)
    return found


def test_what_was_saved_is_loaded(folder: str) -> None:
    found = saved(folder, (0x10000, 2 * PAGE, 0), (0x20000, PAGE, 5 * PAGE))
    assert extents.load(folder) == found
    assert found[0].bytes == 3 * PAGE
    with open(f"{folder}/{extents.INDEX}") as file:
        assert json.load(file)["extents"] == [
            {"data": "pages-1.extent", "pid": 1, "runs": 2, "bytes": 3 * PAGE, "private": True}
        ]


def test_of_an_older_checkpoint_it_is_not_known_what_is_private(folder: str) -> None:
    saved(folder, (0x10000, PAGE, 0))
    with open(f"{folder}/{extents.INDEX}") as file:
        index = json.load(file)
    del index["extents"][0]["private"]
    with open(f"{folder}/{extents.INDEX}", "w") as file:
        json.dump(index, file)
    assert not extents.load(folder)[0].private


@pytest.mark.parametrize(
    "runs",
    [
        [(0x10000, PAGE, 8 * PAGE)],
        [(0x10001, PAGE, 0)],
        [(0x10000, 1, 0)],
        [(0x10000, PAGE, 1)],
        [(0x10000, 0, 0)],
        [(0x20000, PAGE, 0), (0x10000, PAGE, PAGE)],
        [(0x10000, 2 * PAGE, 0), (0x11000, PAGE, 2 * PAGE)],
        [(0x10000, 2 * PAGE, 0), (0x20000, PAGE, PAGE)],
    ],
    ids=["beyond-the-file", "address", "length", "offset", "empty", "order", "overlap", "overlap-in-file"],
)
def test_runs_that_make_no_sense_are_refused(folder: str, runs: list[tuple[int, int, int]]) -> None:
    saved(folder, *runs)
    with pytest.raises(ImageError):
        extents.load(folder)


@pytest.mark.parametrize("data", ["../pages", "/etc/passwd", "", ".."])
def test_data_outside_of_the_checkpoint_is_refused(folder: str, data: str) -> None:
    extents.save(folder, [Extent(data, 1, extents.flat([]))])
    with pytest.raises(ImageError):
        extents.load(folder)


def test_data_behind_a_link_is_too_short(folder: str) -> None:
    saved(folder, (0x10000, 8 * PAGE, 0))
    os.rename(f"{folder}/pages-1.extent", f"{folder}/elsewhere")
    os.symlink("elsewhere", f"{folder}/pages-1.extent")
    with pytest.raises(ImageError):
        extents.load(folder)


@settings(max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4), st.data())
def test_garbage_in_the_index_raises_only_image_errors(
    tmp_path_factory: pytest.TempPathFactory, value: object, data: st.DataObject
) -> None:
    folder = os.fspath(tmp_path_factory.mktemp("memory"))
    saved(folder, (0x10000, PAGE, 0))
    with open(f"{folder}/{extents.INDEX}") as file:
        index = json.load(file)
    where = data.draw(st.sampled_from(["version", "page", "extents", "record", "data", "pid", "runs"]))
    if where in index:
        index[where] = value
    elif where == "record":
        index["extents"] = [value]
    else:
        index["extents"][0][where] = value
    with open(f"{folder}/{extents.INDEX}", "w") as file:
        json.dump(index, file)
    try:
        extents.load(folder)
    except ImageError:
        return
    assert (where, value) in {("pid", value), ("version", 1), ("page", PAGE), ("runs", 1)}
