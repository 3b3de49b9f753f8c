"""What came back is alive and is what was captured; an end of its own is no fault of the restore."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.errors import CriuError
from glowplug.host import process
from glowplug.restore import health
from glowplug.restore.attempt import Attempt

# A first process with a child that ends when told: by itself, or by a signal, and waited for or not.
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
        (directory / "pid").write_text(str(self.parent.pid))
        self.attempt = Attempt({"pid_file": f"{directory}/pid"}, -1)
        self.processes = [process.credentials(pid) for pid in process.tree(self.parent.pid)]

    def tell(self, *words: str) -> None:
        assert self.parent.stdin is not None and self.parent.stdout is not None
        for word in words:
            self.parent.stdin.write(f"{word}\n")
            self.parent.stdin.flush()
            assert self.parent.stdout.readline() == "done\n"

    def check(self, held: bool = False, **described: object) -> None:
        own = process.oom_score_adj(self.parent.pid)
        spec: dict[str, object] = {"process": {"oomScoreAdj": own, **described}}
        health.check(self.attempt, spec, {"processes": self.processes}, held)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.parent.kill()
    made.parent.communicate(timeout=10)


@pytest.mark.parametrize("held", [False, True])
def test_the_same_processes_are_well(container: Container, held: bool) -> None:
    container.check(held)


@pytest.mark.parametrize("after", [("end", "see"), ("end", "wait")], ids=["zombie", "gone"])
def test_one_that_ran_may_have_come_to_its_own_end(container: Container, after: tuple[str, ...]) -> None:
    container.tell(*after)
    container.check()
    with pytest.raises(CriuError, match=rf"wanted process {container.child} \(.*\) alive, found it dead"):
        container.check(held=True)


def test_one_that_a_signal_ended_speaks_against_the_restore(container: Container) -> None:
    container.tell("kill", "see")
    with pytest.raises(CriuError, match=f"wanted process {container.child}"):
        container.check()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_first_one_must_live(container: Container, number: int) -> None:
    container.parent.send_signal(number)
    os.waitid(os.P_PID, container.parent.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(CriuError, match="alive, found it dead after the restore"):
        container.check()


@pytest.mark.parametrize("fact", health.EQUAL)
def test_another_fact_is_named(container: Container, fact: str) -> None:
    container.processes[1][fact] = "another"
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
def test_another_pods_selinux_level_is_named(
    spec: str, said: str, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level is no part of the workload key: each pod has one of its own, and a process comes back with its old."""
    monkeypatch.setattr(process, "label", lambda pid: CATEGORY)
    for one in container.processes:
        one["label"] = CATEGORY
    if said:
        with pytest.raises(CriuError, match=said):
            container.check(selinuxLabel=spec)
    else:
        container.check(selinuxLabel=spec)
