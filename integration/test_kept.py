"""State that a restored process has again, and state that refuses a capture before anything is touched.

The programs are integration/programs; docs/edits.md says which kind of state is kept.
"""

import contextlib
import http.client
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pytest

from glowplug.host import proc
from integration import differ
from integration.captured import capture, outcome, records
from integration.cri_specs import Mount, Security
from integration.images import REPOSITORY
from integration.kubelet import PodDirectory
from integration.node import Node
from integration.pods import PORT, Container, Pod, Pods
from integration.test_carries_volumes import service_token
from integration.waiting import wait_until

STARTS_WITHIN_S, ANSWERS_WITHIN_S, AT_REST_WITHIN_S = 60.0, 60.0, 20.0
PROGRAMS = f"{REPOSITORY}/integration/programs"

TRIED = {"glowplug.dev/trial": "always"}
NET_ADMIN = Security(add_capabilities=("NET_ADMIN",))
SYS_ADMIN = Security(add_capabilities=("SYS_ADMIN",))

KEPT = (
    "timers:never_read",
    "timers:of_the_wall_clock",
    "timers:at_a_time_of_day",
    "timers:disarmed",
    "timers:of_an_executed_grandchild",
    "unix_names:linked_then_removed",
    "unix_names:of_two_names",
    "unix_names:in_a_renamed_directory",
    "unix_names:datagrams",
    "queues:both_ways",
    "queues:a_small_buffer",
    "queues:segments",
    "owners:owned_by_nobody",
    "prctls:all_kinds",
    "scheduling:of_one_thread",
    "scheduling:of_a_child",
    "scheduling:memory_policy",
    "scheduling:socket_options",
    "multicast:of_one_source",
    "multicast:ipv6",
    "multicast:interface",
    "addresses:of_the_pod",
    "addresses:of_a_group",
    "addresses:of_a_server_outside",
    "volumes:watched_file",
    "volumes:watched_directory",
    "volumes:working_directory",
    "volumes:watched_scratch",
    "volumes:followed_file",
    "volumes:token_of_an_older_moment",
    "volumes:reloaded",
    "ipc:shared_memory",
    "ipc:removed_memory",
    "ipc:semaphores",
    "ipc:messages",
    "ipc:unix_datagrams",
    "ipc:descriptors_in_flight",
    "started:session_keyring",
    "started:standard_streams",
    "started:own_directory",
    "shared_memory:closed_below_directories",
    "shared_memory:closed_under_two_names",
    "shared_memory:closed_and_sparse",
    "shared_memory:mapped_by_name",
    "shared_memory:mapped_and_removed",
    "shared_memory:semaphores",
)

# What the kernel says of these changes from moment to moment (a signal that is pending), so they are not compared.
NOT_COMPARED = ("timers:for_one_thread",)

# A tree with such settings is stopped after CRIU until they are made again: a few of the others beside them.
OWN_SETTINGS = (
    "prctls:own_kinds",
    "prctls:own_of_threads",
    "prctls:own_of_a_grandchild",
    "prctls:own_below_a_filter",
    "prctls:all_kinds",
    "timers:never_read",
    "queues:both_ways",
    "scheduling:of_a_child",
    "ipc:descriptors_in_flight",
)

