"""What a pod's annotations ask of the agent about captures, parsed into plain values; no I/O.

Each may be set for one container of the pod alone by its name behind a dot: `glowplug.dev/ready.server` goes
before `glowplug.dev/ready`. docs/capture.md lists them. A message names the annotation and what was expected,
never its value: a command may contain a secret.
"""

import json
import re
import shlex
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from glowplug import engines
from glowplug.capture import trial
from glowplug.checkpoint import compile_cache
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.eligible import requested_containers
from glowplug.checkpoint.requirements import asks_for_gpu
from glowplug.errors import UsageError

CAPTURE = "capture"
READY = "ready"
ENGINE = "engine"
WEIGHTS = "weights"
CANARY = "canary"
CANARY_BODY = "canary-body"
CANARY_TOLERANCE = "canary-tolerance"
MAX_PAUSE = "max-pause"
HOOK_TIMEOUT = "hook-timeout"
BEFORE_CAPTURE = "before-capture"
AFTER_CAPTURE = "after-capture"
AFTER_RESTORE = "after-restore"
RESTORED_SIGNAL = "restored-signal"

DEFAULT_HOOK_TIMEOUT_S = 60.0
LONGEST_HOOK_S = 600.0
"""A capture that waits for its hook keeps others from theirs, of other owners too."""
LONGEST_S = 86400.0
LONGEST_REGEX = 1000
LONGEST_BODY = 16384
DEFAULT_TOLERANCE = 0.1
"""Of log-probabilities: SGLang's differ by up to 0.02 between two equal requests to one process."""

Presets = Mapping[str, Mapping[str, engines.Preset]]
When = Literal["ready", "any-time", "never", "once-and-exit"]
Value = TypeVar("Value")


class BadAnnotation(UsageError):
    """An annotation that can't be understood."""


