"""What the CRI client asks for is what a kubelet would ask, and answers are read with nothing made up."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from integration import cri_methods
from integration.cri_client import ContainerStats, Cri
from integration.cri_specs import (
    ContainerSpec,
    Device,
    Dns,
    Mount,
    Namespaces,
    PodSpec,
    PortMapping,
    Resources,
    Security,
    container_message,
    pod_message,
)
from tests.containerd_served import Served, refuse

from glowplug.containerd import methods
from glowplug.containerd.cri import ExecResult
from glowplug.containerd.protos import cri_pb2
from glowplug.errors import ContainerdError, UsageError

POD = PodSpec(name="model-0", namespace="shop", uid="u-1", log_directory="/logs")
KUBELET_LABELS = {
    "io.kubernetes.pod.name": "model-0",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "u-1",
}


@pytest.fixture
def served(tmp_path: Any) -> Iterator[Served]:
    server = Served(f"{tmp_path}/socket")
    yield server
    server.stop()


@pytest.fixture
def cri(served: Served) -> Iterator[Cri]:
    with Cri(served.socket, timeout_s=10) as made:
        yield made


def test_labels_are_the_kubelets_so_that_a_container_is_found_by_its_pod() -> None:
    assert dict(pod_message(POD).labels) == KUBELET_LABELS
    made = container_message(ContainerSpec(name="main", image="a", labels={"x": "y"}), POD)
    assert dict(made.labels) == {**KUBELET_LABELS, "io.kubernetes.container.name": "main", "x": "y"}


def test_two_pods_of_one_name_have_their_own_uids() -> None:
    assert PodSpec(name="a").uid != PodSpec(name="a").uid


def test_a_pod_says_all_that_was_queried() -> None:
    made = pod_message(
        PodSpec(
            name="a",
            hostname="h",
            dns=Dns(servers=("1.1.1.1",), searches=("x",), options=("ndots:5",)),
            ports=(PortMapping(container_port=80, host_port=8080, protocol="udp"),),
            cgroup_parent="/kubepods/x",
            sysctls={"net.core.somaxconn": "9"},
            annotations={"glowplug.dev/x": "y"},
            namespaces=Namespaces(network="node", pid="pod", user=(100000, 65536)),
            security=Security(run_as_user=0, privileged=True, seccomp="Unconfined"),
        )
    )
    assert (made.hostname, made.linux.cgroup_parent) == ("h", "/kubepods/x")
    assert made.dns_config.servers == ["1.1.1.1"] and made.dns_config.options == ["ndots:5"]
    port = made.port_mappings[0]
    assert (port.protocol, port.container_port, port.host_port) == (cri_pb2.UDP, 80, 8080)
    security = made.linux.security_context
    options = security.namespace_options
    assert (options.network, options.pid, options.ipc) == (cri_pb2.NODE, cri_pb2.POD, cri_pb2.POD)
    assert (options.userns_options.uids[0].host_id, options.userns_options.gids[0].length) == (100000, 65536)
    assert security.HasField("run_as_user") and security.privileged
    assert security.seccomp.profile_type == cri_pb2.SecurityProfile.Unconfined
    assert made.linux.sysctls == {"net.core.somaxconn": "9"} and made.annotations == {"glowplug.dev/x": "y"}


def test_what_a_pod_did_not_ask_for_is_left_to_containerd() -> None:
    made = pod_message(POD)
    assert not made.HasField("dns_config")
    security = made.linux.security_context
    assert not security.HasField("run_as_user") and not security.HasField("seccomp")
    assert not security.namespace_options.HasField("userns_options")


def test_a_container_says_all_that_was_queried() -> None:
    made = container_message(
        ContainerSpec(
            name="main",
            image="a/b:1",
            attempt=3,
            command=("/serve",),
            args=("-v",),
            env={"A": "ä"},
            working_dir="/w",
            mounts=(Mount(container_path="/m", host_path="/h", readonly=True, propagation="bidirectional"),),
            devices=(Device(container_path="/dev/x", host_path="/dev/null", permissions="r"),),
            cdi_devices=("vendor.com/gpu=0",),
            log_path="main/3.log",
            resources=Resources(
                cpu_period_us=100000,
                cpu_quota_us=50000,
                cpu_shares=512,
                memory_bytes=1 << 30,
                oom_score_adj=-997,
            ),
            security=Security(
                run_as_user=1000,
                run_as_group=0,
                supplemental_groups=(7, 8),
                readonly_rootfs=True,
                no_new_privs=True,
                add_capabilities=("SYS_PTRACE",),
                drop_capabilities=("ALL",),
                seccomp="/profiles/x.json",
            ),
        ),
        POD,
    )
    assert (made.metadata.name, made.metadata.attempt, made.image.image) == ("main", 3, "a/b:1")
    assert made.command == ["/serve"] and made.args == ["-v"] and made.working_dir == "/w"
    assert [(one.key, one.value) for one in made.envs] == [("A", "ä".encode())]
    mount, device = made.mounts[0], made.devices[0]
    assert (mount.container_path, mount.host_path, mount.readonly) == ("/m", "/h", True)
    assert mount.propagation == cri_pb2.PROPAGATION_BIDIRECTIONAL
    assert (device.container_path, device.host_path, device.permissions) == ("/dev/x", "/dev/null", "r")
    assert made.CDI_devices[0].name == "vendor.com/gpu=0"
    limits = made.linux.resources
    assert (limits.cpu_period, limits.cpu_quota, limits.cpu_shares) == (100000, 50000, 512)
    assert (limits.memory_limit_in_bytes, limits.oom_score_adj) == (1 << 30, -997)
    security = made.linux.security_context
    assert (security.run_as_user.value, security.run_as_group.value) == (1000, 0)
    assert security.HasField("run_as_group") and security.supplemental_groups == [7, 8]
    assert security.readonly_rootfs and security.no_new_privs
    assert security.capabilities.add_capabilities == ["SYS_PTRACE"]
    assert security.capabilities.drop_capabilities == ["ALL"]
    assert security.seccomp.profile_type == cri_pb2.SecurityProfile.Localhost
    assert security.seccomp.localhost_ref == "/profiles/x.json"


def test_a_container_has_its_pods_namespaces_unless_it_says_otherwise() -> None:
    pod = PodSpec(name="a", namespaces=Namespaces(network="node"))
    plain = container_message(ContainerSpec(name="c", image="a"), pod)
    assert plain.linux.security_context.namespace_options.network == cri_pb2.NODE
    debugger = ContainerSpec(name="c", image="a", namespaces=Namespaces(pid="target", target="c1"))
    options = container_message(debugger, pod).linux.security_context.namespace_options
    assert (options.pid, options.target_id) == (cri_pb2.TARGET, "c1")


def test_a_seccomp_profile_that_is_invalid_is_refused() -> None:
    with pytest.raises(UsageError, match="'runtime/default'"):
        pod_message(PodSpec(name="a", security=Security(seccomp="runtime/default")))


def test_env_values_are_not_shown_with_a_spec() -> None:
    assert "hidden" not in repr(ContainerSpec(name="c", image="a", env={"A": "hidden"}))


def test_a_container_is_made_in_its_pod(served: Served, cri: Cri) -> None:
    served.answer(cri_methods.RUN_POD_SANDBOX, cri_pb2.RunPodSandboxResponse(pod_sandbox_id="s1"))
    served.answer(cri_methods.CREATE_CONTAINER, cri_pb2.CreateContainerResponse(container_id="c1"))
    assert cri.run_pod_sandbox(POD, "glowplug") == "s1"
    assert cri.create_container("s1", ContainerSpec(name="main", image="a"), POD) == "c1"
    run, create = served.requests
    assert run.runtime_handler == "glowplug"
    assert create.pod_sandbox_id == "s1" and create.sandbox_config == run.config


def test_the_deadline_of_a_call_covers_the_time_it_asks_for(served: Served) -> None:
    left: list[float] = []

    def note(_: Any, context: grpc.ServicerContext) -> None:
        left.append(context.time_remaining())

    def stopped(request: Any, context: grpc.ServicerContext) -> cri_pb2.StopContainerResponse:
        note(request, context)
        return cri_pb2.StopContainerResponse()

    def executed(request: Any, context: grpc.ServicerContext) -> cri_pb2.ExecSyncResponse:
        note(request, context)
        return cri_pb2.ExecSyncResponse(stdout=b"o", stderr=b"e", exit_code=3)

    served.answer(cri_methods.STOP_CONTAINER, stopped)
    served.answer(methods.EXEC_SYNC, executed)
    with Cri(served.socket, timeout_s=100) as cri:
        cri.stop_container("c1", grace_s=1000)
        assert cri.exec_sync("c1", ["x"], timeout_s=1000) == ExecResult(b"o", b"e", 3)
    assert [1000 < seconds < 1200 for seconds in left] == [True, True]
    assert [one.timeout for one in served.requests] == [1000, 1000]


def test_containerds_own_words_are_in_the_error(served: Served, cri: Cri) -> None:
    served.answer(
        cri_methods.START_CONTAINER, refuse(grpc.StatusCode.UNKNOWN, "OCI runtime create failed: why")
    )
    with pytest.raises(ContainerdError, match=r"StartContainer: OCI runtime create failed: why"):
        cri.start_container("c1")


def test_a_status_is_read_with_times_in_seconds_and_its_pid(served: Served, cri: Cri) -> None:
    status = cri_pb2.ContainerStatus(
        id="c1", state=cri_pb2.CONTAINER_RUNNING, started_at=1_500_000_000, exit_code=0
    )
    answer = cri_pb2.ContainerStatusResponse(status=status, info={"info": '{"pid": 42}'})
    served.answer(cri_methods.CONTAINER_STATUS, answer)
    found = cri.container_status("c1")
    assert (found.state, found.started_at, found.finished_at, found.pid) == ("running", 1.5, 0.0, 42)
    status.state, status.exit_code = cri_pb2.CONTAINER_EXITED, 137
    answer = cri_pb2.ContainerStatusResponse(status=status, info={"info": '{"pid": 42}'})
    served.answer(cri_methods.CONTAINER_STATUS, answer)
    found = cri.container_status("c1")
    assert (found.state, found.exit_code, found.pid) == ("exited", 137, 0)


def test_a_pod_has_the_ips_that_it_has(served: Served, cri: Cri) -> None:
    status = cri_pb2.PodSandboxStatus(id="s1", state=cri_pb2.SANDBOX_READY)
    served.answer(cri_methods.POD_SANDBOX_STATUS, cri_pb2.PodSandboxStatusResponse(status=status))
    assert (cri.pod_sandbox_status("s1").ready, cri.pod_sandbox_status("s1").ips) == (True, ())
    status.network.ip = "10.0.0.2"
    status.network.additional_ips.add(ip="fd00::2")
    served.answer(cri_methods.POD_SANDBOX_STATUS, cri_pb2.PodSandboxStatusResponse(status=status))
    assert cri.pod_sandbox_status("s1").ips == ("10.0.0.2", "fd00::2")


def test_a_missing_figure_is_not_zero(served: Served, cri: Cri) -> None:
    stats = cri_pb2.ContainerStats(attributes=cri_pb2.ContainerAttributes(id="c1"))
    stats.cpu.usage_core_nano_seconds.value = 0
    stats.memory.working_set_bytes.value = 9
    served.answer(cri_methods.CONTAINER_STATS, cri_pb2.ContainerStatsResponse(stats=stats))
    assert cri.container_stats("c1") == ContainerStats("c1", 0, 9, None, None)


def test_an_absent_image_is_none(served: Served, cri: Cri) -> None:
    served.answer(cri_methods.IMAGE_STATUS, cri_pb2.ImageStatusResponse())
    assert cri.image_status("a") is None


def test_registry_passwords_are_not_shown_with_a_status(served: Served, cri: Cri) -> None:
    condition = cri_pb2.RuntimeCondition(type="RuntimeReady", status=True)
    answer = cri_pb2.StatusResponse(info={"config": '{"registry": "hidden"}'})
    answer.status.conditions.append(condition)
    served.answer(methods.CRI_STATUS, answer)
    found = cri.status()
    assert (found.conditions, found.config) == ({"RuntimeReady": True}, {"registry": "hidden"})
    assert "hidden" not in repr(found)
