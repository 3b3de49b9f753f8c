"""A node's configuration for the tests of install: one file of node_configs/, in a directory of its own.

containerd itself reads it (`containerd config dump`), none runs. glowplug-runtime is the real one, with runc behind.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glowplug.node.install import Place, install
from glowplug.node.uninstall import uninstall

HERE = Path(__file__).parent
RUNTIME = HERE.parent / "shim/glowplug-runtime"

# The toolkit's program for runc's command line, as far as it counts here: it calls the first of `runtimes` in
# the file that its environment names, as does the one of the NVIDIA container toolkit.
TOOLKIT = """#!/bin/sh
file=${NVIDIA_CTK_CONFIG_FILE_PATH:-/nowhere}
runtime=$(sed -n 's/^ *runtimes = \\["\\([^"]*\\)".*/\\1/p' "$file")
exec "${runtime:-false}" "$@"
"""


def needs_programs() -> None:
    """Skips where containerd or runc is missing: the unit tests alone need neither."""
    for program in ("containerd", "runc"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def containerd_major() -> int:
    """1 or 2."""
    words = subprocess.run(
        ["containerd", "--version"], check=True, capture_output=True, text=True
    ).stdout.split()
    return int(words[2].lstrip("v").split(".")[0])


class Machine:
    """Directories of a node beneath a temporary one."""

    def __init__(self, directory: Path) -> None:
        needs_programs()
        self.directory = directory
        self.etc = directory / "etc/containerd"
        self.etc.mkdir(parents=True)
        self.config = self.etc / "config.toml"
        self.prefix = directory / "opt"
        (self.prefix / "bin").mkdir(parents=True)
        (self.prefix / "bin/glowplug-runtime").symlink_to(RUNTIME)
        self.toolkit = directory / "toolkit"
        self.toolkit.mkdir()
        for name in ("nvidia-container-runtime", "nvidia-container-runtime.cdi", "fast-runc"):
            self.program(self.toolkit / name, TOOLKIT)
        self.program(self.toolkit / "fast-runc", '#!/bin/sh\nexec runc "$@"\n')

    def program(self, path: Path, text: str) -> None:
        """An executable script."""
        path.write_text(text)
        path.chmod(0o755)

    def put(self, name: str, where: str = "config.toml") -> bytes:
        """A file of node_configs/ on this node; its bytes."""
        text = (HERE / "node_configs" / name).read_bytes().decode()
        text = text.replace("@TOOLKIT@", str(self.toolkit)).replace("@DIRECTORY@", str(self.etc))
        data = text.replace("@FAST@", str(self.toolkit / "fast-runc")).encode()
        (self.etc / where).parent.mkdir(parents=True, exist_ok=True)
        (self.etc / where).write_bytes(data)
        return data

    @property
    def place(self) -> Place:
        """As on a machine that makes images: no containerd runs."""
        return Place(
            config=str(self.config),
            socket=str(self.directory / "none.sock"),
            prefix=str(self.prefix),
            no_restart=True,
        )

    def install(self, base: str | None = None) -> list[str]:
        return install(self.place, base=base)

    def install_read_only(self, path: Path) -> str:
        """What the command says of a node where this file or directory can't be written. It must fail."""
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "${@:2}"'
        command = [f"{Path(sys.executable).parent}/glowplug", "node", "install", "--no-restart"]
        command += ["--containerd-config", str(self.config), "--prefix", str(self.prefix)]
        done = subprocess.run(
            ["unshare", "-m", "bash", "-c", script, "bash", str(path), *command, "--socket", "/nowhere"],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (1, ""), done
        return done.stderr

    def uninstall(self) -> list[str]:
        return uninstall(self.place, force=True)[0]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Every file and directory of the configuration, files with bytes and mode."""
        found = {}
        for folder, folders, names in os.walk(self.directory / "etc"):
            found.update(
                {str((Path(folder) / name).relative_to(self.directory)): (b"", 0) for name in folders}
            )
            for name in names:
                path = Path(folder) / name
                found[str(path.relative_to(self.directory))] = (path.read_bytes(), path.stat().st_mode)
        return found

    def stamps(self) -> dict[str, int]:
        """When each file was last written."""
        return {
            str(path): path.stat().st_mtime_ns
            for path in (self.directory / "etc").rglob("*")
            if path.is_file()
        }

    def dump(self) -> str:
        """What containerd makes of the configuration."""
        command = ["containerd", "--config", str(self.config), "config", "dump"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