# Program → what the refusal has to name.
REFUSED = {
    "refused:mptcp_listener": "MPTCP socket on port 9000",
    "refused:mptcp_unused": "an MPTCP socket",
    "refused:vfork_in_a_grandchild": "waits in vfork(2)",
    "refused:vfork_of_a_spawn": "waits in vfork(2)",
    "refused:message_queue": "holds the POSIX message queue unread",
    "refused:message_queue_by_name": "has the POSIX message queue waiting",
    "refused:netlink_unread": "has not read a message of its netlink socket",
    "refused:session_key": "1 keys in its session keyring",
    "refused:ping": "a ping socket",
    "refused:large_removed": "the removed file /run/large of 513 MiB",
    "refused:mptcp_connection": "GODEBUG=multipathtcp=0",
    "refused_shared:memory": "shares its memory with process",
    "refused_shared:working_directory": "shares its working directory and umask with process",
    "refused_shared:namespace": "has an IPC namespace inside the container's",
    "refused_shared:namespace_of_children": "has a PID namespace inside the container's",
    "refused_shared:watched_by_another": "has closed (as descriptor",
    "refused_shared:rotated": "watches (descriptor",
    "refused_shared:thread": "a pidfd of a thread",
    "refused_shared:late_group": "a group beyond the first 32",
    "refused_shared:large_mapped": "the removed file /run/mapped of 513 MiB",
    "refused_odd:semaphore": "is a semaphore (EFD_SEMAPHORE)",
    "refused_odd:urgent_unix": "has not read urgent data",
    "refused_odd:unaccepted_unix": "whose client has written to it",
    "refused_odd:credentials": "SO_PASSCRED): try again",
    "refused_odd:path_of_a_fifo": "open as a path alone",
    "refused_odd:replaced_directory": "(cwd) the removed directory /run/release",
    "refused_odd:sealed_memfd": "sealed against writing (F_SEAL_WRITE)",
    "refused:traced_child": "being traced by process",
    "refused:vfork_in_a_thread": "waits in vfork(2)",
    "refused:sealed": "sealed memory (mseal)",
    "refused:program_in_memory": "runs a program from memory (/memfd:tool)",
    "refused:relative_then_renamed": "bind it to an absolute name",
    "queues:then_closed_for_writing": "bytes still to be read: try again",
    "queues:closed_by_its_writer": "bytes still to be read: try again",
    "refused:peer_outside": "outside of the container",
    "addresses:freely_bound": "bound to 192.0.2.9, which is not the address",
    "addresses:transparent": "bound to 192.0.2.10, which is not the address",
    "addresses:own_address": "bound to 10.250.9.9, which is not the address",
    "addresses:connected_to_itself": "bound to 10.250.9.9, which is not the address",
    "refused:working_directory_of_a_thread": "a thread with a working directory or umask of its own",
    "refused:first_thread_ended": "its first thread has ended",
    "refused:unaccepted": "has not accepted yet: try again",
    "refused:urgent": "has not read urgent data",
    "refused:ruleset": "a Landlock ruleset",
    "refused:dispatched": "PR_SET_SYSCALL_USER_DISPATCH",
    "refused:landlocked": "gave up rights by Landlock",
    "refused:landlocked_child": "gave up rights by Landlock",
    "refused:landlocked_thread": "gave up rights by Landlock",
}


def at_shm(node: Node, pod: Pod) -> tuple[Mount, ...]:
    """An emptyDir over /dev/shm, as most pods with a GPU have it."""
    return (PodDirectory(node, pod.spec.uid).empty_dir("shm", "/dev/shm"),)


def token() -> str:
    """Another one each time, as the API server's are."""
    return service_token("system:serviceaccount:default:kept", secrets.randbits(30))


def node_volume(node: Node) -> str:
    """A directory of the node that pods mount (hostPath)."""
    return f"{node.names.state}/node-volume"


def mounts(node: Node, pod: Pod) -> tuple[Mount, ...]:
    directory = PodDirectory(node, pod.spec.uid)
    os.makedirs(node_volume(node), exist_ok=True)
    with open(f"{node_volume(node)}/log", "w") as file:
        file.write("one\n")
    return (
        Mount(container_path="/node", host_path=node_volume(node), readonly=True),
        Mount(container_path="/programs", host_path=PROGRAMS, readonly=True),
        directory.config_map("settings", {"a.conf": "one"}, "/etc/settings"),
        directory.token(token(), f"kube-api-access-{pod.spec.uid[:5]}"),
        directory.empty_dir("scratch", "/scratch"),
    )


