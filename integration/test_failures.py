"""Promise 1: whatever goes wrong with a restore, the container starts cold, says why, and nothing is left behind.

Every test starts a pod for which there is a good checkpoint, with one thing broken; `pods` looks for leftovers.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from glowplug.errors import ContainerdError
from integration import images, processes
from integration.captured import Captured, capture, captured, outcome
from integration.faults import Faults
from integration.node import CRIU, GLOWPLUG, Node
from integration.node_config import runc_program
from integration.pods import Container, Pods
from integration.waiting import wait_until

DEADLINE_S = 6.0


class FaultyNode(Node):
    """A node whose CRIU and whose runtime's runc are those of `faults`."""

    def __init__(self, faults: Faults) -> None:
        self._runc = faults.runc
        super().__init__(settings={"criu": faults.criu, "restore_deadline_s": DEADLINE_S})

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "GLOWPLUG_RUNC": self._runc}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    return Faults(str(tmp_path_factory.mktemp("faults")), CRIU, runc_program())


@pytest.fixture(scope="module")
def node(faults: Faults) -> Iterator[Node]:
    """A node whose CRIU and runc fail on demand."""
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    with FaultyNode(faults) as made:
        made.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        warm = Pods(made)
        warm.run(handler="runc").container().start()
        warm.remove_all()
        yield made


@pytest.fixture(scope="module")
def checkpoint(node: Node) -> Iterator[Captured]:
    node.ensure_agent()
    pods = Pods(node)
    yield captured(node, pods, name="web", env={"WORKLOAD_MEMORY_MB": "16"})
    pods.remove_all()


@pytest.fixture
def good(node: Node, checkpoint: Captured) -> Iterator[Captured]:
    """The checkpoint as it was captured, whatever a test did to it or made of it."""
    node.ensure_agent()
    path = f"{node.names.cache}/checkpoints/{checkpoint.checkpoint}"
    aside = f"{node.names.cache}/aside"
    shutil.copytree(path, aside, symlinks=True)
    yield checkpoint
    node.stop_agent()
    shutil.rmtree(path, ignore_errors=True)
    os.rename(aside, path)
    for judged in (f"{node.names.cache}/state", f"{node.names.run_dir}/outcomes"):
        shutil.rmtree(judged, ignore_errors=True)
    os.mkdir(f"{node.names.cache}/state", 0o700)


def starts_cold(node: Node, pods: Pods, good: Captured) -> tuple[Container, str]:
    """Start its like; it must be a new process, with nothing of ours in its log. It, and its outcome."""
    _, container = good.again(pods)
    container.start()
    assert not good.is_in(container)
    assert container.log() == []
    return container, outcome(node, container)


def test_with_nothing_broken_it_is_restored(node: Node, good: Captured, pods: Pods) -> None:
    """Or the other tests would show nothing."""
    _, container = good.again(pods)
    container.start()
    assert good.is_in(container)
    assert outcome(node, container) == "restored"


# -- the agent --


def test_the_agent_is_absent(node: Node, good: Captured, pods: Pods) -> None:
    node.stop_agent()
    assert starts_cold(node, pods, good)[1] == "cold:no-agent"


def test_the_agent_was_killed(node: Node, good: Captured, pods: Pods) -> None:
    node.stop_agent(signal.SIGKILL)
    assert starts_cold(node, pods, good)[1] == "cold:no-agent"


@contextmanager
def impostor(node: Node, answer: bytes | None) -> Iterator[None]:
    """In the agent's place: something that answers this and hangs up, or (None) never answers."""
    node.stop_agent()
    if os.path.exists(node.agent_socket):
        os.unlink(node.agent_socket)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(node.agent_socket)
        listener.listen()
        held = []

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    connection.recv(65536)
                    if answer is None:
                        held.append(connection)
                        continue
                    with connection:
                        connection.sendall(answer)
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()
            os.unlink(node.agent_socket)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "cold:agent-timeout"),
        (b"", "cold:agent-died"),
        (b'{"verdict": "match", "checkpo', "cold:agent-died"),
        (b"rubbish\n", "cold:agent-bad-response"),
        (b"[1, 2]\n", "cold:agent-bad-response"),
        (b"[" * 100_000 + b"\n", "cold:agent-bad-response"),
        (b'{"error": "out of luck"}\n', "cold:agent-error"),
        (b'{"verdict": "match"}\n', "cold:agent-bad-response"),
        (b'{"verdict": "match", "checkpoint": "../../etc", "cache": "/"}\n', "fallback:lease"),
        (b'{"verdict": "match", "checkpoint": 7, "cache": []}\n', "cold:agent-bad-response"),
    ],
    ids=["hangs", "hangs-up", "dies", "rubbish", "list", "deep", "error", "empty-plan", "path", "typed"],
)
def test_the_agent_answers_otherwise(
    node: Node, good: Captured, pods: Pods, answer: bytes | None, reason: str
) -> None:
    with impostor(node, answer):
        assert starts_cold(node, pods, good)[1] == reason


# -- the checkpoint --


