"""Which directories are compile caches, by what they are kept, and what a file of them can say."""

import os
import stat
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glowplug import jsontext
from glowplug.cache import compile_caches, evict, pack
from glowplug.cache.store import Store
from glowplug.capture import compile_cache as saving
from glowplug.checkpoint import compile_cache
from glowplug.checkpoint.requirements import HostRequirements
from glowplug.errors import CacheError, CaptureRefused
from glowplug.restore import give_compile_cache

SALT = b"s" * 32
ROW = HostRequirements(
    arch="x86_64",
    cpu_features=("avx2",),
    gpu_count=1,
    gpu_products=("NVIDIA H100 80GB HBM3",),
    gpu_compute=("9.0",),
    gpu_mig=False,
    driver="580.159.04",
)
NAME = "0" * 32


def test_where_engines_keep_them_without_a_word_in_the_environment() -> None:
    found = compile_cache.directories({}, "/root", ())
    assert {
        "/root/.cache/vllm",
        "/root/.triton/cache",
        "/tmp/torchinductor_*",
        "/root/.cache/flashinfer",
    } <= set(found)
    assert not {"/root/.cache", "/root"} & set(found)  # models may be there


@pytest.mark.parametrize(
    ("env", "expected", "gone"),
    [
        ({"VLLM_CACHE_ROOT": "/cache//v/"}, "/cache/v", "/root/.cache/vllm"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/vllm", "/root/.cache/vllm"),
        ({"TRITON_CACHE_DIR": "~/t"}, "/root/t", "/root/.triton/cache"),
        ({"TRITON_HOME": "/t"}, "/t/.triton/cache", "/root/.triton/cache"),
        ({"TORCHINDUCTOR_CACHE_DIR": "/i"}, "/i", "/tmp/torchinductor_*"),
        ({"TMPDIR": "/scratch"}, "/scratch/torchinductor_*", "/tmp/torchinductor_*"),
        ({"FLASHINFER_WORKSPACE_BASE": "/f"}, "/f/.cache/flashinfer", "/root/.cache/flashinfer"),
    ],
)
def test_the_environment_says_where(env: dict[str, str], expected: str, gone: str) -> None:
    found = compile_cache.directories(env, "/root", ())
    assert expected in found and gone not in found


@pytest.mark.parametrize("path", ["relative", "/", "/../etc", "/a/../b", ""])
def test_a_variable_that_names_no_directory_names_none(path: str) -> None:
    assert compile_cache.directories({"VLLM_CACHE_ROOT": path}, "/root", ()) == tuple(
        one for one in compile_cache.directories({}, "/root", ()) if one != "/root/.cache/vllm" or not path
    )


def test_one_below_another_is_in_it() -> None:
    found = compile_cache.directories({"VLLM_CACHE_ROOT": "/c/v"}, "/root", ("/c",))
    assert "/c" in found and "/c/v" not in found


@pytest.mark.parametrize(
    ("text", "expected"), [("node", ()), ("node:/a", ("/a",)), ("node: /a/, /b/c", ("/a", "/b/c"))]
)
def test_what_a_pod_may_say(text: str, expected: tuple[str, ...]) -> None:
    assert compile_cache.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["yes", "node:", "node:a", "node:/", "node:/a/../b", "node:/a,,/b", "node:/a\0", "Node"]
)
def test_what_it_may_not(text: str) -> None:
    with pytest.raises(ValueError, match="node, or node: and absolute directories"):
        compile_cache.parse(text)


def test_the_name_says_namespace_workload_and_what_code_is_compiled_for() -> None:
    one = compile_cache.name(SALT, "a", "key", ROW)
    others = [
        compile_cache.name(SALT, "b", "key", ROW),
        compile_cache.name(SALT, "a", "other", ROW),
        compile_cache.name(b"t" * 32, "a", "key", ROW),
        compile_cache.name(SALT, "a", "key", replace(ROW, driver="590.1")),
        compile_cache.name(SALT, "a", "key", replace(ROW, gpu_products=("NVIDIA H200",))),
        compile_cache.name(SALT, "a", "key", replace(ROW, cpu_features=("avx2", "amx"))),
    ]
    assert one is not None and len({one, *others}) == 1 + len(others)
    assert compile_cache.name(SALT, "a", "key", replace(ROW, kernel="6.1", memory_limit=1)) == one


@pytest.mark.parametrize(
    "row", [replace(ROW, driver=None), replace(ROW, gpu_products=None), replace(ROW, arch=None)]
)
def test_unknown_is_no_match(row: HostRequirements) -> None:
    assert compile_cache.name(SALT, "a", "key", row) is None
    assert compile_cache.name(SALT, "a", "", ROW) is None


