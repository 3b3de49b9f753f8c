"""Restores with a process killed at a random moment, and restores in a row: the containers' outcomes.

`hack/torture` runs it, and a test a short one. A container must serve in the end, restored or cold: a cold one finds
the files of its image and nothing of the checkpoint's, and a start that failed because all of the runtime was killed
succeeds when it is tried again in the same pod, as the kubelet does. After the last one nothing is left on the node.
"""

import collections
import contextlib
import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from glowplug.errors import ContainerdError
from integration import images, processes
from integration.captured import captured, records
from integration.leaks import assert_nothing_beyond, holdings
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pod, Pods

WORKLOAD = {"WORKLOAD": "processes,threads,layer,unix_server,tcp_inside,shm_map", "WORKLOAD_MEMORY_MB": "8"}
KINDS = ("python", "sh", "runc", "criu", "helper", "all", "agent")
"""python: the runtime's, the process that restores, and the one that takes back. sh: the script. helper: whatever else
works on the restore, such as the script at the gate. all: each of them, at once."""
UNDISTURBED = 3
"""Restores before the first kill, which show how long one takes on this machine now."""
LATEST = 1.2
"""So many times as long as these took, the kill comes at most: some too late, for a container that runs."""
START_S = 120.0
VICTIM_S = 5.0
SWEEP_S = 6.0
"""Longer than the agent's round, which takes back what it takes for abandoned."""


@dataclass(slots=True)
class Try:
    """What was killed ("nobody": the start was over before), the container's outcome, and how it went wrong."""

    killed: str
    outcome: str
    bad: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Report:
    """All tries, and what was left on the node after the last."""

    tries: list[Try] = field(default_factory=list)
    left: str = ""

    @property
    def bad(self) -> list[str]:
        found = [
            f"{number}: {one.killed} killed: {one.bad}" for number, one in enumerate(self.tries) if one.bad
        ]
        return found + ([self.left] if self.left else [])

    def rows(self) -> list[str]:
        """A table: what was killed, the containers' outcomes, how often."""
        tally = collections.Counter((one.killed, one.outcome) for one in self.tries)
        rows = [f"{'killed':8}  {'outcome':28}  times"]
        rows += [f"{killed:8}  {outcome:28}  {times:5}" for (killed, outcome), times in sorted(tally.items())]
        return rows

    def seconds(self) -> str:
        """StartContainer, of the restored ones that nobody disturbed."""
        took = sorted(
            one.seconds for one in self.tries if one.killed == "nobody" and one.outcome == "restored"
        )
        if len(took) < 2:
            return "no undisturbed restores"
        cuts = statistics.quantiles(took, n=100, method="inclusive")
        words = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "worst": took[-1]}
        return f"{len(took)} restores: " + ", ".join(f"{name} {value:.3f} s" for name, value in words.items())


