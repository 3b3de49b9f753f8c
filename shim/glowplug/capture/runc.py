"""runc on the capturing side: pause, checkpoint, resume of a container that runs.

runc takes CRIU's options for a dump from the annotation `org.criu.config` in its own record of the container,
where a container that started cold has none, and a restored one has those of its restore. So the dump is made
through a state root of our own, with a copy of that record that names our options; the real one stays as it is.

The runtime's `checkpoint` uses this too, so it imports the standard library alone.
"""

import json
import os
import subprocess
import time

from glowplug.criu import criu_symlink
from glowplug.criu.config import ANNOTATION
from glowplug.errors import CriuError, RuncError

DEADLINE_S = 30.0
PAUSED_WITHIN_S = 5.0
PAUSE_AGAIN_S = 0.05


def knows_seccomp(program: str) -> bool:
    """Whether this runc was built with seccomp: `--version` names the library then. True where it can't be queried."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=DEADLINE_S)
    except (OSError, subprocess.SubprocessError):
        return True
    return done.returncode != 0 or "libseccomp" in done.stdout


class Runc:
    """One runc with its state root. `root` is what containerd gives as --root, with its namespace."""

    def __init__(self, program: str, root: str, criu: str) -> None:
        self.program = program
        self.root = root
        self.criu = criu

    def pause(self, container: str) -> None:
        """Freeze its cgroup. Raises RuncError; the container runs on then.

        On cgroup v1 runc gives up after a moment if not all processes have come to the freezer (its
        libcontainer/cgroups/fs/freezer.go). On a busy node that says nothing yet, so it is tried again.
        """
        until = time.monotonic() + PAUSED_WITHIN_S
        while True:
            try:
                self._run(["pause", container])
                return
            except RuncError as error:
                if "unable to freeze" not in str(error) or time.monotonic() >= until:
                    raise
            time.sleep(PAUSE_AGAIN_S)

    def resume(self, container: str) -> None:
        """Thaw it. Raises RuncError."""
        self._run(["resume", container])

    def kill(self, container: str) -> None:
        """SIGKILL to its first process, and with that to its PID namespace. Raises RuncError."""
        self._run(["kill", container, "KILL"])

    def status(self, container: str) -> str:
        """created, running, paused or stopped (OCI runtime.md, "State"). Raises RuncError."""
        state = json.loads(self._run(["state", container]))
        return str(state.get("status")) if isinstance(state, dict) else ""

    def start_checkpoint(
        self, container: str, images: str, work: str, options: str, ids: tuple[int, int] | None = None
    ) -> subprocess.Popen[bytes]:
        """Begin `runc checkpoint --leave-running`; CRIU's log will be work/dump.log.

        It is in a process group of its own: an interrupt at the terminal is ours to handle, not the dump's.
        ids: real uid and gid for CRIU to run with instead of ours (see real_user.py).
        """
        if not os.access(self.criu, os.X_OK):
            raise CriuError(f"CRIU is not installed at {self.criu}: install CRIU 4.1 or newer")
        arguments = [
            *(self.program, "--root", self._root_for_dump(container, work, options)),
            *("--log", f"{work}/runc.log", "--log-format", "json"),
            *("checkpoint", "--leave-running", "--image-path", images, "--work-path", work, container),
        ]
        env = dict(os.environ)
        found_first = (
            criu_symlink.directory(self.criu, work) if ids is None else self._criu_with_real_ids(work, *ids)
        )
        env["PATH"] = f"{found_first}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        null = subprocess.DEVNULL
        return subprocess.Popen(arguments, stdin=null, stdout=null, stderr=null, env=env, process_group=0)

    def last_error(self, work: str) -> str:
        """What runc itself said of a checkpoint in whose `work` CRIU left no log."""
        try:
            with open(f"{work}/runc.log") as file:
                return str(json.loads(file.readlines()[-1])["msg"])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return "runc left no log"

    def _criu_with_real_ids(self, work: str, uid: int, gid: int) -> str:
        """A directory with a `criu` that is CRIU with these real ids: runc, and it may be a script, has ours."""
        directory = f"{work}/bin"
        os.mkdir(directory, 0o700)
        script = f'#!/bin/sh\nexec setpriv --ruid={uid} --rgid={gid} --keep-groups -- "{self.criu}" "$@"\n'
        fd = os.open(f"{directory}/criu", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with open(fd, "w") as file:
            file.write(script)
        return directory

    def _root_for_dump(self, container: str, work: str, options: str) -> str:
        root = f"{work}/runc"
        os.makedirs(f"{root}/{container}", 0o700)
        try:
            with open(f"{self.root}/{container}/state.json") as file:
                state = json.load(file)
            labels = [
                label
                for label in state["config"].get("labels") or []
                if not label.startswith(f"{ANNOTATION}=")
            ]
            state["config"]["labels"] = [*labels, f"{ANNOTATION}={options}"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RuncError(
                f"expected runc's record of container {container} in {self.root}, got: {error}"
            ) from error
        with open(f"{root}/{container}/state.json", "w") as file:
            json.dump(state, file)
        return root

    def _run(self, arguments: list[str]) -> str:
        try:
            done = subprocess.run(
                [self.program, "--root", self.root, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
        except FileNotFoundError:
            raise RuncError(f"runc is not at {self.program}: set `runc` in the configuration") from None
        except subprocess.TimeoutExpired:
            raise RuncError(f"runc {arguments[0]} was not done after {DEADLINE_S:g} s") from None
        if done.returncode != 0:
            raise RuncError(
                f"runc {' '.join(arguments)}: {done.stderr.strip() or f'status {done.returncode}'}"
            )
        return done.stdout
