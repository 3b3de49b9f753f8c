"""Finds and removes what a node leaves on the machine, by its names alone.

`python -m integration.sweep` (hack/clean) does so for the nodes whose owner is dead.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from integration import processes
from integration.node_names import Names, all_names
from integration.waiting import wait_until

KILLED_WITHIN_S = 10.0
CNI_CACHE = "/var/lib/cni/results"


def leftovers(names: Names) -> list[str]:
    """One line for each thing of a node that is not its state directory."""
    return (
        [f"process {pid}: {processes.name(pid)}" for pid in _pids(names)]
        + [f"mount {point}" for point in processes.mounts_under(names.state)]
        + [f"cgroup {directory}" for directory in _container_cgroups(names)]
        + [f"CNI result {path}" for path in _cni_results(names)]
        + [f"shim socket {path}" for path in _shim_sockets(names)]
    )


def sweep(names: Names) -> list[str]:
    """Remove a node, bridge and state directory included. Returns what `leftovers` found before."""
    found = leftovers(names)
    _kill(names)
    for path in _shim_sockets(names) + _cni_results(names):
        os.unlink(path)
    _unmount(names)
    for directory in processes.cgroups_called(names.cgroup_parent):
        for parent, _, _ in os.walk(directory, topdown=False):
            with contextlib.suppress(FileNotFoundError):  # another session sweeps, too
                os.rmdir(parent)
    if os.path.exists(f"/sys/class/net/{names.bridge}"):
        subprocess.run(["ip", "link", "delete", names.bridge], check=True)
    shutil.rmtree(names.state)
    return found


def _pids(names: Names) -> list[int]:
    """Those that name the state directory in their arguments (containerd, shims, runc, CRIU), and those in
    the pods' cgroups."""
    found = set(processes.pids_naming(names.state))
    for directory in processes.cgroups_called(names.cgroup_parent):
        found.update(processes.pids_in_cgroup(directory))
    return sorted(found)


def _container_cgroups(names: Names) -> list[str]:
    """Below the pods' parent, which itself is nobody's to remove before the node goes."""
    return [
        f"{directory}/{child}"
        for directory in processes.cgroups_called(names.cgroup_parent)
        for child in next(os.walk(directory))[1]
    ]


def _kill(names: Names) -> None:
    """Until none is left: a process may fork before the signal reaches it, and a frozen one needs a thaw."""

    def killed() -> bool:
        pids = _pids(names)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _thaw(names)
        return not any(processes.is_alive(pid) for pid in pids)

    wait_until(killed, KILLED_WITHIN_S, f"the processes of node {names.id} killed")


def _thaw(names: Names) -> None:
    for directory in processes.cgroups_called(names.cgroup_parent):
        for parent, _, files in os.walk(directory):
            for file, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if file in files:
                    with contextlib.suppress(OSError), open(f"{parent}/{file}", "w") as control:
                        control.write(thawed)


def _unmount(names: Names) -> None:
    for point in processes.mounts_under(names.state):
        subprocess.run(["umount", "--lazy", "--no-canonicalize", point], check=True)


def _cni_results(names: Names) -> list[str]:
    return sorted(glob.glob(f"{CNI_CACHE}/{names.bridge}-*"))


def _shim_sockets(names: Names) -> list[str]:
    """Sockets of shims: outside of containerd's directories, their paths noted in the bundles.

    A socket with a shim that still listens counts as well: its process is in `leftovers` too.
    """
    found = []
    for note in glob.glob(f"{names.state}/state/io.containerd.runtime.v2.task/*/*/address"):
        with contextlib.suppress(OSError), open(note) as file:
            path = file.read().strip().removeprefix("unix://")
            if os.path.exists(path):
                found.append(path)
    return sorted(set(found))


def owner_is_dead(names: Names) -> bool:
    """Whether the process that runs the node has ended. A node without a note is just being made."""
    try:
        with open(names.owner) as file:
            pid, start = file.read().split()
    except (OSError, ValueError):
        return False
    return processes.start_time(int(pid)) != start


def sweep_abandoned() -> list[str]:
    """Remove every node whose owner is dead. Returns a line for each thing that was there.

    One process at a time: several test runs and demos begin with it.
    """
    removed = []
    lock = os.open(tempfile.gettempdir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        for names in all_names():
            if owner_is_dead(names):
                removed += [f"node {names.id} in {names.state}", *sweep(names)]
    finally:
        os.close(lock)
    return removed


def main() -> None:
    """Remove abandoned nodes and print what was there."""
    for line in sweep_abandoned():
        sys.stdout.write(f"removed {line}\n")


if __name__ == "__main__":
    main()
