"""Memory that went through extents comes back byte for byte, costs no more than it did, or fails cleanly."""

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glowplug.criu import calls, extents, layout, read_only, rewrite
from glowplug.errors import CriuError, GlowplugError, ImageError
from glowplug.host import process
from integration.bare import Bare, usable
from integration.limits import needs_limits

pytestmark = pytest.mark.skipif(usable() is not None, reason=usable() or "")

MIB = 256  # pages
Make = Callable[..., Bare]


@pytest.fixture
def make(tmp_path: os.PathLike[str]) -> Iterator[Make]:
    made: list[Bare] = []

    def make_one(*mappings: dict[str, Any], children: int = 0, memory_limit: int | None = None) -> Bare:
        scratch = f"{tmp_path}/{len(made)}"
        os.mkdir(scratch)
        one = Bare(scratch, {"mappings": list(mappings), "children": children}, memory_limit).__enter__()
        made.append(one)
        return one

    yield make_one
    for one in made:
        one.__exit__()


def mapping(kind: str, pages: int, *runs: tuple[int, int, str]) -> dict[str, Any]:
    return {"kind": kind, "pages": pages, "runs": list(runs) or [(0, pages, "random")]}


def capture(container: Bare, smallest: int = layout.SMALLEST) -> tuple[Any, str, str, rewrite.Extracted]:
    """Its digests, the images, the extents, and what was taken out; it has ended."""
    before = container.hash()
    images, memory = f"{container.scratch}/images", f"{container.scratch}/memory"
    container.dump(images)
    taken = rewrite.extract(images, memory, smallest)
    assert container.hash() == before, "the capture changed the running container"
    container.remove()
    return before, images, memory, taken


@pytest.mark.parametrize(
    "kind",
    [
        *("private", "shared", "memfd", "noreserve", "locked", "guarded", "read-only", "small-pages"),
        *("memfd-private", "dev-zero", "file", "file-deleted", "file-read-only"),
    ],
)
def test_every_page_comes_back(make: Make, kind: str) -> None:
    runs = [
        (8, 3000, "random"),
        (3008, 40, "zero"),
        (3100, 900, "pattern"),
        (4010, 1, "last"),
        (6000, 1000, "random"),
    ]
    container = make(mapping(kind, 32 * MIB, *runs))
    container.start()
    before, images, memory, taken = capture(container)
    container.restore(images, memory)
    assert container.hash() == before
    if kind in ("read-only", "file-read-only", "memfd-private"):
        assert taken.moved == 0, "memory that can't be written from outside, or is unusual, was taken out"
    else:
        assert taken.moved >= 3800 * extents.PAGE
        assert container.filled.bytes == taken.moved


def test_several_mappings_and_processes(make: Make) -> None:
    container = make(
        mapping("private", 64 * MIB),
        mapping("shared", 64 * MIB),
        mapping("shared", 16 * MIB, (100, 2000, "pattern")),
        mapping("memfd", 8 * MIB),
        children=3,
    )
    container.start()
    container.hash()
    pss = container.pss()
    before, images, memory, taken = capture(container)
    container.restore(images, memory)
    assert container.pss() <= pss * 1.05
    assert container.hash() == before
    # Inherited private memory stays with CRIU; what is shared is written once.
    assert taken.moved == (64 + 8) * MIB * extents.PAGE + 2000 * extents.PAGE
    assert len(before) == 4


CHANGES = (
    *((100, 1500, "random"), (3200, 1, "zero"), (3300, 40, "zero"), (3340, 60, "pattern")),
    (32 * MIB - 1, 1, "zero"),  # half of it is behind the file's end
)
CHANGED = sum(count for _, count, _ in CHANGES)


