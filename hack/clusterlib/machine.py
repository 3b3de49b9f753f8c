"""The node's namespaces: mounts, network and processes of its own, kept by one process that reaps.

What a node writes at fixed places goes into the cluster's directory: overlays over /etc, /opt, /usr/local and
/var/lib, its own directories below /var/lib, a tmpfs on /run. The sysctls that a kubelet sets are files of the
cluster's own.
"""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from hack.clusterlib.place import FIRST, GATEWAY, Host, Place

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OVERLAID = ("/etc", "/opt", "/usr/local", "/var/lib")
OWN = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/glowplug", "/var/log")
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
ENDS_WITHIN_S = 20.0


class Failed(Exception):
    """One line: what could not be done."""


class Machine:
    """A node of one cluster, whether it is up or not."""

    def __init__(self, place: Place, host: Host = FIRST) -> None:
        self.place = place
        self.host = host

    @property
    def init(self) -> int | None:
        """Its process 1, as this machine numbers it; None where the node is down."""
        try:
            with open(self.place.pid_file) as file:
                pid = int(file.read())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def command(self, words: Sequence[str], *, online: bool = False) -> list[str]:
        """What runs these words on the node, in this working directory. `online`: with this machine's network and not
        the node's."""
        if self.init is None:
            raise Failed("the cluster is down: hack/cluster up")
        spaces = ["-m", "-p"] if online else ["-m", "-p", "-n"]
        return ["nsenter", "-t", str(self.init), *spaces, f"--wdns={os.getcwd()}", "--", *words]

    def run(
        self, *words: str, online: bool = False, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """On the node; Failed with the last line of its error where it fails."""
        done = subprocess.run(
            self.command(words, online=online),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check and done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise Failed(f"{' '.join(words)[:120]} ended with status {done.returncode}: {said}")
        return done

    def start(self, name: str, *words: str) -> None:
        """A daemon: its parent is the node's process 1, its log is the cluster's."""
        log = f"{self.place.logs}/{name}.log"
        script = 'log=$1; name=$2; shift 2; setsid "$@" </dev/null >>"$log" 2>&1 & echo $! >"/run/$name.pid"'
        self.run("/bin/sh", "-c", script, "sh", log, name, *words)

    def stop(self, name: str, signal_name: str = "TERM") -> None:
        """A daemon that `start` began, and wait until it is gone."""
        script = (
            'pid=$(cat "/run/$1.pid") || exit 0; kill -s "$2" "$pid" 2>/dev/null; '
            'for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done; exit 1'
        )
        self.run("/bin/sh", "-c", script, "sh", name, signal_name)

    def up(self) -> None:
        """The namespaces, with nothing in them."""
        state = self.place.state
        for folder in ("log", "kubeconfig", "fake"):
            os.makedirs(f"{state}/{folder}", exist_ok=True)
        holder = subprocess.Popen(
            [
                *(
                    "unshare",
                    "-m",
                    "-n",
                    "-p",
                    "-f",
                    "--kill-child",
                    "--propagation",
                    "private",
                    "--mount-proc",
                ),
                *("tini", "-s", "--", "sleep", "infinity"),
            ],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        init = _child(holder.pid)
        with open(self.place.pid_file, "w") as file:
            file.write(str(init))
        self._mount()
        self._network()
        self._cgroups()

    def down(self) -> None:
        """Everything that runs on it, its cgroups, and its directory. Nothing where it is not there."""
        init = self.init
        if init is not None:
            os.kill(init, signal.SIGKILL)  # all processes of its PID namespace end with it
            until = time.monotonic() + ENDS_WITHIN_S
            while self.init is not None and time.monotonic() < until:
                time.sleep(0.05)
        until = time.monotonic() + ENDS_WITHIN_S
        while self._remove_cgroups() and time.monotonic() < until:
            time.sleep(0.1)
        left = self._remove_cgroups()
        shutil.rmtree(self.place.state, ignore_errors=True)
        if left or os.path.exists(self.place.state):
            raise Failed(f"still there: {', '.join([*left[:3], self.place.state])}")

    def _mount(self) -> None:
        state = self.place.state
        lines = ["set -e", "mount --make-rshared /"]
        for path in OVERLAID:
            upper, work = (f"{state}/overlay{path}/{kind}" for kind in ("upper", "work"))
            os.makedirs(upper)
            os.makedirs(work)
            lines.append(
                f"mount -t overlay overlay -o lowerdir={path},upperdir={upper},workdir={work} {path}"
            )
        for path in OWN:
            os.makedirs(f"{state}/own{path}")
            lines.append(f"mkdir -p {path} && mount --bind {state}/own{path} {path}")
        lines.append("mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock")
        for name, value in SYSCTLS.items():
            fake = f"{state}/fake/{name.replace('/', '_')}"
            with open(fake, "w") as file:
                file.write(f"{value}\n")
            lines.append(f"mount --bind {fake} /proc/sys/{name}")
        # What a kubelet and the runtimes below it make of cgroups is v1 here: v2 beside it would confuse both.
        lines.append("! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified")
        self.run("/bin/sh", "-c", "\n".join(lines))

    def _network(self) -> None:
        """An address and a default route, for which the kubelet and the API server look. Nothing is behind it."""
        script = f"""set -e
        ip link set lo up
        ip link add node0 type veth peer name node1
        ip addr add {self.host.address}/24 dev node0
        ip link set node0 up
        ip link set node1 up
        ip route add default via {GATEWAY} dev node0"""
        self.run("/bin/sh", "-c", script)

    def _cgroups(self) -> None:
        for hierarchy in _hierarchies():
            os.makedirs(hierarchy + self.place.cgroup, exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            parent = f"/sys/fs/cgroup/cpuset/{name}"
            if os.path.exists(parent):
                with open(parent) as file:
                    value = file.read()
                with open(f"/sys/fs/cgroup/cpuset{self.place.cgroup}/{name}", "w") as file:
                    file.write(value)

    def _remove_cgroups(self) -> list[str]:
        """Those that are still busy."""
        left = []
        for hierarchy in _hierarchies():
            for folder, _, _ in os.walk(hierarchy + self.place.cgroup, topdown=False):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    continue
                except OSError:
                    left.append(folder)
        return left


def environment() -> dict[str, str]:
    """As a service manager gives it."""
    kept = {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE") if name in os.environ}
    return {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **kept}


def _hierarchies() -> list[str]:
    """Mounted cgroup v1 hierarchies; links to them (cpu, cpuacct) counted once."""
    return [
        path
        for path in glob.glob("/sys/fs/cgroup/*")
        if os.path.ismount(path) and not path.endswith("/unified")
    ]


def _child(pid: int) -> int:
    """The only child of a process that has just been started."""
    until = time.monotonic() + ENDS_WITHIN_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
            found = file.read().split()
            if found:
                with open(f"/proc/{found[0]}/comm") as comm:
                    if comm.read() == "tini\n":
                        return int(found[0])
        time.sleep(0.02)
    raise Failed("the node's namespaces could not be made: unshare failed (needs root, util-linux, tini)")
