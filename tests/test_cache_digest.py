"""The digests of what is in a checkpoint, and the listing of a writable layer: what changes, is noticed."""

import os
from collections.abc import Callable

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from tests.cache_made import FILES, write

from glowplug.cache import blocks, check, digest
from glowplug.cache.content import blake3_of
from glowplug.cache.tree_digest import digest_tree
from glowplug.errors import CacheError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: devices, owners, trusted attributes")


def test_kinds_follow_from_the_place(tmp_path: object) -> None:
    write(f"{tmp_path}")
    assert {path: entry["kind"] for path, entry in digest.digest_files(f"{tmp_path}").items()} == {
        "images/core-1.img": "image",
        "images/inventory.img": "image",
        "images/pages-1.img": "pages",
        "layer/layer.json": "layer",
        "layer/tree": "layer",
        "memory/1.extents": "memory",
        "shm/0": "shm",
        "shm/tree": "shm",
        "volumes/0/tree": "layer",
    }


@pytest.mark.parametrize(
    ("path", "size", "kind", "algorithm"),
    [
        ("images/core-1.img", 300, "image", "blake2b-256"),
        ("images/pagemap-1.img", digest.IMAGE_LIMIT, "image", "blake2b-256"),
        ("images/ghost-file-1.img", digest.IMAGE_LIMIT + 1, "pages", "blake3-64m"),
        ("images/pages-1.img", 1, "pages", "blake3"),
        ("memory/index.json", digest.SMALL, "memory", "blake2b-256"),
        ("memory/1", digest.SMALL + 1, "memory", "blake3"),
        ("memory/1", blocks.BLOCK, "memory", "blake3"),
        ("memory/1", blocks.BLOCK + 1, "memory", "blake3-64m"),
        ("blocks.json", 1000, "memory", "blake2b-256"),
    ],
)
def test_what_a_restore_acts_on_gets_the_digest_that_it_can_check(
    path: str, size: int, kind: str, algorithm: str
) -> None:
    assert digest.kind_of(path, size) == kind
    assert digest.algorithm_of(kind, size) == algorithm


@pytest.mark.parametrize("path", ["stray", "other/file", "restore.log"])
def test_a_file_in_no_place_of_a_checkpoint_is_refused(tmp_path: object, path: str) -> None:
    write(f"{tmp_path}", {**FILES, path: b""})
    with pytest.raises(CacheError, match=f"{path}: expected"):
        digest.digest_files(f"{tmp_path}")


@pytest.mark.parametrize("size", [0, 1, 70_000, (4 << 20) + 1, (33 << 20) + 7])
def test_a_big_file_on_many_threads_has_the_same_digest(tmp_path: object, size: int) -> None:
    content = os.urandom(size)
    with open(f"{tmp_path}/file", "wb") as file:
        file.write(content)
    assert blake3_of(f"{tmp_path}/file") == blake3(content).hexdigest()


def test_names_that_are_no_text_are_kept(tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/shm")
    with open(os.fsencode(f"{tmp_path}/shm/") + b"\xff\xfe", "wb") as file:
        file.write(b"odd")
    assert [os.fsencode(path) for path in digest.digest_files(f"{tmp_path}")] == [b"shm/\xff\xfe"]


# -- the listing --


def tree(root: str) -> str:
    """A layer with something of each kind that needs no root."""
    path = f"{root}/tree"
    write(path, {"a": b"aaa", "d/b": b"bb", "d/e/c": b"c"})
    os.link(f"{path}/a", f"{path}/linked")
    os.symlink("/etc/passwd", f"{path}/link")
    os.mkfifo(f"{path}/fifo")
    return path


def rewrite(path: str) -> None:
    with open(f"{path}/d/b", "wb") as file:
        file.write(b"BB")


def unlink_twice(path: str) -> None:
    """The same names and contents, but two files where there was one with two names."""
    os.unlink(f"{path}/linked")
    with open(f"{path}/linked", "wb") as file:
        file.write(b"aaa")


def relink(path: str) -> None:
    os.unlink(f"{path}/link")
    os.symlink("/etc/shadow", f"{path}/link")


def retype(path: str) -> None:
    os.unlink(f"{path}/fifo")
    write(path, {"fifo": b""})


def device(path: str, name: str, major: int, minor: int) -> None:
    os.unlink(f"{path}/{name}")
    os.mknod(f"{path}/{name}", 0o020600, os.makedev(major, minor))


CHANGES: dict[str, Callable[[str], object]] = {
    "content": rewrite,
    "mode": lambda path: os.chmod(f"{path}/a", 0o4755),
    "mode of the root": lambda path: os.chmod(path, 0o700 if os.stat(path).st_mode & 0o055 else 0o755),
    "name": lambda path: os.rename(f"{path}/a", f"{path}/A"),
    "place": lambda path: os.rename(f"{path}/d/b", f"{path}/b"),
    "link target": relink,
    "hard link": unlink_twice,
    "empty directory": lambda path: os.mkdir(f"{path}/new"),
    "type": retype,
}
ROOTS_CHANGES: dict[str, Callable[[str], object]] = {
    "owner": lambda path: os.chown(f"{path}/a", 1, 0),
    "group": lambda path: os.chown(f"{path}/link", 0, 1, follow_symlinks=False),
    "whiteout": lambda path: device(path, "a", 0, 0),
    "device number": lambda path: device(path, "dev", 1, 5),
    "opaque": lambda path: os.setxattr(f"{path}/d", "trusted.overlay.opaque", b"y"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_layer_changes_its_digest(tmp_path: object, change: str) -> None:
    path = tree(f"{tmp_path}")
    before = digest_tree(path)
    assert digest_tree(path) == before
    CHANGES[change](path)
    assert digest_tree(path)[1] != before[1]


@as_root
@pytest.mark.parametrize("change", ROOTS_CHANGES)
def test_owners_devices_and_overlay_marks_change_it_too(tmp_path: object, change: str) -> None:
    path = tree(f"{tmp_path}")
    os.mknod(f"{path}/dev", 0o020600, os.makedev(1, 3))
    before = digest_tree(path)
    ROOTS_CHANGES[change](path)
    assert digest_tree(path)[1] != before[1]


def test_times_and_the_order_of_making_do_not(tmp_path: object) -> None:
    first = f"{tmp_path}/1"
    second = f"{tmp_path}/2"
    write(first, {"a": b"a", "b": b"b", "c/d": b"d"})
    write(second, {"c/d": b"d", "b": b"b", "a": b"a"})
    os.utime(f"{second}/a", (1, 1))
    assert digest_tree(first) == digest_tree(second)


def test_the_size_is_what_the_check_at_a_restore_counts(tmp_path: object) -> None:
    path = tree(f"{tmp_path}")
    assert digest_tree(path)[0] == check.tree_size(f"{tmp_path}", "tree") == 3 + 3 + 2 + 1


names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 60
)
trees = st.dictionaries(names, st.binary(max_size=12), min_size=1, max_size=5)


@given(first=trees, second=trees)
def test_two_trees_have_one_digest_only_if_they_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    root = str(tmp_path_factory.mktemp("trees"))
    write(f"{root}/1", first)
    write(f"{root}/2", second)
    assert (digest_tree(f"{root}/1") == digest_tree(f"{root}/2")) == (first == second)
