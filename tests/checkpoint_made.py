"""A bundle as containerd's CRI writes it for a pod of the kubelet, and what goes with it."""

import copy
import json
from typing import Any

from glowplug.checkpoint import bundle, key, manifest, requirements
from glowplug.checkpoint.noise import SandboxFacts
from glowplug.checkpoint.verdict import Now
from glowplug.checkpoint.worth import NodeRates

SALT = b"a salt of the node's own"
CHAIN = "sha256:" + "5a" * 32
UID = "0c5f2a8e-6a53-4a0e-9a55-6d6d2a1b7c11"
SANDBOX = "5b" * 32
CONTAINER = "c0" * 32
POD = "server-7d9f8c6b5d-x2k4q"
SECRET = "hunter2-do-not-print"

KUBELET = f"/var/lib/kubelet/pods/{UID}"
CRI = "/var/lib/containerd/io.containerd.grpc.v1.cri"
CRI_STATE = "/run/containerd/io.containerd.grpc.v1.cri"
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"]


def bind(destination: str, source: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": source,
        "options": ["rbind", "rprivate", *options],
    }


def service(name: str, host: str, port: int) -> list[str]:
    link = f"{name}_PORT_{port}_TCP"
    return [
        f"{name}_SERVICE_HOST={host}",
        f"{name}_SERVICE_PORT={port}",
        f"{name}_SERVICE_PORT_HTTP={port}",
        f"{name}_PORT=tcp://{host}:{port}",
        f"{link}=tcp://{host}:{port}",
        f"{link}_PROTO=tcp",
        f"{link}_PORT={port}",
        f"{link}_ADDR={host}",
    ]


def spec() -> dict[str, Any]:
    """A fresh config.json, to be changed at will."""
    return copy.deepcopy(_SPEC)


_SPEC: dict[str, Any] = {
    "ociVersion": "1.1.0",
    "process": {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [1000, 2000]},
        "args": ["/usr/bin/server", "--port=8000", "--token", SECRET],
        "env": [
            "PATH=/usr/bin",
            f"HOSTNAME={POD}",
            f"API_KEY={SECRET}",
            f"POD_UID={UID}",
            "ADVERTISE=http://10.1.2.3:8000/",
            "NODE_NAME=gpu-node-7",
            *service("KUBERNETES", "10.96.0.1", 443),
        ],
        "cwd": "/srv",
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}],
        "noNewPrivileges": True,
        "apparmorProfile": "cri-containerd.apparmor.d",
        "selinuxLabel": "system_u:system_r:container_t:s0:c1,c2",
        "oomScoreAdj": 999,
    },
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
        bind("/data", "/srv/data", "rw"),
        bind("/etc/hosts", f"{KUBELET}/etc-hosts", "rw"),
        bind("/dev/termination-log", f"{KUBELET}/containers/main/3f2a9c1d", "rw"),
        bind("/etc/hostname", f"{CRI}/sandboxes/{SANDBOX}/hostname", "rw"),
        bind("/etc/resolv.conf", f"{CRI}/sandboxes/{SANDBOX}/resolv.conf", "rw"),
        bind("/dev/shm", f"{CRI_STATE}/sandboxes/{SANDBOX}/shm", "rw"),
        bind("/etc/app", f"{KUBELET}/volumes/kubernetes.io~configmap/app", "ro"),
        bind("/scratch", f"{KUBELET}/volumes/kubernetes.io~empty-dir/scratch", "rw"),
        bind("/model", f"{KUBELET}/volumes/kubernetes.io~csi/pvc-model-a/mount", "ro"),
        bind(TOKENS, f"{KUBELET}/volumes/kubernetes.io~projected/kube-api-access-x8z2q", "ro"),
        bind("/cache", f"{CRI}/containers/{CONTAINER}/volumes/{'ab' * 16}", "rw"),
    ],
    "annotations": {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "main",
        "io.kubernetes.cri.image-name": "docker.io/library/server:1",
        "io.kubernetes.cri.sandbox-id": SANDBOX,
        "io.kubernetes.cri.sandbox-name": POD,
        "io.kubernetes.cri.sandbox-namespace": "models",
        "io.kubernetes.cri.sandbox-uid": UID,
    },
    "linux": {
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 8 << 30},
            "cpu": {"shares": 1024, "quota": 200000, "period": 100000},
        },
        "cgroupsPath": f"/kubepods/burstable/pod{UID}/{CONTAINER}",
        "namespaces": [
            {"type": "pid"},
            {"type": "ipc", "path": "/proc/4711/ns/ipc"},
            {"type": "uts", "path": "/proc/4711/ns/uts"},
            {"type": "mount"},
            {"type": "network", "path": "/proc/4711/ns/net"},
        ],
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}],
        },
        "sysctl": {"net.core.somaxconn": "1024"},
        "maskedPaths": ["/proc/kcore", "/proc/acpi"],
        "readonlyPaths": ["/proc/sys"],
        "devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}
        ],
    },
}

