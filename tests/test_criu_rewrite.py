"""Taking memory out of CRIU's images: together, images and extents have each page once, where it was."""

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dump_made import (
    BASE,
    EXECUTE,
    GROWSDOWN,
    HEAP,
    HUGETLB,
    MEMFD,
    OVER_FILE,
    PRESENT,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    Dump,
    Vma,
    assert_complete,
    message,
)

from glowplug.criu import extents, images, layout, rewrite
from glowplug.criu.extents import HUGE, PAGE
from glowplug.errors import ImageError


@pytest.fixture
def dump(tmp_path: os.PathLike[str]) -> Dump:
    return Dump(os.fspath(tmp_path))


def test_a_large_private_mapping_moves_and_small_ones_stay(dump: Dump) -> None:
    big = Vma(BASE, 4096, here=[(0, 1200), (1300, 500)])
    dump.process(1, 0, [Vma(0x400000, 16, here=[(0, 16)]), big, Vma(BASE + (1 << 30), 8, here=[(2, 3)])])
    taken = rewrite.extract(dump.images, dump.memory)
    assert_complete(dump, "pagemap-1.img", 1)
    assert taken.moved + taken.zeros == 1700 * PAGE
    assert taken.left == 19 * PAGE


@pytest.mark.parametrize(("mappings", "move"), [(80, True), (60, False)])
def test_many_small_mappings_move_where_together_they_are_much(dump: Dump, mappings: int, move: bool) -> None:
    heap = [Vma(BASE + number * HUGE, 64, here=[(0, 64)]) for number in range(mappings)]  # 256 KiB each
    dump.process(1, 0, [Vma(0x400000, 8, here=[(0, 8)]), *heap])
    taken = rewrite.extract(dump.images, dump.memory)
    assert_complete(dump, "pagemap-1.img", 1)
    assert taken.moved + taken.zeros == (mappings * 64 * PAGE if move else 0)
    assert taken.left == (8 * PAGE if move else 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_pagemap_is_split_without_loss(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dump = Dump(os.fspath(tmp_path_factory.mktemp("dump")))
    address, vmas = BASE, []
    for _ in range(data.draw(st.integers(1, 5))):
        address += data.draw(st.sampled_from([0, PAGE, HUGE]))
        pages = data.draw(st.integers(1, 60))
        status = data.draw(st.sampled_from([PRIVATE, HEAP, OVER_FILE, 0x10201]))
        prot = data.draw(st.sampled_from([READ, READ | WRITE]))
        edges = sorted(data.draw(st.sets(st.integers(0, pages), max_size=6)))
        runs = [(a, b - a) for a, b in zip(edges[::2], edges[1::2], strict=False)]
        vmas.append(Vma(address, pages, status, prot, here=runs))
        address += pages * PAGE
    # CRIU's entries may run on from one mapping into the next.
    dump.process(1, 0, vmas)
    merged: list[tuple[int, int]] = []
    for start, count in [(v.start + first * PAGE, count) for v in vmas for first, count in v.here]:
        if merged and merged[-1][0] + merged[-1][1] * PAGE == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + count)
        else:
            merged.append((start, count))
    dump.pages.clear()
    dump.pagemap("pagemap-1.img", merged)
    smallest = data.draw(st.integers(1, 30)) * PAGE
    taken = rewrite.extract(dump.images, dump.memory, smallest)
    assert_complete(dump, "pagemap-1.img", 1, files=[v for v in vmas if v.status == OVER_FILE])
    fixed = [v for v in vmas if v.status not in (PRIVATE, HEAP, OVER_FILE) or v.prot == READ]
    for vma in fixed:
        inside = range(vma.start, vma.start + vma.pages * PAGE)
        assert not [key for key in dump.moved() if key[1] in inside]
    assert taken.moved == len(dump.moved()) * PAGE


@pytest.mark.parametrize(
    "vma",
    [
        Vma(BASE, 2048, flags=0x22 | GROWSDOWN, here=[(0, 2048)]),
        Vma(BASE, 2048, flags=0x22 | HUGETLB, here=[(0, 2048)]),
        Vma(BASE, 2048, prot=READ, here=[(0, 2048)]),
        Vma(BASE, 2048, prot=0, here=[(0, 2048)]),
        Vma(BASE, 2048, status=OVER_FILE, prot=READ, here=[(0, 2048)]),
        Vma(BASE, 2048, status=OVER_FILE, prot=READ | EXECUTE, here=[(0, 2048)]),
        Vma(BASE, 2048, status=OVER_FILE, prot=READ | WRITE | EXECUTE, here=[(0, 2048)]),
        Vma(BASE, 2048, status=OVER_FILE, prot=WRITE, here=[(0, 2048)]),
        Vma(BASE, 2048, status=OVER_FILE | 1 << 14, here=[(0, 2048)]),
        Vma(BASE, 2048, status=OVER_FILE | 1 << 27, here=[(0, 2048)]),
        Vma(BASE, 2048, status=0x2201, here=[(0, 2048)]),
        Vma(BASE, 1000, here=[(0, 1000)]),
    ],
    ids=[
        *("stack", "hugetlb", "read-only", "none"),
        *("file-read-only", "code", "writable-code", "file-write-only", "file-in-memory", "device"),
        *("aio-ring", "small"),
    ],
)
def test_what_is_not_plain_and_large_stays_byte_for_byte(dump: Dump, vma: Vma) -> None:
    dump.process(1, 0, [vma])
    before = {name: images.read(dump.images, name) for name in os.listdir(dump.images)}
    assert rewrite.extract(dump.images, dump.memory) == (rewrite.Extracted(0, 0, 0))
    assert {name: images.read(dump.images, name) for name in os.listdir(dump.images)} == before
    assert not os.path.exists(dump.memory)


def test_a_mapping_that_parent_and_child_share_stays(dump: Dump) -> None:
    both = Vma(BASE, 2048, here=[(0, 2048)])
    own = Vma(BASE + (1 << 30), 2048, here=[(0, 2048)])
    dump.process(1, 0, [both])
    dump.process(2, 1, [both, own])
    dump.process(3, 1, [Vma(BASE, 2047, here=[(0, 2047)])])
    rewrite.extract(dump.images, dump.memory)
    for pid in (1, 2, 3):
        assert_complete(dump, f"pagemap-{pid}.img", pid)
    moved = {(pid, address & ~0xFFFFFFF) for pid, address in dump.moved()}
    assert moved == {(2, own.start & ~0xFFFFFFF), (3, BASE & ~0xFFFFFFF)}


@pytest.mark.parametrize("status", [MEMFD, SHARED])
def test_shared_memory_is_written_once_through_one_process(dump: Dump, status: int) -> None:
    number = 77 if status == MEMFD else 355
    first = Vma(BASE, 2048, status, flags=1, shared=number, prot=READ)
    second = Vma(BASE + HUGE, 1024, status, flags=1, shared=number)
    third = Vma(BASE + (1 << 30), 1024, status, flags=1, shared=number, offset=512 * PAGE)
    dump.memory_file(77, 355)
    dump.process(1, 0, [first])
    dump.process(2, 1, [second])
    dump.process(3, 1, [third])
    dump.pagemap("pagemap-shmem-355.img", [(0, 2048)])
    taken = rewrite.extract(dump.images, dump.memory, 1 << 20)
    left, moved = dump.left("pagemap-shmem-355.img"), dump.moved()
    # Process 2 reaches the first 1024 pages, process 3 continues to page 1536; nobody may write the rest.
    assert {address for _, address in left} == {page * PAGE for page in range(1536, 2048)}
    for page in range(1536):
        data = dump.pages["pagemap-shmem-355.img", page * PAGE]
        pid, vma = (2, second) if page < 1024 else (3, third)
        at = vma.start + page * PAGE - vma.offset
        assert moved.pop((pid, at), bytes(PAGE)) == data
    assert moved == {}
    assert taken.left == 512 * PAGE


def test_the_first_system_v_segment_is_not_taken_for_private_memory(dump: Dump) -> None:
    """Its number is 0. It stays with CRIU, as all of them do, and private memory goes to its own place."""
    segment = Vma(BASE, 2048, SHARED | 1 << 10, flags=1)
    private = Vma(BASE + (1 << 30), 2048, here=[(0, 2048)])
    dump.process(1, 0, [segment, private])
    dump.pagemap("pagemap-shmem-0.img", [(0, 2048)])
    rewrite.extract(dump.images, dump.memory)
    assert len(dump.left("pagemap-shmem-0.img")) == 2048
    assert_complete(dump, "pagemap-1.img", 1)


def test_huge_pages_are_requested_where_they_cost_nothing(dump: Dump) -> None:
    huge = HUGE // PAGE
    dense = Vma(BASE, 4 * huge, here=[(0, 4 * huge)])
    sparse = Vma(BASE + (1 << 30), 64 * huge, here=[(page, 16) for page in range(0, 64 * huge, huge // 2)])
    refused = Vma(BASE + (2 << 30), 4 * huge, madv=1 << 15, here=[(0, 4 * huge)])
    chosen = Vma(BASE + (3 << 30), 4 * huge, madv=1 << 16, here=[(0, 4 * huge)])
    dump.process(1, 0, [dense, sparse, refused, chosen])
    rewrite.extract(dump.images, dump.memory)
    assert dump.madv(1) == [1 << 14, 0, 1 << 15, 1 << 16 | 1 << 14]
    assert images.load(dump.images, "mm-1.img", "mm")[0].octets(99) == b"newer"


def test_long_stretches_of_zeros_take_no_disk_space(dump: Dump) -> None:
    dump.process(1, 0, [Vma(BASE, 4096, here=[(0, 4096)])])
    dump.pages.clear()
    dump.pagemap("pagemap-1.img", [(BASE, 4096)], zeros=1.0)
    with open(f"{dump.images}/pages-2.img", "r+b") as file:
        for page in (0, 1, 4000):
            file.seek(page * PAGE)
            file.write(b"x" * PAGE)
    assert rewrite.extract(dump.images, dump.memory) == rewrite.Extracted(3 * PAGE, 4093 * PAGE, 0)
    facts = os.stat(f"{dump.memory}/pages-2.extent")
    assert facts.st_size == 4001 * PAGE
    assert facts.st_blocks * 512 <= 16 * PAGE


@pytest.mark.parametrize(("zeros", "runs"), [(15, 1), (16, 100)])
def test_few_zero_pages_between_others_make_no_run_of_each(dump: Dump, zeros: int, runs: int) -> None:
    """A million runs would cost a restore seconds; the zeros were in memory at the source, too."""
    step = zeros + 1
    dump.process(1, 0, [Vma(BASE, 100 * step, here=[(0, 100 * step)])])
    dump.pages.clear()
    dump.pagemap("pagemap-1.img", [(BASE, 100 * step)], zeros=1.0)
    with open(f"{dump.images}/pages-2.img", "r+b") as file:
        for page in range(0, 100 * step, step):
            file.seek(page * PAGE)
            file.write(b"x" * PAGE)
    taken = rewrite.extract(dump.images, dump.memory)
    [extent] = extents.load(dump.memory)
    assert len(extent.runs) == 3 * runs
    assert taken.moved + taken.zeros == 100 * step * PAGE
    assert [page[:1] for page in dump.moved().values() if page != bytes(PAGE)] == [b"x"] * 100


def test_changed_pages_of_a_file_move_and_those_of_zeros_too(dump: Dump) -> None:
    """A page of zeros that were nowhere would be the file's page; huge pages are for anonymous memory alone."""
    huge = HUGE // PAGE
    dump.process(1, 0, [Vma(BASE, 4 * huge + 200, OVER_FILE, flags=2)])
    dump.pages.clear()
    dump.pagemap("pagemap-1.img", [(BASE, 4 * huge), (BASE + (4 * huge + 50) * PAGE, 100)], zeros=0.9)
    taken = rewrite.extract(dump.images, dump.memory)
    assert taken == rewrite.Extracted((4 * huge + 100) * PAGE, 0, 0)
    assert dump.moved() == {(1, address): data for (_, address), data in dump.pages.items()}
    [extent] = extents.load(dump.memory)
    assert len(extent.runs) == 3 * 2
    assert dump.madv(1) == [0]


def test_a_zombie_has_no_memory(dump: Dump) -> None:
    dump.process(1, 0, [Vma(BASE, 2048, here=[(0, 2048)])])
    dump.process(2, 1, [])
    core = message(f1=1, f3=message(f1=2, f2=0, f3=0, f4=0, f5=0, f6=b"gone"))
    images.store(dump.images, "core-2.img", "core", [core])
    for name in ("mm-2.img", "ids-2.img", "pagemap-2.img"):
        os.unlink(f"{dump.images}/{name}")
    assert rewrite.extract(dump.images, dump.memory).moved > 0


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(
            ["pstree.img", "core-1.img", "mm-1.img", "pagemap-1.img"], ["missing", "cut", "garbage"]
        ),
        *itertools.product(["pages-1.img"], ["missing", "cut"]),
    ],
)
def test_damaged_images_are_an_image_error(dump: Dump, name: str, damage: str) -> None:
    dump.process(1, 0, [Vma(BASE, 2048, here=[(0, 2048)])])
    path = f"{dump.images}/{name}"
    if damage == "missing":
        os.unlink(path)
    elif damage == "cut":
        os.truncate(path, os.path.getsize(path) - 3)
    else:
        with open(path, "r+b") as file:
            file.seek(9)
            file.write(b"\xff" * 16)
    with pytest.raises(ImageError):
        rewrite.extract(dump.images, dump.memory)


def test_a_pages_file_of_another_size_is_an_image_error(dump: Dump) -> None:
    """As on a kernel with larger pages, of which CRIU lists as many: most of the memory would be lost."""
    dump.process(1, 0, [Vma(BASE, 2048, here=[(0, 2048)])])
    path = f"{dump.images}/pages-1.img"
    before = os.path.getsize(path)
    os.truncate(path, 16 * before)
    with pytest.raises(ImageError, match=f"has {16 * before} bytes, but pagemap-1.img lists {before}"):
        rewrite.extract(dump.images, dump.memory)


def test_entries_out_of_order_are_refused() -> None:
    entries = [message(f1=BASE + PAGE, f5=1, f4=PRESENT), message(f1=BASE, f5=1, f4=PRESENT)]
    with pytest.raises(ImageError, match="order"):
        layout.pieces(entries, [])


def test_pages_that_lie_elsewhere_have_no_place_in_the_file() -> None:
    entries = [
        message(f1=BASE, f2=2, f4=PRESENT),
        message(f1=BASE + 4 * PAGE, f2=3, f4=1),
        message(f1=BASE + 8 * PAGE, f2=1, f3=1),
        message(f1=BASE + 9 * PAGE, f2=1),
    ]
    found = layout.pieces(entries, [BASE + PAGE])
    assert [(piece.address - BASE, piece.length // PAGE, piece.offset) for piece in found] == [
        (0, 1, 0),
        (PAGE, 1, PAGE),
        (4 * PAGE, 3, None),
        (8 * PAGE, 1, None),
        (9 * PAGE, 1, 2 * PAGE),
    ]
