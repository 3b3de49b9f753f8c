"""Read-only pages of files that a restore may write by force: CRIU's images stay complete, and there are some without
them."""

import os

import pytest
from tests.dump_made import BASE, EXECUTE, OVER_FILE, PRIVATE, READ, WRITE, Dump, Vma

from glowplug import paths
from glowplug.criu import calls, extents, forced, images, read_only
from glowplug.criu.extents import PAGE
from glowplug.errors import ImageError

CONSTANTS = Vma(BASE, 3000, OVER_FILE, READ, flags=2, here=[(0, 1100), (1200, 300)])
OTHERS = [
    Vma(0x400000, 16, OVER_FILE, READ | EXECUTE, flags=2, here=[(0, 16)]),
    Vma(0x500000, 16, OVER_FILE, READ | WRITE, flags=2, here=[(3, 4)]),
    Vma(BASE + 3000 * PAGE, 8, PRIVATE, READ, here=[(2, 3)]),
]
MIB = 1 << 20


@pytest.fixture
def dump(tmp_path: os.PathLike[str]) -> Dump:
    return Dump(os.fspath(tmp_path))


def restored_by_criu(dump: Dump, view: str) -> dict[int, bytes]:
    """Address → page, as CRIU reads process 1's images in a restore's own directory."""
    head, *entries = images.load(view, "pagemap-1.img", "pagemap")
    found = {}
    with open(f"{view}/pages-{head.integer(1)}.img", "rb") as file:
        for entry in entries:
            for page in range(entry.required(5, "pages")):
                found[entry.required(1, "address") + page * PAGE] = file.read(PAGE)
        assert file.read() == b""
    return found


def by_force(dump: Dump) -> dict[int, bytes]:
    """Address → page, as the extents beside the images have them."""
    [extent] = extents.load(dump.images)
    assert extent.pid == 1
    assert extent.private
    found = {}
    with open(f"{dump.images}/{extent.data}", "rb") as file:
        for at in range(0, len(extent.runs), 3):
            address, length, offset = extent.runs[at : at + 3]
            file.seek(offset)
            found.update({address + page: file.read(PAGE) for page in range(0, length, PAGE)})
    return found


def view(dump: Dump) -> tuple[bool, str]:
    into = f"{dump.images}/../view"
    os.mkdir(into)
    left_out = forced.leave_out(dump.images, into)
    images.link_rest(dump.images, into)
    return left_out, into


def test_each_page_is_restored_by_criu_or_by_force(dump: Dump) -> None:
    """Those of zeros too: below them is the file."""
    dump.process(1, 0, [*OTHERS[:2], CONSTANTS, OTHERS[2]])
    everything = {address: data for (_, address), data in dump.pages.items()}
    assert read_only.extract(dump.images) == 1400 * PAGE
    left_out, into = view(dump)
    assert left_out
    left, forced_pages = restored_by_criu(dump, into), by_force(dump)
    assert left | forced_pages == everything
    assert set(forced_pages) == {
        BASE + page * PAGE for first, count in CONSTANTS.here for page in range(first, first + count)
    }
    assert not set(left) & set(forced_pages)


def test_where_a_node_allows_no_force_criu_restores_all(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    dump.process(1, 0, [*OTHERS[:2], CONSTANTS, OTHERS[2]])
    read_only.extract(dump.images)
    monkeypatch.setattr(calls, "forces_writes", lambda: False)
    left_out, into = view(dump)
    assert not left_out
    assert restored_by_criu(dump, into) == {address: data for (_, address), data in dump.pages.items()}


def test_a_node_that_refused_once_leaves_them_to_criu(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", dump.images)
    dump.process(1, 0, [CONSTANTS])
    read_only.extract(dump.images)
    forced.refused()
    assert view(dump)[0] is False


@pytest.mark.parametrize(
    "vma",
    [
        Vma(BASE, 2048, OVER_FILE, READ | EXECUTE, flags=2, here=[(0, 2048)]),
        Vma(BASE, 2048, OVER_FILE, EXECUTE, flags=2, here=[(0, 2048)]),
        Vma(BASE, 2048, OVER_FILE, 0, flags=2, here=[(0, 2048)]),
        Vma(BASE, 2048, OVER_FILE, READ | WRITE, flags=2, here=[(0, 2048)]),
        Vma(BASE, 2048, OVER_FILE | 1 << 14, READ, flags=2, here=[(0, 2048)]),
        Vma(BASE, 2048, PRIVATE, READ, here=[(0, 2048)]),
        Vma(BASE, 1023, OVER_FILE, READ, flags=2, here=[(0, 1023)]),
    ],
    ids=["code", "execute-only", "none", "writable", "file-in-memory", "anonymous", "small"],
)
def test_what_is_unusual_or_little_is_left_alone(dump: Dump, vma: Vma) -> None:
    dump.process(1, 0, [vma])
    before = sorted(os.listdir(dump.images))
    assert read_only.extract(dump.images) == 0
    assert sorted(os.listdir(dump.images)) == before
    assert view(dump)[0] is False


def test_what_a_child_has_from_its_parent_is_left_alone(dump: Dump) -> None:
    dump.process(1, 0, [CONSTANTS])
    dump.process(2, 1, [CONSTANTS])
    assert read_only.extract(dump.images) == 0


def test_a_pages_file_that_is_missing_is_an_image_error(dump: Dump) -> None:
    dump.process(1, 0, [CONSTANTS])
    os.unlink(f"{dump.images}/pages-1.img")
    with pytest.raises(ImageError):
        read_only.extract(dump.images)
