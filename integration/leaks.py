"""What a node holds of the machine, to be the same before a test and after it."""

import os
import re
from collections import Counter
from dataclasses import dataclass

from integration import processes
from integration.node import Node
from integration.waiting import wait_until

OF_THE_AGENT = "descriptor of the agent: "
KEPT_READY = re.compile(r"from glowplug\.\S+\.(volume_reader|log_matcher) import main")
"""Of a worker that the agent has ready for the next question: none or one of each, as a busy machine makes it."""
CONNECTIONS = ("descriptor of containerd: socket", f"{OF_THE_AGENT}socket")
AT_REST_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """Counted, each under a name that says what it is. `agent`: its pid."""

    things: Counter[str]
    agent: int | None

    def beyond(self, before: "Holdings") -> list[str]:
        """What is here and was not there before.

        One socket more of a daemon is none: gRPC makes its connection again when it pleases, at either look. A
        socket left at every start is seen by the tests that start many. Nor is one worker more. What another agent
        holds open can't be compared with what the one before did.
        """
        more = self.things - before.things
        if self.agent != before.agent:
            more = Counter(
                {thing: count for thing, count in more.items() if not thing.startswith(OF_THE_AGENT)}
            )
        return [
            f"{count} × {thing}" for thing, count in sorted(more.items()) if _comes_and_goes(thing) < count
        ]


def holdings(node: Node) -> Holdings:
    """Processes, mounts, cgroups, restores and captures under way, runc's states, the daemons' descriptors."""
    names = node.names
    drafts = f"{names.cache}/drafts"
    things: Counter[str] = Counter()
    workers = 0
    for pid in set(processes.pids_naming(names.state)) - {node.agent_pid}:  # which a test may start
        kept = KEPT_READY.search(" ".join(processes.command_line(pid)))
        things[f"process {kept[0] if kept else processes.name(pid)}"] += 1
        workers += bool(kept)
    for directory in processes.cgroups_called(names.cgroup_parent):
        for pid in processes.pids_in_cgroup(directory):
            things[f"process in a pod's cgroup {processes.name(pid)}"] += 1
        for parent, children, _ in os.walk(directory):
            for child in children:
                things[f"cgroup {parent}/{child}"] += 1
    for point in processes.mounts_under(names.state):
        things[f"mount {point}"] += 1
    for directory in (f"{names.run_dir}/restores", f"{names.run_dir}/captures", names.runc_root, drafts):
        for parent, children, files in os.walk(directory):
            for entry in children + files:
                things[f"file {parent}/{entry}"] += 1
    for name, daemon in (("containerd", node.containerd_pid()), ("the agent", node.agent_pid)):
        for kind, count in _descriptors(daemon).items():
            things[f"descriptor of {name}: {kind}"] += count
    things[f"{OF_THE_AGENT}pipe"] -= 2 * workers  # to each and from it
    return Holdings(things, node.agent_pid)


def _comes_and_goes(thing: str) -> bool:
    return thing in CONNECTIONS or bool(KEPT_READY.search(thing))


def assert_nothing_beyond(node: Node, before: Holdings) -> None:
    """Raises AssertionError for what stays; shims and log copiers get time to end."""
    try:
        wait_until(lambda: not holdings(node).beyond(before), AT_REST_WITHIN_S, "nothing left")
    except TimeoutError:
        left = holdings(node).beyond(before)
        if left:
            raise AssertionError("left behind: " + "; ".join(left)) from None


def _descriptors(pid: int | None) -> Counter[str]:
    """Open descriptors by kind; sockets without their numbers, log files without their directories."""
    kinds: Counter[str] = Counter()
    if pid is None:
        return kinds
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        # Go closes what it knows a process by when it collects garbage, not when the process ends.
        if target != "anon_inode:[pidfd]":
            kinds[re.sub(r":\[\d+\]", "", target)] += 1
    return kinds