SANDBOX_FACTS = SandboxFacts(
    name=POD,
    namespace="models",
    uid=UID,
    ips=("10.1.2.3",),
    hostname=POD,
    node_names=("gpu-node-7",),
    node_ips=("192.168.7.7",),
)
ANSWERS = {
    "/etc/app": "content of the ConfigMap " + SECRET,
    "/model": "persistent csi.example.com handle-a",
    TOKENS: "server",
}


def other_pod(found: dict[str, Any]) -> tuple[dict[str, Any], SandboxFacts]:
    """The same workload as the next pod of the same Deployment: all that a new pod changes is changed."""
    text = json.dumps(found)
    fresh = {
        UID: "9e107d9d-372b-4b6e-8d5a-1f0a2c3b4d5e",
        SANDBOX: "e5" * 32,
        CONTAINER: "f1" * 32,
        POD: "server-7d9f8c6b5d-m7vtb",
        "10.1.2.3": "10.9.8.7",
        "gpu-node-7": "gpu-node-9",
        "/proc/4711/": "/proc/99/",
        "3f2a9c1d": "77aa0b1c",
        "kube-api-access-x8z2q": "kube-api-access-b4n6m",
        "ab" * 16: "cd" * 16,
        ":c1,c2": ":c7,c9",
    }
    for old, new in fresh.items():
        text = text.replace(old, new)
    facts = SandboxFacts(
        name=fresh[POD],
        namespace="models",
        uid=fresh[UID],
        ips=("10.9.8.7",),
        hostname=fresh[POD],
        node_names=("gpu-node-9",),
        node_ips=("192.168.7.9",),
    )
    return json.loads(text), facts


def key_of(
    found: dict[str, Any] | None = None, facts: SandboxFacts = SANDBOX_FACTS, **changes: Any
) -> key.WorkloadKey:
    """The key of a spec (by default the one above) with any of the other arguments changed."""
    arguments: dict[str, Any] = {"chain_id": CHAIN, "mount_identity": ANSWERS, "salt": SALT} | changes
    return key.workload_key(bundle.read(spec() if found is None else found), sandbox=facts, **arguments)


HOST = requirements.HostFacts(
    arch="x86_64",
    cpu_features=frozenset(("avx2", "sse4_2")),
    xsave_bytes=2440,
    kernel="6.1.0-18-amd64",
    criu="4.1",
    image_format="V1.1",
    page_bytes=4096,
    cgroup="v2",
    driver="580.159.04",
)
GPUS = (requirements.Gpu("GPU-" + "0" * 36, "NVIDIA H100", 80 << 30, "9.0", False),)
RESOURCES = requirements.ContainerResources(
    memory_limit=8 << 30,
    cpu_limit=2000,
    gpus=GPUS,
    cuda_libraries=("libcuda.so.1",),
    cpus=requirements.UNLIMITED,
    memory_nodes=requirements.UNLIMITED,
    pids_limit=requirements.UNLIMITED,
)
NOW = Now(
    namespace="models",
    quarantined=False,
    complete=True,
    free_memory=64 << 30,
    free_disk=64 << 30,
    restores_running=0,
    unread_bytes=0,
    rates=NodeRates(1e9, 5e9),
)


def manifest_of(captured: key.WorkloadKey | None = None, **changes: Any) -> manifest.Manifest:
    """The manifest of a capture of the container above, with any field changed."""
    complete = captured or key_of()
    process = manifest.Process(
        pid=1,
        parent=0,
        comm="server",
        uids=(1000,) * 4,
        gids=(1000,) * 4,
        groups=(1000, 2000),
        capabilities=dict.fromkeys(
            ("inheritable", "permitted", "effective", "bounding", "ambient"), "0" * 16
        ),
        no_new_privileges=True,
        seccomp=2,
        limits={"Max open files": "1024:4096"},
        label="cri-containerd.apparmor.d",
        cuda=True,
    )
    fields: dict[str, Any] = {
        "created": "2026-03-01T12:00:00Z",
        "namespace": "models",
        "pod": POD,
        "container": "main",
        "node": "gpu-node-7",
        "shared": False,
        "image_name": "docker.io/library/server:1",
        "key": manifest.Key(complete.digest, complete.parts, complete.conditions),
        "requirements": requirements.require(HOST, RESOURCES),
        "processes": (process,),
        "files": {"images/core-1.img": manifest.File("image", 812, "blake2b-256:" + "0" * 64)},
        "sizes": manifest.Sizes(cpu_memory=1 << 30, gpu_memory=4 << 30, layer=1 << 20, shm=0, images=1 << 20),
        "measured": manifest.Measured(cold_start_s=21.3, pause_s=0.8, dump_s=0.4),
        "layer": manifest.Layer(files=3, bytes=4096),
        "settings": {},
    }
    return manifest.Manifest(**(fields | changes))
