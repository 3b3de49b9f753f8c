"""Files of /dev/shm that processes have open go from one pod to the next, and disturb nobody there."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.layer_made import listing, needs_root

from glowplug.errors import LayerError
from glowplug.layer import shm, syscalls

pytestmark = needs_root

HOLDER = """
import mmap, os, sys
os.chdir(sys.argv[1])
opened = open("opened", "w+b")
mapped = open("sem.mapped", "w+b"); mapped.truncate(32); memory = mmap.mmap(mapped.fileno(), 32); mapped.close()
for fd in range(3, 20):
    try:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("sem.mapped"): os.close(fd)
    except FileNotFoundError: pass
gone = open("unlinked", "w+b"); os.unlink("unlinked")
os.makedirs("sub/dir"); nested = open("sub/dir/nested", "wb")
descriptor = os.open("sub/dir", os.O_RDONLY)
open("not open", "w").close()
os.makedirs("empty"); directory = os.open("empty", os.O_RDONLY)
odd = open(b"odd \\xff\\n", "wb")
os.chdir("/")
print("ready", flush=True)
sys.stdin.read()
"""


class Pods:
    def __init__(self, place: str) -> None:
        self.old, self.new, self.dest, self.record = (
            f"{place}/{name}" for name in ("old", "new", "dest", "record")
        )


@pytest.fixture
def pods(tmp_path: object) -> Iterator[Pods]:
    made = Pods(str(tmp_path))
    for path in (made.old, made.new):
        os.mkdir(path)
        syscalls.mount("shm", path, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777,size=4m")
    yield made
    for path in (made.old, made.new):
        if os.path.ismount(path):
            syscalls.umount2(path, 0)


def fill(root: str) -> set[str]:
    """Files as a program leaves them; the names of those that it holds."""
    os.makedirs(f"{root}/sub/dir")
    with open(f"{root}/sub/dir/nested", "wb") as file:
        file.write(b"nested")
    with open(f"{root}/big", "wb") as file:
        file.write(os.urandom(1 << 20))
    with open(f"{root}/sparse", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"here")
    with open(f"{root}/other", "wb") as file:
        file.write(b"of another container")
    os.chmod(f"{root}/big", 0o640)
    os.chown(f"{root}/big", 1000, 1000)
    os.chmod(f"{root}/sub", 0o1770)
    os.link(f"{root}/big", f"{root}/sub/twin")
    return {"sub/dir/nested", "big", "sparse", "sub/twin"}


@pytest.fixture
def holder(pods: Pods) -> Iterator[int]:
    """The pid of a process that holds files in every way."""
    command = [sys.executable, "-c", HOLDER, pods.old]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.communicate(timeout=60)


def test_finds_what_is_open_or_mapped(pods: Pods, holder: int) -> None:
    copied = shm.open_files([holder], pods.old, destination=pods.old)
    odd = os.fsdecode(b"odd \xff\n")
    assert copied == {"opened", "sem.mapped", "sub/dir", "sub/dir/nested", "empty", odd}
    assert shm.open_files([holder], pods.new, destination=pods.old) == set()


def test_finds_files_by_inode(pods: Pods, holder: int) -> None:
    """A mapping's path may be one that only the container knows."""
    os.rename(f"{pods.old}/sem.mapped", f"{pods.old}/sub/renamed")
    assert shm.open_files([holder], pods.old, destination="/dev/shm") == {"sub/renamed"}


def test_a_process_that_is_gone_is_an_error(pods: Pods) -> None:
    process = subprocess.Popen(["true"])
    process.wait(timeout=60)
    with pytest.raises(LayerError, match="can't see"):
        shm.open_files([process.pid], pods.old)


def test_open_files_come_back(pods: Pods) -> None:
    copied = fill(pods.old)
    wanted = listing(pods.old)
    size = shm.capture(pods.old, copied, pods.dest)
    assert 1 << 20 <= size < 2 << 20
    shm.apply(pods.dest, pods.new, pods.record)
    found = listing(pods.new)
    names = {b"sub", b"sub/dir", *map(os.fsencode, copied)}
    assert {name: found[name] for name in names} == {name: wanted[name] for name in names}
    assert found.keys() == names | {b"."}
    assert os.lstat(f"{pods.new}/sparse").st_blocks * 512 < 1 << 20
    shm.finish(pods.record)
    assert not os.path.exists(pods.record)


def test_undo_removes_what_was_made_and_nothing_else(pods: Pods) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    os.mkdir(f"{pods.new}/sub")
    with open(f"{pods.new}/mine", "w") as file:
        file.write("another container's")
    before = listing(pods.new, times=False)
    shm.apply(pods.dest, pods.new, pods.record)
    # Not created: another's file in a sticky directory may not be opened so (sysctl fs.protected_regular).
    with open(f"{pods.new}/big", "r+b") as file:
        file.write(b"changed by a process that is thrown away")
    shm.undo(pods.record)
    assert listing(pods.new, times=False) == before
    shm.undo(pods.record)
    assert listing(pods.new, times=False) == before