def small_image(node: Node, good: Captured) -> str:
    return f"{node.names.cache}/checkpoints/{good.checkpoint}/images/core-1.img"


def test_an_image_is_missing(node: Node, good: Captured, pods: Pods) -> None:
    os.unlink(small_image(node, good))
    assert starts_cold(node, pods, good)[1] == "cold:incomplete"


def test_an_image_is_truncated(node: Node, good: Captured, pods: Pods) -> None:
    os.truncate(small_image(node, good), 7)
    assert starts_cold(node, pods, good)[1] == "fallback:check"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("images/core-1.img", "fallback:check"),
        ("images/files.img", "fallback:check"),
        ("manifest.json", "cold:no-checkpoint"),
    ],
)
def test_a_file_has_a_flipped_byte(node: Node, good: Captured, pods: Pods, name: str, reason: str) -> None:
    with open(f"{node.names.cache}/checkpoints/{good.checkpoint}/{name}", "r+b") as file:
        file.seek(os.fstat(file.fileno()).st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert starts_cold(node, pods, good)[1] == reason


def test_a_file_of_the_layer_has_another_owner(node: Node, good: Captured, pods: Pods) -> None:
    """Its size is the same; only the layer's fingerprint tells. That is the checkpoint's fault."""
    os.chown(f"{node.names.cache}/checkpoints/{good.checkpoint}/layer/tree/data/token", 1000, 1000)
    assert starts_cold(node, pods, good)[1] == "fallback:layer"
    assert starts_cold(node, pods, good)[1] == "cold:quarantined"


@pytest.mark.parametrize("damage", ["gone", "short", "unreadable"])
def test_memory_extents_are_damaged(node: Node, good: Captured, pods: Pods, damage: str) -> None:
    directory = f"{node.names.cache}/checkpoints/{good.checkpoint}/memory"
    (extent,) = (name for name in os.listdir(directory) if name.endswith(".extent"))
    path = f"{directory}/{extent}"
    if damage == "short":
        os.truncate(path, os.path.getsize(path) // 2)
    else:
        os.unlink(path)
    if damage == "unreadable":
        os.mkdir(path, 0o700)
    expected = "cold:incomplete" if damage == "gone" else "fallback:check"
    assert starts_cold(node, pods, good)[1] == expected


def test_a_damaged_checkpoint_is_set_apart(node: Node, good: Captured, pods: Pods) -> None:
    os.truncate(small_image(node, good), 7)
    starts_cold(node, pods, good)
    assert starts_cold(node, pods, good)[1] == "cold:quarantined"


# -- CRIU and runc --


def test_criu_is_missing(node: Node, faults: Faults, good: Captured, pods: Pods) -> None:
    with faults.without_criu():
        assert starts_cold(node, pods, good)[1] == "fallback:criu"
    # that was the node's fault, not the checkpoint's
    _, container = good.again(pods)
    container.start()
    assert outcome(node, container) == "restored"


@pytest.mark.parametrize("mode", ["fail", "killed"])
def test_criu_fails(node: Node, faults: Faults, good: Captured, pods: Pods, mode: str) -> None:
    with faults.set(mode):
        assert starts_cold(node, pods, good)[1] == "fallback:criu"


def test_criu_hangs_past_the_deadline(node: Node, faults: Faults, good: Captured, pods: Pods) -> None:
    with faults.set("hang"):
        assert starts_cold(node, pods, good)[1] == "fallback:deadline"


def test_the_restored_process_dies_before_create_returns(
    node: Node, faults: Faults, good: Captured, pods: Pods
) -> None:
    with faults.set("dies"):
        assert starts_cold(node, pods, good)[1] == "fallback:health"


STAGES = [
    "pre-restore",
    "setup-namespaces",
    "post-setup-namespaces",
    "post-restore",
    "pre-resume",
    "post-resume",
]


LET_GO = ("pre-resume", "post-resume")
"""Our gate's script has its turn before the one of these tests: the tree was checked and let go, and CRIU goes on
without runc. Nothing that runs is killed then."""


@pytest.mark.parametrize("victim", ["criu", "runc"])
@pytest.mark.parametrize("stage", STAGES)
def test_criu_or_runc_is_killed(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str, victim: str
) -> None:
    with faults.set("action", stage, victim):
        if victim == "runc" and stage in LET_GO:
            _, container = good.again(pods)
            container.start()
            assert (outcome(node, container), good.is_in(container)) == ("restored", True)
        else:
            assert starts_cold(node, pods, good)[1] == "fallback:criu"


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore"])
def test_criu_hangs_with_half_a_tree(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str
) -> None:
    with faults.set("action", stage, "hang"):
        assert starts_cold(node, pods, good)[1] == "fallback:deadline"


@pytest.mark.parametrize("turn", range(6))
def test_a_kill_at_a_random_moment(node: Node, good: Captured, pods: Pods, turn: int) -> None:
    """Whoever of runc and CRIU is there at that moment. A kill that came too late leaves a restored container."""
    chance = random.Random(turn)
    _, container = good.again(pods)
    starter = threading.Thread(target=container.start)
    starter.start()
    names = ["criu", "runc"]
    victim = chance.choice(names)
    delay = threading.Event()

    def kill() -> None:
        wait_until(lambda: not starter.is_alive() or _pids(node, victim), 10, "a victim or the end")
        delay.wait(chance.random() * 0.15)
        for pid in _pids(node, victim):
            with_ignored_kill(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    starter.join()
    killer.join()
    container.serves()
    assert good.is_in(container) == (outcome(node, container) == "restored")


def _pids(node: Node, name: str) -> list[int]:
    """Processes of that name on behalf of this node's containers."""
    return [
        pid for pid in processes.pids_naming(node.names.state) if processes.name(pid).split()[-1:] == [name]
    ]


def with_ignored_kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


# -- the runtime --


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore"])
def test_the_runtime_is_killed_and_the_next_create_succeeds(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str
) -> None:
    """As containerd does when its deadline is over: the script goes first, and all at once."""
    pod, container = good.again(pods)
    failed: list[Exception] = []

    def start() -> None:
        try:
            container.start()
        except ContainerdError as error:
            failed.append(error)

    with faults.set("action", stage, "hang"):
        starter = threading.Thread(target=start)
        starter.start()
        wait_until(lambda: faults.is_there, 10, "CRIU at that stage")
        for pid in _runtimes(container.id):
            with_ignored_kill(pid)
        starter.join()
    assert failed
    again = pod.container(**good.fields, name="main", attempt=1)
    again.start()
    again.serves()
    assert outcome(node, again).partition(":")[0] in ("cold", "restored")


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore"])
def test_the_runtime_s_python_is_killed_and_the_same_create_succeeds(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str
) -> None:
    """By the OOM killer, say: the script survives, takes back what was done, and runs runc."""
    _, container = good.again(pods)
    with faults.set("action", stage, "hang"):
        starter = threading.Thread(target=container.start)
        starter.start()
        wait_until(lambda: faults.is_there, 10, "CRIU at that stage")
        for pid in _runtimes(container.id):
            if any(word.endswith("/runtime/main.py") for word in processes.command_line(pid)):
                with_ignored_kill(pid)
        starter.join()
    assert not good.is_in(container)
    assert outcome(node, container) == "fallback:killed"


def _runtimes(container: str) -> list[int]:
    """The script and its Python that create this container."""
    return [
        pid
        for pid in processes.pids_naming(container)
        if any(
            word.endswith(("glowplug-runtime", "/runtime/main.py")) for word in processes.command_line(pid)
        )
    ]


# -- the pod --


def test_a_restored_container_that_exits_is_not_restored_again(
    node: Node, good: Captured, pods: Pods
) -> None:
    """A bad checkpoint must not loop: the next attempt in the same pod is cold."""
    pod, container = good.again(pods)
    container.start()
    assert good.is_in(container)
    container.stop()
    again = pod.container(**good.fields, name="main", attempt=1)
    again.start()
    assert not good.is_in(again)
    assert outcome(node, again) == "cold:container-restart"


# -- the capture --


def test_a_capture_that_fails_leaves_the_container_running(
    node: Node, faults: Faults, good: Captured, pods: Pods
) -> None:
    pod = pods.run(name="other")
    container = pod.serving()
    before = container.state()
    with faults.set("fail"):
        done = capture(node, "default", "other")
    assert done.returncode == 1
    assert done.stderr.startswith("glowplug: the container can't be dumped: ")
    assert done.stderr.count("\n") == 1
    assert container.state()["token"] == before["token"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_capture_that_is_ended_leaves_the_container_running(
    node: Node, faults: Faults, good: Captured, pods: Pods, number: signal.Signals
) -> None:
    """While the container is frozen and CRIU is at work."""
    pod = pods.run(name="other")
    container = pod.serving()
    before = container.state()
    checkpoints = os.listdir(f"{node.names.cache}/checkpoints")
    command = [GLOWPLUG, "capture", "--config", node.names.config, "--namespace", "default", "other"]
    with faults.set("action", "post-dump", "hold"):
        # A shell that starts the tests in the background has them ignore SIGINT, and so would the capture.
        command = ["env", "--default-signal=INT", *command]
        running = subprocess.Popen(command, env=node.env, stdout=subprocess.DEVNULL, stderr=None)
        wait_until(lambda: faults.is_there, 20, "CRIU at the end of its dump")
        assert _stands_still(container)
        running.send_signal(number)
        if number == signal.SIGKILL:
            running.wait(10)
        faults.go_on()
        assert running.wait(20) != 0
        wait_until(lambda: not _stands_still(container), 20, "the container thawed")
    assert container.state()["token"] == before["token"]
    assert os.listdir(f"{node.names.cache}/checkpoints") == checkpoints
    # and it can be captured now
    assert capture(node, "default", "other").returncode == 0


def _stands_still(container: Container) -> bool:
    """Frozen (shown as uninterruptible on cgroup v1), or held by CRIU's ptrace."""
    with open(f"/proc/{container.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] in "DtT"
