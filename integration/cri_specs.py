"""What a kubelet asks of CRI for a pod and a container, as plain values, and the messages made of them.

Labels are set as a kubelet sets them, so that a container is found by its pod's name.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from glowplug.containerd.protos import cri_pb2
from glowplug.containerd.records import CONTAINER_NAME_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL
from glowplug.errors import UsageError

POD_UID_LABEL = "io.kubernetes.pod.uid"

NamespaceMode = Literal["pod", "container", "node", "target"]
Propagation = Literal["private", "host_to_container", "bidirectional"]
Protocol = Literal["tcp", "udp", "sctp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Which namespaces are shared: of the pod, the container's own, the node's, or another container's.

    `target`: id of the container whose PID namespace is joined, with pid="target" (ephemeral containers).
    `user`: size of a user namespace that starts at this host id, as (first host id, length); None for none.
    """

    network: NamespaceMode = "pod"
    pid: NamespaceMode = "container"
    ipc: NamespaceMode = "pod"
    target: str = ""
    user: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Who the processes are and what they may do; a pod's `capabilities…` and `no_new_privs` have no meaning.

    `seccomp`: RuntimeDefault, Unconfined, or the absolute path of a profile; empty leaves it to containerd.
    """

    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    privileged: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """A container's limits; 0 and empty mean: none set. CPU times in microseconds, memory in bytes.

    `unified`: files of cgroup v2 and what is written to them.
    """

    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    oom_score_adj: int = 0
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of the host, bound into the container."""

    container_path: str
    host_path: str
    readonly: bool = False
    propagation: Propagation = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node of the host. `permissions`: of r, w and m (mknod)."""

    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """What is in the pod's resolv.conf; without one, containerd copies the host's."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A port of the host that CNI's portmap plugin forwards."""

    container_port: int
    host_port: int = 0
    protocol: Protocol = "tcp"
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """A pod. `log_directory`: absolute, or empty for no logs. `attempt` counts its sandboxes, from 0."""

    name: str
    namespace: str = "default"
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    dns: Dns | None = None
    ports: tuple[PortMapping, ...] = ()
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    namespaces: Namespaces = field(default_factory=Namespaces)
    security: Security = field(default_factory=Security)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """A container of a pod. `namespaces`: None takes the pod's. `log_path`: beneath the pod's log directory.

    `command` and `args` stand in place of the image's entrypoint and cmd. `attempt` counts restarts, from 0.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    working_dir: str = ""
    attempt: int = 0
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    tty: bool = False
    resources: Resources = field(default_factory=Resources)
    security: Security = field(default_factory=Security)
    namespaces: Namespaces | None = None


def pod_message(pod: PodSpec) -> cri_pb2.PodSandboxConfig:
    """CRI's message for a pod."""
    return cri_pb2.PodSandboxConfig(
        metadata=cri_pb2.PodSandboxMetadata(
            name=pod.name, namespace=pod.namespace, uid=pod.uid, attempt=pod.attempt
        ),
        hostname=pod.hostname,
        log_directory=pod.log_directory,
        dns_config=_dns_message(pod.dns),
        port_mappings=[_port_message(port) for port in pod.ports],
        labels=_pod_labels(pod) | dict(pod.labels),
        annotations=pod.annotations,
        linux=cri_pb2.LinuxPodSandboxConfig(
            cgroup_parent=pod.cgroup_parent,
            sysctls=pod.sysctls,
            security_context=cri_pb2.LinuxSandboxSecurityContext(
                namespace_options=_namespaces_message(pod.namespaces),
                run_as_user=_int64(pod.security.run_as_user),
                run_as_group=_int64(pod.security.run_as_group),
                supplemental_groups=pod.security.supplemental_groups,
                readonly_rootfs=pod.security.readonly_rootfs,
                privileged=pod.security.privileged,
                seccomp=_seccomp_message(pod.security.seccomp),
            ),
        ),
    )


