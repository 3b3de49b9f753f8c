"""A container of plain runc, without containerd or glowplug's runtime: what CRIU and memory extents are tested on.

Its root is made of empty directories and the host's /usr, bound read-only, so nothing has to be installed.
"""

import contextlib
import ctypes
import glob
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from typing import Any

from glowplug.criu import action_script, cgroups, config, extents, fill, forced, sockets
from glowplug.criu.images import link_rest
from glowplug.host import process

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = f"{REPOSITORY}/integration/memory_target.py"
CRIU = os.environ.get("CRIU") or f"{REPOSITORY}/.build/criu/bin/criu"
RUNC = os.environ.get("RUNC") or "runc"
DEADLINE_S = 180.0
CGROUP = f"/glowplug-bare-{os.getpid()}"
"""Of this process's containers: another one's is not taken away while runc makes one below it."""
_PR_SET_CHILD_SUBREAPER = 36
_SKELETON = ("proc", "dev", "sys", "tmp", "usr", "app", "run", "etc")
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def usable() -> str | None:
    """Why containers can't be made here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which(RUNC) is None or not os.path.exists(CRIU):
        return "needs runc and CRIU: hack/setup, or their paths in RUNC and CRIU"
    return None


class Bare:
    """One container, and its restores: one at a time. A context; leaves nothing behind."""

    def __init__(self, scratch: str, layout: dict[str, Any], memory_limit: int | None = None) -> None:
        """scratch: an empty directory for it alone. layout: for memory_target.py. memory_limit: bytes."""
        self.scratch = scratch
        self.id = f"bare-{os.getpid()}-{threading.get_native_id()}-{time.monotonic_ns():x}"
        self._layout = layout
        self._limit = memory_limit
        self._stdin = self._stdout = -1
        self._said = b""
        self._read_only_dir: str | None = None
        self.env = {**os.environ, "PATH": f"{os.path.dirname(CRIU)}:{os.environ['PATH']}"}

    def __enter__(self) -> "Bare":
        ctypes.CDLL(None).prctl(
            _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0
        )  # the detached container becomes our child
        for name in _SKELETON:
            os.makedirs(f"{self.scratch}/rootfs/{name}")
        for name, target in _LINKS.items():
            os.symlink(target, f"{self.scratch}/rootfs/{name}")
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)  # others' orphans are not for us to reap
        shutil.rmtree(self.scratch, ignore_errors=True)
        for folder in glob.glob(f"/sys/fs/cgroup{CGROUP}") + glob.glob(f"/sys/fs/cgroup/*{CGROUP}"):
            with contextlib.suppress(OSError):  # another container's as well
                os.rmdir(folder)

    def start(self) -> None:
        """Start it cold and wait until its memory is filled."""
        self._write_spec({})
        ours = self._pipes()
        self._runc(["run", "--detach", "--pid-file", self._pid_file, "--bundle", self.scratch, self.id], ours)
        self._close(ours)
        assert self._line() == "ready"

    def hash(self) -> Any:
        """Digests of all mappings of all its processes."""
        os.write(self._stdin, b"hash\n")
        return self._line()

    def dump(self, images: str) -> None:
        """Dump it to ``images`` while it is paused; it runs on afterwards."""
        with open(f"{self.scratch}/dump.conf", "w") as file:
            file.write(config.dump())
        self._runc(["pause", self.id])
        try:
            self._configure_dump(f"{self.scratch}/dump.conf", f"{self.scratch}/dump-state")
            self._runc(
                [
                    "checkpoint",
                    "--leave-running",
                    "--image-path",
                    images,
                    "--work-path",
                    self._work(),
                    self.id,
                ],
                root=f"{self.scratch}/dump-state",
            )
        except subprocess.CalledProcessError as error:
            raise AssertionError(config.log_errors(f"{self._work()}/dump.log")) from error
        finally:
            self._runc(["resume", self.id])
        sockets.apply(images)
        cgroups.apply(images)

    def restore(
        self, images: str, memory: str | None = None, leave_stopped: bool = False, force: bool = False
    ) -> float:
        """Restore it; seconds until it runs. memory: a directory of extents to be written, if it has any.

        leave_stopped: every task stays stopped. force: read-only memory is written by us where this node lets us.
        Raises what the fill raises; the tree is dead then.
        """
        gated = memory is not None and os.path.lexists(f"{memory}/{extents.INDEX}")
        self._read_only_dir = None
        if force and gated:
            stored, images = images, f"{self.scratch}/images-of-one-restore"
            shutil.rmtree(images, ignore_errors=True)
            os.mkdir(images)
            if forced.leave_out(stored, images):
                self._read_only_dir = stored
            link_rest(stored, images)
        self._write_spec({config.ANNOTATION: f"{self.scratch}/restore.conf"})
        ours = self._pipes()
        work = self._work()
        command = [
            *("restore", "--detach", "--pid-file", self._pid_file, "--bundle", self.scratch),
            *("--image-path", images, "--work-path", work, self.id),
        ]
        began = time.monotonic()
        until = began + DEADLINE_S
        gate = action_script.Gate(self.scratch, f"{self.scratch}/opened")
        with open(f"{self.scratch}/restore.conf", "w") as file:
            file.write(config.restore(leave_stopped=leave_stopped, script=gate.script if gated else None))
        child = self._popen(command, ours)
        try:
            if gated and memory is not None:
                init = gate.wait(until, lambda: child.poll() is not None)
                if init is not None:
                    self._fill(memory, init, until)
                    gate.open()
            assert child.wait(DEADLINE_S) == 0, config.log_errors(f"{work}/restore.log")
        finally:
            gate.close()
            child.wait(DEADLINE_S)
            self._close(ours)
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        """Its first process."""
        with open(self._pid_file) as file:
            return int(file.read())

    def pss(self) -> int:
        """Sum of the proportional set sizes of its processes, in bytes; without files, which others share as they
        come and go."""
        total = 0
        for pid in process.members(self.pid).values():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                own = [line for line in file if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
                total += sum(int(line.split()[1]) << 10 for line in own)
        return total

    def cgroup_file(self, names: tuple[str, ...]) -> int | None:
        """The number in the first of these files that its memory cgroup has (v1 and v2 name them differently)."""
        for folder in (
            f"/sys/fs/cgroup/memory{CGROUP}/{self.id}",
            f"/sys/fs/cgroup{CGROUP}/{self.id}",
        ):
            for name in names:
                if os.path.exists(f"{folder}/{name}"):
                    with open(f"{folder}/{name}") as file:
                        return int(file.read())
        return None

    def remove(self) -> None:
        """End it, if it runs, and take back what it had."""
        if os.path.exists(self._pid_file):
            with contextlib.suppress(ProcessLookupError, ChildProcessError, ValueError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)  # its sockets stay bound while its memory is taken back
            os.unlink(self._pid_file)
        subprocess.run(
            [RUNC, "--root", f"{self.scratch}/state", "delete", "--force", self.id],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DEADLINE_S,
        )
        self._reap()
        self._close([fd for fd in (self._stdin, self._stdout) if fd >= 0])
        self._stdin = self._stdout = -1
        self._said = b""

    def _fill(self, memory: str, init: int, until: float) -> None:
        try:
            with (
                fill.Fill(memory, self._read_only_dir) as extents,
                extents.begin(process.members(init), until) as writing,
            ):
                self.filled = writing.wait()
        except BaseException:
            os.kill(init, signal.SIGKILL)
            raise

    def _write_spec(self, annotations: dict[str, str]) -> None:
        with open(f"{self.scratch}/config.json", "w") as file:
            json.dump(self.spec(annotations), file)

    def spec(self, annotations: dict[str, str]) -> dict[str, Any]:
        """Its config.json."""
        binds = {"/usr": "/usr", TARGET: "/app/target.py"}
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/usr/bin/python3", "-ISB", "/app/target.py", json.dumps(self._layout)],
                "env": ["PATH=/usr/bin"],
                "cwd": "/",
                "capabilities": {kind: ["CAP_IPC_LOCK"] for kind in ("bounding", "effective", "permitted")},
            },
            "root": {"path": f"{self.scratch}/rootfs", "readonly": False},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                *(
                    {"destination": to, "type": "bind", "source": of, "options": ["bind", "ro"]}
                    for of, to in binds.items()
                ),
            ],
            "annotations": annotations,
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "network", "ipc", "uts")],
                "cgroupsPath": f"{CGROUP}/{self.id}",
                "resources": {"memory": {"limit": self._limit}} if self._limit else {},
            },
        }

    def _pipes(self) -> list[int]:
        theirs_in, self._stdin = os.pipe()
        self._stdout, theirs_out = os.pipe()
        return [theirs_in, theirs_out]

    def _popen(self, arguments: list[str], ends: list[int] | None = None) -> "subprocess.Popen[bytes]":
        stdin, stdout = ends or (subprocess.DEVNULL, subprocess.DEVNULL)
        command = [RUNC, "--root", f"{self.scratch}/state", *arguments]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stdout, env=self.env)

    def _configure_dump(self, options: str, state: str) -> None:
        """runc takes CRIU's options from its record of the container; so it gets a record of its own."""
        with open(f"{self.scratch}/state/{self.id}/state.json") as file:
            record = json.load(file)
        labels = record["config"]["labels"] or []
        labels = [label for label in labels if not label.startswith(f"{config.ANNOTATION}=")]
        record["config"]["labels"] = [*labels, f"{config.ANNOTATION}={options}"]
        shutil.rmtree(state, ignore_errors=True)
        os.makedirs(f"{state}/{self.id}")
        with open(f"{state}/{self.id}/state.json", "w") as file:
            json.dump(record, file)

    def _runc(self, arguments: list[str], ends: list[int] | None = None, root: str = "") -> None:
        stdin, stdout = ends or (subprocess.DEVNULL, subprocess.DEVNULL)
        command = [RUNC, "--root", root or f"{self.scratch}/state", *arguments]
        subprocess.run(
            command, stdin=stdin, stdout=stdout, stderr=stdout, env=self.env, check=True, timeout=DEADLINE_S
        )

    def _line(self) -> Any:
        until = time.monotonic() + DEADLINE_S
        while b"\n" not in self._said:
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._stdout, 65536) if ready else b""
            assert data, f"the container said only {self._said!r}"
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        return json.loads(line)

    def _work(self) -> str:
        path = f"{self.scratch}/work"
        os.makedirs(path, exist_ok=True)
        return path

    def _reap(self) -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return

    @staticmethod
    def _close(fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)

    @property
    def _pid_file(self) -> str:
        return f"{self.scratch}/pid"
