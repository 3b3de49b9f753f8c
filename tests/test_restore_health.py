"""What came back is alive and is what was captured; an end of its own is no fault of the restore."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.checkpoint import bundle
from glowplug.errors import CriuError
from glowplug.host import process
from glowplug.restore import health

# A first process with a child that ends when reported: on its own, or by a signal, and waited for or not.
PARENT = """
import os, sys
read, write = os.pipe()
child = os.fork()
if not child:
    os.close(write)
    os.read(read, 1)
    os._exit(3)
os.close(read)
print(child, flush=True)
for line in sys.stdin:
    if line == "end\\n":
        os.close(write)
    elif line == "kill\\n":
        os.kill(child, 11)
    elif line == "wait\\n":
        os.waitpid(child, 0)
    else:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    print("done", flush=True)
"""


class Container:
    """A process with a child, and what a manifest says of both."""

    def __init__(self, directory: Path) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, "-IS", "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.parent.stdout is not None
        self.child = int(self.parent.stdout.readline())
        self.tree = {pid: pid for pid in process.tree(self.parent.pid)}
        self.processes = [process.credentials(pid) for pid in self.tree]

    def report(self, *words: str) -> None:
        assert self.parent.stdin is not None and self.parent.stdout is not None
        for word in words:
            self.parent.stdin.write(f"{word}\n")
            self.parent.stdin.flush()
            assert self.parent.stdout.readline() == "done\n"

    def check(self, **described: object) -> None:
        health.check(self.tree, self.parent.pid, bundle.read({"process": described}), self.processes)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.parent.kill()
    made.parent.communicate(timeout=60)


def test_the_same_processes_are_well(container: Container) -> None:
    container.check()


@pytest.mark.parametrize("after", [("end", "see"), ("end", "wait"), ("kill", "see")])
def test_one_that_is_dead_was_not_restored(container: Container, after: tuple[str, ...]) -> None:
    """Nothing has run yet: it can't have come to an end of its own."""
    container.report(*after)
    with pytest.raises(CriuError, match=rf"process {container.child} \(.*\) is dead"):
        container.check()


def test_one_that_is_not_in_the_tree_was_not_restored(container: Container) -> None:
    del container.tree[container.child]
    with pytest.raises(CriuError, match=rf"process {container.child} \(.*\) is dead"):
        container.check()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_first_one_must_live(container: Container, number: int) -> None:
    container.parent.send_signal(number)
    os.waitid(os.P_PID, container.parent.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(CriuError, match="is dead after the restore"):
        container.check()


def test_the_oom_score_is_the_spec_s(container: Container) -> None:
    own = process.oom_score_adj(container.child)
    health.set_oom_score_adj(container.tree.values(), own + 7)
    assert [process.oom_score_adj(pid) for pid in container.tree] == [own + 7] * 2
    health.set_oom_score_adj(container.tree.values(), None)
    assert process.oom_score_adj(container.child) == own + 7


@pytest.mark.parametrize("fact", health.EQUAL)
def test_another_fact_is_reported(container: Container, fact: str) -> None:
    setattr(container.processes[1], fact, "another")
    with pytest.raises(CriuError, match=rf"process {container.child} \(.*\) came back with another {fact}"):
        container.check()


CATEGORY = "system_u:system_r:container_t:s0:c1,c2"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (CATEGORY, ""),
        ("", ""),
        ("system_u:system_r:other_t:s0:c1,c2", ""),
        ("system_u:system_r:container_t:s0:c3,c4", "SELinux level s0:c1,c2, the new pod's is s0:c3,c4"),
    ],
)
def test_another_pods_selinux_level_is_reported(
    spec: str, said: str, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level is no part of the workload key: each pod has one of its own, and a process comes back with its old."""
    monkeypatch.setattr(process, "label", lambda pid: CATEGORY)
    for one in container.processes:
        one.label = CATEGORY
    if said:
        with pytest.raises(CriuError, match=said):
            container.check(selinuxLabel=spec)
    else:
        container.check(selinuxLabel=spec)