def container_message(container: ContainerSpec, pod: PodSpec) -> cri_pb2.ContainerConfig:
    """CRI's message for a container of `pod`."""
    labels = _pod_labels(pod) | {CONTAINER_NAME_LABEL: container.name} | dict(container.labels)
    return cri_pb2.ContainerConfig(
        metadata=cri_pb2.ContainerMetadata(name=container.name, attempt=container.attempt),
        image=cri_pb2.ImageSpec(image=container.image),
        command=container.command,
        args=container.args,
        working_dir=container.working_dir,
        envs=[cri_pb2.KeyValue(key=key, value=value.encode()) for key, value in container.env.items()],
        mounts=[_mount_message(mount) for mount in container.mounts],
        devices=[
            cri_pb2.Device(
                container_path=device.container_path,
                host_path=device.host_path,
                permissions=device.permissions,
            )
            for device in container.devices
        ],
        CDI_devices=[cri_pb2.CDIDevice(name=name) for name in container.cdi_devices],
        labels=labels,
        annotations=container.annotations,
        log_path=container.log_path,
        stdin=container.stdin,
        tty=container.tty,
        linux=cri_pb2.LinuxContainerConfig(
            resources=resources_message(container.resources),
            security_context=_security_message(container.security, container.namespaces or pod.namespaces),
        ),
    )


def resources_message(resources: Resources) -> cri_pb2.LinuxContainerResources:
    """CRI's message for a container's limits."""
    return cri_pb2.LinuxContainerResources(
        cpu_period=resources.cpu_period_us,
        cpu_quota=resources.cpu_quota_us,
        cpu_shares=resources.cpu_shares,
        cpuset_cpus=resources.cpuset_cpus,
        cpuset_mems=resources.cpuset_mems,
        memory_limit_in_bytes=resources.memory_bytes,
        memory_swap_limit_in_bytes=resources.memory_swap_bytes,
        oom_score_adj=resources.oom_score_adj,
        unified=resources.unified,
    )


def _pod_labels(pod: PodSpec) -> dict[str, str]:
    return {POD_NAME_LABEL: pod.name, POD_NAMESPACE_LABEL: pod.namespace, POD_UID_LABEL: pod.uid}


def _security_message(security: Security, namespaces: Namespaces) -> cri_pb2.LinuxContainerSecurityContext:
    return cri_pb2.LinuxContainerSecurityContext(
        capabilities=cri_pb2.Capability(
            add_capabilities=security.add_capabilities, drop_capabilities=security.drop_capabilities
        ),
        privileged=security.privileged,
        namespace_options=_namespaces_message(namespaces),
        run_as_user=_int64(security.run_as_user),
        run_as_group=_int64(security.run_as_group),
        supplemental_groups=security.supplemental_groups,
        readonly_rootfs=security.readonly_rootfs,
        no_new_privs=security.no_new_privs,
        masked_paths=security.masked_paths,
        readonly_paths=security.readonly_paths,
        seccomp=_seccomp_message(security.seccomp),
    )


def _namespaces_message(namespaces: Namespaces) -> cri_pb2.NamespaceOption:
    return cri_pb2.NamespaceOption(
        network=namespaces.network.upper(),
        pid=namespaces.pid.upper(),
        ipc=namespaces.ipc.upper(),
        target_id=namespaces.target,
        userns_options=_user_namespace_message(namespaces.user),
    )


def _user_namespace_message(user: tuple[int, int] | None) -> cri_pb2.UserNamespace | None:
    if user is None:
        return None
    mapping = cri_pb2.IDMapping(host_id=user[0], container_id=0, length=user[1])
    return cri_pb2.UserNamespace(mode="POD", uids=[mapping], gids=[mapping])


def _seccomp_message(profile: str) -> cri_pb2.SecurityProfile | None:
    if not profile:
        return None
    if profile.startswith("/"):
        return cri_pb2.SecurityProfile(profile_type="Localhost", localhost_ref=profile)
    if profile not in ("RuntimeDefault", "Unconfined"):
        raise UsageError(
            f"seccomp profile {profile!r}: expected RuntimeDefault, Unconfined, or an absolute path"
        )
    return cri_pb2.SecurityProfile(profile_type=profile)


def _mount_message(mount: Mount) -> cri_pb2.Mount:
    return cri_pb2.Mount(
        container_path=mount.container_path,
        host_path=mount.host_path,
        readonly=mount.readonly,
        propagation=f"PROPAGATION_{mount.propagation.upper()}",
    )


def _dns_message(dns: Dns | None) -> cri_pb2.DNSConfig | None:
    if dns is None:
        return None
    return cri_pb2.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options)


def _port_message(port: PortMapping) -> cri_pb2.PortMapping:
    return cri_pb2.PortMapping(
        protocol=port.protocol.upper(),
        container_port=port.container_port,
        host_port=port.host_port,
        host_ip=port.host_ip,
    )


def _int64(value: int | None) -> cri_pb2.Int64Value | None:
    """A 0 that was requested (root) is not the same as no value."""
    return None if value is None else cri_pb2.Int64Value(value=value)