def start(
    node: Node,
    pods: Pods,
    names: tuple[str, ...],
    case: str,
    annotations: Mapping[str, str] | None = None,
    security: Security | None = None,
    *,
    write_on: bool = False,
    shm_volume: bool = False,
) -> tuple[Pod, Container]:
    pod = pods.run(name="kept", annotations=annotations or {}, sysctls={"net.ipv4.ping_group_range": "0 9"})
    container = pod.container(
        command=("python3", "/programs/run.py", *names),
        env={"CASE": case, "PYTHONDONTWRITEBYTECODE": "1"},
        mounts=mounts(node, pod) + (at_shm(node, pod) if shm_volume else ()),
        annotations=annotations or {},
        security=security or Security(),
    )
    if write_on:
        with open(f"{node_volume(node)}/log", "a") as file:
            file.write("two\n")
    container.start()
    return pod, container


def said(container: Container) -> dict[str, str]:
    """What each check says, "" where all is as it was."""

    def ask() -> dict[str, str] | None:
        if container.status().state == "exited":
            raise AssertionError("\n".join(line.text for line in container.log()[-10:]))
        connection = http.client.HTTPConnection(container.pod.ip, PORT, timeout=ANSWERS_WITHIN_S)
        try:
            connection.request("GET", "/")
            found: dict[str, str] = json.loads(connection.getresponse().read())
            return found
        except OSError:
            return None
        finally:
            connection.close()

    found = wait_until(ask, ANSWERS_WITHIN_S, "an answer of the programs")
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Reported:
    """`said`: what the checks say in the first pod after its capture, and in two that were restored. `reloaded`: what
    the program that watches its settings says once the kubelet has swapped those of the two. `differs`: what the kernel
    says otherwise of the two than of the first before its capture."""

    said: list[dict[str, str]]
    reloaded: list[str]
    differs: list[list[str]]


@pytest.fixture(scope="module")
def restored(node: Node) -> Iterator[Reported]:
    node.ensure_agent()
    pods = Pods(node)
    case = secrets.token_hex(4)
    try:
        pod, container = start(node, pods, KEPT, case, TRIED)
        serving(container)
        facts = differ.steady(partial(differ.of, container.pid), AT_REST_WITHIN_S)
        PodDirectory(node, pod.spec.uid).token(
            token(), f"kube-api-access-{pod.spec.uid[:5]}"
        )  # it is rotated
        done = capture(node, pod.spec.namespace, "kept")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["trial"] == "passed", done.stdout
        reported = Reported([said(container)], [], [])
        pod.remove()
        for cpus in (os.sched_getaffinity(0), {min(os.sched_getaffinity(0))}):
            with containerd_on(node, cpus):
                pod, container = start(node, pods, KEPT, case, TRIED, write_on=True)
            found = records(node, container.id)
            assert [one["outcome"] for one in found if "outcome" in one] == ["restored"], found
            reported.differs.append(
                differ.at_rest(facts, partial(differ.of, container.pid), AT_REST_WITHIN_S)
            )
            reported.said.append(said(container))
            PodDirectory(node, pod.spec.uid).config_map("settings", {"a.conf": "two"}, "/etc/settings")
            reported.reloaded.append(said(container)["volumes:reloaded"])
            pod.remove()
        yield reported
    finally:
        pods.remove_all()


@contextlib.contextmanager
def containerd_on(node: Node, cpus: set[int]) -> Iterator[None]:
    """containerd, and so a shim that it starts, on these CPUs alone: no container is to notice."""
    threads = proc.tasks(node.containerd_pid())
    before = os.sched_getaffinity(threads[0])
    for thread in threads:
        os.sched_setaffinity(thread, cpus)
    try:
        yield
    finally:
        for thread in proc.tasks(node.containerd_pid()):
            os.sched_setaffinity(thread, before)


def serving(container: Container) -> None:
    """Returns once the server is there; no check is run. Raises TimeoutError with the log."""

    def is_there() -> bool:
        try:
            socket.create_connection((container.pod.ip, PORT), 1).close()
        except OSError:
            return False
        return True

    try:
        wait_until(is_there, STARTS_WITHIN_S, "the programs")
    except TimeoutError as error:
        raise TimeoutError("\n".join([str(error), *(line.text for line in container.log()[-10:])])) from None


