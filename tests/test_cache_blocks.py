"""Big files have a digest for each block: damage is reported by its block, holes are not read, old files stay good."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from blake3 import blake3
from tests.cache_made import manifest_of, write

from glowplug.cache import blocks, check, content, digest, facts, layout
from glowplug.cache.draft import Draft
from glowplug.cache.store import Store
from glowplug.errors import CacheError, DamagedCheckpoint

REAL_BLOCK = blocks.BLOCK
BLOCK, READ = 1 << 20, 1 << 18
EXTENT = "memory/pages-1.extent"
SIZE = 3 * BLOCK + 5000
FILLED = {0: b"first", BLOCK - 1: b"across", 2 * BLOCK + 100: b"third", SIZE - 4: b"last"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 64th of the true size, for speed."""
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)
    monkeypatch.setattr(blocks, "_READ", READ)


def test_the_algorithms_name_says_the_size_of_a_block() -> None:
    assert f"blake3-{REAL_BLOCK >> 20}m" == facts.BLAKE3_BLOCKS


@pytest.fixture
def store(tmp_path: object) -> Store:
    return Store(f"{tmp_path}/store")


def sparse(path: str, filled: dict[int, bytes] | None = None) -> None:
    """A file of SIZE bytes, almost all of it holes."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        for at, data in (FILLED if filled is None else filled).items():
            file.seek(at)
            file.write(data)
        file.truncate(SIZE)


@contextmanager
def drafted(store: Store) -> Iterator[Draft]:
    with store.draft(1 << 20) as draft:
        write(draft.path)
        sparse(f"{draft.path}/{EXTENT}")
        yield draft


def published(store: Store) -> str:
    """A checkpoint with an extent of four blocks; its id."""
    with drafted(store) as draft:
        return store.publish(draft, manifest_of(draft.path, time.time()))


def flip(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def plain(path: str) -> list[str]:
    """The digests of its blocks, by the definition."""
    with open(path, "rb") as file:
        return [blake3(block).hexdigest() for block in iter(lambda: file.read(BLOCK), b"")]


def test_a_file_of_several_blocks_has_one_digest_for_each(store: Store) -> None:
    name = published(store)
    directory = store.path(name)
    by_definition = plain(f"{directory}/{EXTENT}")
    entry = json.loads(store.manifest(name))["files"][EXTENT]
    assert entry["digest"] == f"blake3-64m:{blake3(''.join(by_definition).encode()).hexdigest()}"
    with open(f"{directory}/{layout.BLOCKS}") as file:
        assert json.load(file) == {"version": 1, "block": BLOCK, "files": {EXTENT: by_definition}}
    check.check(store.root, name)
    assert store.verify(name) == []


@pytest.mark.parametrize(
    ("at", "block"),
    [(0, 0), (BLOCK - 1, 0), (BLOCK, 1), (BLOCK + BLOCK // 2, 1), (2 * BLOCK + 7, 2), (SIZE - 1, 3)],
)
def test_verify_names_the_block_in_which_one_byte_was_flipped(store: Store, at: int, block: int) -> None:
    name = published(store)
    flip(f"{store.path(name)}/{EXTENT}", at)
    check.check(store.root, name)
    last = min((block + 1) * BLOCK, SIZE) - 1
    [problem] = store.verify(name)
    assert problem.startswith(f"{EXTENT}: expected blake3-64m ")
    assert problem.endswith(f" (block {block}: bytes {block * BLOCK} to {last})")


def test_damage_in_many_blocks_is_reported_and_counted(store: Store) -> None:
    name = published(store)
    for block in range(4):
        flip(f"{store.path(name)}/{EXTENT}", block * BLOCK)
    [problem] = store.verify(name)
    assert [f"block {block}" in problem for block in range(4)] == [True, True, True, False]
    assert problem.endswith("; and 1 more)")


def test_a_draft_that_changed_after_its_digests_is_refused_by_its_block(store: Store) -> None:
    with drafted(store) as draft:
        manifest = manifest_of(draft.path)
        flip(f"{draft.path}/{EXTENT}", 2 * BLOCK)
        with pytest.raises(DamagedCheckpoint, match="block 2: bytes"):
            store.publish(draft, manifest)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{]",
        b"[]",
        b"null",
        b'{"files": []}',
        b'{"files": {"memory/pages-1.extent": [1, 2, 3, 4]}}',
        b"\xff",
    ],
)
def test_a_list_of_blocks_that_is_damaged_itself_hides_nothing(store: Store, garbage: bytes) -> None:
    name = published(store)
    flip(f"{store.path(name)}/{EXTENT}", BLOCK)
    with open(f"{store.path(name)}/{layout.BLOCKS}", "wb") as file:
        file.write(garbage)
    with pytest.raises(DamagedCheckpoint, match=layout.BLOCKS):
        check.check(store.root, name)
    problems = sorted(store.verify(name))
    assert [problem.partition(": expected")[0] for problem in problems] == [layout.BLOCKS, EXTENT]
    assert "block " not in problems[1]


def test_a_list_of_blocks_is_believed_only_where_it_gives_the_manifests_digest(tmp_path: object) -> None:
    sparse(f"{tmp_path}/{EXTENT}")
    found = blocks.digests(f"{tmp_path}", EXTENT)
    blocks.write(f"{tmp_path}", {EXTENT: ["0" * 64, *found[1:]]})
    assert blocks.changed(f"{tmp_path}", EXTENT, found, blocks.digest(found)) == []
    blocks.write(f"{tmp_path}", {EXTENT: found})
    assert blocks.changed(f"{tmp_path}", EXTENT, ["0" * 64, *found[1:]], blocks.digest(found)) == [0]


def test_a_hole_has_the_digest_of_zeros_written_out(tmp_path: object) -> None:
    sparse(f"{tmp_path}/{EXTENT}", {BLOCK + 1: b"x"})
    holes = blocks.digests(f"{tmp_path}", EXTENT)
    with open(f"{tmp_path}/{EXTENT}", "r+b") as file:
        file.write(bytes(BLOCK))
        file.seek(SIZE - 5000)
        file.write(bytes(5000))
    assert blocks.digests(f"{tmp_path}", EXTENT) == holes == plain(f"{tmp_path}/{EXTENT}")


def test_a_hole_is_not_read(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse(f"{tmp_path}/{EXTENT}", {2 * BLOCK: b"x"})
    read: list[int] = []
    preadv = os.preadv

    def noted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        read.append(offset // BLOCK)
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", noted)
    blocks.digests(f"{tmp_path}", EXTENT)
    assert set(read) == {2}


def test_a_sector_that_cannot_be_read_is_reported_by_its_block(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse(f"{tmp_path}/{EXTENT}")
    preadv = os.preadv

    def failing(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset == 2 * BLOCK + READ:
            raise OSError(5, os.strerror(5))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(CacheError, match=rf"^{EXTENT}: block 2: bytes .*Input/output error"):
        blocks.digests(f"{tmp_path}", EXTENT)


@pytest.mark.parametrize("size", [0, 1, 4096, BLOCK - 1, BLOCK, BLOCK + 1])
def test_the_digest_at_the_edges_of_a_block(tmp_path: object, size: int) -> None:
    os.mkdir(f"{tmp_path}/memory")
    with open(f"{tmp_path}/{EXTENT}", "wb") as file:
        file.truncate(size)
    assert blocks.digests(f"{tmp_path}", EXTENT) == plain(f"{tmp_path}/{EXTENT}")


def test_a_file_of_one_block_has_no_list(tmp_path: object) -> None:
    write(f"{tmp_path}", {EXTENT: b""})
    os.truncate(f"{tmp_path}/{EXTENT}", BLOCK)
    files = digest.digest_files(f"{tmp_path}")
    assert list(files) == [EXTENT]
    assert str(files[EXTENT]["digest"]).startswith("blake3:")
    assert not os.path.exists(f"{tmp_path}/{layout.BLOCKS}")


def test_digests_made_twice_are_the_same(tmp_path: object) -> None:
    sparse(f"{tmp_path}/{EXTENT}")
    assert digest.digest_files(f"{tmp_path}") == digest.digest_files(f"{tmp_path}")


def test_a_checkpoint_from_before_there_were_blocks_is_valid_and_its_damage_found(store: Store) -> None:
    with drafted(store) as draft:
        manifest = json.loads(manifest_of(draft.path))
        os.unlink(f"{draft.path}/{layout.BLOCKS}")
        del manifest["files"][layout.BLOCKS]
        at_once = content.blake3_of(f"{draft.path}/{EXTENT}")
        manifest["files"][EXTENT]["digest"] = f"blake3:{at_once}"
        name = store.publish(draft, json.dumps(manifest).encode())
    check.check(store.root, name)
    assert store.verify(name) == []
    flip(f"{store.path(name)}/{EXTENT}", BLOCK)
    [problem] = store.verify(name)
    assert problem.startswith(f"{EXTENT}: expected blake3 {at_once[:16]}")