class Torture:
    """A node with one checkpoint, and one try after another. A context."""

    def __init__(self, seed: int, kinds: tuple[str, ...] = KINDS) -> None:
        self._draw = random.Random(seed)
        self._all_kinds = self._kinds = kinds
        self._node = Node()
        self._longest_s = 0.0

    def __enter__(self) -> "Torture":
        self._node.__enter__()
        self._node.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        self._node.start_agent()
        self._pods = Pods(self._node)
        self._server = captured(self._node, self._pods, name="served", env=WORKLOAD)
        return self

    def __exit__(self, *error: object) -> None:
        self._pods.remove_all()
        self._node.__exit__(*error)  # type: ignore[arg-type]

    def kills(
        self, count: int, until: float, say: Callable[[Try], None], each_of: Collection[str] = ()
    ) -> Report:
        """So many tries with a kill each; fewer where `until` (time.monotonic()) comes before.

        `each_of`: there are more tries until each of these was killed: some are there for a moment only.
        """
        report = self._run(self._kill_in_one, count, until, say, each_of)
        self._kinds = self._all_kinds
        return report

    def restores(self, count: int, until: float, say: Callable[[Try], None]) -> Report:
        """So many restores, undisturbed."""
        return self._run(self._restore_one, count, until, say)

    def _run(
        self,
        one: Callable[[], Try],
        count: int,
        until: float,
        say: Callable[[Try], None],
        each_of: Collection[str] = (),
    ) -> Report:
        report = Report()
        before = holdings(self._node)
        report.tries += [self._restore_one() for _ in range(UNDISTURBED)]
        self._longest_s = LATEST * statistics.median(one.seconds for one in report.tries)
        while time.monotonic() < until:
            if len(report.tries) >= count + UNDISTURBED:
                missing = set(each_of) - {one.killed for one in report.tries}
                if not missing:
                    break
                self._kinds = tuple(sorted(missing))
            report.tries.append(one())
            say(report.tries[-1])
        try:
            self._node.ensure_agent()
            assert_nothing_beyond(self._node, before)
            self._assert_no_files_left()
        except AssertionError as left:
            report.left = str(left)[:2000]
        return report

    def _assert_no_files_left(self) -> None:
        names = self._node.names
        places = [f"{names.cache}/{name}" for name in ("drafts", "views", "trash")]
        places += [f"{names.run_dir}/restores"]
        left = [f"{place}/{name}" for place in places if os.path.isdir(place) for name in os.listdir(place)]
        assert not left, f"left behind: {left}"

    def _restore_one(self) -> Try:
        pod, container = self._server.again(self._pods)
        took = container.start()
        bad = "" if self._server.is_in(container) else "it does not continue where the captured one was"
        outcome = self._outcome(container.id)
        pod.remove()
        return Try("nobody", outcome, bad or ("" if outcome == "restored" else outcome), took)

    def _kill_in_one(self) -> Try:
        pod, container = self._server.again(self._pods)
        kind = self._draw.choice(self._kinds)
        failed: list[ContainerdError] = []
        took = [0.0]

        def start() -> None:
            try:
                took[0] = container.start()
            except ContainerdError as error:
                failed.append(error)

        starting = threading.Thread(target=start)
        starting.start()
        time.sleep(self._draw.uniform(0, self._longest_s))
        killed = self._kill(kind, container.id, starting)
        starting.join(START_S)
        made = Try(kind if killed else "nobody", "", seconds=took[0])
        try:
            self._judge(made, pod, container, failed, starting.is_alive())
        except (AssertionError, ContainerdError, OSError, ValueError) as error:
            made.bad = f"{made.outcome}: {str(error)[-600:]}"
        pod.remove()
        if made.outcome != "restored":
            self._clear_quarantine()
        if "backing-off" in made.outcome:
            self._forget()
        return made

    def _judge(
        self, made: Try, pod: Pod, container: Container, failed: list[ContainerdError], hangs: bool
    ) -> None:
        assert not hangs, f"StartContainer has not answered within {START_S:g} s"
        if failed:
            made.outcome = "failed, then " + self._again(pod)
            assert made.killed in ("sh", "all"), str(failed[0])[-400:]
            return
        made.outcome = self._outcome(container.id)
        container.serves()
        assert self._server.is_in(container) == (made.outcome == "restored"), "not what its outcome says"
        if made.killed != "nobody":
            time.sleep(self._draw.choice((0, 0, SWEEP_S)))
            container.serves()

    def _again(self, pod: Pod) -> str:
        """The next create in the same pod."""
        again = pod.container(**self._server.fields, name="main", attempt=1)
        again.start()
        again.serves()
        return self._outcome(again.id)

    def _outcome(self, container: str) -> str:
        """The outcomes that were recorded; one."""
        said = [str(one["outcome"]) for one in records(self._node, container) if "outcome" in one]
        return ", ".join(said) or "no outcome"

    def _kill(self, kind: str, container: str, starting: threading.Thread) -> bool:
        if kind == "agent":
            self._node.stop_agent(signal.SIGKILL)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._node.agent_socket)  # or it would be taken for the new one's
            self._node.start_agent()
            return True
        until = time.monotonic() + VICTIM_S
        while starting.is_alive() and time.monotonic() < until:
            there = [pid for pid, found in self._at_work(container) if kind in (found, "all")]
            if there:
                chosen = there if kind == "all" else [self._draw.choice(there)]
                return any([_killed(pid) for pid in chosen])  # noqa: C419 - each of them
            time.sleep(0.002)
        return False

    def _at_work(self, container: str) -> Iterator[tuple[int, str]]:
        """Processes that work on the restore of this container, each with its kind."""
        for pid in processes.all_pids():
            words = processes.command_line(pid)
            line = " ".join(words)
            if line.startswith("criu") or "/criu " in line[:60]:
                if self._node.names.state.encode() in processes.environment(pid):
                    yield pid, "criu"
            elif container not in line or "containerd-shim" in line or not words:
                continue
            elif "runtime/main.py" in line:
                yield pid, "python"
            elif any(word.endswith("glowplug-runtime") for word in words):
                yield pid, "sh"
            elif "runc" in words[0]:
                if "restore" in words:  # a plain `runc create` that is killed fails, with us and without
                    yield pid, "runc"
            elif "/glowplug/" in line:
                yield pid, "helper"

    def _forget(self) -> None:
        """The agent has learned that restores fail here, and lets them rest for a while."""
        self._node.stop_agent()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._node.names.cache}/learned.json")
        self._node.start_agent()

    def _clear_quarantine(self) -> None:
        clear = [
            GLOWPLUG,
            "quarantine",
            "clear",
            "--config",
            self._node.names.config,
            self._server.checkpoint,
        ]
        subprocess.run(clear, env=self._node.env, capture_output=True, check=False)


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
