"""Images of the zoo: a root directory that mmdebstrap makes of Debian's packages, and the programs' configuration.

Kept in .build/zoo, made again when the packages that are listed change. Beside each lies what is in it, by version.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from integration.images import REPOSITORY
from integration.oci_archive import ImageConfig, LayerTar, write_archive

BUILD = f"{REPOSITORY}/.build/zoo"
FILES = f"{REPOSITORY}/integration/zoo/etc"
SUITE = "trixie"  # Go 1.24 and newer listens with MPTCP where it may
# Package indexes are as large as many a program. OpenJDK's scripts want to find the directories of its manual. With a
# path-exclude of dpkg's, mmdebstrap would filter each package through a Python program.
EMPTIED = (
    'cd "$1" && rm -rf var/lib/apt/lists/* var/cache/apt/* usr/share/man/* usr/share/doc/* usr/share/locale/*'
)
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def image(name: str, packages: Sequence[str]) -> str:
    """Path of the archive of an image with these packages and all that they depend on; its reference is
    `reference(name)`."""
    root = _root(name, packages)
    path = f"{root}/image.tar"
    aside = f"{path}.{os.getpid()}"  # another test run may be reading it
    with tempfile.TemporaryDirectory() as scratch:
        files = f"{scratch}/files.tar"
        with LayerTar(files) as tar:
            tar.tree("zoo", FILES)
        write_archive(
            aside, reference(name), [f"{root}/root.tar", files], ImageConfig(["/usr/bin/true"], ENV)
        )
    os.rename(aside, path)
    return path


def reference(name: str) -> str:
    return f"glowplug.test/zoo-{name}:1"


def versions(name: str, packages: Sequence[str]) -> dict[str, str]:
    """Package → version of all that is in the image."""
    with open(f"{_root(name, packages)}/versions") as lines:
        pairs = [line.split() for line in lines]
    return {package.partition(":")[0]: version for package, version in pairs}


def _root(name: str, packages: Sequence[str]) -> str:
    """The directory that has the image's root directory as a layer; made where it is not there."""
    chosen = sorted(packages)
    recipe = json.dumps([SUITE, chosen, EMPTIED]).encode()
    directory = f"{BUILD}/{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    os.makedirs(BUILD, exist_ok=True)
    with open(f"{BUILD}/{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(directory):
            for older in glob.glob(f"{BUILD}/{name}-*"):
                shutil.rmtree(older)
            draft = f"{directory}.draft"
            os.mkdir(draft)
            _make(draft, chosen)
            os.rename(draft, directory)
    return directory


def _make(draft: str, packages: Sequence[str]) -> None:
    if shutil.which("mmdebstrap") is None:
        _run(f"{REPOSITORY}/hack/apt_install", "mmdebstrap")
    mirror = _run(f"{REPOSITORY}/hack/mirror").strip()
    with open(f"{draft}/apt.conf", "w") as file:
        # A mirror may be a frozen one: then its indexes have expired.
        file.write('Acquire::Languages "none";\nAcquire::Check-Valid-Until "false";\n')
    _run(
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(packages)}",
        f"--aptopt={draft}/apt.conf",
        "--skip=output/dev",
        f"--customize-hook={EMPTIED}",
        f'--customize-hook=chroot "$1" dpkg-query -W >{draft}/versions',
        SUITE,
        f"{draft}/root.tar",
        mirror,
    )


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with status {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout
