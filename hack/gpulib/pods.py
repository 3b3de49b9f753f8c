"""Pods of plain runc under `glowplug-runtime`, with a real agent: what containerd and its shim do, done
here.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hack.gpulib import netns, spec
from hack.gpulib.standin import Daemon, Known

from glowplug.host import cgroup

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORKLOADS = f"{REPOSITORY}/hack/gpulib/workloads"
NAMESPACE = "gpu-check"
PR_SET_CHILD_SUBREAPER = 36
CREATE_S = 120.0
CAPTURE_S = 300.0
SKELETON = ("dev", "proc", "sys", "run", "tmp", "root", "etc", "usr", "opt", "check", "weights", "var/tmp")


class Failed(Exception):
    """A check that failed; the message says what was expected and found."""


class Skipped(Failed):
    """A check that this machine can't run; the message says why."""


@dataclass(slots=True)
class Workload:
    """What a container runs. gpus: paths of nodes (/dev/nvidiaN). libraries: directories for
    LD_LIBRARY_PATH.
    """

    name: str
    args: list[str]
    devices: list[dict[str, Any]]
    env: dict[str, str] = field(default_factory=dict)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    memory_limit: int | None = None


class Node:
    """A state directory with an agent and a stand-in containerd; pods run on it. Use as a context; needs
    root.
    """

    def __init__(self, runc: str, criu: str, runtime: str, env: dict[str, str], scratch: str | None) -> None:
        self.state = tempfile.mkdtemp(prefix="gpu-check-", dir=scratch)
        self.runc = runc
        self.runtime = runtime
        self.runc_root = f"{self.state}/runc/k8s.io"
        self.lower = f"{self.state}/lower"
        self.cgroup = f"/{os.path.basename(self.state)}"
        self.env = {
            **os.environ,
            **env,
            "PATH": f"{os.path.dirname(criu)}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(
                [f"{REPOSITORY}/shim", *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "GLOWPLUG_RUNC": runc,
            "GLOWPLUG_PYTHON": sys.executable,
            "GLOWPLUG_CONFIG": f"{self.state}/config.toml",
            "GLOWPLUG_RUN_DIR": f"{self.state}/run",
        }
        settings = {
            "cache": f"{self.state}/cache",
            "criu": criu,
            "runc": runc,
            "containerd_socket": f"{self.state}/containerd.sock",
            "runc_root": f"{self.state}/runc",
            "min_free_bytes": 1 << 30,
        }
        with open(self.env["GLOWPLUG_CONFIG"], "w") as file:
            file.writelines(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        chain = "sha256:" + hashlib.sha256(json.dumps(SKELETON).encode()).hexdigest()
        self.daemon = Daemon(f"{self.state}/containerd.sock", runc, self.runc_root, chain)
        self._agent: subprocess.Popen[bytes] | None = None
        self._pods: list[Pod] = []

    def __enter__(self) -> Node:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # as the shim: restored tasks fall to us
        for name in ("run", *(f"lower/{name}" for name in SKELETON)):
            os.makedirs(f"{self.state}/{name}", 0o755)
        for name in ("bin", "sbin", "lib", "lib64"):
            os.symlink(f"usr/{name}", f"{self.lower}/{name}")
        self.daemon.start()
        with open(f"{self.state}/agent.log", "ab") as log:
            self._agent = subprocess.Popen(
                self.glowplug("agent"), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: os.path.exists(f"{self.state}/run/agent.sock"), 30, "the agent's socket")
        return self

    def __exit__(self, *_: object) -> None:
        for pod in list(self._pods):
            pod.remove()
        if self._agent is not None:
            self._agent.terminate()
            try:
                self._agent.wait(15)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait(5)
        self.daemon.stop()
        cgroup.remove(cgroup.directories(self.cgroup, systemd=False))
        shutil.rmtree(self.state, ignore_errors=True)

    def glowplug(self, *arguments: str) -> list[str]:
        """The command line of `glowplug`, by the Python that runs this."""
        code = "import sys; from glowplug.cli.main import main; sys.exit(main())"
        return [sys.executable, "-c", code, *arguments]

    def pod(self, workload: Workload) -> Pod:
        """A new pod with one container; not created yet."""
        made = Pod(self, workload)
        self._pods.append(made)
        return made

    def forget(self, pod: Pod) -> None:
        self._pods.remove(pod)

    def capture(self, pod: Pod) -> dict[str, Any]:
        """`glowplug capture --json` of a running pod. Raises Failed with what it said."""
        done = subprocess.run(
            self.glowplug("capture", "--json", "--namespace", NAMESPACE, pod.name),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CAPTURE_S,
        )
        if done.returncode != 0:
            raise Failed(f"expected a capture of {pod.name}, glowplug capture said: {done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def outcome(self, container: str) -> dict[str, Any]:
        """The outcome of a container's create, by the record that the runtime left."""

        def found() -> dict[str, Any]:
            folder = f"{self.state}/run/outcomes"
            records = [f"{folder}/{name}" for name in (os.listdir(folder) if os.path.isdir(folder) else ())]
            for path in [*records, f"{self.state}/cache/history.jsonl"]:
                try:
                    with open(path) as file:
                        lines = [json.loads(line) for line in file if line.strip()]
                except FileNotFoundError:  # taken in by the agent meanwhile
                    continue
                for record in lines:
                    if record.get("container_id") == container:
                        return dict(record)
            return {}

        record: dict[str, Any] = wait_until(found, 10, f"the outcome of {container}")
        return record

    def logs(self) -> str:
        """The end of the agent's log."""
        with open(f"{self.state}/agent.log", errors="replace") as log:
            return log.read()[-3000:]


class Pod:
    """A sandbox process and one container of runc."""

    def __init__(self, node: Node, workload: Workload) -> None:
        self._node = node
        self.workload = workload
        self.name = f"{workload.name}-x{uuid.uuid4().hex[:5]}"  # digits alone would be an ordinal: identity
        self.id = uuid.uuid4().hex * 2
        self._sandbox_id = uuid.uuid4().hex * 2
        self._uid = str(uuid.uuid4())
        self.bundle = f"{node.state}/bundles/{self.id}"
        self._shm = f"{node.state}/sandboxes/{self._sandbox_id}/shm"
        self.log = f"{node.state}/{self.name}.log"
        self._sandbox: subprocess.Popen[str] | None = None
        self.pid = 0

    def create(self) -> float:
        """Create and start the container; returns the seconds that both took. Raises Failed."""
        self._prepare()
        began = time.monotonic()
        self._runtime("create", "--bundle", self.bundle, "--pid-file", f"{self.bundle}/init.pid", self.id)
        with open(f"{self.bundle}/init.pid") as file:
            self.pid = self._node.daemon.containers[self.id].pid = int(file.read())
        self._runtime("start", self.id)
        return time.monotonic() - began

    def ask(self, path: str, timeout: float = 30, method: str = "GET") -> Any:
        """What the server in the pod answers."""
        assert self._sandbox is not None
        return netns.ask(self._sandbox.pid, path, timeout, method)

    def ready(self, path: str, within: float) -> Any:
        """The server's first answer, within so many seconds. Raises Failed with the end of its log."""
        until = time.monotonic() + within
        while True:
            try:
                return self.ask(path, max(1.0, until - time.monotonic()))
            except OSError as error:
                if time.monotonic() > until or not self.alive():
                    raise Failed(
                        f"expected {path} of {self.name} answered within {within:g} s, got {error}; "
                        f"its log ends: {self.output()}"
                    ) from error
                time.sleep(0.01)

    def runtime(self, verb: str, *arguments: str) -> None:
        """Another verb of the runtime, as containerd's shim calls it. Raises Failed."""
        self._runtime(verb, *arguments, self.id)

    def status(self) -> str:
        """What runc says of the container: running, paused, stopped; gone without one."""
        done = subprocess.run(
            [self._node.runc, "--root", self._node.runc_root, "state", self.id],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else "gone"

    def alive(self) -> bool:
        """Whether the container's first process lives; takes in its death."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] == 0
        except ChildProcessError:
            return os.path.exists(f"/proc/{self.pid}")

    def output(self) -> str:
        """The end of what the container wrote."""
        try:
            with open(self.log, errors="replace") as file:
                return file.read()[-2000:]
        except FileNotFoundError:
            return ""

    def outcome(self) -> dict[str, Any]:
        """How this container was started."""
        return self._node.outcome(self.id)

    def remove(self) -> None:
        """Kill the container, delete it, and remove its pod."""
        self._node.forget(self)
        if os.path.isdir(f"{self._node.runc_root}/{self.id}"):
            subprocess.run(
                [self._node.runc, "--root", self._node.runc_root, "kill", self.id, "KILL"],
                capture_output=True,
                timeout=30,
            )
            wait_until(lambda: not self.alive(), 30, f"the end of {self.name}")
            self._runtime("delete", "--force", self.id)
        self._node.daemon.containers.pop(self.id, None)
        self._node.daemon.containers.pop(self._sandbox_id, None)
        for target in (f"{self.bundle}/rootfs", self._shm):
            subprocess.run(["umount", target], capture_output=True, timeout=30)
        if self._sandbox is not None:
            self._sandbox.kill()
            self._sandbox.communicate(timeout=10)
        shutil.rmtree(self.bundle, ignore_errors=True)

    def _prepare(self) -> None:
        node, root = self._node, f"{self.bundle}/rootfs"
        for folder in (root, f"{self.bundle}/upper", f"{self.bundle}/work", self._shm, node.runc_root):
            os.makedirs(folder, exist_ok=True)
        overlay = (f"lowerdir={node.lower}", f"upperdir={self.bundle}/upper", f"workdir={self.bundle}/work")
        _mount("-t", "overlay", "overlay", "-o", ",".join(overlay), root)
        _mount("-t", "tmpfs", "-o", "nosuid,nodev,noexec,mode=1777", "shm", self._shm)
        self._sandbox = subprocess.Popen(
            [sys.executable, f"{REPOSITORY}/hack/gpulib/sandbox.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._sandbox.stdout is not None
        if self._sandbox.stdout.readline() != "ready\n":
            raise Failed("expected namespaces for a pod, but they can't be made")
        config = self._spec(self._sandbox.pid)
        with open(f"{self.bundle}/config.json", "w") as file:
            json.dump(config, file)
        pod = {"io.kubernetes.pod.namespace": NAMESPACE, "io.kubernetes.pod.name": self.name}
        own = {"io.cri-containerd.kind": "container", "io.kubernetes.container.name": self.workload.name}
        node.daemon.containers[self.id] = Known(self.id, config, pod | own, overlay)
        # The pod's sysctls are in its sandbox's spec: there are none.
        node.daemon.containers[self._sandbox_id] = Known(
            self._sandbox_id, config, {**pod, "io.cri-containerd.kind": "sandbox"}, overlay
        )

    def _spec(self, sandbox: int) -> dict[str, Any]:
        cri = "io.kubernetes.cri."
        return spec.spec(
            args=self.workload.args,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **self.workload.env},
            mounts=[
                spec.bind(self._shm, "/dev/shm", "rw"),
                *spec.host_mounts(),
                spec.bind(WORKLOADS, "/check"),
                *self.workload.mounts,
            ],
            devices=self.workload.devices,
            sandbox_pid=sandbox,
            annotations={
                f"{cri}container-type": "container",
                f"{cri}sandbox-id": self._sandbox_id,
                f"{cri}sandbox-name": self.name,
                f"{cri}sandbox-namespace": NAMESPACE,
                f"{cri}sandbox-uid": self._uid,
                f"{cri}container-name": self.workload.name,
                f"{cri}image-name": "gpu-check",
            },
            cgroup=f"{self._node.cgroup}/{self.id}",
            memory_limit=self.workload.memory_limit,
        )

    def _runtime(self, verb: str, *arguments: str) -> None:
        """The runtime as the shim calls it: for create with the container's own pipes. Raises Failed."""
        node = self._node
        command = [
            *(node.runtime, "--root", node.runc_root),
            *("--log", f"{self.bundle}/log.json", "--log-format", "json", verb, *arguments),
        ]
        reads, writes = os.pipe()
        threading.Thread(target=_drain, args=(reads, self.log), daemon=True).start()
        try:
            done = subprocess.run(
                command,
                env=node.env,
                stdin=subprocess.DEVNULL,
                stdout=writes,
                stderr=writes,
                timeout=CREATE_S,
            )
        finally:
            os.close(writes)
        if done.returncode != 0:
            raise Failed(f"expected {verb} of {self.name} to succeed, got {self._said() or done.returncode}")

    def _said(self) -> str:
        try:
            with open(f"{self.bundle}/log.json", errors="replace") as log:
                return log.read()[-2000:]
        except FileNotFoundError:
            return ""


def wait_until(condition: Callable[[], Any], within: float, what: str) -> Any:
    """The condition's first true value. Raises Failed, which says what was waited for."""
    until = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > until:
            raise Failed(f"no {what} within {within:g} s")
        time.sleep(0.01)
    return found


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Failed(f"expected mount {' '.join(arguments)}, got {done.stderr.strip()}")


def _drain(pipe: int, path: str) -> None:
    """What a container writes goes to a file of ours: its own end is a pipe, as under containerd."""
    with open(path, "ab") as log:
        while data := os.read(pipe, 65536):
            log.write(data)
            log.flush()
    os.close(pipe)


def end(process: subprocess.Popen[Any]) -> None:
    """End a helper process of a check."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
