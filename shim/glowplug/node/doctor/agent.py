"""The agent: whether it answers, as fast as the runtime wants it, and whether its own process may do its work."""

import socket
import struct
import time
from collections.abc import Mapping

from glowplug import paths
from glowplug.errors import HostError
from glowplug.host import proc
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes
from glowplug.outcomes import ask

START = "systemctl start glowplug-agent"

_QUESTION: dict[str, object] = {"op": "history", "container": ""}


def answers(_: Probes) -> Finding:
    """Probes with the deadline that it has when a container is created."""
    before = time.monotonic()
    try:
        ask.ask(_QUESTION)
    except ask.NoAnswer as error:
        return wrong(error.detail, "an agent that answers: without one every start is cold", START)
    return ok(f"answers, {1000 * (time.monotonic() - before):.0f} ms")


def seccomp(_: Probes) -> Finding:
    """Of the agent's own process, not of this shell: one under a filter may suspend no other process's."""
    pid = _agent_pid()
    try:
        return judge_seccomp(pid, proc.status(pid))
    except OSError as error:
        raise HostError(f"/proc/{pid}/status can't be read: {error.strerror}") from None


def judge_seccomp(pid: int, status: Mapping[str, str]) -> Finding:
    """`status`: its /proc/PID/status. HostError where that says nothing of seccomp."""
    mode = status.get("Seccomp")
    if mode is None:
        raise HostError("this kernel does not say whether a process has a seccomp filter")
    if mode == "0":
        return ok(f"none, process {pid}")
    return wrong(
        f"process {pid} has a seccomp filter: every capture fails (`suspending seccomp failed`)",
        "an agent without one",
        "systemctl cat glowplug-agent: take out the option that installs it (LockPersonality=, RestrictRealtime=, "
        "SystemCallFilter=, …)",
    )


def privileges(_: Probes) -> Finding:
    """Of the agent's own process: what it restores to try a checkpoint inherits no_new_privs, and keeps it."""
    pid = _agent_pid()
    try:
        return judge_privileges(pid, proc.status(pid))
    except OSError as error:
        raise HostError(f"/proc/{pid}/status can't be read: {error.strerror}") from None


def judge_privileges(pid: int, status: Mapping[str, str]) -> Finding:
    """`status`: its /proc/PID/status."""
    if status.get("NoNewPrivs", "0") == "0":
        return ok(f"can be gained, process {pid}")
    return warning(
        f"process {pid} has no_new_privs: checkpoints are published without a trial",
        "an agent without it",
        "systemctl cat glowplug-agent: take NoNewPrivileges= out",
    )


def _agent_pid() -> int:
    """Who listens on the agent's socket (SO_PEERCRED, unix(7)). HostError where nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(ask.DEADLINE_S)
        try:
            connection.connect(paths.agent_socket())
        except OSError as error:
            raise HostError(f"the agent can't be queried: {error.strerror}") from None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])