@pytest.fixture
def rootfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in the place of a mounted root file system."""
    where = tmp_path / "bundle" / "rootfs"
    where.mkdir(parents=True)
    monkeypatch.setattr(give_compile_cache, "_require_mounted", lambda root, rootfs: None)
    yield where


def packed(tmp_path: Path, files: dict[str, bytes]) -> str:
    """A pack of those files, by relative path."""
    path = tmp_path / "pack"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    writer = pack.Writer(descriptor, "default", "key", 1.0)
    made: set[str] = set()
    for name, content in files.items():
        source = tmp_path / "source"
        source.write_bytes(content)
        for depth in range(1, name.count("/") + 1):
            above = "/".join(name.split("/")[:depth])
            if above not in made:
                writer.directory(above, os.stat(tmp_path))
                made.add(above)
        with source.open("rb") as opened:
            assert writer.file(name, opened.fileno(), 1 << 30) == len(content)
    writer.finish()
    os.close(descriptor)
    return str(path)


def test_what_was_kept_comes_back_as_it_was(tmp_path: Path, rootfs: Path) -> None:
    files = {"root/.cache/vllm/a": b"one", "root/.cache/vllm/b/c": b"x" * 3_000_000, "tmp/d": b""}
    (rootfs / "root").mkdir(mode=0o711)
    said = give_compile_cache.give(packed(tmp_path, files), str(rootfs))
    assert (said.files, said.bytes, said.detail) == (3, 3_000_003, "")
    assert {name: (rootfs / name).read_bytes() for name in files} == files
    assert stat.S_IMODE((rootfs / "root").stat().st_mode) == 0o711


def test_what_the_image_has_stays(tmp_path: Path, rootfs: Path) -> None:
    (rootfs / "a").write_bytes(b"the image's")
    said = give_compile_cache.give(packed(tmp_path, {"a": b"kept", "b": b"kept"}), str(rootfs))
    assert said.files == 1
    assert (rootfs / "a").read_bytes() == b"the image's"


def test_no_link_of_the_image_leads_out(tmp_path: Path, rootfs: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, target in (("root", outside), ("tmp", "../../outside")):
        (rootfs / name).symlink_to(target)
    for name in ("root/a", "tmp/b/c"):
        assert give_compile_cache.give(packed(tmp_path, {name: b"kept"}), str(rootfs)).files == 0
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("at", [0, 30, 200, -1, -10, -30])
def test_one_that_is_damaged_anywhere_gives_no_wrong_file_and_goes(
    at: int, tmp_path: Path, rootfs: Path
) -> None:
    path = Path(packed(tmp_path, {"a": b"one" * 100, "b": b"two"}))
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    said = give_compile_cache.give(str(path), str(rootfs))
    for name in ("a", "b"):
        if (rootfs / name).exists():
            assert (rootfs / name).read_bytes() == {"a": b"one" * 100, "b": b"two"}[name]
    assert said.files == 2 or (not path.exists() and "damaged" in said.detail)


@pytest.mark.parametrize("length", [0, 10, 60])
def test_one_that_is_cut_off_gives_nothing(length: int, tmp_path: Path, rootfs: Path) -> None:
    path = packed(tmp_path, {"a": b"one"})
    os.truncate(path, length)
    assert give_compile_cache.give(path, str(rootfs)).files == 0


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", "a//b", "."])
def test_a_name_that_leads_elsewhere_is_damage(name: str, tmp_path: Path, rootfs: Path) -> None:
    path = Path(packed(tmp_path, {"n" * 8: b"one"}))
    content = path.read_bytes()
    start = content.index(b'{"directories"')
    index = content[start:-24].replace(b'"nnnnnnnn"', jsontext.dumps(name).encode())
    path.write_bytes(content[:start] + index + b"%016x%08x" % (len(index), zlib.crc32(index)))
    said = give_compile_cache.give(str(path), str(rootfs))
    assert said.files == 0 and "damaged" in said.detail


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path, rootfs: Path) -> None:
    path = packed(tmp_path, {"a": b"one"})
    os.chmod(path, 0o644)
    with pytest.raises(CacheError, match="not a file of this user's alone"):
        pack.open_pack(path)
    assert give_compile_cache.give(path, str(rootfs)).files == 0


def test_one_that_went_meanwhile_costs_no_start(tmp_path: Path, rootfs: Path) -> None:
    said = give_compile_cache.give(f"{tmp_path}/gone", str(rootfs))
    assert said.files == 0 and "No such file" in said.detail


def test_a_root_file_system_that_is_not_mounted_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    said = give_compile_cache.give(packed(tmp_path, {"a": b"one"}), f"{tmp_path}/rootfs")
    assert said.files == 0 and "not mounted" in said.detail
    assert list((tmp_path / "rootfs").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_is_full_keeps_no_half_a_file(tmp_path: Path) -> None:
    root = tmp_path / "rootfs"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)], check=True)
    try:
        path = packed(tmp_path, {"a": b"one", "b": b"x" * 3_000_000, "c": b"three"})
        said = give_compile_cache.give(path, str(root))
        assert said.files == 1 and "No space left" in said.detail
        assert sorted(os.listdir(root)) == ["a"]
        assert os.path.exists(path)  # the pack is not to blame
    finally:
        subprocess.run(["umount", str(root)], check=True)


def stored(store: Store, tmp_path: Path, name: str, namespace: str = "default") -> None:
    with store.draft(1000) as draft:
        descriptor = os.open(f"{draft.path}/{name}", os.O_RDWR | os.O_CREAT, 0o600)
        writer = pack.Writer(descriptor, namespace, "key", 1.0)
        source = tmp_path / "source"
        source.write_bytes(b"x" * 100_000)
        with source.open("rb") as opened:
            writer.file("a", opened.fileno(), 1 << 20)
        writer.finish()
        os.close(descriptor)
        store.keep_compile_cache(draft, name)


def test_they_count_and_go_within_the_caches_limits(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/cache")
    names = [str(number) * 32 for number in range(3)]
    for at, name in enumerate(names):
        stored(store, tmp_path, name)
        os.utime(f"{store.root}/compile/{name}", (at, at))
    store = Store(store.root, evict.Limits(max_bytes=250_000))
    assert [id for id, _, _ in store.gc(dry_run=True)] == [f"compile/{names[0]}"]
    assert [id for id, _, _ in store.gc()] == [f"compile/{names[0]}"]
    assert compile_caches.find(store.root, names[0]) is None
    assert compile_caches.find(store.root, names[1]) is not None
    assert os.listdir(f"{store.root}/trash") == os.listdir(f"{store.root}/drafts") == []


def test_one_of_a_workload_is_kept_for_each_host_and_no_more_than_are_to_be(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/cache", evict.Limits(newest=1))
    stored(store, tmp_path, "a" * 32)
    stored(store, tmp_path, "b" * 32)
    stored(store, tmp_path, "c" * 32, namespace="other")
    assert len(store.gc()) == 1
    assert len(os.listdir(f"{store.root}/compile")) == 2


def test_they_count_for_the_namespace_that_left_them(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/cache")
    stored(store, tmp_path, NAME, namespace="models")
    assert [item.namespace for item in compile_caches.items(store.root)] == ["models"]


def test_it_is_known_when_one_was_kept(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/cache")
    assert compile_caches.kept_at(store.root, NAME) == 0.0
    stored(store, tmp_path, NAME)
    assert compile_caches.kept_at(store.root, NAME) == 1.0


def test_a_deep_tree_is_kept_as_far_as_is_bounded(tmp_path: Path) -> None:
    """Names of directories that are nested thousands deep would be gigabytes."""
    deep = tmp_path / "upper" / "srv"
    for _ in range(saving.MOST_DEPTH + 5):
        deep = deep / "d"
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(b"x")
    found = saving.measured(str(tmp_path / "upper"), ["/srv"])
    assert found.files == saving.MOST_DEPTH - 1


def test_garbage_in_their_place_breaks_nothing(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/cache", evict.Limits(max_age_s=1.0))
    Path(f"{store.root}/compile/garbage").write_text("garbage")
    os.mkdir(f"{store.root}/compile/directory")
    for name in ("garbage", "directory"):
        os.utime(f"{store.root}/compile/{name}", (1, 1))
    assert len(store.gc()) == 2
    assert os.listdir(f"{store.root}/compile") == []


def test_too_much_is_refused_and_the_older_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upper = tmp_path / "upper" / "srv"
    upper.mkdir(parents=True)
    for number in range(5):
        (upper / str(number)).write_bytes(b"x")
    monkeypatch.setattr(saving, "MOST_FILES", 4)
    with pytest.raises(CaptureRefused, match="more than 4 files or 1024 MiB"):
        saving.measured(str(tmp_path / "upper"), ["/srv"])
    monkeypatch.setattr(saving, "MOST_FILES", 5)
    assert saving.measured(str(tmp_path / "upper"), ["/srv", "/gone"]).files == 5
    monkeypatch.setattr(saving, "MOST_BYTES", 4)
    with pytest.raises(CaptureRefused):
        saving.measured(str(tmp_path / "upper"), ["/srv"])
