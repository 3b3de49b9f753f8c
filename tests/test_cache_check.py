"""What is checked at each restore, and what `verify` finds: nothing damaged passes."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cache_made import FILES, published

from glowplug.cache import check, facts, layout, lease
from glowplug.cache.store import Store
from glowplug.errors import CacheError, DamagedCheckpoint, UnknownDigest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def store(tmp_path: object) -> Store:
    return Store(f"{tmp_path}/store")


def overwrite(path: str, at: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


def append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"!")


def to_link(path: str) -> None:
    os.rename(path, f"{path}.away")
    os.symlink(f"{path}.away", path)


def to_directory(path: str) -> None:
    os.unlink(path)
    os.mkdir(path, 0o700)


DAMAGES: dict[str, Callable[[str], None]] = {
    "gone": os.unlink,
    "truncated": lambda path: os.truncate(path, 0),
    "longer": append,
    "a link": to_link,
    "a directory": to_directory,
    "readable by others": lambda path: os.chmod(path, 0o644),
}


@pytest.mark.parametrize("worth_threads", [0, check._WORTH_THREADS])
def test_an_intact_checkpoint_passes_and_gives_its_manifest(
    store: Store, worth_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_WORTH_THREADS", worth_threads)
    name = published(store)
    manifest = check.check(store.root, name)
    assert manifest == json.loads(store.manifest(name))
    assert facts.namespace(manifest) == "default"
    assert store.verify(name) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("path", sorted(path for path in FILES if "/tree/" not in path))
def test_a_damaged_file_is_reported_with_what_was_expected(store: Store, path: str, damage: str) -> None:
    name = published(store)
    DAMAGES[damage](f"{store.path(name)}/{path}")
    with pytest.raises(DamagedCheckpoint, match=f"{name}: {path}: expected"):
        check.check(store.root, name)
    assert any(problem.startswith(f"{path}: expected") for problem in store.verify(name))


@pytest.mark.parametrize("worth_threads", [0, check._WORTH_THREADS])
@pytest.mark.parametrize("path", ["images/core-1.img", "layer/layer.json", "shm/0"])
def test_a_flipped_bit_in_a_small_file_is_found_at_the_restore(
    store: Store, path: str, worth_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_WORTH_THREADS", worth_threads)
    name = published(store)
    overwrite(f"{store.path(name)}/{path}", 1, b"~")
    with pytest.raises(DamagedCheckpoint, match=f"{path}: expected blake2b-256"):
        check.check(store.root, name)


def test_a_flipped_bit_in_memory_is_found_by_verify(store: Store) -> None:
    name = published(store)
    overwrite(f"{store.path(name)}/images/pages-1.img", 100, b"~")
    check.check(store.root, name)
    assert [problem.partition(":")[0] for problem in store.verify(name)] == ["images/pages-1.img"]


def test_a_changed_manifest_is_not_the_one_that_gave_the_name(store: Store) -> None:
    name = published(store)
    append(f"{store.path(name)}/manifest.json")
    with pytest.raises(DamagedCheckpoint, match=r"manifest\.json: expected digest"):
        check.check(store.root, name)
    with pytest.raises(DamagedCheckpoint):
        store.manifest(name)
    assert store.verify(name) != []
    assert store.index.find("default", "k1") == []
    assert store.rows()[0].unreadable


def test_a_checkpoint_that_was_verified_was_not_used(store: Store) -> None:
    """Or looking after the cache would keep what nobody restores."""
    name = published(store)
    for _ in range(2):
        os.utime(layout.checkpoint(store.root, name), (7, 7))
        used = store.last_used(name)
        assert store.verify(name) == []
        assert store.last_used(name) == used
        lease.release(lease.take(store.root, name))


def test_an_unlisted_file_is_found_by_verify(store: Store) -> None:
    name = published(store)
    with open(f"{store.path(name)}/images/tcp-stream-9.img", "wb"):
        pass
    assert store.verify(name) == ["images/tcp-stream-9.img: not in the manifest"]


def test_a_directory_replaced_by_a_link_is_damage(store: Store) -> None:
    name = published(store)
    to_link(f"{store.path(name)}/images")
    with pytest.raises(DamagedCheckpoint, match="images: expected a directory"):
        check.check(store.root, name)


def test_a_file_missing_in_the_layer_is_found_at_the_restore_by_size(store: Store) -> None:
    name = published(store)
    os.unlink(f"{store.path(name)}/layer/tree/etc/motd")
    with pytest.raises(DamagedCheckpoint, match="layer/tree: expected 6 bytes, got 1"):
        check.check(store.root, name)


def test_a_checkpoint_that_is_not_there_is_no_damage(store: Store) -> None:
    with pytest.raises(CacheError, match="no checkpoint") as raised:
        check.check(store.root, "0" * 32)
    assert not isinstance(raised.value, DamagedCheckpoint)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {"../escape": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"/etc/passwd": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"images/./a": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"images//a": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"images/a\0": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"manifest.json": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"images/\ud800": {"kind": "image", "size": 1, "digest": "blake3:00"}},
        {"images/a": {"kind": "image", "size": -1, "digest": "blake3:00"}},
        {"images/a": {"kind": "image", "size": True, "digest": "blake3:00"}},
        {"images/a": {"kind": "image", "size": 1}},
        {"images/a": "here"},
    ],
)
def test_a_manifest_of_another_form_is_refused_and_not_called_damage(store: Store, files: object) -> None:
    name = planted(store, json.dumps({"files": files}).encode())
    with pytest.raises(CacheError) as raised:
        check.check(store.root, name)
    assert not isinstance(raised.value, DamagedCheckpoint)
    assert store.verify(name) != []


def test_digests_that_are_not_known_are_not_called_damage_either(store: Store) -> None:
    files = {"images/a": {"kind": "image", "size": 1, "digest": "crc32:00"}}
    name = planted(store, json.dumps({"files": files}).encode())
    for question in (lambda: check.check(store.root, name), lambda: store.verify(name)):
        with pytest.raises(UnknownDigest, match="got 'crc32'"):
            question()


def planted(store: Store, manifest: bytes) -> str:
    """A checkpoint with any manifest at all, as a newer Glowplug or a broken disk could leave it."""
    name = check.checkpoint_id(manifest)
    directory = layout.checkpoint(store.root, name)
    for path in (directory, f"{directory}/images"):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
    with open(f"{directory}/manifest.json", "wb") as file:
        file.write(manifest)
    os.chmod(f"{directory}/manifest.json", 0o600)
    return name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
manifests = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "files": json_values
            | st.dictionaries(
                st.sampled_from(["images/a", "../a", "layer/tree", "images", "a\0b"]) | st.text(max_size=20),
                st.fixed_dictionaries(
                    {
                        "kind": json_values,
                        "size": json_values,
                        "digest": json_values | st.sampled_from(["blake3:00", "blake3-64m:00"]),
                    }
                )
                | st.just({"kind": "image", "size": 0, "digest": "blake2b-256:00"}),
                max_size=3,
            ),
            "namespace": json_values,
            "created": json_values,
            "key": json_values | st.fixed_dictionaries({"digest": json_values}),
            "shared": json_values,
            "version": json_values,
        },
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(manifest=manifests)
def test_a_fuzzed_manifest_never_raises_past_the_stores_error(store: Store, manifest: bytes) -> None:
    name = planted(store, manifest)
    for ask in reads(store, name):
        with suppress(CacheError):
            ask()
    store.gc(dry_run=True)
    store.remove(name)


def reads(store: Store, name: str) -> list[Callable[[], Any]]:
    return [
        lambda: check.check(store.root, name),
        lambda: store.verify(name),
        lambda: store.manifest(name),
        store.rows,
        lambda: store.index.find("default", "k1"),
        lambda: store.index.of_namespace("default"),
    ]


def test_a_manifest_nested_without_end_is_refused(store: Store) -> None:
    name = planted(store, b"[" * 200_000)
    for ask in reads(store, name)[:3]:
        with pytest.raises(CacheError):
            if ask() != []:
                raise CacheError("problems found")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_fuzzed_directory_never_raises_past_the_stores_error(store: Store, data: st.DataObject) -> None:
    name = published(store, created=data.draw(st.integers(0, 1 << 30)))
    path = f"{store.path(name)}/{data.draw(st.sampled_from(sorted(FILES)))}"
    DAMAGES[data.draw(st.sampled_from(sorted(DAMAGES)))](path)
    for ask in reads(store, name):
        with suppress(CacheError):
            ask()
    store.remove(name)


@as_root
def test_a_file_of_another_owner_is_damage(store: Store) -> None:
    name = published(store)
    os.chown(f"{store.path(name)}/images/core-1.img", 1000, 1000)
    with pytest.raises(DamagedCheckpoint, match="expected owner 0"):
        check.check(store.root, name)
