"""The OCI spec of a container as CRI writes it, with the host's own /usr, /opt and NVIDIA libraries mounted
in.
"""

from __future__ import annotations

import os
import stat
from typing import Any

CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP"),
        *("SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
]
MASKED = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/sys/firmware",
]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
HOST_DIRECTORIES = ("/usr", "/opt", "/etc")
_VIRTUAL = {"proc", "sysfs", "cgroup", "cgroup2", "devtmpfs", "devpts", "mqueue", "bpf"}

KERNEL_MOUNTS = (
    ("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
)


def nvidia_nodes(gpus: list[str]) -> list[str]:
    """Device nodes of GPUs (/dev/nvidiaN), with those that every CUDA process opens, as far as they exist."""
    shared = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
    return [*gpus, *(path for path in shared if os.path.exists(path))]


def host_mounts() -> list[dict[str, Any]]:
    """The host's directories read-only, and the file systems that are mounted below them one by one.

    Not recursively: CRIU would find mounts in the container that the spec does not name.
    """
    targets = [path for path in HOST_DIRECTORIES if os.path.isdir(path)]
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            target, kind = left.split()[4], right.split()[0]
            below = any(target.startswith(f"{top}/") for top in HOST_DIRECTORIES)
            if below and kind not in _VIRTUAL and "\\" not in target:
                targets.append(target)
    return [bind(path, path) for path in targets]


def bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    """A bind mount, read-only unless set otherwise."""
    return {
        "destination": destination,
        "type": "bind",
        "source": source,
        "options": ["bind", "rprivate", *(options or ("ro",))],
    }


def device(path: str, node: tuple[int, int] | None = None) -> dict[str, Any]:
    """A character device of the spec; node: major and minor where there is no such file on this host."""
    found = os.makedev(*node) if node else os.stat(path).st_rdev
    return {
        "path": path,
        "type": "c",
        "major": os.major(found),
        "minor": os.minor(found),
        "fileMode": stat.S_IFCHR | 0o666,
        "uid": 0,
        "gid": 0,
    }


def spec(
    *,
    args: list[str],
    env: dict[str, str],
    mounts: list[dict[str, Any]],
    devices: list[dict[str, Any]],
    sandbox_pid: int,
    annotations: dict[str, str],
    cgroup: str,
    memory_limit: int | None,
) -> dict[str, Any]:
    """config.json. memory_limit in bytes."""
    rules = [{"allow": False, "access": "rwm"}]
    for entry in devices:
        numbers = {"major": entry["major"], "minor": entry["minor"]}
        rules.append({"allow": True, "type": "c", "access": "rwm", **numbers})
    resources: dict[str, Any] = {"devices": rules}
    if memory_limit is not None:
        resources["memory"] = {"limit": memory_limit}
    kernel = [
        {"destination": at, "type": kind, "source": kind, "options": options}
        for at, kind, options in KERNEL_MOUNTS
    ]
    joined = ({"type": kind, "path": f"/proc/{sandbox_pid}/ns/{at}"} for kind, at in _JOINED)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": [f"{name}={value}" for name, value in env.items()],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        },
        "root": {"path": "rootfs"},
        "mounts": [*kernel, *mounts],
        "annotations": annotations,
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, *joined],
            "devices": devices,
            "resources": resources,
            "cgroupsPath": cgroup,
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    }


_JOINED = (("ipc", "ipc"), ("uts", "uts"), ("network", "net"))
