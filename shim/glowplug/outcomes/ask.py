"""One question to the agent: a JSON object on a line each way, within a deadline.

HOT: `_socket`, not `socket`, whose import costs more than the question.
"""

import _socket
import sys
import time

from glowplug import jsontext, paths

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 1.0
LONGEST_WAIT_S = 35.0
AGAIN_S = 0.1
LONGEST_REPLY = 1 << 20


class NoAnswer(Exception):
    """The agent is absent, late, or its answer is invalid. `slug` is the reason that an outcome carries."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


class Answer:
    """What the agent decided about a start. `verdict`: "match", "wait", or anything else for a miss, whose reason is
    `slug` and `detail`. `error`: why it decided nothing; None where it did. `compile_cache`: of a cold start, a file or
    "". `members`: the entire JSON object, from which a match is read (restore/plan.py).
    """

    __slots__ = ("compile_cache", "detail", "error", "members", "slug", "verdict")

    def __init__(self, members: dict[str, object]) -> None:
        self.members = members
        self.error = str(members["error"]) if "error" in members else None
        self.verdict = members.get("verdict")
        self.slug = str(members.get("slug", "agent-bad-response"))
        self.detail = str(members.get("detail") or "")
        compile_cache = members.get("compile_cache")
        self.compile_cache = compile_cache if isinstance(compile_cache, str) else ""


def ask(
    question: dict[str, object],
    deadline_s: float = DEADLINE_S,
    meanwhile: "Callable[[], None]" = lambda: None,
) -> dict[str, object]:
    """The agent's answer. Raises `NoAnswer`, never anything else.

    meanwhile: called once the question is on its way; raises nothing.
    """
    until = time.monotonic() + deadline_s
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        _connect(connection, deadline_s)
        connection.settimeout(_left(until))
        connection.sendall(jsontext.dumps(question).encode() + b"\n")
        meanwhile()
        reply = _line(connection, until)
    except TimeoutError:
        raise NoAnswer("agent-timeout", f"the agent gave no answer within {deadline_s:g} s") from None
    except OSError as error:
        raise NoAnswer("no-agent", f"{paths.agent_socket()}: {error.strerror}") from None
    finally:
        connection.close()
    try:
        answer = jsontext.loads(reply)
    except (ValueError, RecursionError):
        raise NoAnswer("agent-bad-response", "the agent's answer is not a JSON object") from None
    if not isinstance(answer, dict):
        raise NoAnswer("agent-bad-response", "the agent's answer is not a JSON object")
    return answer


def plan(question: dict[str, object], meanwhile: "Callable[[], None]") -> Answer:
    """`ask`, again while the answer is that something is on its way (agent/serving/registry_work.py)."""
    until = time.monotonic() + LONGEST_WAIT_S
    answer = Answer(ask(question, meanwhile=meanwhile))
    while answer.verdict == "wait" and time.monotonic() < until:
        time.sleep(AGAIN_S)
        answer = Answer(ask(question))
    return answer


def _connect(connection: _socket.socket, within_s: float) -> None:
    """Waits where the agent has more callers than it has taken yet (unix(7)): a non-blocking connect, which a socket
    with a timeout makes, would fail at once."""
    seconds, rest = divmod(max(1, round(within_s * 1_000_000)), 1_000_000)
    timeval = seconds.to_bytes(8, sys.byteorder) + rest.to_bytes(8, sys.byteorder)
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, timeval)
    try:
        connection.connect(paths.agent_socket())
    except BlockingIOError:  # EAGAIN, when that time is over
        raise TimeoutError from None


def _left(until: float) -> float:
    """Seconds; TimeoutError where there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _line(connection: _socket.socket, until: float) -> bytes:
    """The deadline is the agent's: what has arrived counts, however late we come to look."""
    received = b""
    while not received.endswith(b"\n"):
        more = _arrived(connection)
        if more is None:
            connection.settimeout(_left(until))
            more = connection.recv(65536)
        if not more:
            raise NoAnswer("agent-died", "the agent closed the connection in the middle of its answer")
        received += more
        if len(received) > LONGEST_REPLY:
            raise NoAnswer("agent-bad-response", "the agent's answer has no end")
    return received


def _arrived(connection: _socket.socket) -> bytes | None:
    """What there is already; None for nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except BlockingIOError:
        return None