@pytest.mark.parametrize("kind", ["file", "file-read-only"])
@pytest.mark.parametrize("allowed", [True, False])
def test_changed_pages_of_a_file_are_the_processs_and_others_the_files(
    make: Make, kind: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read-only ones are written by force where the kernel allows that, and by CRIU elsewhere."""
    if not allowed:
        monkeypatch.setattr(calls, "forces_writes", lambda: False)
    container = make(mapping(kind, 32 * MIB, *CHANGES), mapping("private", 16 * MIB))
    container.start()
    before, images, memory, taken = capture(container)
    by_force = read_only.extract(images)
    assert taken.zeros == 0
    if kind == "file":
        assert taken.moved >= (CHANGED + 16 * MIB) * extents.PAGE
        assert by_force == 0
    else:
        assert by_force >= CHANGED * extents.PAGE
    with open(f"{container.scratch}/rootfs/tmp/file-0", "r+b") as file:
        size = os.stat(file.fileno()).st_size
        for first, count, _ in CHANGES:  # of which nothing may come back
            file.seek(first * extents.PAGE)
            file.write(b"late" * (count * extents.PAGE // 4))
        file.truncate(size)
    container.restore(images, memory, force=True)
    assert container.filled.bytes == taken.moved + (by_force if allowed else 0)
    assert changed_pages(container) == [CHANGED]
    assert container.hash() == before
    assert changed_pages(container) == [CHANGED], "pages that the program only reads are copies"


@pytest.mark.parametrize("kind", ["file", "file-read-only"])
def test_changed_pages_of_a_file_that_a_child_shares_stay_with_criu(make: Make, kind: str) -> None:
    # CRIU does not recognise a mapping behind one that the child alone has, such as a part of its heap.
    between = mapping("private", 64 * MIB, (0, 1, "random"))
    container = make(mapping(kind, 32 * MIB, *CHANGES), between, children=1)
    container.start()
    container.hash()
    pss = container.pss()
    before, images, memory, taken = capture(container)
    assert taken.moved == read_only.extract(images) == 0
    container.restore(images, memory)
    assert container.pss() < pss + CHANGED * extents.PAGE // 2, "each has a copy"
    assert changed_pages(container) == [CHANGED, CHANGED + (kind == "file")]
    assert container.hash() == before


def changed_pages(container: Bare) -> list[int]:
    """Pages of the first mapping's file of which its processes, from the first on, have copies."""
    found = []
    for _, pid in sorted(process.members(container.pid).items()):
        with open(f"/proc/{pid}/smaps") as file:
            lines = iter(file)
            assert any(line.endswith("/tmp/file-0\n") for line in lines)
            own = next(line for line in lines if line.startswith("Anonymous:"))
            found.append((int(own.split()[1]) << 10) // extents.PAGE)
    return found


def test_a_sparse_mapping_does_not_grow(make: Make) -> None:
    every = [(page, 1, "random") for page in range(0, 256 * MIB, 32)]
    container = make(mapping("private", 256 * MIB, *every))
    container.start()
    container.hash()  # which takes memory of its own, kept for the next
    pss = container.pss()
    _, images, memory, taken = capture(container)
    assert taken.moved == len(every) * extents.PAGE
    container.restore(images, memory)
    assert container.pss() <= pss * 1.05


def test_memory_is_charged_to_the_container(make: Make) -> None:
    container = make(mapping("private", 64 * MIB), mapping("shared", 160 * MIB))
    container.start()
    _, images, memory, _ = capture(container)
    container.restore(images, memory)
    used = container.cgroup_file(("memory.usage_in_bytes", "memory.current"))
    if used is None:
        pytest.skip("no memory cgroup here")
    if not huge_pages_of_shared_memory():
        assert container.filled.helped > 0, "the helper, whose writes are to be charged, wrote nothing"
    assert used >= 224 * MIB * extents.PAGE


def huge_pages_of_shared_memory() -> bool:
    with open("/sys/kernel/mm/transparent_hugepage/shmem_enabled") as file:
        setting = file.read()
    return "[never]" not in setting and "[deny]" not in setting


def test_a_capture_of_a_restored_container(make: Make) -> None:
    container = make(mapping("private", 16 * MIB), mapping("shared", 16 * MIB))
    container.start()
    before, images, memory, _ = capture(container)
    container.restore(images, memory)
    shutil.move(images, f"{images}.first")
    shutil.move(memory, f"{memory}.first")
    again, images, memory, taken = capture(container)
    assert again == before
    # The interpreter's own small mappings go with the two large ones.
    assert taken.moved >= 32 * MIB * extents.PAGE
    assert taken.left < 4 * MIB * extents.PAGE
    container.restore(images, memory)
    assert container.hash() == before


@needs_limits
def test_a_memory_limit_that_is_too_small_is_an_error(make: Make) -> None:
    container = make(mapping("private", 64 * MIB), memory_limit=256 << 20)
    container.start()
    _, images, memory, _ = capture(container)
    if container.cgroup_file(("memory.limit_in_bytes", "memory.max")) is None and not os.path.exists(
        "/sys/fs/cgroup/memory"
    ):
        pytest.skip("no memory cgroup here")
    container._limit = 48 << 20
    with pytest.raises((GlowplugError, AssertionError)):
        container.restore(images, memory)


def test_a_cold_disk_gives_the_same(make: Make) -> None:
    container = make(
        mapping("private", 64 * MIB, (0, 3000, "random"), (3001, 5000, "random"), (9000, 7000, "random"))
    )
    container.start()
    before, images, memory, taken = capture(container)
    for name in os.listdir(memory):
        with open(f"{memory}/{name}", "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    container.restore(images, memory)
    assert container.hash() == before
    assert container.filled.bytes == taken.moved


@pytest.mark.parametrize(
    "damage",
    [
        "no-data",
        "short-data",
        "no-index",
        "garbage-index",
        "no-runs",
        "short-runs",
        "no-such-mapping",
        "no-process",
    ],
)
def test_damaged_extents_are_an_error_and_the_tree_is_gone(make: Make, damage: str) -> None:
    container = make(mapping("private", 16 * MIB))
    container.start()
    before, images, memory, _ = capture(container)
    found = extents.load(memory)
    data, index, runs = f"{memory}/{found[0].data}", f"{memory}/{extents.INDEX}", f"{memory}/{extents.RUNS}"
    undamaged = f"{memory}.undamaged"
    shutil.copytree(memory, undamaged)
    match damage:
        case "no-data":
            os.unlink(data)
        case "short-data":
            os.truncate(data, os.path.getsize(data) - extents.PAGE)
        case "no-index":
            os.unlink(index)
            os.symlink("nowhere", index)
        case "garbage-index":
            _write(index, b"{]")
        case "no-runs":
            os.unlink(runs)
        case "short-runs":
            os.truncate(runs, os.path.getsize(runs) - 8)
        case "no-such-mapping":
            _replace(memory, found[0]._replace(runs=extents.flat([(1 << 16, 1 << 20, 0)])))
        case "no-process":
            _replace(memory, found[0]._replace(pid=4711))
    with pytest.raises(CriuError if damage in ("no-such-mapping", "no-process") else ImageError):
        container.restore(images, memory)
    container.remove()
    container.restore(images, undamaged)
    assert container.hash() == before


def test_a_death_before_the_gate_opens_ends_the_tree(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    container = make(mapping("private", 16 * MIB))
    container.start()
    _, images, memory, _ = capture(container)
    pids: list[int] = []

    def leave(_: str, init: int, __: float) -> None:
        pids.append(init)
        raise KeyboardInterrupt  # as if we died: the gate closes, nobody opens it

    monkeypatch.setattr(container, "_fill", leave)
    with pytest.raises(KeyboardInterrupt):
        container.restore(images, memory)
    until = time.monotonic() + 60
    while _alive(pids[0]):
        assert time.monotonic() < until, "the tree outlived the gate"
        container._reap()


PAGES = 12 * MIB
KINDS = st.sampled_from(
    ["private", "shared", "memfd", "noreserve", "small-pages", "guarded", "file", "file-read-only"]
)


@st.composite
def layouts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to four mappings, each of separate runs, of every content."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        edges = sorted(draw(st.sets(st.integers(0, PAGES), min_size=2, max_size=16)))
        contents = st.sampled_from(["random", "zero", "pattern", "last", "hole"])
        runs = [
            (start, end - start, what)
            for start, end in itertools.pairwise(edges)
            if (what := draw(contents)) != "hole"
        ]
        made.append({"kind": draw(KINDS), "pages": PAGES, "runs": runs})
    return made


@settings(
    max_examples=int(os.environ.get("GLOWPLUG_LAYOUTS", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(layouts(), st.integers(0, 2), st.sampled_from([extents.PAGE, 64 << 10, layout.SMALLEST]))
def test_any_layout_comes_back(
    make: Make, mappings: list[dict[str, Any]], children: int, smallest: int
) -> None:
    container = make(*mappings, children=children)
    container.start()
    before, images, memory, _ = capture(container, smallest)
    read_only.extract(images, smallest)
    container.restore(images, memory, force=True)
    assert container.hash() == before
    container.remove()


def _replace(memory: str, one: extents.Extent) -> None:
    os.unlink(f"{memory}/{extents.INDEX}")
    os.unlink(f"{memory}/{extents.RUNS}")
    extents.save(memory, [one])


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
