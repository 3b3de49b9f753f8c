"""A private node: a real containerd of its own, with the handlers `runc` and `glowplug`, beside any other.

    with Node() as node:
        node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        …calls of node.cri…

Nothing of a containerd that the machine already runs is used or touched. Needs root.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from glowplug.errors import ContainerdError
from integration import images, processes
from integration.cri_client import Cri
from integration.node_config import (
    PATH,
    cni_config,
    containerd_config,
    containerd_version,
    glowplug_config,
    runc_program,
)
from integration.node_names import PAUSE_IMAGE, Names, new_names
from integration.sweep import sweep
from integration.waiting import wait_until

GLOWPLUG = f"{os.path.dirname(sys.executable)}/glowplug"
RUNTIME = f"{images.REPOSITORY}/shim/glowplug-runtime"
CRIU = f"{images.REPOSITORY}/.build/criu/bin/criu"
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 60.0

# Runs containerd again when it ends, as systemd would; `down` keeps it down, `stop` is the end. A shell exports a PWD.
KEEP_RUNNING = """
unset PWD
while [ ! -e "$1/stop" ]; do
    "$2" --config "$1/containerd.toml" & daemon=$!
    echo $daemon >"$1/containerd.pid.new" && mv "$1/containerd.pid.new" "$1/containerd.pid"
    wait $daemon
    while [ -e "$1/down" ]; do sleep 0.05; done