@pytest.mark.parametrize("program", KEPT)
@pytest.mark.parametrize("turn", [0, 1, 2], ids=["captured", "restored", "restored-again"])
def test_it_is_as_it_was(restored: Reported, program: str, turn: int) -> None:
    assert restored.said[turn][program] == ""


def test_a_config_map_that_is_swapped_is_read_again(restored: Reported) -> None:
    assert restored.reloaded == ["", ""]


@pytest.mark.parametrize("turn", [0, 1], ids=["restored", "restored-again"])
def test_the_kernel_says_the_same_of_each_process(restored: Reported, turn: int) -> None:
    assert not restored.differs[turn], "\n".join(restored.differs[turn])


def test_shared_memory_in_an_empty_dir(agent: Node, pods: Pods) -> None:
    """The programs that have files in /dev/shm: a volume travels with what it has, open and closed."""
    shared = tuple(name for name in KEPT if name.startswith("shared_memory:"))
    programs, case = shared + NOT_COMPARED, secrets.token_hex(4)
    pod, container = start(agent, pods, programs, case, TRIED, shm_volume=True)
    serving(container)
    done = capture(agent, pod.spec.namespace, "kept")
    assert done.returncode == 0 and json.loads(done.stdout)["trial"] == "passed", done
    pod.remove()
    for _ in range(2):
        pod, container = start(agent, pods, programs, case, TRIED, shm_volume=True)
        assert outcome(agent, container) == "restored"
        assert said(container) == dict.fromkeys(programs, "")
        pod.remove()


def test_settings_that_only_a_process_itself_can_make(agent: Node, pods: Pods) -> None:
    case = secrets.token_hex(4)
    pod, container = start(agent, pods, OWN_SETTINGS, case, TRIED)
    serving(container)
    facts = differ.steady(partial(differ.of, container.pid), AT_REST_WITHIN_S)
    done = capture(agent, pod.spec.namespace, "kept")
    assert done.returncode == 0 and json.loads(done.stdout)["trial"] == "passed", done
    assert said(container) == dict.fromkeys(OWN_SETTINGS, "")
    pod.remove()
    for _ in range(2):
        pod, container = start(agent, pods, OWN_SETTINGS, case, TRIED)
        assert outcome(agent, container) == "restored"
        differs = differ.at_rest(facts, partial(differ.of, container.pid), AT_REST_WITHIN_S)
        assert said(container) == dict.fromkeys(OWN_SETTINGS, "")
        assert not differs, "\n".join(differs)
        pod.remove()


@pytest.mark.parametrize(("program", "words"), REFUSED.items())
def test_it_refuses_a_capture(agent: Node, pods: Pods, program: str, words: str) -> None:
    """In one line that says who and what, with the container as it was and nothing in the cache."""
    allowed = {"glowplug.dev/mptcp": "allow"} if "mptcp" in program else None
    with socket.socket(socket.AF_UNIX) as neighbour:
        security = NET_ADMIN if program.startswith("addresses:") else None
        security = SYS_ADMIN if "namespace" in program else security
        pod, container = start(agent, pods, (program,), secrets.token_hex(4), allowed, security)
        if program == "refused:peer_outside":
            listen(neighbour, PodDirectory(agent, pod.spec.uid).empty_dir("scratch", "").host_path)
        serving(container)  # no check is run: it may change what is to be refused
        pid, listed = container.pid, os.listdir(f"{agent.names.cache}/checkpoints")
        done = capture(agent, pod.spec.namespace, "kept")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "process " in done.stderr and words in done.stderr, done.stderr
        assert container.pid == pid and said(container) == {program: ""}
        assert os.listdir(f"{agent.names.cache}/checkpoints") == listed


def listen(listener: socket.socket, directory: str) -> None:
    """As a sidecar would, in a volume that both mount."""
    here = os.open(".", os.O_PATH)
    os.chdir(directory)  # the entire path is too long for bind(2)
    try:
        listener.bind("sidecar.sock")
        listener.listen()
    finally:
        os.fchdir(here)
        os.close(here)
