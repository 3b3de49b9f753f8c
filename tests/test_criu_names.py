"""Names that images have of the old world: the host name, watched paths, links of removed files, processes."""

import ctypes
import mmap
import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from glowplug.criu import config, hostname, images, link_remap, processes, watches
from glowplug.criu.images import Message
from glowplug.errors import CriuError, ImageError

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


def message(**fields: int | bytes | Message) -> Message:
    made = Message()
    for name, value in fields.items():
        put: Callable[[int, object], None] = {
            int: made.put_integer,
            bytes: made.put_octets,
            Message: made.put_message,
        }[type(value)]  # type: ignore[assignment]
        put(int(name[1:]), value)
    return made


@pytest.fixture
def uts() -> Iterator[str]:
    """A UTS namespace whose host name is `newpod`."""
    process = subprocess.Popen(
        ["unshare", "--uts", "sh", "-c", "hostname newpod; echo ok; exec sleep 600"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ok\n"
    yield f"/proc/{process.pid}/ns/uts"
    process.kill()
    process.wait()
    process.stdout.close()


@root
def test_the_new_pods_host_name_goes_into_a_copy(folder: str, uts: str) -> None:
    source, into = f"{folder}/images", f"{folder}/view"
    os.mkdir(source)
    os.mkdir(into)
    images.store(source, "utsns-12.img", "utsns", [message(f1=b"oldpod", f2=b"(none)", f9=b"newer")])
    before, here = images.read(source, "utsns-12.img"), os.uname().nodename
    assert hostname.give(source, into, uts) is True
    assert images.read(source, "utsns-12.img") == before
    found = images.load(into, "utsns-12.img", "utsns")[0]
    assert (found.octets(1), found.octets(9)) == (b"newpod", b"newer")
    assert os.uname().nodename == here, "the entire process moved into the other namespace"


@root
def test_the_same_host_name_needs_no_copy(folder: str, uts: str) -> None:
    name, domain = hostname.names(uts)
    entry = message(f1=name.encode(), f2=domain.encode())
    images.store(folder, "utsns-12.img", "utsns", [entry])
    assert hostname.give(folder, folder, uts) is False


def test_a_namespace_that_is_gone() -> None:
    with pytest.raises(CriuError, match="host name"):
        hostname.names("/proc/0/ns/uts")


@pytest.fixture
def watcher(folder: str) -> Iterator[int]:
    """A process with a root of its own that watches some of it."""
    inside = f"{folder}/root"
    for path in ("etc/app/deep", "srv", "proc"):
        os.makedirs(f"{inside}/{path}")
    for path in ("etc/passwd", "etc/app/config", "srv/log"):
        with open(f"{inside}/{path}", "w"):
            pass
    os.symlink("/", f"{inside}/srv/loop")
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chroot(inside)
            os.chdir("/")
            libc = ctypes.CDLL(None)
            fd = libc.inotify_init1(0)
            for watched in (b"/", b"/etc/app", b"/etc/passwd", b"/srv/log"):
                libc.inotify_add_watch(fd, watched, 2)
            os.write(ready_write, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(ready_write)
    assert os.read(ready_read, 1) == b"x"
    os.close(ready_read)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@root
def test_watched_paths_are_found_inside_the_containers_root(watcher: int) -> None:
    found = watches.paths([watcher])
    assert set(found) == {"/etc/app", "/etc/passwd", "/srv/log"}
    assert found[-1] == "/etc/app", "CRIU descends into a directory before it tries the next path"


@root
def test_a_watched_name_that_no_configuration_holds(folder: str) -> None:
    """CRIU looks below the directory above it: a blank in a name was an error in the middle of the pause."""
    inside = f"{folder}/root"
    os.makedirs(f"{inside}/srv/a b/c")
    os.makedirs(f"{inside}/d#e")
    with open(f"{inside}/srv/plain", "w"):
        pass
    names = [f"{inside}/{name}" for name in ("srv/a b", "srv/a b/c", "srv/plain", "srv", "d#e")]
    inodes = {os.stat(name).st_ino for name in names}
    fd = os.open(inside, os.O_PATH)
    try:
        found = watches._find(fd, os.fstat(fd).st_dev, inodes)
    finally:
        os.close(fd)
    assert found == ("/srv/plain", "/srv")
    assert "/srv" in config.dump(found)


def test_nothing_is_walked_where_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(*_: object) -> list[str]:
        raise AssertionError("walked")

    monkeypatch.setattr(watches, "_find", walk)
    process = subprocess.Popen(["sleep", "600"])
    try:
        assert watches.paths([process.pid]) == ()
        assert watches.paths([]) == ()
    finally:
        process.kill()
        process.wait()


def linked(folder: str, fd: int) -> None:
    """Images that ask for `link_remap.9` instead of the removed file open as ``fd`` here."""
    pid = os.getpid()
    images.store(
        folder, "remap-fpath.img", "remap-fpath", [message(f1=5, f2=9, f3=0), message(f1=6, f2=8, f3=1)]
    )
    reg = message(f1=9, f2=0, f3=0, f6=b"/var/data/link_remap.9")
    images.store(folder, "files.img", "files", [message(f1=1, f2=9, f3=reg), message(f1=2, f2=3)])
    images.store(folder, f"ids-{pid}.img", "ids", [message(f1=1, f2=2, f3=1, f4=1)])
    images.store(folder, "fdinfo-2.img", "fdinfo", [message(f1=5, f2=0, f3=1, f4=fd)])


def test_a_removed_file_is_followed_to_its_inode(folder: str) -> None:
    path = f"{folder}/open"
    with open(path, "w") as file:
        os.link(path, f"{folder}/other")
        os.unlink(path)
        linked(folder, file.fileno())
        facts = os.stat(f"{folder}/other")
        assert link_remap.links(folder, [os.getpid()]) == [
            ("/var/data/link_remap.9", (facts.st_dev, facts.st_ino))
        ]


def test_a_removed_file_that_only_a_mapping_holds_is_followed_too(folder: str) -> None:
    """As a semaphore of sem_open(3) is: checkpoint-restore/criu#2980."""
    path = f"{folder}/sem"
    with open(path, "w+b") as file:
        file.truncate(4096)
        memory = mmap.mmap(file.fileno(), 4096)
        os.link(path, f"{folder}/other")
        os.unlink(path)
        linked(folder, 0)
    os.unlink(f"{folder}/fdinfo-2.img")
    with open("/proc/self/maps") as maps:
        line = next(line for line in maps if f"{folder}/sem" in line)
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    vma = message(f1=start, f2=end, f3=0, f4=5, f5=3, f6=1, f7=1 | 1 << 7)
    images.store(folder, f"mm-{os.getpid()}.img", "mm", [message(f12=7, f14=vma)])
    facts = os.stat(f"{folder}/other")
    assert link_remap.links(folder, [os.getpid()]) == [
        ("/var/data/link_remap.9", (facts.st_dev, facts.st_ino))
    ]
    memory.close()


def test_a_removed_file_that_nobody_holds_open_is_an_error(folder: str) -> None:
    linked(folder, 0)
    with pytest.raises(ImageError, match="removed"):
        link_remap.links(folder, [])


def test_a_dump_without_removed_files_asks_for_no_link(folder: str) -> None:
    assert link_remap.links(folder, [os.getpid()]) == []


def test_the_tree_as_the_images_say_it(folder: str) -> None:
    task = message(f1=3, f2=0, f3=0, f4=0, f5=0, f6=b"server")
    entry = message(f1=7, f2=1, f3=7, f4=1)
    entry.put_integers(5, [7, 9, 10])
    images.store(folder, "pstree.img", "pstree", [entry])
    images.store(folder, "core-7.img", "core", [message(f1=1, f3=task)])
    (found,) = processes.tree(folder)
    assert (found.pid, found.parent, found.threads, found.comm) == (7, 1, (7, 9, 10), "server")
    assert found.state == processes.STOPPED


def test_a_process_without_its_image(folder: str) -> None:
    images.store(folder, "pstree.img", "pstree", [message(f1=7, f2=0, f3=7, f4=7)])
    with pytest.raises(ImageError, match=r"core-7\.img"):
        processes.tree(folder)