done
"""


class Node:
    """A containerd with state of its own. `start` and `stop`, or `with`.

    `runtime`: program behind the handler `glowplug`, None: no such handler.
    `settings`: further keys of Glowplug's config.toml.
    """

    def __init__(
        self,
        *,
        containerd: str = "containerd",
        runtime: str | None = RUNTIME,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.names: Names = new_names()
        self.version = containerd_version(containerd)
        self._containerd = containerd
        self._runtime = runtime
        self.more_env: Mapping[str, str] = {}
        self.cri = Cri(self.names.socket)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self._note_owner()
        self.write_settings(settings or {})

    @property
    def env(self) -> dict[str, str]:
        """Environment of everything on the node: containerd, the runtime, the agent, the command line; with `more_env`.

        Without what a shell notes there: a service manager sets no PWD.
        """
        return {
            **{name: value for name, value in os.environ.items() if name not in ("PWD", "OLDPWD")},
            "PATH": f"{os.path.dirname(CRIU)}:{os.path.dirname(sys.executable)}:{PATH}",
            "GLOWPLUG_CONFIG": self.names.config,
            "GLOWPLUG_PREFIX": f"{self.names.state}/prefix",
            "GLOWPLUG_RUNC": runc_program(),
            "GLOWPLUG_RUN_DIR": self.names.run_dir,
            **self.more_env,
        }

    def __enter__(self) -> "Node":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self.stop()
        if left and kind is None:
            raise AssertionError(f"node {self.names.id} left: " + "; ".join(left))

    def start(self) -> None:
        """containerd answers and has the sandboxes' image. Raises TimeoutError with the end of its log."""
        names = self.names
        os.makedirs(f"{names.state}/cni")
        _write(f"{names.state}/cni/10-{names.bridge}.conflist", cni_config(names))
        _write(f"{names.state}/containerd.toml", containerd_config(names, self.version, self._runtime))
        # Shims outlive containerd: as a subreaper, tini is the parent that they fall to.
        with open(f"{names.state}/containerd.log", "ab") as log:
            self._keeper = subprocess.Popen(
                ["tini", "-s", "--", "/bin/sh", "-c", KEEP_RUNNING, "sh", names.state, self._containerd],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then remove the pods
            )
        self.wait_ready()
        self.import_image(images.pause_image(), PAUSE_IMAGE)

    def stop(self) -> list[str]:
        """Remove the pods through CRI, stop everything, remove every trace.

        Returns one line for each thing that was still there although its owner said that it had removed it.
        """
        left = self._remove_pods()
        self.cri.close()
        self.stop_agent()
        _write(f"{self.names.state}/stop", "")
        if self._keeper:
            self._signal_containerd(signal.SIGTERM)
            try:
                self._keeper.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
                left.append(f"containerd after {STOPS_WITHIN_S:g} s")
            self._keeper = None
        return left + sweep(self.names)

    def wait_ready(self) -> None:
        """Until the CRI plugin is there."""
        try:
            wait_until(self._has_cri, STARTS_WITHIN_S, f"containerd at {self.names.socket}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log_end()}") from None

    def ctr(self, *arguments: str) -> str:
        """Output of `ctr` in CRI's namespace. Raises CalledProcessError."""
        command = ["ctr", "--address", self.names.socket, "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=self.env).stdout

    def import_image(self, archive: str, reference: str) -> None:
        """Import an OCI archive; returns when CRI knows the image."""
        self.ctr("images", "import", archive)
        wait_until(lambda: self._cri_knows(reference), STARTS_WITHIN_S, f"the image {reference} known to CRI")

    def write_settings(self, settings: Mapping[str, object]) -> None:
        """Glowplug's config.toml again: these keys besides the node's own. The runtime reads it each time."""
        _write(self.names.config, glowplug_config(self.names, CRIU, settings))

    def containerd_pid(self) -> int:
        """Of the containerd that runs now."""
        with open(f"{self.names.state}/containerd.pid") as file:
            return int(file.read())

    def kill_containerd(self, down_s: float = 0.0) -> None:
        """SIGKILL containerd and let it come back after this time, ready to serve."""
        _write(f"{self.names.state}/down", "")
        before = self.containerd_pid()
        self._signal_containerd(signal.SIGKILL)
        time.sleep(down_s)
        os.unlink(f"{self.names.state}/down")
        wait_until(lambda: self.containerd_pid() != before, STARTS_WITHIN_S, "containerd started again")
        self.wait_ready()

    def ensure_agent(self) -> None:
        """A running agent: the one that is there, or a new one."""
        if self._agent and self._agent.poll() is None:
            return
        self.stop_agent()
        self.start_agent()

    def start_agent(self) -> None:
        """`glowplug agent`, until its socket accepts."""
        os.makedirs(self.names.run_dir, 0o700, exist_ok=True)
        with open(f"{self.names.state}/agent.log", "ab") as log:
            self._agent = subprocess.Popen(
                [GLOWPLUG, "agent", "--config", self.names.config],
                env=self.env,
                cwd=images.REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._agent_answers, STARTS_WITHIN_S, f"the agent at {self.agent_socket}")

    @property
    def agent_pid(self) -> int | None:
        """Of the agent that was started here and still runs."""
        return self._agent.pid if self._agent and self._agent.poll() is None else None

    @property
    def agent_socket(self) -> str:
        """Where the agent listens, and where a test may put another thing that does."""
        return f"{self.names.run_dir}/agent.sock"

    def stop_agent(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Returns when it has ended; nothing to do when there is none."""
        if self._agent is None:
            return
        self._agent.send_signal(by)
        try:
            self._agent.wait(STOPS_WITHIN_S)
        finally:
            self._agent.kill()
            self._agent.wait()
            self._agent = None

    def kill_agent_with(self, *pids: int) -> None:
        """The agent and these processes, by SIGKILL; none lives to see another's end.

        The agent is stopped first. Were it killed first, the kernel would send SIGHUP to a stopped process of its
        session (setpgid(2): orphaned process groups), which ends it before it is killed here.
        """
        assert self._agent is not None
        self._agent.send_signal(signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.stop_agent(signal.SIGKILL)

    def log_end(self, lines: int = 40) -> str:
        """The last lines of containerd's log."""
        try:
            with open(f"{self.names.state}/containerd.log") as file:
                return "".join(file.readlines()[-lines:])
        except FileNotFoundError:
            return "(containerd wrote no log)"

    def _note_owner(self) -> None:
        pid = os.getpid()
        _write(self.names.owner, f"{pid} {processes.start_time(pid)}")

    def _has_cri(self) -> bool:
        if self._keeper and self._keeper.poll() is not None:
            raise TimeoutError(f"expected containerd to run, it ended\n{self.log_end()}")
        try:
            conditions = self.cri.status().conditions
        except ContainerdError:
            return False
        # 1.7 and newer have further conditions, such as that no deprecated setting is in use.
        return conditions["RuntimeReady"] and conditions["NetworkReady"]

    def _cri_knows(self, reference: str) -> bool:
        """CRI labels the images that it has taken note of."""
        return any(
            line.startswith(reference) and "io.cri-containerd.image=managed" in line
            for line in self.ctr("images", "ls", f"name=={reference}").splitlines()
        )

    def _agent_answers(self) -> bool:
        if self._agent and self._agent.poll() is not None:
            with open(f"{self.names.state}/agent.log") as log:
                raise TimeoutError(f"expected the agent to run, it ended:\n{log.read()[-2000:]}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STARTS_WITHIN_S)
            try:
                connection.connect(self.agent_socket)
                connection.sendall(b'{"op": "history", "container": ""}\n')
                return connection.recv(1) != b""
            except OSError:
                return False

    def _signal_containerd(self, number: signal.Signals) -> None:
        try:
            os.kill(self.containerd_pid(), number)
        except (FileNotFoundError, ProcessLookupError):
            return  # it never came up, or has ended on its own

    def _remove_pods(self) -> list[str]:
        """What could not be removed, and why."""
        if not self._keeper or self._keeper.poll() is not None:
            return []
        try:
            for pod in self.cri.list_pod_sandbox():
                self.cri.stop_pod_sandbox(pod.id)
                self.cri.remove_pod_sandbox(pod.id)
        except ContainerdError as error:
            return [f"pods: {error}"]
        return []


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
