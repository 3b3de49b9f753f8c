"""Watches and working directories in volumes that a kubelet writes."""

import ctypes
import os
import select
import threading
import time

IN_CREATE, IN_MOVED_TO = 0x100, 0x80
libc = ctypes.CDLL(None, use_errno=True)
CONFIG, SCRATCH, NODE = "/etc/settings", "/scratch", "/node"
TOKENS, RESTORED = "/var/run/secrets/kubernetes.io/serviceaccount", "/run/glowplug/restored"


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


def token_of_an_older_moment():
    """Open, and the working directory of a child; the kubelet renews it, and removes the old one."""
    fd = os.open(f"{TOKENS}/token", os.O_RDONLY)
    pid = os.fork()
    if not pid:
        os.chdir(os.path.dirname(os.path.realpath(f"{TOKENS}/token")))
        while True:
            select.select([], [], [])
    while os.readlink(f"/proc/{pid}/cwd") == os.getcwd():
        pass

    def check():
        with open(f"{TOKENS}/token") as file:
            now = file.read()
        if os.path.exists(RESTORED):
            with open(f"/proc/{pid}/cwd/token") as file:
                assert file.read() == now, "the working directory is another"
            assert os.pread(fd, 4096, 0).decode() == now, "the token is another pod's"

    return check


def reloaded():
    """A program that reads its settings again whenever the link in their directory is swapped."""
    fd = libc.inotify_init1(0)
    assert libc.inotify_add_watch(fd, CONFIG.encode(), IN_CREATE | IN_MOVED_TO) > 0
    read = []

    def now():
        with open(f"{CONFIG}/a.conf") as file:
            return file.read()

    def work():
        while os.read(fd, 65536):
            read.append(now())

    read.append(now())
    threading.Thread(target=work, daemon=True).start()

    def check():
        until = time.monotonic() + 30
        while read[-1] != now() and time.monotonic() < until:
            time.sleep(0.01)
        assert read[-1] == now(), f"read {read[-1]}, it is {now()}"

    return check
