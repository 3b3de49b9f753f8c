"""A node that loses its power and boots again: what was in memory is gone, what was on a disk is there.

The control plane, which runs on the same machine here, stays up, as if it were elsewhere.
"""

import uuid

from hack.clusterlib.machine import Machine
from hack.clusterlib.node import start_kubelet, write

_BOOT_ID = "/proc/sys/kernel/random/boot_id"

# Its daemons, all pods with their shims, mounts, cgroups, network devices, and what lies on the tmpfs /run.
_OFF = """
for name in kubelet unit-containerd unit-glowplug-agent; do
    pid=$(cat "/run/$name.pid" 2>/dev/null) && kill -9 "$pid" 2>/dev/null
done
those() {
    find "/sys/fs/cgroup/pids$1" -mindepth 2 -name cgroup.procs -exec cat {} + | grep -vx 0
    grep -lx containerd-shim /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3
}
for _ in $(seq 300); do
    pids=$(those "$1" 2>/dev/null)
    [ -n "$pids" ] || break
    kill -9 $pids 2>/dev/null
    sleep 0.1
done
[ -z "$pids" ] || exit 1
cut -d" " -f5 /proc/self/mountinfo | grep -E "^/(run|var/lib)/(containerd|glowplug|kubelet|netns)/" | tac |
    while read -r path; do umount -l "$path"; done
rm -rf /run/containerd /run/glowplug /run/netns /run/runc /run/unit-* /run/notify-* /run/kubelet.pid
for hierarchy in /sys/fs/cgroup/*"$1"; do find "$hierarchy" -mindepth 1 -depth -type d -exec rmdir {} +; done
ip link del pods0
exit 0
"""


def off(machine: Machine) -> None:
    """Without a word to anybody."""
    machine.run("/bin/sh", "-c", _OFF, "sh", machine.place.cgroup)


def on(machine: Machine) -> None:
    """containerd and the kubelet, in a boot of its own; who else is a unit of the node is started by the caller."""
    path = f"{machine.place.state}/boot_id"
    write(machine, path, f"{uuid.uuid4()}\n")
    machine.run("mount", "--bind", path, _BOOT_ID)
    machine.run("systemctl", "start", "containerd")
    start_kubelet(machine)