@dataclass(frozen=True, slots=True)
class Ready:
    """How it is known that a workload is ready. `kind` says which of the others count."""

    kind: Literal["http", "tcp", "exec", "file", "log", "after"]
    port: int = 0
    path: str = ""
    """Of http: with its query; of file: in the container."""
    command: tuple[str, ...] = ()
    regex: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Hook:
    """Something to do in the pod. `body`: of an http-post, JSON or empty; `signal`: its number; `steps`: of an engine's
    preset, its requests in their order.
    """

    kind: Literal["http-post", "exec", "signal", "engine"]
    port: int = 0
    path: str = ""
    body: str = ""
    command: tuple[str, ...] = ()
    signal: int = 0
    steps: tuple[engines.Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Canary:
    """A question with JSON for its body, and how far numbers in its answer may be off."""

    port: int
    path: str
    body: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class Policy:
    """What is wanted for one container. Times in seconds; `ready` None: nobody says when it is ready."""

    when: When
    ready: Ready | None
    before_capture: Hook | None
    after_capture: Hook | None
    after_restore: Hook | None
    hook_timeout_s: float
    max_pause_s: float | None
    canary: Canary | None = None


def of(facts: BundleFacts, default: When, known: Presets = engines.PRESETS) -> Policy:
    """`known`: the presets. Raises BadAnnotation for the first annotation that can't be understood."""
    found = _Annotations(facts.annotations, facts.container_name)
    engine = _preset(found, known)
    chosen: When = found.get(CAPTURE, when) or default
    is_ready = found.get(READY, ready)
    _require_one_s_port(facts, is_ready)
    found.get(
        RESTORED_SIGNAL, signal_number
    )  # the runtime's (restore/notify.py); a wrong one is reported here
    found.get(trial.TRIAL, trial.policy)  # the capture's
    found.get(compile_cache.NAME, compile_cache.parse)
    return Policy(
        when=chosen,
        ready=is_ready or (Ready("http", engine.port, engine.ready) if engine else None),
        before_capture=found.get(BEFORE_CAPTURE, hook) or _steps(engine, "sleep"),
        after_capture=found.get(AFTER_CAPTURE, hook) or _steps(engine, "wake"),
        after_restore=found.get(AFTER_RESTORE, hook) or _steps(engine, "wake"),
        hook_timeout_s=found.get(HOOK_TIMEOUT, hook_timeout) or DEFAULT_HOOK_TIMEOUT_S,
        max_pause_s=found.get(MAX_PAUSE, duration),
        canary=_canary(found),
    )


def _require_one_s_port(facts: BundleFacts, ready: Ready | None) -> None:
    """A port of the pod is one container's: who asks it for two captures one when the other is ready."""
    is_own = f"{OWN_ANNOTATIONS}{READY}.{facts.container_name}" in facts.annotations
    names = requested_containers(facts)
    if ready is None or ready.kind not in ("http", "tcp") or is_own or len(names) < 2:
        return
    raise BadAnnotation(
        f"{OWN_ANNOTATIONS}{READY}: a port says of one container that it is ready, and {len(names)} are to be "
        f"captured: say {OWN_ANNOTATIONS}{READY}.NAME for each"
    )


def wanted(facts: BundleFacts, default: When) -> When:
    """What is wanted, where some other annotation can't be understood; "never" where this one can't."""
    try:
        return _Annotations(facts.annotations, facts.container_name).get(CAPTURE, when) or default
    except BadAnnotation:
        return "never"


def is_chosen(facts: BundleFacts, default: str) -> bool:
    """Whether this container of the pod is one to capture. `default`: gpu or all, for pods that name none."""
    names = requested_containers(facts)
    if names:
        return facts.container_name in names
    return default == "all" or asks_for_gpu(facts)


class _Annotations:
    def __init__(self, values: Mapping[str, str], container: str) -> None:
        self._values = values
        self._container = container

    def get(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        full = f"{OWN_ANNOTATIONS}{name}"
        own = f"{full}.{self._container}"
        used = own if own in self._values else full
        text = self._values.get(used, "").strip()
        try:
            return parse(text) if text else None
        except ValueError as error:
            raise BadAnnotation(f"{used}: expected {error}, got something else") from None


def ready(text: str) -> Ready:
    """Raises ValueError saying what is expected."""
    scheme, _, rest = text.partition(":")
    if scheme == "http":
        port, path = _url(text, "http")
        return Ready("http", port=port, path=path)
    if scheme == "tcp":
        port, path = _url(text, "tcp")
        if path != "/":
            raise ValueError("tcp://:PORT")
        return Ready("tcp", port=port)
    if scheme == "exec":
        return Ready("exec", command=_command(rest))
    if scheme == "file":
        if not rest.startswith("/") or "\0" in rest:
            raise ValueError("file: with an absolute path in the container")
        return Ready("file", path=rest)
    if scheme == "log":
        return Ready("log", regex=_regex(rest))
    if scheme == "after":
        return Ready("after", seconds=duration(rest))
    raise ValueError("http://:PORT/PATH, tcp://:PORT, exec:COMMAND, file:/PATH, log:REGEX or after:30s")


def hook(text: str) -> Hook:
    """Raises ValueError saying what is expected."""
    scheme, _, rest = text.partition(":")
    if scheme == "http-post":
        port, path = _url(text, "http-post")
        return Hook("http-post", port=port, path=path)
    if scheme == "exec":
        return Hook("exec", command=_command(rest))
    if scheme == "signal":
        return Hook("signal", signal=signal_number(rest))
    raise ValueError("http-post://:PORT/PATH, exec:COMMAND or signal:NAME")


def duration(text: str) -> float:
    """Seconds. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", text)
    seconds = float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_S:
        raise ValueError("a duration of more than 0 and at most a day, such as 500ms, 30s or 2m")
    return seconds


def hook_timeout(text: str) -> float:
    """Seconds. Raises ValueError."""
    seconds = duration(text)
    if seconds > LONGEST_HOOK_S:
        raise ValueError(f"a duration of at most {LONGEST_HOOK_S / 60:g}m")
    return seconds


def signal_number(text: str) -> int:
    """Raises ValueError."""
    try:
        return int(signal.Signals[f"SIG{text.removeprefix('SIG')}"])
    except KeyError:
        raise ValueError("a signal's name, such as USR1") from None


def when(text: str) -> When:
    """Raises ValueError saying what is expected."""
    if text == "ready":
        return "ready"
    if text == "any-time":
        return "any-time"
    if text == "never":
        return "never"
    if text == "once-and-exit":
        return "once-and-exit"
    raise ValueError("ready, any-time, never or once-and-exit")


def _preset(found: _Annotations, known: Presets) -> engines.Preset | None:
    """The preset that the pod names, for the weights that it wants parked or read again."""
    how = found.get(WEIGHTS, _weights) or engines.KEEP
    engine = found.get(ENGINE, partial(_engine, known=known))
    if engine is None:
        return None
    ways, port = engine
    preset = ways.get(how)
    if preset is None:
        raise BadAnnotation(
            f"{OWN_ANNOTATIONS}{WEIGHTS}: the preset of its engine has {', '.join(ways)} alone"
        )
    return replace(preset, port=port) if port else preset


def _canary(found: _Annotations) -> Canary | None:
    request = found.get(CANARY, hook)
    body, tolerance = found.get(CANARY_BODY, _json), found.get(CANARY_TOLERANCE, _tolerance)
    if request is None:
        return None
    if request.kind != "http-post" or body is None:
        needed = f"http-post://:PORT/PATH, and JSON in {OWN_ANNOTATIONS}{CANARY_BODY}"
        raise BadAnnotation(f"{OWN_ANNOTATIONS}{CANARY}: expected {needed}")
    return Canary(request.port, request.path, body, DEFAULT_TOLERANCE if tolerance is None else tolerance)


def _json(text: str) -> str:
    try:
        if len(text) <= LONGEST_BODY:
            json.loads(text)
            return text
    except (ValueError, RecursionError):
        pass
    raise ValueError(f"JSON of at most {LONGEST_BODY} characters")


def _tolerance(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text):
        raise ValueError("a number such as 0.1")
    return float(text)


def _engine(text: str, known: Presets) -> tuple[Mapping[str, engines.Preset], int]:
    """The engine's presets, and another port than its usual one or 0. Raises ValueError."""
    name, colon, port = text.partition(":")
    ways = known.get(name)
    if ways is None:
        raise ValueError(f"{' or '.join(known)}, and :PORT behind it for another port than its usual one")
    return ways, _port(port) if colon else 0


def _weights(text: str) -> str:
    if text not in (engines.KEEP, engines.RELOAD):
        raise ValueError(f"{engines.KEEP} or {engines.RELOAD}")
    return text


def _steps(engine: engines.Preset | None, way: Literal["sleep", "wake"]) -> Hook | None:
    if engine is None:
        return None
    return Hook("engine", port=engine.port, steps=engine.sleep if way == "sleep" else engine.wake)


def _url(text: str, scheme: str) -> tuple[int, str]:
    """Port and path. The host is the pod itself, so there is none."""
    wanted = f"{scheme}://:PORT/PATH of printable ASCII; the host is the pod itself, and left out"
    if not all("!" <= letter <= "~" for letter in text) or not text.startswith(f"{scheme}://:"):
        raise ValueError(wanted)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(wanted) from None
    if "@" in parts.netloc or parts.fragment:
        raise ValueError(wanted)
    query = f"?{parts.query}" if parts.query else ""
    return _port(parts.netloc.removeprefix(":")), (parts.path or "/") + query


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 1 << 16:
        raise ValueError("a port from 1 to 65535")
    return int(text)


def _command(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        words = ()
    if not words or any("\0" in word for word in words):
        raise ValueError("exec: and a command with its arguments, quoted as for a shell; no shell runs it")
    return words


def _regex(text: str) -> str:
    """Not compiled here: that alone may take seconds, of all that the agent has to do (logwatch.py)."""
    if 0 < len(text) <= LONGEST_REGEX and "\0" not in text:
        return text
    raise ValueError(f"log: and a regular expression of at most {LONGEST_REGEX} characters")
