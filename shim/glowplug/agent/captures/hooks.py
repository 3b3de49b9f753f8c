"""What a pod wants done before a capture, after it, and after a restore (policy.Hook)."""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import closing

from glowplug.agent.captures.running import Running, connect
from glowplug.capture.policy import Hook
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.containerd.rpc import StatusCode, status_of
from glowplug.engines import Step
from glowplug.errors import ContainerdError, HookError, HostError
from glowplug.podnet import http

AGAIN_AFTER_S = 0.1
QUOTED_BYTES = 300
EXEC_GRACE_S = 5.0
"""Besides a command's own time, for containerd's part in it."""
TRIES = 5
"""Of a hook that wakes an engine."""
WAKE_AGAIN_S = 1.0
WAKE_AGAIN_AT_MOST_S = 8.0


def again_after_s(tries: int) -> float:
    """Seconds until the next try, after so many that failed."""
    return min(WAKE_AGAIN_AT_MOST_S, WAKE_AGAIN_S * float(2 ** (tries - 1)))


def run(hook: Hook, running: Running, containerd: Containerd, cri: Cri, timeout_s: float) -> dict[str, float]:
    """Returns when it is done: the server answered with 200 to 299, the command ended with 0, the signal is sent.

    The seconds of each request of an engine's preset, by its method and path; nothing of other hooks.

    Raises HookError with what came instead; never what a command wrote, and of a server's answer only what an engine
    said to its own preset's requests.
    """
    until = time.monotonic() + timeout_s
    try:
        if hook.kind == "http-post":
            _post(hook, running, until)
        elif hook.kind == "engine":
            return _engine(hook, running, until)
        elif hook.kind == "exec":
            _exec(hook, running, cri, timeout_s)
        else:
            containerd.kill(running.id, hook.signal)
    except (ContainerdError, HostError) as error:
        raise HookError(f"{hook.kind}: {error}") from error
    return {}


def _post(hook: Hook, running: Running, until: float) -> None:
    try:
        with closing(connected(hook.port, running, until)) as connection:
            status = http.status(connection, "POST", hook.path, hook.body, until)
    except (OSError, ValueError) as error:
        raise HookError(f"http-post to port {hook.port}: no answer: {error}") from error
    if not 200 <= status < 300:
        raise HookError(f"http-post to port {hook.port}: expected a status from 200 to 299, got {status}")


def _engine(hook: Hook, running: Running, until: float) -> dict[str, float]:
    kept: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for step in hook.steps:
        began = time.monotonic()
        what = f"{step.method} {step.path} on port {hook.port}"
        try:
            with closing(connected(hook.port, running, until)) as connection:
                status, said = http.exchange(
                    connection, step.method, step.path, _filled(step.body, kept), until
                )
        except (OSError, ValueError) as error:
            raise HookError(f"{what}: no answer: {error}") from error
        if not 200 <= status < 300:
            raise HookError(f"{what}: the engine answered {status}: {_quoted(said)}")
        if step.expected or step.keep:
            kept |= _answer(step, said, what)
        seconds[f"{step.method} {step.path}"] = round(time.monotonic() - began, 4)
    return seconds


def _answer(step: Step, said: bytes, what: str) -> dict[str, str]:
    """The members of an answer that later requests name. Raises HookError where it is not the expected one."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or any(found.get(name) != value for name, value in step.expected.items()):
        raise HookError(
            f"{what}: expected {json.dumps(dict(step.expected))}, the engine answered: {_quoted(said)}"
        )
    if not all(isinstance(found.get(name), str) for name in step.keep):
        raise HookError(f"{what}: expected {', '.join(step.keep)} in the answer, got: {_quoted(said)}")
    return {name: found[name] for name in step.keep}


def _filled(body: str, kept: Mapping[str, str]) -> str:
    """The JSON body with what earlier answers said in the place of "$MEMBER"."""
    for name, value in kept.items():
        body = body.replace(f'"${name}"', json.dumps(value))
    return body


def _quoted(said: bytes) -> str:
    """An engine's own words, short and printable."""
    text = " ".join(said[:QUOTED_BYTES].decode(errors="replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "nothing"


def connected(port: int, running: Running, until: float) -> socket.socket:
    """A server that is just coming back may not listen yet."""
    while True:
        try:
            return connect(running, port, until)
        except ConnectionRefusedError:
            if time.monotonic() + AGAIN_AFTER_S >= until:
                raise
            time.sleep(AGAIN_AFTER_S)


def _exec(hook: Hook, running: Running, cri: Cri, timeout_s: float) -> None:
    total_s = max(1, round(timeout_s))
    try:
        status = cri.exec_sync(running.id, hook.command, total_s, EXEC_GRACE_S).exit_code
    except ContainerdError as error:
        raise HookError(f"exec: {_why(error, total_s)}") from error
    if status:
        raise HookError(f"exec: the command ended with status {status}; 0 is success")


def _why(error: ContainerdError, timeout_s: int) -> str:
    """In our words: containerd's name the program, which may be a secret that was meant as a variable."""
    code = status_of(error)
    if code is StatusCode.DEADLINE_EXCEEDED:
        return (
            f"the command, or a process of its that still holds its output, did not end within {timeout_s} s"
        )
    if code is StatusCode.RESOURCE_EXHAUSTED:
        return "the command wrote more than 16 MiB"
    if code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
        return "containerd went away while it ran the command"
    return (
        "containerd could not start the command: is its program in the container, and may its user run it? "
        "No shell reads the command"
    )
