"""runc's bats files, made to run without Go: a copy of them with images and a recvtty of our own."""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

from .programs import REPOSITORY, Program

BUSYBOX = REPOSITORY / ".build/busybox/bin/busybox"
ENDS = ("ok", "failed", "skipped")
FILE_DEADLINE_S = 3600.0
TEST_DEADLINE_S = 120  # lazy pages hang where the dump has failed

# These need programs of runc's that are written in Go, or what a machine for tests does not have.
LEFT_OUT = ("seccomp-notify.bats", "seccomp-notify-compat.bats", "mounts_sshfs.bats")

_RESULT = re.compile(r"^(not ok|ok) \d+ (.*?)(?: # skip.*| in \d+m?s(?:ec)?)?$")


# runc's tests write CRIU's configuration into /etc/criu, and every other CRIU of the machine would read it.
OWN_ETC = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
    "mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work; "
    "mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc; umount -l /mnt; "
    'exec "$@"',
    "sh",
)


class Suite:
    """The tests of one version of runc, in a directory of our own."""

    def __init__(self, source: Path, directory: Path) -> None:
        self.directory = directory / "tests/integration"
        shutil.copytree(source / "tests/integration", self.directory, symlinks=True)
        image = _image(directory)
        names = ("BUSYBOX_IMAGE", "DEBIAN_IMAGE", "HELLO_IMAGE")
        script = "".join(f"echo {name}={image}\n" for name in names)
        (self.directory / "get-images.sh").write_text(f"#!/bin/sh\n{script}")
        (self.directory / "get-images.sh").chmod(0o755)
        recvtty = directory / "contrib/cmd/recvtty/recvtty"
        recvtty.parent.mkdir(parents=True)
        program = Path(__file__).resolve().parent / "recvtty.py"
        recvtty.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {program} "$@"\n')
        recvtty.chmod(0o755)
        self._scratch = directory / "tmp"
        self._scratch.mkdir()
        self._scratch.chmod(0o1777)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*.bats") if path.name not in LEFT_OUT)

    def run(self, file: str, program: Program) -> dict[str, str]:
        """How each test of a file ended: name → `ok`, `failed` or `skipped`."""
        return self._bats(program, file)

    def run_one(self, file: str, name: str, program: Program) -> str:
        return self._bats(program, "--filter", f"^{re.escape(name)}$", file).get(name, "failed")

    def _bats(self, program: Program, *arguments: str) -> dict[str, str]:
        environment = {
            **os.environ,
            "RUNC": program.path,
            "TMPDIR": str(self._scratch),
            "BATS_TEST_TIMEOUT": str(TEST_DEADLINE_S),
            **program.environment,
        }
        with _terminal() as terminal:
            done = subprocess.run(
                [*OWN_ETC, "bats", "--tap", *arguments],
                cwd=self.directory,
                env=environment,
                stdin=terminal,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=FILE_DEADLINE_S,
                start_new_session=True,
                preexec_fn=_make_it_controlling,
            )
        if log := os.environ.get("CONFORMANCE_LOG"):
            with open(log, "a") as out:
                out.write(f"== {program.path} {arguments}\n{done.stdout}")
        return _ends(done.stdout)


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """A terminal that somebody reads: `runc run` of a container with one wants /dev/tty."""
    ours, theirs = os.openpty()
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join(timeout=10)
        os.close(ours)


def _drain(fd: int) -> None:
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while os.read(fd, 65536):
            pass


def _make_it_controlling() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _ends(said: str) -> dict[str, str]:
    ends = {}
    for line in said.split("\n"):
        if found := _RESULT.match(line):
            word, name = found.groups()
            ends[name] = "failed" if word == "not ok" else "skipped" if "# skip" in line else "ok"
    return ends


def _image(directory: Path) -> Path:
    """A root file system of busybox alone, as a tar archive."""
    root = directory / "image"
    for name in (
        "bin",
        "dev",
        "etc",
        "home",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/bin",
        "usr/sbin",
        "sbin",
        "var",
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True, timeout=60)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
    )
    (root / "etc/group").write_text("root:x:0:\nnobody:x:65534:\n")
    (root / "tmp").chmod(0o1777)
    archive = directory / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True, timeout=120)
    shutil.rmtree(root)
    return archive