def test_undo_leaves_a_directory_that_others_use(pods: Pods) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    shm.apply(pods.dest, pods.new, pods.record)
    with open(f"{pods.new}/sub/mine", "w") as file:
        file.write("another container's")
    shm.undo(pods.record)
    assert listing(pods.new).keys() == {b".", b"sub", b"sub/mine"}


@pytest.mark.parametrize("difference", ["content", "size", "mode", "owner", "kind"])
def test_another_file_of_that_name_is_kept(pods: Pods, difference: str) -> None:
    copied = fill(pods.old)
    shm.capture(pods.old, copied, pods.dest)
    subprocess.run(["cp", "-a", f"{pods.old}/big", f"{pods.new}/big"], check=True)
    match difference:
        case "content":
            with open(f"{pods.new}/big", "r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)
                file.seek(-1, os.SEEK_END)
                file.write(bytes([last[0] ^ 1]))
        case "size":
            os.truncate(f"{pods.new}/big", 12)
        case "mode":
            os.chmod(f"{pods.new}/big", 0o600)
        case "owner":
            os.chown(f"{pods.new}/big", 0, 1000)
        case "kind":
            os.unlink(f"{pods.new}/big")
            os.mkdir(f"{pods.new}/big")
    before = listing(pods.new)
    with pytest.raises(LayerError, match="another 'big'"):
        shm.apply(pods.dest, pods.new, pods.record)
    assert listing(pods.new) == before
    assert not os.path.exists(pods.record)


def test_an_equal_file_is_left_and_not_undone(pods: Pods) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    subprocess.run(["cp", "-a", f"{pods.old}/big", f"{pods.new}/big"], check=True)
    before = listing(pods.new)
    shm.apply(pods.dest, pods.new, pods.record)
    shm.undo(pods.record)
    assert listing(pods.new, times=False).keys() == before.keys()


def test_no_symlink_of_another_container_is_followed(pods: Pods, tmp_path: object) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    os.makedirs(f"{tmp_path}/outside/dir")
    os.symlink(f"{tmp_path}/outside", f"{pods.new}/sub")
    with pytest.raises(LayerError):
        shm.apply(pods.dest, pods.new, pods.record)
    assert os.listdir(f"{tmp_path}/outside/dir") == []
    assert os.listdir(pods.new) == ["sub"]


def test_a_smaller_shm_is_left_as_it_was(pods: Pods) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    syscalls.mount("shm", pods.new, "tmpfs", 0x20, "size=512k")
    with pytest.raises(LayerError, match="No space left"):
        shm.apply(pods.dest, pods.new, pods.record)
    assert os.listdir(pods.new) == []
    assert not os.path.exists(pods.record)


def test_a_pod_that_is_gone_needs_no_undo(pods: Pods) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    shm.apply(pods.dest, pods.new, pods.record)
    os.rename(pods.new, f"{pods.new}-gone") if not os.path.ismount(pods.new) else syscalls.umount2(
        pods.new, 0
    )
    shm.undo(pods.record)
    assert not os.path.exists(pods.record)
    syscalls.mount("shm", pods.new, "tmpfs", 0, "")


def test_everything_there_is_listed_and_comes_back(pods: Pods) -> None:
    fill(pods.old)
    os.mkfifo(f"{pods.old}/fifo")
    before = listing(pods.old)
    names = shm.all_files(pods.old)
    assert {os.fsencode(name) for name in names} | {b"."} == before.keys()
    shm.capture(pods.old, names, pods.dest)
    shm.apply(pods.dest, pods.new, pods.record)
    assert listing(pods.new).keys() == before.keys()


def test_links_are_there_until_the_end_and_undone(pods: Pods) -> None:
    shm.capture(pods.old, fill(pods.old), pods.dest)
    before = listing(pods.new, times=False)
    links = [("sub/dir/nested", "link_remap.3")]
    shm.apply(pods.dest, pods.new, pods.record, links)
    assert os.path.samefile(f"{pods.new}/link_remap.3", f"{pods.new}/sub/dir/nested")
    shm.undo(pods.record)
    assert listing(pods.new, times=False) == before
    shm.apply(pods.dest, pods.new, pods.record, links)
    shm.finish(pods.record)
    assert not os.path.lexists(f"{pods.new}/link_remap.3") and os.path.exists(f"{pods.new}/sub/dir/nested")


def test_a_link_in_the_way_is_an_error_and_kept(pods: Pods) -> None:
    """As another container's, in the middle of its own restore."""
    shm.capture(pods.old, fill(pods.old), pods.dest)
    with open(f"{pods.new}/link_remap.3", "w") as file:
        file.write("another's")
    with pytest.raises(LayerError, match="another restore"):
        shm.apply(pods.dest, pods.new, pods.record, [("sub/dir/nested", "link_remap.3")])
    with open(f"{pods.new}/link_remap.3") as file:
        assert file.read() == "another's"
