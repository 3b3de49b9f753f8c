"""Watches and working directories in volumes that a kubelet writes."""

import ctypes
import os
import select

libc = ctypes.CDLL(None, use_errno=True)
CONFIG, SCRATCH, NODE = "/etc/settings", "/scratch", "/node"


def _watch(path):
    fd = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(fd, path.encode(), 0xFFF) > 0, path
    return fd


def _fires(fd, touch):
    def check():
        touch()
        assert select.select([fd], [], [], 2)[0], "nothing was heard"
        os.read(fd, 65536)

    return check


def watched_directory():
    """The kubelet swaps a link in it; a look at its names is heard as well."""
    return _fires(_watch(CONFIG), lambda: os.listdir(CONFIG))


def watched_file():
    return _fires(_watch(f"{CONFIG}/a.conf"), lambda: open(f"{CONFIG}/a.conf").read())


def working_directory():
    """As `cd "$(dirname "$(readlink -f "$0")")"` makes it, of a child."""
    pid = os.fork()
    if not pid:
        os.chdir(os.path.dirname(os.path.realpath(f"{CONFIG}/a.conf")))
        while True:
            select.select([], [], [])
    while os.readlink(f"/proc/{pid}/cwd") == os.getcwd():
        pass

    def check():
        with open(f"/proc/{pid}/cwd/a.conf") as file:
            assert file.read() == "one"

    return check


def watched_scratch():
    """A file and a directory of an emptyDir."""
    os.makedirs(f"{SCRATCH}/below", exist_ok=True)
    with open(f"{SCRATCH}/below/file", "w") as file:
        file.write("x")
    file_watch, directory_watch = _watch(f"{SCRATCH}/below/file"), _watch(f"{SCRATCH}/below")
    checks = [
        _fires(file_watch, lambda: open(f"{SCRATCH}/below/file").read()),
        _fires(directory_watch, lambda: os.listdir(f"{SCRATCH}/below")),
    ]
    return lambda: [check() for check in checks]


def followed_file():
    """As a log is followed, on a volume that does not travel."""
    fd = os.open(f"{NODE}/log", os.O_RDONLY)
    assert os.read(fd, 64) == b"one\n"

    def check():
        with open(f"{NODE}/log") as file:
            file.seek(4)
            rest = file.read().encode()
        assert os.read(fd, 64) == rest, "another place in the file"
        os.lseek(fd, 4, os.SEEK_SET)

    return check
