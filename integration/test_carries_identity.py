"""Who the processes are and what limits them comes back with them; what names the pod is the new pod's."""

import dataclasses

import pytest

from glowplug.host import process
from integration.captured import captured
from integration.cri_specs import Resources, Security
from integration.node import Node
from integration.pods import Pods

# What a kubelet asks for where a pod has a restrictive security context.
MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
KUBELET = Security(masked_paths=MASKED, readonly_paths=READONLY)
WORKER = dataclasses.replace(
    KUBELET,
    run_as_user=1000,
    run_as_group=1000,
    supplemental_groups=(2000, 3000),
    no_new_privs=True,
    drop_capabilities=("ALL",),
    seccomp="RuntimeDefault",
)


@pytest.mark.parametrize(
    "security",
    [
        KUBELET,
        WORKER,
        dataclasses.replace(KUBELET, add_capabilities=("NET_ADMIN",), drop_capabilities=("CHOWN",)),
        Security(privileged=True),
    ],
    ids=["kubelet", "restricted", "capabilities", "privileged"],
)
def test_credentials_and_limits_are_the_same(agent: Node, pods: Pods, security: Security) -> None:
    """As the kernel reports the process from outside, and as it sees itself."""
    facts: list[process.Credentials] = []
    before = captured(
        agent,
        pods,
        security=security,
        pod_fields={"security": Security(privileged=security.privileged)},
        env={"WORKLOAD": "processes,threads"},
        before=lambda container: facts.append(process.credentials(container.pid)),
    )
    _, container = before.restored(agent, pods)
    now = process.credentials(container.pid)
    assert now.to_json() == facts[0].to_json()
    reported, was = container.state()["process"], before.state["process"]
    for fact in ("ids", "capabilities", "no_new_privs", "seccomp", "umask", "nofile", "oom_score_adj"):
        assert reported[fact] == was[fact], fact


def test_masked_and_readonly_paths_hold(agent: Node, pods: Pods) -> None:
    """For the restored process and for what is exec'd beside it."""
    mounts: list[list[str]] = []

    def mounted(text: bytes) -> list[str]:
        lines = (line.split() for line in text.decode().splitlines())
        return sorted(
            f"{fields[4]} {fields[5].split(',')[0]} {fields[3]}" for fields in lines if is_inside(fields[4])
        )

    def is_inside(point: str) -> bool:
        return point in MASKED + READONLY

    before = captured(
        agent,
        pods,
        security=KUBELET,
        before=lambda found: mounts.append(mounted(found.exec("cat", "/proc/1/mountinfo").stdout)),
    )
    _, container = before.restored(agent, pods)
    assert mounts[0]
    assert mounted(container.exec("cat", "/proc/1/mountinfo").stdout) == mounts[0]
    assert container.exec("sh", "-c", "echo 1 >/proc/sys/kernel/panic").exit_code != 0
    assert container.exec("cat", "/proc/kcore").stdout == b""


def test_a_read_only_root_file_system_stays_one(agent: Node, pods: Pods) -> None:
    before = captured(agent, pods, security=dataclasses.replace(KUBELET, readonly_rootfs=True))
    assert "Error 30" in before.state["token"]["layer"]  # EROFS
    _, container = before.restored(agent, pods)
    assert container.exec("touch", "/data/new").exit_code != 0
    assert container.exec("touch", "/dev/shm/new").exit_code == 0


def test_the_name_of_the_host_is_the_new_pod_s(agent: Node, pods: Pods) -> None:
    """For the entire pod: its sandbox keeps the name that it had."""
    before = captured(agent, pods, pod_fields={"hostname": "the-first"})
    pod = pods.run(hostname="the-second")
    container = pod.serving(**before.fields)
    assert before.is_in(container)
    assert container.state()["process"]["hostname"] == "the-second"
    assert (
        container.exec("hostname").stdout == container.exec("cat", "/etc/hostname").stdout == b"the-second\n"
    )


def test_what_can_kill_it_first_is_the_new_pod_s(agent: Node, pods: Pods) -> None:
    """oom_score_adj is of the bundle, and of every process."""
    before = captured(agent, pods, env={"WORKLOAD": "processes"}, resources=Resources(oom_score_adj=200))
    container = pods.run().container(**{**before.fields, "resources": Resources(oom_score_adj=900)})
    container.start()
    assert before.is_in(container)
    assert {process.oom_score_adj(pid) for pid in process.tree(container.pid)} == {900}
